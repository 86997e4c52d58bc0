#!/usr/bin/env python3
"""Turns the samples of a run into the ratio table: one row for each path of the design that exists, with what it may be.

  table.py FOLDER      reads FOLDER/*.jsonl and FOLDER/instructions.jsonl, writes FOLDER/table.md and prints it
"""
import json, statistics as st, sys
from pathlib import Path

# file, floor, ours, what it is, the figure asked of this version
ROWS = [
    ("http", "floor", "ours", "tools/call, HTTP, 2026-07-28, bare", 1.0),
    ("http16k", "floor-16k", "ours-16k", "the same with a 16 KiB message", None),
    ("legacy", "floor-legacy", "ours-legacy", "tools/call, HTTP, 2025-11-25 with a session", 1.4),
    ("guarded", "floor", "ours-jwt", "tools/call, HTTP, 2026-07-28, with a JWT of 700 bytes and roles", 1.1),
    ("guarded", "floor", "ours-keys", "the same with an API key", 1.1),
    ("guarded", "floor", "ours-all", "the same with a JWT, roles, limits, validation and metrics", 1.2),
    ("guarded", "floor", "ours-whole", "the same with breaker, retries and places of a connector", None),
    ("guarded", "floor", "ours-hit", "the same answered from the cache", 1.3),
    ("search", "pg-floor-search", "ours-pg-hit", "SQL search answered from the cache, all guards on", 0.6),
    ("guarded", "ours-keys", "ours-keys-many", "the same with 10,000 keys and 500 roles, beside one of each", 1.05),
    ("stdio", "floor-stdio-batch", "ours-stdio", "tools/call, stdio, 32 in flight", 2.5),
    ("pk", "pg-floor-pk", "ours-pg-pk", "SQL by primary key, PostgreSQL, HTTP, text and structured", 0.9),
    ("search", "pg-floor-search", "ours-pg-search", "SQL search, 10 rows, text and structured", 0.9),
    ("generic", "pg-floor-generic", "ours-pg-generic", "the same with a generic plan", 0.9),
    ("scan", "pg-floor-scan", "ours-pg-scan", "SQL that scans a table for few rows", 1.0),
    ("pk", "pg-floor-pk", "toolbox-pk", "MCP Toolbox: by primary key, text alone", None),
    ("search", "pg-floor-search", "toolbox-search", "MCP Toolbox: search", None),
    ("scan", "pg-floor-scan", "toolbox-scan", "MCP Toolbox: scan", None),
]
START = [("start_ms", "start to first answer, ms", 30), ("rss_idle", "memory idle, MB", 20)]


def samples(path):
    rounds = {}
    if path.exists():
        for line in path.read_text().splitlines():
            sample = json.loads(line)
            rounds.setdefault(sample["peer"], {})[sample["round"]] = sample
    return rounds


def row(folder, name, floor, ours, what, most):
    rounds = samples(folder / f"{name}.jsonl")
    both = sorted(set(rounds.get(floor, {})) & set(rounds.get(ours, {})))
    if not both:
        return None
    ratios = [rounds[ours][r]["cpu_us"] / rounds[floor][r]["cpu_us"] for r in both]
    us = [st.median(rounds[peer][r]["cpu_us"] for r in both) for peer in (floor, ours)]
    ratio = st.median(ratios)
    verdict = "" if most is None else ("ok" if ratio <= most else "missed")
    return f"| {what} | {us[0]:.1f} | {us[1]:.1f} | {ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f}) | {most or '-'} | {verdict} |"


def start_rows(folder):
    served = samples(folder / "start.jsonl").get("ours-serve", {}).values()
    for key, what, most in START:
        if served:
            value = st.median(sample[key] for sample in served)
            yield f"| {what} | | {value:.1f} | | {most} | {'ok' if value <= most else 'missed'} |"


def listen_rows(folder):
    path = folder / "listen.json"
    if not path.exists():
        return
    run = json.loads(path.read_text())
    for what, value, most in (
        ("memory per stream, KiB", max(run["kib_per_stream"], run["kib_per_stream_again"]), 20),
        ("a change reaches all, ms", run["reached_all_ms"], 2000),
        ("left once all are closed, MB", max(run["after_kib"], run["after_again_kib"]) / 1024, 30),
    ):
        yield f"| {run['streams']} open subscriptions: {what} | | {value:.1f} | | {most} | {'ok' if value <= most else 'missed'} |"


def size_row(folder):
    path = folder.parent / "release" / "trunkline"
    if path.exists():
        mb = path.stat().st_size / 2**20
        yield f"| stripped binary, MB | | {mb:.1f} | | 20 | {'ok' if mb <= 20 else 'missed'} |"


def instruction_rows(folder):
    path = folder / "instructions.jsonl"
    counted = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for floor, ours in zip(counted[::2], counted[1::2]):
        for key in ("instructions", "allocations"):
            most = {"instructions": 27000, "allocations": 30}[key] if ours["name"] == "ours" else None
            verdict = "" if most is None else ("ok" if ours[key] <= most else "missed")
            what = f"{key} per call, {ours['tool']}"
            yield f"| {what} | {floor[key]} | {ours[key]} | {ours[key] / floor[key]:.2f} | {most or '-'} | {verdict} |"


def main():
    folder = Path(sys.argv[1])
    lines = ["| path (server CPU, us per call, unless said otherwise) | floor | ours | ratio (min-max) | at most | |", "|---|---|---|---|---|---|"]
    lines += [line for line in (row(folder, *spec) for spec in ROWS) if line]
    lines += [*start_rows(folder), *listen_rows(folder), *size_row(folder), *instruction_rows(folder)]
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
