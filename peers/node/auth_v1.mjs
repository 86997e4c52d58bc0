// Logs in to a server and uses it, with the official TypeScript SDK, 1.x; `oauth.mjs` says what orders it takes.
//
// This SDK speaks the handshake revisions only.

import { ClientCredentialsProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { NO_STREAM_AGAIN, Provider, credentials, loggingIn, run } from "./oauth.mjs";

class Peer {
  about = {};

  constructor(plan, told) {
    if (plan.era !== "legacy") throw new Error("this SDK does not speak 2026-07-28");
    this.plan = plan;
    this.told = told;
    if (plan.grant === "credentials") this.provider = credentials(ClientCredentialsProvider, plan, told);
    if (plan.grant === "code") this.provider = new Provider(plan, told);
  }

  async connect() {
    this.client = new Client({ name: "trunkline-peers", version: "1" });
    const options = {
      authProvider: this.provider,
      requestInit: this.plan.key && { headers: { "X-API-Key": this.plan.key } },
      fetch: this.told.fetch,
      reconnectionOptions: NO_STREAM_AGAIN,
    };
    this.transport = new StreamableHTTPClientTransport(new URL(this.plan.url), options);
    // The client of this SDK tells its transport which revision was agreed on, and nobody else.
    const tell = this.transport.setProtocolVersion.bind(this.transport);
    this.transport.setProtocolVersion = (revision) => {
      this.about.revision = revision;
      tell(revision);
    };
    await this.client.connect(this.transport);
  }

  async open() {
    await this.loggingIn(() => this.connect());
    return this;
  }

  loggingIn = (work) => loggingIn(work, () => this.transport.finishAuth(this.provider.cameBack.get("code")), UnauthorizedError);

  list = () => this.loggingIn(async () => (await this.client.listTools()).tools.map((tool) => tool.name));

  call = (name, args) => this.loggingIn(() => this.client.callTool({ name, arguments: args }));

  async close() {
    await this.transport.terminateSession();
    await this.client.close();
  }
}

await run((plan, told) => new Peer(plan, told).open());
