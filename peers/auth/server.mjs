// Runs the certified OAuth server `oidc-provider` for tests: two issuers on free ports, in memory, and nobody at the keyboard.
//
// Its plan is JSON in the first argument:
//
//     {"resources": [URL, ...], "scopes": [NAME, ...], "clients": [client metadata, ...], "claims": {SUBJECT: {...}, ...}}
//
// When it listens it prints one line, {"issuer": URL, "other": URL, "control": URL}, and it ends when its stdin does. `other` is
// a second server with the same plan and keys of its own: what it issues is good in every respect but the issuer. How a
// client's access tokens look is read from its name, because every SDK sends one when it registers: "opaque" makes them random
// strings, else they are signed; "3 s" is how long they live. Whoever the parameter `login_hint` names is logged in at once,
// and grants everything that is asked for.
//
// `control` is for the tests alone: POST /rotate puts a new signing key first, /forget drops all but the first, /leave makes the
// issuer answer 503 to everything until /return, and GET /counts tells how often each path of it was asked for.

import { createServer } from "node:http";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import Provider from "oidc-provider";
import { createMemoryAdapter } from "oidc-provider/lib/adapters/memory_adapter.js";

const plan = JSON.parse(process.argv[2]);

// Each rotation takes the next family, so that no step depends on one of them.
const FAMILIES = [
  { alg: "RS256", make: ["rsa", { modulusLength: 2048 }] },
  { alg: "ES256", make: ["ec", { namedCurve: "P-256" }] },
  { alg: "EdDSA", make: ["ed25519"] },
  { alg: "PS256", make: ["rsa", { modulusLength: 2048 }] },
];

/** One issuer: an OAuth server on a port of its own, whose provider is made anew when its keys change. */
class Issuer {
  store = createMemoryAdapter();
  cookieKeys = [randomBytes(16).toString("hex")];
  // ID tokens are signed by a key that stays: registered clients hold its algorithm. No access token is.
  idKey = signingKey("id", FAMILIES[0]);
  keys = [];
  made = 0;
  away = false;
  counts = {};

  async start() {
    this.server = createServer((request, response) => this.answer(request, response));
    this.url = await listen(this.server);
    this.rotate();
    return this;
  }

  rotate() {
    const family = FAMILIES[this.made % FAMILIES.length];
    this.made += 1;
    this.keys.unshift(signingKey(`key-${this.made}`, family));
    this.build();
  }

  forget() {
    this.keys.length = 1;
    this.build();
  }

  build() {
    this.provider = new Provider(this.url, this.configuration());
    this.provider.on("server_error", (_, error) => console.error(error));
    this.callback = this.provider.callback();
  }

  configuration() {
    return {
      adapter: this.store,
      clients: plan.clients,
      cookies: { keys: this.cookieKeys },
      jwks: { keys: [...this.keys, this.idKey] },
      scopes: ["offline_access", ...plan.scopes],
      clientAuthMethods: ["none", "client_secret_basic", "client_secret_post"],
      pkce: { required: () => true },
      rotateRefreshToken: true,
      issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
      expiresWithSession: () => false,
      ttl: { Session: 600, Grant: 600, Interaction: 60, AuthorizationCode: 60, RefreshToken: 600 },
      interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
      findAccount: (_, id) => (Object.hasOwn(plan.claims, id) ? { accountId: id, claims: () => ({ sub: id }) } : undefined),
      extraTokenClaims: (_, token) => plan.claims[token.accountId ?? token.clientId],
      // SDKs register with the scopes of their first request. A server that held them to those could not grant more later.
      extraClientMetadata: { properties: ["registered_scope"], validator: (_ctx, _key, _value, client) => delete client.scope },
      features: {
        devInteractions: { enabled: false },
        registration: { enabled: true },
        introspection: { enabled: true, allowedPolicy: (_, client) => client.clientId === "resource-server" },
        revocation: { enabled: true },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: (_, resource, client) => this.resource(resource, client),
        },
      },
    };
  }

  resource(resource, client) {
    if (!plan.resources.includes(resource)) throw new Error(`no resource ${resource}`);
    const name = client.clientName ?? "";
    const [key] = this.keys;
    return {
      scope: plan.scopes.join(" "),
      accessTokenTTL: Number(/(\d+) s\b/.exec(name)?.[1] ?? 300),
      accessTokenFormat: /\bopaque\b/.test(name) ? "opaque" : "jwt",
      jwt: { sign: { alg: key.alg, kid: key.kid } },
    };
  }

  async answer(request, response) {
    const { pathname } = new URL(request.url, this.url);
    this.counts[pathname] = (this.counts[pathname] ?? 0) + 1;
    if (this.away) return response.writeHead(503).end();
    if (!pathname.startsWith("/interaction/")) return this.callback(request, response);
    try {
      const { params } = await this.provider.interactionDetails(request, response);
      const consent = { grantId: await this.grant(params) };
      const result = { login: { accountId: params.login_hint }, consent };
      await this.provider.interactionFinished(request, response, result);
    } catch (error) {
      console.error(error);
      response.writeHead(500).end();
    }
  }

  grant({ login_hint: accountId, client_id: clientId, resource, scope = "" }) {
    const grant = new this.provider.Grant({ accountId, clientId });
    grant.addOIDCScope(scope);
    if (resource) grant.addResourceScope(resource, scope);
    return grant.save();
  }
}

function signingKey(kid, { alg, make }) {
  const [type, options] = make;
  return { ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }), kid, alg, use: "sig" };
}

function listen(server) {
  return new Promise((done) => {
    server.listen(0, "127.0.0.1", () => done(`http://127.0.0.1:${server.address().port}`));
  });
}

const [issuer, other] = await Promise.all([new Issuer().start(), new Issuer().start()]);

const control = createServer((request, response) => {
  const asked = `${request.method} ${request.url}`;
  if (asked === "POST /rotate") issuer.rotate();
  else if (asked === "POST /forget") issuer.forget();
  else if (asked === "POST /leave") issuer.away = true;
  else if (asked === "POST /return") issuer.away = false;
  else if (asked !== "GET /counts") return response.writeHead(404).end();
  response.end(JSON.stringify(issuer.counts));
});

const addresses = { issuer: issuer.url, other: other.url, control: await listen(control) };
process.stdout.write(JSON.stringify(addresses) + "\n");
process.stdin.on("end", () => process.exit()).resume();
