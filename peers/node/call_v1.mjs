// Drives a server with the official TypeScript SDK, 1.x: lists its tools and makes the calls of a plan.
//
// The plan is JSON in the first argument, the findings are JSON on stdout; `peers/run.py` says what is in both.
// This SDK speaks the handshake revisions only.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const plan = JSON.parse(process.argv[2]);
if (plan.era !== "legacy") throw new Error("this SDK does not speak 2026-07-28");

/** Remembers which revision was agreed on: the client of this SDK tells its transport and nobody else. */
function remembering(transport, found) {
  const tell = transport.setProtocolVersion?.bind(transport);
  transport.setProtocolVersion = (revision) => {
    found.revision = revision;
    tell?.(revision);
  };
  return transport;
}

function transport() {
  if (plan.url) return new StreamableHTTPClientTransport(new URL(plan.url));
  const [command, ...args] = plan.command;
  return new StdioClientTransport({ command, args, env: plan.env });
}

const found = {};
const client = new Client({ name: "trunkline-peers", version: "1" });
await client.connect(remembering(transport(), found));
await client.ping();

found.tools = [];
let cursor;
do {
  const page = await client.listTools(cursor === undefined ? {} : { cursor });
  found.tools.push(...page.tools);
  cursor = page.nextCursor;
} while (cursor !== undefined);

found.results = [];
for (const call of plan.calls) {
  found.results.push(await client.callTool({ name: call.tool, arguments: call.arguments }));
}

found.server = client.getServerVersion();
await client.close();
process.stdout.write(JSON.stringify(found) + "\n");
