"""What `peers/auth.py` is about: the server under test, the OAuth server it trusts, and the programs that log in.

All is started on free ports of loopback, in a temporary folder, and ends with the block that started it.
"""

import base64
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

from run import INSTALLED, REVISIONS, ROOT, contents, node_binary, stop, tail, wait_for

ONE_ORDER_SECONDS = 60
# How long the server may go on with what it was told: the life of key sets and of introspected tokens, in the file below.
CACHED_SECONDS = 1
# How long it may take until every server hears of the end of a key.
KEYS_SECONDS = 1
# The life of a token that is to end while it is used. Whole seconds count, so less would be too little for a slow machine.
BRIEF_SECONDS = 4
METADATA = "/.well-known/oauth-protected-resource/mcp"
# Where nothing listens; the people's browsers stop there.
REDIRECT = "http://127.0.0.1:1/callback"

SCOPES = ["shop:read", "shop:write", "shop:audit"]
# What tokens say of a subject beside its name: of a person's account, or of a machine, by its client id.
CLAIMS = {
    "alice": {"groups": ["staff", "clerks"]},
    "mona": {"groups": ["managers"]},
    "bob": {"groups": ["staff"]},
    "forklift": {"groups": ["clerks"]},
    **{name: {"about": {"kind": "machine"}} for name in ("robot", "brief", "quiet")},
}
# Who may see what, by the roles in the file below.
TOOLS = {
    "alice": ["list_items", "my_sales", "sell_item"],
    "mona": ["list_items", "my_sales", "sell_item", "show_margins"],
    "bob": [],
    "robot": ["list_items"],
}
ITEMS = [{"id": 1, "name": "lamp", "price": 40}, {"id": 2, "name": "desk", "price": 250}]

CONFIG = """
[server]
name = "shop"
url = "{url}"

[connectors.shop]
type = "sqlite"
path = "shop.db"
access = "read-write"

[tools.list_items]
connector = "shop"
description = "Lists what is sold"
sql = "select id, name, price from items order by id"
scopes = ["shop:read"]

[tools.sell_item]
connector = "shop"
description = "Notes a sale"
access = "read-write"
sql = "insert into sales (item, seller) values (:item, :seller)"
params.item = {{ type = "integer", description = "The item's id" }}
params.seller = {{ type = "string", from = "caller.subject" }}
scopes = ["shop:read", "shop:write"]

[tools.my_sales]
connector = "shop"
description = "Lists what the caller sold"
sql = "select item from sales where seller = :seller order by rowid"
params.seller = {{ type = "string", from = "caller.subject" }}

[tools.show_margins]
connector = "shop"
description = "Shows what is earned"
sql = "select name, price / 2 as margin from items order by id"

[auth]
login-scopes = ["shop:read"]

[auth.jwt.company]
issuer = "{issuer}"
leeway = "0s"
jwks-ttl = "{cached}s"

[auth.introspection.asked]
url = "{issuer}/token/introspection"
client-id = "resource-server"
client-secret = "${{INTROSPECTION_SECRET}}"
cache = "{cached}s"

[auth.keys]
store = "keys.db"

[audit]
sink = "file:audit.jsonl"
key = "${{AUDIT_KEY}}"

[roles.clerk]
match = {{ claim = "groups", has = "clerks" }}
allow = ["tools:list_items", "tools:my_sales", "tools:sell_item"]

[roles.manager]
match = {{ claim = "groups", has = "managers" }}
allow = ["tools:*"]

[roles.machine]
match = {{ claim = "about.kind", equals = "machine" }}
allow = ["tools:list_items"]

[roles.auditor]
match = {{ scope = "shop:audit" }}
allow = ["tools:show_*"]
"""


def machine(name, secret, shown=""):
    """A client that logs in as itself. What its tokens are like is said in the name it shows; `server.mjs` reads it."""
    return {
        "client_id": name,
        "client_secret": secret,
        "client_name": f"{name} {shown}",
        "grant_types": ["client_credentials"],
        "response_types": [],
        "redirect_uris": [],
    }


