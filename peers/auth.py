#!/usr/bin/env python3
"""Lets the official SDKs log in to a server with a certified OAuth server, and shows it tokens that must not pass.

Usage: peers/auth.py [--trunkline PATH] [--only TEXT]

The OAuth server is `oidc-provider`, run by `peers/auth/server.mjs`; the clients are the programs `auth_*` in `peers/python` and
`peers/node`, one process for each SDK and era, which take orders from here; `peers/python/oauth.py` says what orders there are.
First comes what each of them went through, then what `auth_by_hand.py` did without an SDK, then what the server wrote about all
of it: its log at the finest level, searched for every token and every secret that anyone used. `scripts/lib/peers-setup` installs
what is needed.
"""

import argparse
import json
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path

from auth_by_hand import BY_HAND, BY_HAND_ALONE, BY_HAND_NEW_KEYS, BY_HAND_OLD_KEYS, Hand
from auth_world import BRIEF_SECONDS, CACHED_SECONDS, ITEMS, METADATA, TOOLS, World, all_peers, header, parameters
from everything import differs
from run import REVISIONS, parse_arguments, report

# What `audit verify` exits with for a record that was changed.
AUDIT_BROKEN = 1


def main():
    options = parse_arguments(__doc__)
    with ExitStack() as stack:
        world = World(options.trunkline, stack)
        peers = [peer for peer in all_peers(world) if options.only in peer.title]
        for peer in peers:
            stack.enter_context(peer.started())
        hands = [Hand(world, era) for era in REVISIONS if options.only in f"by hand {era}"]
        checks = all_checks(world, peers, hands)
        world.serving.close()
        checks.append(("the server stopped when asked", world.stop_faults))
        checks.append(("no token and no secret is in what the server wrote", faults(world, World.leaks)))
        subjects = {"alice", "mona", "bob"} if peers else set()
        subjects |= {"robot", "forklift"} if hands else set()
        checks.append(("the audit record holds together", faults(world, lambda world: audit(world, subjects))))
        checks.append(("the audit record is decided again", faults(world, lambda world: replay(world, len(hands)))))
    sys.exit(report(checks))


def all_checks(world, peers, hands):
    """Lets all go their way side by side, and halts them where the keys change, which they do for everybody."""
    users = [*peers, *hands]
    checks = {user: [] for user in users}

    def go(user, steps):
        for name, check in steps.items():
            checks[user].append((f"{user.title} {name}", faults(user, check)))

    def all_go(steps, by_hand):
        list(threads.map(lambda user: go(user, by_hand(user) if user in hands else steps), users))

    with ThreadPoolExecutor(max_workers=max(len(users), 1)) as threads:
        all_go(FEATURES, lambda hand: BY_HAND[hand.era])
        world.tell("rotate")
        all_go(NEW_KEYS, lambda _: BY_HAND_NEW_KEYS)
        world.tell("forget")
        time.sleep(CACHED_SECONDS + 0.5)
        all_go(OLD_KEYS, lambda _: BY_HAND_OLD_KEYS)
    # One after the other: what the OAuth server is asked is counted, and then it is not there for anybody.
    for name, check in BY_HAND_ALONE.items():
        for hand in hands:
            go(hand, {name: check})
    return [check for user in users for check in checks[user]]


def faults(user, check):
    wrong = []
    try:
        wrong.extend(check(user))
    except AssertionError as fault:
        wrong.append(str(fault))
    except Exception:
        wrong.append(traceback.format_exc())
    return wrong


# ---- what every SDK goes through ----


def login(peer):
    """The whole way from nothing: challenge, metadata, registration, a person, a code, a token."""
    answer = peer.log_in("kept", "alice")
    yield from differs("the revision", answer.found["revision"], peer.revision)
    yield from in_order(
        answer,
        "POST /mcp 401",
        f"GET {METADATA} 200",
        "GET /.well-known/oauth-authorization-server 200",
        "POST /reg 201",
        "browse /auth",
        "POST /token authorization_code 200",
        "POST /mcp 200",
    )
    (challenge, *_) = answer.challenges(401)
    if f'resource_metadata="{peer.world.origin}{METADATA}"' not in challenge or "error" in challenge:
        yield f"the challenge is {challenge}"
    (query,) = answer.browsed()
    yield from differs("the resource", query.get("resource"), peer.world.url)
    yield from differs("PKCE", [query.get("code_challenge_method"), len(query["code_challenge"])], ["S256", 43])
    yield from differs("the rows", peer.rows("kept"), ITEMS)


