// Drives a server with the official TypeScript SDK, 2.x: lists its tools and makes the calls of a plan.
//
// The plan is JSON in the first argument, the findings are JSON on stdout; `peers/run.py` says what is in both.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const plan = JSON.parse(process.argv[2]);

function transport() {
  if (plan.url) return new StreamableHTTPClientTransport(new URL(plan.url));
  const [command, ...args] = plan.command;
  return new StdioClientTransport({ command, args, env: plan.env });
}

// "auto" probes with server/discover, as hosts do; which revision came of it is for the driver to judge.
const mode = { modern: "auto", legacy: "legacy" }[plan.era];
const client = new Client({ name: "trunkline-peers", version: "1" }, { versionNegotiation: { mode } });
await client.connect(transport());

const tools = [];
let cursor;
do {
  const page = await client.listTools(cursor === undefined ? {} : { cursor });
  tools.push(...page.tools);
  cursor = page.nextCursor;
} while (cursor !== undefined);

const results = [];
for (const call of plan.calls) results.push(await client.callTool({ name: call.tool, arguments: call.arguments }));

const revision = client.getNegotiatedProtocolVersion();
const server = client.getServerVersion();
await client.close();
process.stdout.write(JSON.stringify({ revision, server, tools, results }) + "\n");
