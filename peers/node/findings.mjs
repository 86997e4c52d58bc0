// Collects what a program of this folder found out about each feature, one after the other, so that one fault hides no other.
//
// What a feature finds is JSON of the protocol's own shapes; `peers/everything.py` judges it.

const ONE_FEATURE_MS = 20_000;

/** The SDK has no way to do this; the message says why. */
export class NotOffered extends Error {}

export class Findings {
  about = {};
  features = {};

  /** Runs one feature, an async function, and keeps what it returns. */
  async look(name, feature) {
    try {
      this.features[name] = { found: await within(ONE_FEATURE_MS, feature(), name) };
    } catch (error) {
      if (error instanceof NotOffered) this.features[name] = { notOffered: error.message };
      else this.features[name] = { failed: String(error?.stack ?? error).slice(-3000) };
    }
  }

  print() {
    process.stdout.write(JSON.stringify({ ...this.about, features: this.features }) + "\n");
  }
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export async function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until the async function returns something true, and returns that. */
export async function until(condition, what, ms = 10_000) {
  for (const deadline = Date.now() + ms; Date.now() < deadline; await sleep(20)) {
    const found = await condition();
    if (found) return found;
  }
  throw new Error(`${what}: not within ${ms} ms`);
}

/** The features that both SDKs offer with the same words. `client` is connected, `plan` says what to ask. */
export class Common {
  action = "accept";
  asked = [];
  told = [];
  logged = [];

  constructor(plan, client) {
    this.plan = plan;
    this.client = client;
  }

  // What the server asks.

  elicited(params) {
    this.asked.push(params);
    // An address is opened or not; there is nothing to fill in.
    const fills = this.action === "accept" && params.mode !== "url";
    return fills ? { action: "accept", content: this.plan.form } : { action: this.action };
  }

  sampled(params) {
    this.asked.push(params);
    const content = { type: "text", text: this.plan.sampled };
    return { role: "assistant", content, model: "a-model", stopReason: "endTurn" };
  }

  listed() {
    return { roots: [{ uri: this.plan.root, name: "root" }] };
  }

  // What this side asks.

  call(name, args = {}) {
    return this.client.callTool({ name, arguments: args });
  }

  async counts() {
    return (await this.call("slow_calls")).structuredContent;
  }

  async more(count, before) {
    const now = await this.counts();
    return now[count] > before[count] ? now : undefined;
  }

  async pages(fetch, member) {
    const items = [];
    let cursor;
    do {
      const page = await fetch(cursor === undefined ? {} : { cursor });
      items.push(...page[member]);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return items;
  }

  tools = () => this.pages((params) => this.client.listTools(params), "tools");
  resources = () => this.pages((params) => this.client.listResources(params), "resources");
  templates = () => this.pages((params) => this.client.listResourceTemplates(params), "resourceTemplates");
  prompts = () => this.pages((params) => this.client.listPrompts(params), "prompts");

  async calls() {
    const found = {};
    for (const [name, call] of Object.entries(this.plan.calls)) found[name] = await this.call(call.tool, call.arguments);
    return found;
  }

  async reads() {
    const found = {};
    for (const uri of this.plan.reads) found[uri] = await this.client.readResource({ uri });
    return found;
  }

  async gets() {
    const found = {};
    for (const [name, args] of Object.entries(this.plan.gets)) {
      found[name] = await this.client.getPrompt({ name, arguments: args });
    }
    return found;
  }

  async refusals() {
    const requests = {
      tool: () => this.call("no_such_tool"),
      resource: () => this.client.readResource({ uri: "test://no-such-resource" }),
      prompt: () => this.client.getPrompt({ name: "no_such_prompt" }),
    };
    const found = {};
    for (const [name, request] of Object.entries(requests)) {
      found[name] = await request().catch((error) => this.refusal(error));
    }
    return found;
  }

  refusal = ({ code, message }) => ({ code, message });

  async completions() {
    const prompt = { type: "ref/prompt", name: "test_prompt_with_arguments" };
    const template = { type: "ref/resource", uri: "test://template/{id}/data" };
    return {
      prompt: await this.client.complete({ ref: prompt, argument: { name: "arg1", value: "test" } }),
      template: await this.client.complete({ ref: template, argument: { name: "id", value: "1" } }),
    };
  }

  async elicitation() {
    const found = {};
    for (this.action of ["accept", "decline", "cancel"]) {
      this.asked = [];
      const result = await this.call("test_elicitation", { message: "Who are you?" });
      found[this.action] = { asked: this.asked, result };
    }
    return found;
  }

  async addresses() {
    const found = {};
    for (this.action of ["accept", "decline", "cancel"]) {
      this.asked = [];
      const result = await this.call("test_url_elicitation");
      found[this.action] = { asked: this.asked, result };
    }
    return found;
  }

  async sampling() {
    this.asked = [];
    const result = await this.call("test_sampling", { prompt: "Say something" });
    return { asked: this.asked, result };
  }

  roots = () => this.call("test_input_required_result_list_roots");

  /** Waits until a change of that kind was told since the last look. */
  changed(kind) {
    return until(async () => this.told.includes(kind), `${kind} changed`);
  }

  /** As the handshake revisions have it. */
  async legacyUpdates() {
    const { watched, reads } = this.plan;
    await this.client.subscribeResource({ uri: watched });
    await this.call("touch", { uri: reads[0] });
    await this.call("touch", { uri: watched });
    await this.changed(watched);
    await this.client.unsubscribeResource({ uri: watched });
    await this.call("touch", { uri: watched });
    await sleep(200);
    return { updated: this.told.filter((told) => told.includes("://")) };
  }

  async triggered() {
    for (const [kind, tool] of Object.entries(this.plan.triggers)) {
      await this.call(tool);
      await this.changed(kind);
    }
    return [...new Set(this.told.filter((told) => !told.includes("://")))];
  }

  async ping() {
    await this.client.ping();
    return true;
  }
}