def registered(peer):
    """A client that the OAuth server knows by its id does not register."""
    answer = peer.log_in("desk", "alice", registered={"client_id": "desk", "issuer": peer.world.issuer}, refresh=False)
    if "POST /reg 201" in answer.way():
        yield "it registered"
    yield from differs("the client", answer.browsed()[0]["client_id"], "desk")
    yield from differs("the rows", peer.rows("desk"), ITEMS)
    peer.do("close", client="desk")


def machine(peer):
    """Client credentials: nobody has to be there."""
    secret = peer.world.passwords["robot"]
    answer = peer.open("robot", grant="credentials", id="robot", secret=secret, scope="shop:read")
    yield from in_order(answer, "POST /mcp 401", f"GET {METADATA} 200", "POST /token client_credentials 200", "POST /mcp 200")
    yield from differs("the tools", peer.tools("robot"), TOOLS["robot"])
    yield from differs("the rows", peer.rows("robot"), ITEMS)
    peer.do("close", client="robot")


def roles(peer):
    """What is listed is what may be called, by the claims of each person, and the rest is unknown."""
    for person in ("alice", "mona", "bob"):
        peer.log_in(person, person)
        yield from differs(f"the tools of {person}", peer.tools(person), TOOLS[person])
    refused, unknown = (
        peer.ask("call", client="bob", tool=tool, arguments={}).failed for tool in ("show_margins", "no_such_tool")
    )
    if not refused or refused.replace("show_margins", "no_such_tool") != unknown:
        yield f"a tool of others is told from one that does not exist: {refused} and {unknown}"
    for person in ("alice", "mona", "bob"):
        peer.do("close", client=person)


def identity(peer):
    """Who asks is bound into the statement, from the token and not from the arguments."""
    peer.log_in("seller", "mona", refresh=peer.can_refresh)
    # Before and after: the other SDKs sell in her name at the same time.
    before = len(peer.rows("seller", "my_sales"))
    peer.call("seller", "sell_item", item=2)
    if len(peer.rows("seller", "my_sales")) <= before:
        yield "her sale is not hers"
    cheat = peer.ask("call", client="seller", tool="sell_item", arguments={"item": 1, "seller": "alice"})
    if not (cheat.failed or cheat.found.get("isError")):
        yield f"a caller may say who it is: {cheat.found}"
    peer.do("close", client="seller")


def refresh(peer):
    """A token ends in the middle of what its client does, which gets another and goes on, in the same session."""
    opened = peer.log_in("brief", "alice", name=f"peer {BRIEF_SECONDS} s")
    first = peer.call("brief", "list_items")
    # By the client's own reckoning, which begins when it was given the token: before that it would log in again.
    time.sleep(BRIEF_SECONDS + 0.3)
    answer = peer.call("brief", "list_items")
    yield from in_order(answer, "POST /token refresh_token 200", "POST /mcp 200")
    if answer.browsed():
        yield "a person had to log in again"
    yield from same_session(peer, opened, first, answer)
    peer.do("close", client="brief")


def step_up(peer):
    """A tool that needs more than was granted: one challenge names all of it, and one more login is enough."""
    opened = peer.log_in("climber", "alice", grants="shop:read", refresh=peer.can_refresh)
    yield from differs("the rows", peer.rows("climber"), ITEMS)
    answer = peer.call("climber", "sell_item", item=1)
    challenges = answer.challenges(403)
    yield from differs("how often it was refused", len(challenges), 1)
    for challenge in challenges:
        named = parameters(challenge)
        yield from differs("the error", named.get("error"), "insufficient_scope")
        yield from differs("the scopes", sorted(named.get("scope", "").split()), ["shop:read", "shop:write"])
        yield from differs("the metadata", named.get("resource_metadata"), f"{peer.world.origin}{METADATA}")
    asked = [sorted(set(query["scope"].split()) & {"shop:read", "shop:write"}) for query in answer.browsed()]
    yield from differs("what was asked of the person", asked, [["shop:read", "shop:write"]])
    yield from in_order(answer, "POST /mcp 403", "browse /auth", "POST /token authorization_code 200", "POST /mcp 200")
    after = peer.call("climber", "list_items")
    yield from differs("what came of the next call", after.fuss(), [])
    yield from same_session(peer, opened, answer, after)
    peer.do("close", client="climber")


