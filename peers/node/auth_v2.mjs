// Logs in to a server and uses it, with the official TypeScript SDK, 2.x; `oauth.mjs` says what orders it takes.

import {
  Client,
  ClientCredentialsProvider,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from "@modelcontextprotocol/client";
import { NO_STREAM_AGAIN, Provider, credentials, loggingIn, run } from "./oauth.mjs";

class Peer {
  constructor(plan, told) {
    this.plan = plan;
    this.told = told;
    if (plan.grant === "credentials") this.provider = credentials(ClientCredentialsProvider, plan, told);
    if (plan.grant === "code") this.provider = new Provider(plan, told);
  }

  async connect() {
    // "auto" probes with server/discover, as hosts do; which revision came of it is for the driver to judge.
    const mode = { modern: "auto", legacy: "legacy" }[this.plan.era];
    this.client = new Client({ name: "trunkline-peers", version: "1" }, { versionNegotiation: { mode } });
    const options = {
      authProvider: this.provider,
      requestInit: this.plan.key && { headers: { "X-API-Key": this.plan.key } },
      fetch: this.told.fetch,
      reconnectionOptions: NO_STREAM_AGAIN,
    };
    this.transport = new StreamableHTTPClientTransport(new URL(this.plan.url), options);
    await this.client.connect(this.transport);
  }

  async open() {
    await this.loggingIn(() => this.connect());
    this.about = { revision: this.client.getNegotiatedProtocolVersion() };
    return this;
  }

  loggingIn = (work) => loggingIn(work, () => this.transport.finishAuth(this.provider.cameBack), UnauthorizedError);

  list = () => this.loggingIn(async () => (await this.client.listTools()).tools.map((tool) => tool.name));

  call = (name, args) => this.loggingIn(() => this.client.callTool({ name, arguments: args }));

  async close() {
    if (this.plan.era === "legacy") await this.transport.terminateSession();
    await this.client.close();
  }
}

await run((plan, told) => new Peer(plan, told).open());
