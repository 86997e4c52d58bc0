"""What `peers/auth.py` does without an SDK: it shows the server tokens that no SDK would send, and looks at the bare answers.

Everything is done once in each era. Tokens are those of machines, by client credentials, from the same OAuth server.
"""

import base64
import json
import os
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection

from auth_world import CACHED_SECONDS, ITEMS, KEYS_SECONDS, METADATA, TOOLS, encoded, end, header, parameters, until_end
from everything import differs
from run import REVISIONS

# How many requests are a flood.
FLOOD = 200
META = "io.modelcontextprotocol/"


class Reply:
    """The answer to one HTTP request."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    def message(self):
        """The JSON-RPC message, which is the last event where the answer is a stream."""
        text = self.text
        if self.headers.get_content_type() == "text/event-stream":
            text = [line[5:] for line in text.splitlines() if line.startswith("data:")][-1]
        return json.loads(text)

    def result(self):
        message = self.message()
        if "result" not in message:
            raise AssertionError(f"status {self.status}, {self.text[:600]}")
        return message["result"]

    def challenge(self):
        return parameters(self.headers.get("www-authenticate", ""))


class Hand:
    """Someone who writes requests by hand, of one era."""

    def __init__(self, world, era):
        self.world = world
        self.era = era
        self.title = f"{'by hand':<14} {era:<7}"
        self.sessions = {}
        self.kept = None

    def send(self, method, headers, body=None, path="/mcp"):
        connection = HTTPConnection("127.0.0.1", self.world.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def ask(self, rpc, params, headers, path="/mcp", **members):
        """Posts one request with headers of the caller's choice."""
        sent, body = self.request(rpc, params, **members)
        return self.send("POST", sent | headers, body, path)

    def request(self, rpc, params, **members):
        """Returns the headers and the body of a request."""
        sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self.era == "modern":
            sent |= {"MCP-Protocol-Version": REVISIONS["modern"], "Mcp-Method": rpc}
            if "name" in params:
                sent["Mcp-Name"] = params["name"]
            info = {"name": "by hand", "version": "1"}
            meta = {"protocolVersion": REVISIONS["modern"], "clientCapabilities": {}, "clientInfo": info}
            params = params | {"_meta": {META + name: value for name, value in meta.items()}}
        body = {"jsonrpc": "2.0", "id": 1, "method": rpc, "params": params} | members
        return sent, json.dumps(body)

    @contextmanager
    def listening(self, headers):
        """Opens the stream of the era that has no end of its own, and yields a check that it ends at a time of the epoch."""
        with closing(HTTPConnection("127.0.0.1", self.world.port, timeout=30)) as connection:
            if self.era == "legacy":
                connection.request("GET", "/mcp", None, headers | {"Accept": "text/event-stream"})
            else:
                sent, body = self.request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
                connection.request("POST", "/mcp", body, sent | headers)
            response = connection.getresponse()

            def ended(what, due):
                yield from differs(f"{what}: the status", response.status, 200)
                # What comes to keep it open is a line as well.
                while time.time() < due + 5 and response.readline():
                    pass
                yield from differs(f"{what} ended before its token", time.time() < due, False)
                yield from differs(f"{what} ended in time", time.time() < due + 2, True)

            yield ended

    def open(self, token):
        return self.opened(bearer(token))

    def opened(self, headers):
        """Adds what requests with these headers need: in the legacy era those of a session of its own."""
        return headers | self.session(headers) if self.era == "legacy" else headers

    def session(self, headers):
        client = {"name": "by hand", "version": "1"}
        params = {"protocolVersion": REVISIONS["legacy"], "capabilities": {}, "clientInfo": client}
        reply = self.ask("initialize", params, headers)
        reply.result()
        opened = {"Mcp-Session-Id": reply.headers["mcp-session-id"], "MCP-Protocol-Version": REVISIONS["legacy"]}
        told = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"} | headers | opened
        self.send("POST", told, json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        return opened

    def call(self, headers, tool="list_items", **rest):
        return self.ask("tools/call", {"name": tool, "arguments": rest.pop("arguments", {})}, headers, **rest)

    def first(self, headers, **rest):
        """Makes the first request of a client of the era."""
        if self.era == "modern":
            return self.call(headers, **rest)
        client = {"name": "by hand", "version": "1"}
        params = {"protocolVersion": REVISIONS["legacy"], "capabilities": {}, "clientInfo": client}
        return self.ask("initialize", params, headers, **rest)

    def machine(self, name="robot", scope="shop:read", **rest):
        return self.world.token(name, scope, **rest)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def rows(reply):
    return reply.result().get("structuredContent", {}).get("rows")


def listed(hand, headers):
    return sorted(tool["name"] for tool in hand.ask("tools/list", {}, headers).result()["tools"])


def refused(what, reply, error="invalid_token"):
    yield from differs(f"{what}: the status", reply.status, 401)
    challenge = reply.challenge()
    yield from differs(f"{what}: the scheme", challenge["scheme"], "Bearer")
    yield from differs(f"{what}: the error", challenge.get("error"), error)


# ---- the checks ----


def challenge(hand):
    """Without a token: where to go on, told to everyone the same, and the metadata of RFC 9728 at that very place."""
    where = f"{hand.world.origin}{METADATA}"
    for headers in ({}, {"Host": "attacker.example", "X-Forwarded-Host": "attacker.example"}):
        reply = hand.first(headers)
        yield from refused(f"with {headers}", reply, None)
        yield from differs("the metadata", reply.challenge().get("resource_metadata"), where)
    document = json.loads(hand.send("GET", {}, path=METADATA).text)
    yield from differs("the resource", document.get("resource"), hand.world.url)
    yield from differs("the servers", document.get("authorization_servers"), [hand.world.issuer])
    yield from differs("where tokens may stand", document.get("bearer_methods_supported"), ["header"])
    yield from differs("another path", hand.send("GET", {}, path=f"{METADATA}2").status, 404)


def wrong_tokens(hand):
    """Every token here is genuine but for one thing, and the last ones are no tokens at all."""
    world = hand.world
    good = hand.machine()
    _, look_alike, elsewhere = world.resources
    wrong = {
        "wrong audience": hand.machine(resource=elsewhere),
        "an audience that begins like ours": hand.machine(resource=look_alike),
        "wrong issuer": hand.machine(issuer=world.other),
        "opaque, wrong audience": hand.machine("quiet", resource=elsewhere),
        "opaque, wrong issuer": hand.machine("quiet", issuer=world.other),
        "a changed signature": good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB"),
        "no signature": good.rpartition(".")[0] + ".",
        "half of one": good[: len(good) // 2],
        "an unknown word": "b" * 43,
    }
    world.secrets.update(token for token in wrong.values() if token.startswith("ey"))
    for what, token in wrong.items():
        yield from refused(what, hand.first(bearer(token)))
    yield from differs("the good one", rows(hand.call(hand.open(good))), ITEMS)


def wrong_places(hand):
    """A good token counts in one place only, whatever the spelling of the scheme."""
    token = hand.machine()
    pair = base64.b64encode(f"robot:{token}".encode()).decode()
    hand.world.secrets.add(pair)
    for what, reply in {
        "in the query": hand.first({}, path=f"/mcp?access_token={token}"),
        "in a cookie": hand.first({"Cookie": f"access_token={token}"}),
        "in the body": hand.first({}, access_token=token),
    }.items():
        yield from refused(what, reply, None)
    # RFC 6750 section 3.1: another scheme is as good as none.
    yield from refused("by Basic", hand.first({"Authorization": f"Basic {pair}"}), None)
    headers = hand.open(token)
    for scheme in ("bearer", "BEARER"):
        reply = hand.call(headers | {"Authorization": f"{scheme} {token}"})
        yield from differs(f"with {scheme}", rows(reply), ITEMS)
    doubled = hand.first(headers | {"X-API-Key": token})
    yield from differs("two ways at once: refused", doubled.status in (400, 401), True)


def expiry(hand):
    """A token that ends while it is used is refused from then on, and a new one of the same caller goes on in its session."""
    token = hand.machine("brief")
    headers = hand.open(token)
    yield from differs("before", rows(hand.call(headers)), ITEMS)
    until_end(token)
    yield from refused("after", hand.call(headers))
    yield from differs("with the next", rows(hand.call(headers | bearer(hand.machine("brief")))), ITEMS)


def streams(hand):
    """A stream that would go on for ever ends with the token it was opened with."""
    token = hand.machine("brief")
    with hand.listening(hand.open(token)) as ended:
        yield from ended("it", end(token))


def scopes(hand):
    """A tool that the role allows and the scopes do not: 403, with all it needs, whichever of it is missing."""
    for held in ("", "shop:read", "shop:write"):
        headers = hand.open(hand.machine("forklift", held))
        yield from differs(f"with `{held}`: the list", listed(hand, headers), TOOLS["alice"])
        reply = hand.call(headers, "sell_item", arguments={"item": 1})
        yield from differs(f"with `{held}`: the status", reply.status, 403)
        told = reply.challenge()
        yield from differs(f"with `{held}`: the error", told.get("error"), "insufficient_scope")
        asked = sorted(told.get("scope", "").split())
        yield from differs(f"with `{held}`: the scopes", asked, ["shop:read", "shop:write"])
        where = f"{hand.world.origin}{METADATA}"
        yield from differs(f"with `{held}`: the metadata", told.get("resource_metadata"), where)
    headers = hand.open(hand.machine("forklift", "shop:read shop:write"))
    reply = hand.call(headers, "sell_item", arguments={"item": 1})
    yield from differs("with both: the status", reply.status, 200)
    yield from differs("with both: isError", reply.result().get("isError", False), False)


def unknown(hand):
    """A tool of other roles is answered, but for its name, as one that does not exist."""
    headers = hand.open(hand.machine())
    yield from differs("the list", listed(hand, headers), TOOLS["robot"])
    hidden, missing = hand.call(headers, "show_margins"), hand.call(headers, "show_nothings")
    yield from differs("the status", hidden.status, missing.status)
    expected = json.loads(json.dumps(missing.message()).replace("show_nothings", "show_margins"))
    yield from differs("the answer", hidden.message(), expected)
    auditor = hand.open(hand.machine(scope="shop:read shop:audit"))
    yield from differs("the list with one scope more", listed(hand, auditor), sorted([*TOOLS["robot"], "show_margins"]))
    yield from differs("the call with one scope more", hand.call(auditor, "show_margins").status, 200)


def revocation(hand):
    """Introspection is asked once in a while, and what it says of a revoked token holds from then on."""
    token = hand.machine("quiet")
    headers = hand.open(token)
    for _ in range(20):
        yield from differs("before", rows(hand.call(headers)), ITEMS)
    with hand.listening(headers) as ended:
        hand.world.revoke(token, "quiet")
        due = time.time() + CACHED_SECONDS
        time.sleep(CACHED_SECONDS + 0.2)
        yield from refused("after", hand.call(headers))
        # It may have asked just before.
        yield from ended("its stream", due - CACHED_SECONDS)


def api_keys(hand):
    """A key is made, replaced while both go on, and revoked, while the server runs; all of them are one caller."""
    name = f"till-{hand.era}"
    made = hand.world.keys("create", name, "--role", "machine", "--scope", "shop:read")["key"]
    headers = hand.opened({"X-API-Key": made})
    yield from differs("the list", listed(hand, headers), TOOLS["robot"])
    yield from differs("the rows", rows(hand.call(headers)), ITEMS)
    yield from refused("another letter", hand.first({"X-API-Key": made[:-1] + ("x" if made[-1] != "x" else "y")}))
    next_one = hand.world.keys("rotate", name)["key"]
    session = {name: value for name, value in headers.items() if name != "X-API-Key"}
    for key, how in ((made, {"X-API-Key": made}), (next_one, bearer(next_one))):
        yield from differs(f"the rows with {'the old' if key == made else 'the new'}", rows(hand.call(session | how)), ITEMS)
    hand.world.keys("revoke", name)
    time.sleep(KEYS_SECONDS)
    for key in (made, next_one):
        yield from refused("after the end", hand.call(session | bearer(key)))


def commands(hand):
    """The program's own commands say what is the matter, and take a token from a pipe."""
    world, token = hand.world, hand.machine()
    with_token = ("--header", "Authorization: @-", "--output", "json")
    world.command("tools", world.url, code=77)
    world.command("tools", world.url, *with_token, stdin=token, code=77)
    told = json.loads(world.command("tools", world.url, *with_token, stdin=f"Bearer {token}"))
    yield from differs("the list", sorted(tool["name"] for tool in told["tools"]), TOOLS["robot"])
    told = json.loads(world.command("call", world.url, "list_items", *with_token, stdin=f"Bearer {token}"))
    yield from differs("the rows", told["structuredContent"]["rows"], ITEMS)
    world.command("check")
    explain = ("explain", "--token-file", "-", "--output", "json")
    world.command(*explain, "list_items", stdin=token)
    world.command(*explain, "show_margins", stdin=token, code=77)


def session_theft(hand):
    """A session is its caller's: for any other it does not exist, and only its caller ends it."""
    headers = hand.open(hand.machine())
    thief = headers | bearer(hand.machine("forklift", "shop:read"))
    yield from differs("a call in it by another", hand.call(thief).status, 404)
    yield from differs("a stream of it for another", hand.send("GET", thief | {"Accept": "text/event-stream"}).status, 404)
    yield from differs("its end by another", hand.send("DELETE", thief).status, 404)
    stranger = {name: value for name, value in headers.items() if name != "Authorization"}
    yield from refused("a call in it by nobody", hand.call(stranger), None)
    yield from refused("its end by nobody", hand.send("DELETE", stranger), None)
    yield from differs("its caller, later", rows(hand.call(headers)), ITEMS)
    again = headers | bearer(hand.machine())
    yield from differs("its caller, with a new token", rows(hand.call(again)), ITEMS)
    yield from differs("its end", hand.send("DELETE", again).status, 204)
    yield from differs("a call in it after its end", hand.call(headers).status, 404)


def keep(hand):
    hand.kept = hand.open(hand.machine())
    yield from differs("the rows", rows(hand.call(hand.kept)), ITEMS)


BY_HAND = {
    "challenge and metadata": challenge,
    "wrong tokens": wrong_tokens,
    "wrong places": wrong_places,
    "expiry": expiry,
    "streams": streams,
    "scopes": scopes,
    "unknown tools": unknown,
    "revocation": revocation,
    "API keys": api_keys,
    "commands": commands,
    "a token to keep": keep,
}
BY_HAND = {"modern": BY_HAND, "legacy": BY_HAND | {"session theft": session_theft}}


# ---- when the keys change ----


def new_keys(hand):
    yield from differs("the old token", rows(hand.call(hand.kept)), ITEMS)
    token = hand.machine()
    yield from differs("the key", header(token)["kid"], "key-2")
    yield from differs("the new token", rows(hand.call(hand.open(token))), ITEMS)
    hand.fresh = hand.kept | bearer(token)


def old_keys(hand):
    yield from refused("the old token", hand.call(hand.kept))
    yield from differs("the new token", rows(hand.call(hand.fresh)), ITEMS)


def seldom(hand):
    """What the OAuth server is asked does not grow with what the server is asked: for keys not with tokens that name unknown
    ones, for opaque tokens not with calls."""
    good = hand.open(hand.machine())
    before, statuses = hand.world.asked("/jwks"), set()
    for _ in range(FLOOD):
        unknown = encoded(header(good["Authorization"][7:]) | {"kid": os.urandom(9).hex()})
        forged = ".".join([unknown, *good["Authorization"].split(".")[1:]])
        statuses.add(hand.first(bearer(forged)).status)
    yield from differs("tokens of unknown keys", sorted(statuses), [401])
    yield from differs("the good token meanwhile", rows(hand.call(good)), ITEMS)
    fetches = hand.world.asked("/jwks") - before
    if fetches > FLOOD // 10:
        yield f"{FLOOD} tokens of unknown keys made it ask for the keys {fetches} times"
    opaque = hand.open(hand.machine("quiet"))
    before, since = hand.world.asked("/token/introspection"), time.monotonic()
    for _ in range(FLOOD):
        hand.call(opaque)
    asked = hand.world.asked("/token/introspection") - before
    # One for the first, and one for a part of a second.
    if asked > (time.monotonic() - since) / CACHED_SECONDS + 2:
        yield f"{FLOOD} calls asked {asked} times about one token"


BY_HAND_NEW_KEYS = {"new keys": new_keys}
BY_HAND_OLD_KEYS = {"old keys": old_keys}
def new_roles(hand):
    """The file says something else of a role: that holds at once for those who are there, in the sessions they have."""
    file, token = hand.world.file, hand.machine()
    headers, before = hand.open(token), file.read_text()
    more = [*TOOLS["robot"], "show_margins"]
    allow = 'allow = ["tools:list_items"]'
    try:
        with hand.listening(headers) as ended:
            file.write_text(before.replace(allow, 'allow = ["tools:list_items", "tools:show_margins"]'))
            since = time.time()
            yield from differs("the list with more", eventually(lambda: listed(hand, headers), sorted(more)), sorted(more))
            yield from differs("the call", hand.call(headers, "show_margins").status, 200)
            yield from ended("its stream", since)
    finally:
        file.write_text(before)
    yield from differs("the list as before", eventually(lambda: listed(hand, headers), TOOLS["robot"]), TOOLS["robot"])
    told = hand.call(headers, "show_margins").message()
    yield from differs("the call of what was taken away", "error" in told, True)


def eventually(look, expected):
    """Returns what is seen at last: the server looks at its file now and then."""
    late = time.monotonic() + 5
    while (found := look()) != expected and time.monotonic() < late:
        time.sleep(0.05)
    return found


def away(hand):
    """The OAuth server does not answer: whoever it vouched for goes on, and who cannot be judged is told to come later."""
    world, known, opaque = hand.world, hand.machine(), hand.machine("quiet")
    opened = hand.open(known)
    unseen = hand.machine()
    world.tell("leave")
    try:
        yield from differs("a known token", rows(hand.call(opened)), ITEMS)
        # Longer than its keys are fresh.
        time.sleep(CACHED_SECONDS + 0.5)
        yield from differs("a known token, later", rows(hand.call(opened)), ITEMS)
        yield from differs("a new one of a known key", rows(hand.call(opened | bearer(unseen))), ITEMS)
        reply = hand.first(bearer(opaque))
        yield from differs("one to ask about: the status", reply.status, 503)
        yield from differs("one to ask about: when to come again", reply.headers["retry-after"] is None, False)
        world.command("check", code=69)
    finally:
        world.tell("return")
    yield from differs("one to ask about, later", rows(hand.call(hand.open(opaque))), ITEMS)


BY_HAND_ALONE = {"asked seldom": seldom, "new roles": new_roles, "OAuth server away": away}