def api_key(peer):
    """Without any OAuth: a key in a header, for those who cannot log in."""
    name = f"{peer.name} {peer.era}".replace(" ", "-")
    key = peer.world.keys("create", name, "--role", "machine", "--scope", "shop:read")["key"]
    answer = peer.open("key", grant="key", key=key)
    yield from differs("the tools", peer.tools("key"), TOOLS["robot"])
    yield from differs("the rows", peer.rows("key"), ITEMS)
    yield from differs("what else it took", answer.fuss(), [])
    peer.do("close", client="key")


def revoked(peer):
    """An opaque token is taken back: introspection tells, the client hears of it, gets another and goes on."""
    opened = peer.log_in("opaque", "alice", name="peer opaque")
    first = peer.call("opaque", "list_items")
    (token,) = opened.tokens
    peer.world.revoke(token, client_id=opened.browsed()[0]["client_id"])
    time.sleep(CACHED_SECONDS + 0.3)
    answer = peer.call("opaque", "list_items")
    yield from in_order(answer, "* /mcp 401", "POST /token *", "POST /mcp 200")
    if not any('error="invalid_token"' in challenge for challenge in answer.challenges(401)):
        yield f"the challenge is {answer.challenges(401)}"
    yield from same_session(peer, opened, first, answer)
    peer.do("close", client="opaque")


FEATURES = {
    "login": login,
    "registered client": registered,
    "client credentials": machine,
    "API key": api_key,
    "roles": roles,
    "identity": identity,
    "refresh": refresh,
    "step-up": step_up,
    "revoked": revoked,
}


# ---- when the keys change ----


def new_keys(peer):
    """A new key signs and the old one is still in the set: both are good, and the server was not started again."""
    before = peer.call("kept", "list_items")
    yield from differs("how the old token fares", before.fuss(), [])
    opened = peer.log_in("fresh", "alice")
    yield from differs("the key", [header(token)["kid"] for token in opened.tokens], ["key-2"])
    yield from differs("the rows", peer.rows("fresh"), ITEMS)


def old_keys(peer):
    """The old key left the set: what it signed is refused, and its client gets a new token and goes on."""
    after = peer.call("fresh", "list_items")
    yield from differs("how the new token fares", after.fuss(), [])
    answer = peer.call("kept", "list_items")
    yield from in_order(answer, "* /mcp 401", "POST /token *", "POST /mcp 200")
    yield from differs("the key", [header(token)["kid"] for token in answer.tokens], ["key-2"])
    for client in ("fresh", "kept"):
        peer.do("close", client=client)


NEW_KEYS = {"new keys": new_keys}
OLD_KEYS = {"old keys": old_keys}


# ---- what the server wrote ----


def audit(world, subjects):
    """The record is whole, tells of calls and refusals and of these callers, and shows when a word of it is another."""
    file = world.folder / "audit.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    yield from differs("kinds", sorted({"call", "denied"} - {line["kind"] for line in lines}), [])
    told = {line["caller"]["subject"] for line in lines if "caller" in line}
    yield from differs("callers that are missing", sorted(subjects - told), [])
    verify = ("audit", "verify", "--heads", "log")
    world.command(*verify)
    whole = file.read_text()
    file.write_text(whole.replace('"tool":"sell_item"', '"tool":"list_items"', 1))
    world.command(*verify, code=AUDIT_BROKEN)
    file.write_text("".join(whole.splitlines(keepends=True)[:-3]))
    world.command(*verify, code=AUDIT_BROKEN)
    file.write_text(whole)


def replay(world, hands):
    """Under the roles of the file as it is now, all would be as it was but the calls that other roles had allowed."""
    words = ("policy", "replay", "audit.jsonl", "--output", "json")
    told = json.loads(world.command(*words, code=1 if hands else 0))
    differing = [[group["thing"], group["calls"], group["after"]] for group in told["groups"]]
    yield from differs("what differs", differing, [["tool `show_margins`", hands, "not there"]] if hands else [])
    counts = {name: told[name] for name in ("undecided", "unreadable", "differing")}
    yield from differs("the counts", counts, {"undecided": 0, "unreadable": 0, "differing": hands})


# ---- how it is judged ----


def in_order(answer, *steps):
    """Says which step is missing: each fits a line of the way, and comes after the one before."""
    way = list(answer.way())
    rest = iter(way)
    for step in steps:
        if not any(fnmatch(line, step) for line in rest):
            yield f"no `{step}` where it belongs in {way}"
            return


def same_session(peer, *answers):
    sessions = set().union(*(answer.sessions() for answer in answers))
    expected = 1 if peer.era == "legacy" else 0
    if len(sessions) != expected:
        yield f"{len(sessions)} sessions instead of {expected}"


if __name__ == "__main__":
    main()