class World:
    """The server under test and the OAuth server, and every secret that anyone used."""

    def __init__(self, trunkline, stack):
        self.secrets = set()
        self.stop_faults = []
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-auth-")))
        self.passwords = {name: os.urandom(12).hex() for name in ("robot", "forklift", "brief", "quiet", "resource-server")}
        audit_key = os.urandom(32).hex()
        self.secrets.update([*self.passwords.values(), audit_key])
        self.trunkline, self.env = trunkline, {
            **os.environ,
            # The finest level, of the libraries too: what must not be written must not be written at any.
            "TRUNKLINE_LOG": "trunkline=trace,trace",
            "INTROSPECTION_SECRET": self.passwords["resource-server"],
            "AUDIT_KEY": audit_key,
        }
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/mcp"
        # The second and third are somebody else's, as audiences that must not pass for ours.
        self.resources = [self.url, f"{self.url}2", "https://elsewhere.example/mcp"]
        self.__dict__.update(stack.enter_context(self.oauth_server()))
        # So that it can end before the folder does.
        self.serving = stack.enter_context(ExitStack())
        self.serving.enter_context(self.server())

    @contextmanager
    def oauth_server(self):
        plan = {"resources": self.resources, "scopes": SCOPES, "claims": CLAIMS, "clients": self.clients()}
        program = install("auth", "server.mjs")
        command = [node_binary(), program, json.dumps(plan)]
        with tempfile.TemporaryFile() as log:
            started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
            try:
                line = started.stdout.readline()
                if not line:
                    raise SystemExit(f"`{program}` does not start; run scripts/lib/peers-setup:\n{contents(log)}")
                yield json.loads(line)
            finally:
                started.stdin.close()
                started.wait(15)

    def clients(self):
        """Those that do not register."""
        desk = {
            "client_id": "desk",
            "client_name": "desk",
            "application_type": "native",
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code"],
            "token_endpoint_auth_method": "none",
        }
        shown = {"brief": f"{BRIEF_SECONDS} s", "quiet": "opaque"}
        machines = [machine(name, secret, shown.get(name, "")) for name, secret in self.passwords.items()]
        return [desk, *machines]

    @contextmanager
    def server(self):
        self.make_shop()
        self.file = self.folder / "trunkline.toml"
        self.file.write_text(CONFIG.format(url=self.url, issuer=self.issuer, cached=CACHED_SECONDS))
        command = [self.trunkline, "serve", "-c", str(self.file), "--listen", f"127.0.0.1:{self.port}"]
        with open(self.folder / "log", "w+b") as log:
            server = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                wait_for(server, self.port, log)
                yield
            finally:
                if fault := stop(server):
                    self.stop_faults.append(f"it {fault}; stderr: {contents(log)}")

    def make_shop(self):
        with sqlite3.connect(self.folder / "shop.db") as database:
            database.executescript(
                "create table items (id integer primary key, name text not null, price integer not null) strict;"
                "create table sales (item integer not null, seller text not null) strict;"
            )
            rows = [tuple(item.values()) for item in ITEMS]
            database.executemany("insert into items values (?, ?, ?)", rows)

    def command(self, *words, stdin=None, code=0):
        """Runs another command of the program in the server's folder, and returns what it prints."""
        options = {"cwd": self.folder, "env": self.env | {"TRUNKLINE_LOG": "info"}, "capture_output": True, "text": True}
        done = subprocess.run([self.trunkline, *words], input=stdin, timeout=60, **options)
        if done.returncode != code:
            raise AssertionError(f"`{' '.join(words)}` exits with {done.returncode} and not {code}: {tail(done.stderr)}")
        return done.stdout

    def keys(self, *words):
        made = json.loads(self.command("keys", *words, "--output", "json") or "null")
        self.secrets.update([made["key"]] if made and "key" in made else [])
        return made

    # What the driver asks of the OAuth server by itself.

    def token(self, name, scope="", resource=None, issuer=None):
        """Logs a machine in."""
        form = {"grant_type": "client_credentials", "resource": resource or self.url}
        answer = self.post(f"{issuer or self.issuer}/token", form | ({"scope": scope} if scope else {}), name)
        self.secrets.add(answer["access_token"])
        return answer["access_token"]

    def revoke(self, token, name=None, client_id=None):
        form = {"token": token} | ({"client_id": client_id} if client_id else {})
        self.post(f"{self.issuer}/token/revocation", form, name)

    def post(self, url, form, name=None):
        headers = {}
        if name:
            pair = base64.b64encode(f"{name}:{self.passwords[name]}".encode()).decode()
            self.secrets.add(pair)
            headers["Authorization"] = f"Basic {pair}"
        request = urllib.request.Request(url, data=urllib.parse.urlencode(form).encode(), headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def tell(self, order):
        """Gives an order to the OAuth server that a test alone may give."""
        urllib.request.urlopen(urllib.request.Request(f"{self.control}/{order}", method="POST"), timeout=30).close()

    def asked(self, path):
        """Returns how often the OAuth server was asked for something."""
        with urllib.request.urlopen(f"{self.control}/counts", timeout=30) as answer:
            return json.load(answer).get(path, 0)

    def leaks(self):
        """Looks for every secret in what the server wrote; of a token, also for each part that is its own."""
        for file in sorted(self.folder.iterdir()):
            text = file.read_bytes()
            if len(text) < 10_000 and file.name in ("log", "audit.jsonl"):
                yield f"`{file.name}` has only {len(text)} bytes"
            for secret in self.secrets:
                parts = secret.split(".")[1:] if secret.count(".") == 2 else [secret]
                # A signature may be missing or cut, and too little of it to look for.
                for part in filter(lambda part: len(part) >= 16, parts):
                    at = text.find(part.encode())
                    if at >= 0:
                        line = text[text.rfind(b"\n", 0, at) + 1 : at]
                        yield f"in `{file.name}`, {part[:6]}... follows on: {tail(line, 300)}"


def install(folder, program):
    """Puts a program where Node finds the packages beside it; they are installed outside of the source tree."""
    return shutil.copy(ROOT / "peers" / folder / program, INSTALLED / folder / program)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---- the programs that log in ----


class Answer:
    """What one order came to."""

    def __init__(self, answer):
        self.found = answer.get("found")
        self.failed = answer.get("failed")
        self.requests = answer["requests"]
        self.tokens = answer["tokens"]
        self.secrets = [*self.tokens, *filter(None, answer["secrets"])]

    def way(self):
        """The requests as lines like `POST /token refresh_token 200`."""
        for made in self.requests:
            grant = made.get("form", {}).get("grant_type")
            parts = (made["method"], made["path"], grant, made.get("status"))
            yield " ".join(str(part) for part in parts if part is not None)

    def fuss(self):
        """What of it would not be there if the token had been good."""
        return [line for line in self.way() if line.endswith((" 401", " 403")) or line.startswith(("browse", "POST /token"))]

    def challenges(self, status):
        return [made.get("challenge", "") for made in self.requests if made.get("status") == status]

    def browsed(self):
        return [made["form"] for made in self.requests if made["method"] == "browse"]

    def sessions(self):
        return {made["session"] for made in self.requests if "session" in made}


class Peer:
    """One SDK in one era, as a program that takes orders."""

    def __init__(self, world, name, program, era):
        self.world = world
        self.title = f"{name:<14} {era:<7}"
        self.name, self.era, self.program = name, era, program
        self.revision = REVISIONS[era]
        # SDK 1.x for TypeScript answers a challenge for more scopes with a refresh, if it can, which grants no more than before.
        self.can_refresh = name != "typescript 1.x"

    @contextmanager
    def started(self):
        with tempfile.TemporaryFile() as self.log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log}
            self.process = subprocess.Popen(self.program, text=True, **pipes)
            try:
                yield self
            finally:
                self.process.stdin.close()
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()

    def ask(self, order, **rest):
        """Gives an order; that it fails is for the caller to judge."""
        late = threading.Timer(ONE_ORDER_SECONDS, self.process.kill)
        late.start()
        try:
            self.process.stdin.write(json.dumps({"do": order, **rest}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late.cancel()
        if not line:
            raise AssertionError(f"the program ended; stderr: {contents(self.log)}")
        answer = Answer(json.loads(line))
        self.world.secrets.update(answer.secrets)
        return answer

    def do(self, order, **rest):
        """Gives an order that must be obeyed."""
        answer = self.ask(order, **rest)
        if answer.failed:
            raise AssertionError(f"{order} {rest.get('client', '')} failed after {list(answer.way())}: {answer.failed}")
        return answer

    def open(self, client, **plan):
        return self.do("open", client=client, era=self.era, url=self.world.url, issuer=self.world.issuer, **plan)

    def log_in(self, client, person, **plan):
        return self.open(client, grant="code", person=person, **plan)

    def call(self, client, tool, **arguments):
        return self.do("call", client=client, tool=tool, arguments=arguments)

    def rows(self, client, tool="list_items"):
        found = self.call(client, tool).found
        return found.get("structuredContent", found).get("rows", found)

    def tools(self, client):
        return sorted(self.do("list", client=client).found)


def all_peers(world):
    for version, eras in ((2, ["modern", "legacy"]), (1, ["legacy"])):
        python = [INSTALLED / f"python-{version}/bin/python", ROOT / f"peers/python/auth_v{version}.py"]
        yield from (Peer(world, f"python {version}.x", python, era) for era in eras)
    install("node", "oauth.mjs")
    for version, eras in ((2, ["modern", "legacy"]), (1, ["legacy"])):
        node = [node_binary(), install("node", f"auth_v{version}.mjs")]
        yield from (Peer(world, f"typescript {version}.x", node, era) for era in eras)


# ---- tokens and challenges ----


def header(token):
    return part(token, 0)


def end(token):
    """When a signed token expires, in seconds of the epoch."""
    return part(token, 1)["exp"]


def until_end(token):
    time.sleep(max(0, end(token) + 0.15 - time.time()))


def part(token, number):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[number] + "=="))


def encoded(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def parameters(challenge):
    """Takes the value of a `WWW-Authenticate` apart."""
    scheme, _, rest = challenge.partition(" ")
    return {"scheme": scheme} | dict(re.findall(r'(\w+)="([^"]*)"', rest))
