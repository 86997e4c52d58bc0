// Drives every feature of the example server `everything` with the official TypeScript SDK, 1.x.
//
// The plan is JSON in the first argument, the findings are JSON on stdout; `peers/everything.py` says what is in both.
// This SDK speaks the handshake revisions only.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import * as types from "@modelcontextprotocol/sdk/types.js";
import { Common, Findings, NotOffered, sleep, until } from "./findings.mjs";

const plan = JSON.parse(process.argv[2]);
if (plan.era !== "legacy") throw new Error("this SDK does not speak 2026-07-28");

class Peer extends Common {
  updates = () => this.legacyUpdates();
  list_changes = () => this.triggered();

  async progress() {
    const found = [];
    const onprogress = ({ progress, total }) => found.push([progress, total]);
    await this.client.callTool({ name: "test_tool_with_progress", arguments: {} }, undefined, { onprogress });
    return found;
  }

  async logging() {
    await this.client.setLoggingLevel("debug");
    this.logged = [];
    await this.call("test_tool_with_logging");
    await sleep(200);
    return this.logged;
  }

  async cancel() {
    const before = await this.counts();
    const abort = new AbortController();
    const options = { signal: abort.signal };
    const running = this.client.callTool({ name: "slow", arguments: { ms: 60_000 } }, undefined, options);
    const ended = running.then(() => "a result", (error) => error.name);
    await until(() => this.more("started", before), "the start of the call");
    abort.abort();
    const after = await until(() => this.more("cancelled", before), "the end of the cancelled call");
    return { before, after, ended: await ended };
  }

  async resumption() {
    if (!plan.url) throw new NotOffered("a pipe has nothing to resume");
    return this.call("test_reconnection");
  }

  async tasks() {
    throw new NotOffered("the extension is of 2026-07-28");
  }

  async skills() {
    throw new NotOffered("the extension is of 2026-07-28");
  }
}

/** Remembers which revision was agreed on: the client of this SDK tells its transport and nobody else. */
function remembering(transport, about) {
  const tell = transport.setProtocolVersion?.bind(transport);
  transport.setProtocolVersion = (revision) => {
    about.revision = revision;
    tell?.(revision);
  };
  return transport;
}

function transport() {
  if (plan.url) return new StreamableHTTPClientTransport(new URL(plan.url));
  const [command, ...args] = plan.command;
  return new StdioClientTransport({ command, args });
}

const client = new Client(
  { name: "trunkline-peers", version: "1" },
  { capabilities: { elicitation: { form: {}, url: {} }, sampling: {}, roots: { listChanged: true } } },
);
const peer = new Peer(plan, client);
client.setRequestHandler(types.ElicitRequestSchema, ({ params }) => peer.elicited(params));
client.setRequestHandler(types.CreateMessageRequestSchema, ({ params }) => peer.sampled(params));
client.setRequestHandler(types.ListRootsRequestSchema, () => peer.listed());
client.setNotificationHandler(types.LoggingMessageNotificationSchema, ({ params }) => void peer.logged.push(params));
client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, ({ params }) => void peer.told.push(params.uri));
for (const [kind, schema] of [
  ["tools", types.ToolListChangedNotificationSchema],
  ["prompts", types.PromptListChangedNotificationSchema],
  ["resources", types.ResourceListChangedNotificationSchema],
]) {
  client.setNotificationHandler(schema, () => void peer.told.push(kind));
}

const findings = new Findings();
await client.connect(remembering(transport(), findings.about));
findings.about.server = client.getServerVersion();
for (const name of plan.features) await findings.look(name, () => peer[name]());
await client.close();
findings.print();
