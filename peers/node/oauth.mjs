// What both auth programs of this folder share: a person with a browser, a place for tokens, and the loop that takes orders.
//
// Orders and answers are those of `peers/python/oauth.py`, where they are explained; `peers/auth.py` gives them.

import { createInterface } from "node:readline";

// Nothing listens there: the browser stops when it is sent there, and takes the code from the address.
const REDIRECT = "http://127.0.0.1:1/callback";

/** What a client did and came to know since the last answer. */
class Told {
  requests = [];
  tokens = [];
  secrets = [];

  /** What the SDK uses in place of `fetch`, for metadata and tokens too. */
  fetch = async (url, init = {}) => {
    const response = await fetch(url, init);
    const request = new Headers(init.headers);
    const made = { method: init.method ?? "GET", path: new URL(url).pathname, status: response.status };
    if (init.body instanceof URLSearchParams) made.form = Object.fromEntries(init.body);
    if (request.has("mcp-session-id")) made.session = request.get("mcp-session-id");
    if (response.headers.has("www-authenticate")) made.challenge = response.headers.get("www-authenticate");
    this.requests.push(made);
    return response;
  };

  take() {
    const { requests, tokens, secrets } = this;
    this.requests = [];
    this.tokens = [];
    this.secrets = [];
    return { requests, tokens, secrets };
  }
}

/** Logs in as a person, and keeps tokens and registration in memory, as the SDK asks for it. */
export class Provider {
  redirectUrl = REDIRECT;

  constructor(plan, told) {
    this.plan = plan;
    this.told = told;
    this.information = plan.registered;
    this.clientMetadata = {
      client_name: plan.name ?? "peer",
      redirect_uris: [REDIRECT],
      grant_types: plan.refresh === false ? ["authorization_code"] : ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
      application_type: "native",
    };
  }

  state = () => crypto.randomUUID();
  clientInformation = () => this.information;
  saveClientInformation = (information) => void (this.information = information);
  tokens = () => this.kept;
  discoveryState = () => this.discovered;
  saveDiscoveryState = (discovered) => void (this.discovered = discovered);
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);

  saveTokens(tokens) {
    this.kept = tokens;
    this.told.tokens.push(tokens.access_token);
    this.told.secrets.push(tokens.refresh_token);
  }

  invalidateCredentials(what) {
    if (what === "all" || what === "tokens") this.kept = undefined;
    if (what === "all" || what === "client") this.information = undefined;
    if (what === "all" || what === "discovery") this.discovered = undefined;
  }

  async redirectToAuthorization(url) {
    this.told.requests.push({ method: "browse", path: url.pathname, form: Object.fromEntries(url.searchParams) });
    url.searchParams.set("login_hint", this.plan.person);
    if (this.plan.grants !== undefined) url.searchParams.set("scope", this.plan.grants);
    this.plan.grants = undefined;
    this.cameBack = await browse(url);
    this.told.secrets.push(this.cameBack.get("code"));
  }
}

/** Follows the redirects with the cookies that come on the way, and returns what the client's own address is told. */
async function browse(url) {
  const cookies = new Map();
  while (!String(url).startsWith(REDIRECT)) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(url, { headers: { cookie }, redirect: "manual" });
    for (const one of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(one);
      cookies.set(name, value);
    }
    const next = response.headers.get("location");
    if (!next) throw new Error(`the login ended with status ${response.status}: ${(await response.text()).slice(0, 500)}`);
    url = new URL(next, url);
  }
  return url.searchParams;
}

// A stream of the server's that ended would be opened again with a login of its own, while another login is looked at.
export const NO_STREAM_AGAIN = {
  initialReconnectionDelay: 1000,
  maxReconnectionDelay: 1000,
  reconnectionDelayGrowFactor: 1,
  maxRetries: 0,
};

/** Makes a provider for client credentials with an SDK's own class, and has it tell which tokens it was given. */
export function credentials(Sdk, { id, secret, scope, issuer }, told) {
  const provider = new Sdk({ clientId: id, clientSecret: secret, scope, expectedIssuer: issuer });
  const save = provider.saveTokens.bind(provider);
  provider.saveTokens = (tokens) => {
    told.tokens.push(tokens.access_token);
    return save(tokens);
  };
  return provider;
}

/**
 * Does something with a client, and logs in once when the SDK says that a person has to. These SDKs leave it to their users to
 * do this and to try again.
 */
export async function loggingIn(work, finish, unauthorized) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof unauthorized)) throw error;
    await finish();
    return await work();
  }
}

/** Obeys orders until stdin ends. `connect(plan, told)` returns an object with `about`, `list`, `call` and `close`. */
export async function run(connect) {
  const clients = new Map();
  const told = new Map();
  const obey = async (order) => {
    if (order.do === "open") {
      told.set(order.client, new Told());
      clients.set(order.client, await connect(order, told.get(order.client)));
      return clients.get(order.client).about;
    }
    const client = clients.get(order.client);
    if (order.do === "list") return client.list();
    if (order.do === "call") return client.call(order.tool, order.arguments);
    if (order.do === "close") return client.close();
    throw new Error(`unknown order ${order.do}`);
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    let answer;
    try {
      answer = { found: (await obey(order)) ?? null };
    } catch (error) {
      answer = { failed: String(error?.stack ?? error).slice(-3000) };
    }
    process.stdout.write(JSON.stringify({ ...answer, ...told.get(order.client).take() }) + "\n");
  }
}
