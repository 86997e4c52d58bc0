// Drives every feature of the example server `everything` with the official TypeScript SDK, 2.x.
//
// The plan is JSON in the first argument, the findings are JSON on stdout; `peers/everything.py` says what is in both.

import {
  Client,
  LOG_LEVEL_META_KEY,
  ResourceNotFoundError,
  StreamableHTTPClientTransport,
} from "@modelcontextprotocol/client";
import { SkillsClient } from "@modelcontextprotocol/client/ext/skills";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Common, Findings, NotOffered, sleep, until } from "./findings.mjs";

const plan = JSON.parse(process.argv[2]);
const modern = plan.era === "modern";

class Peer extends Common {
  /** This SDK tells a missing resource by the type of its error, and shows the same code for all revisions. */
  refusal = (error) =>
    error instanceof ResourceNotFoundError ? { missing: error.uri } : { code: error.code, message: error.message };

  async updates() {
    if (!modern) return this.legacyUpdates();
    const subscription = await this.client.listen({ resourceSubscriptions: [plan.watched] });
    await this.call("touch", { uri: plan.reads[0] });
    await this.call("touch", { uri: plan.watched });
    await this.changed(plan.watched);
    await subscription.close();
    await this.call("touch", { uri: plan.watched });
    await sleep(200);
    return { updated: this.told.filter((told) => told.includes("://")), honored: subscription.honoredFilter };
  }

  async list_changes() {
    if (!modern) return this.triggered();
    const filter = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
    const subscription = await this.client.listen(filter);
    const found = await this.triggered();
    await subscription.close();
    return found;
  }

  async progress() {
    const found = [];
    const onprogress = ({ progress, total }) => found.push([progress, total]);
    await this.client.callTool({ name: "test_tool_with_progress", arguments: {} }, { onprogress });
    return found;
  }

  async logging() {
    if (!modern) await this.client.setLoggingLevel("debug");
    this.logged = [];
    const _meta = modern ? { [LOG_LEVEL_META_KEY]: "debug" } : undefined;
    await this.client.callTool({ name: "test_tool_with_logging", arguments: {}, _meta });
    await sleep(200);
    return this.logged;
  }

  async cancel() {
    const before = await this.counts();
    const abort = new AbortController();
    const running = this.client.callTool({ name: "slow", arguments: { ms: 60_000 } }, { signal: abort.signal });
    const ended = running.then(() => "a result", (error) => error.name);
    await until(() => this.more("started", before), "the start of the call");
    abort.abort();
    const after = await until(() => this.more("cancelled", before), "the end of the cancelled call");
    return { before, after, ended: await ended };
  }

  async ping() {
    if (modern) throw new NotOffered("2026-07-28 has no ping");
    return super.ping();
  }

  async resumption() {
    if (modern) throw new NotOffered("2026-07-28 has no resumable streams");
    if (!plan.url) throw new NotOffered("a pipe has nothing to resume");
    return this.call("test_reconnection");
  }

  async tasks() {
    if (!modern) throw new NotOffered("the extension is of 2026-07-28");
    throw new NotOffered("this SDK refuses results of type `task` and has no methods for them");
  }

  /** This SDK holds every file to its size and digest, and the frontmatter to what the list says of it. */
  async skills() {
    if (!modern) throw new NotOffered("the extension is of 2026-07-28");
    const skills = new SkillsClient(this.client);
    const found = {};
    for (const skill of (await skills.list()).skills) {
      const files = {};
      for (const { uri } of skill.resources) files[uri] = (await skills.read(skill, uri)).verified;
      const { resources } = await skills.readDirectory(skill.uri.replace(/\/SKILL\.md$/, ""));
      found[skill.uri] = { files, children: resources };
    }
    return found;
  }
}

function transport() {
  if (plan.url) return new StreamableHTTPClientTransport(new URL(plan.url));
  const [command, ...args] = plan.command;
  return new StdioClientTransport({ command, args });
}

// "auto" probes with server/discover, as hosts do; which revision came of it is for the driver to judge.
const client = new Client(
  { name: "trunkline-peers", version: "1" },
  {
    capabilities: { elicitation: { form: {}, url: {} }, sampling: {}, roots: { listChanged: true } },
    versionNegotiation: { mode: modern ? "auto" : "legacy" },
  },
);
const peer = new Peer(plan, client);
client.setRequestHandler("elicitation/create", ({ params }) => peer.elicited(params));
client.setRequestHandler("sampling/createMessage", ({ params }) => peer.sampled(params));
client.setRequestHandler("roots/list", () => peer.listed());
client.setNotificationHandler("notifications/message", ({ params }) => void peer.logged.push(params));
client.setNotificationHandler("notifications/resources/updated", ({ params }) => void peer.told.push(params.uri));
for (const kind of ["tools", "prompts", "resources"]) {
  client.setNotificationHandler(`notifications/${kind}/list_changed`, () => void peer.told.push(kind));
}

const findings = new Findings();
await client.connect(transport());
findings.about = { revision: client.getNegotiatedProtocolVersion(), server: client.getServerVersion() };
for (const name of plan.features) await findings.look(name, () => peer[name]());
await client.close();
findings.print();
