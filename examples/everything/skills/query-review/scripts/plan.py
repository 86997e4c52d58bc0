#!/usr/bin/env python3
"""Reads EXPLAIN (ANALYZE, FORMAT JSON) of PostgreSQL from stdin and prints its nodes, the slowest first.

Own time is the node's time over all loops without the nodes below it. `off` is how many times more (+) or fewer (-) rows came
than were estimated.
"""

import json
import sys


def walk(node, depth=0):
    """Yields (own ms, label, estimated rows, actual rows, loops) of a node and all below it."""
    loops = node.get("Actual Loops", 0)
    total = node.get("Actual Total Time", 0.0) * loops
    below = node.get("Plans", [])
    own = total - sum(child.get("Actual Total Time", 0.0) * child.get("Actual Loops", 0) for child in below)
    label = "  " * depth + node["Node Type"]
    if "Relation Name" in node:
        label += f" on {node['Relation Name']}"
    if "Index Name" in node:
        label += f" using {node['Index Name']}"
    yield max(own, 0.0), label, node.get("Plan Rows", 0), node.get("Actual Rows", 0), loops
    for child in below:
        yield from walk(child, depth + 1)


def off(estimated, actual):
    """Says how far an estimate was off: `+12x` for 12 times more rows than estimated."""
    if estimated <= 0 or actual <= 0:
        return "-" if estimated == actual else "all"
    return f"+{actual / estimated:.0f}x" if actual >= estimated else f"-{estimated / actual:.0f}x"


def main():
    try:
        plan = json.load(sys.stdin)
        root = (plan[0] if isinstance(plan, list) else plan)["Plan"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        sys.exit(f"this is not the output of EXPLAIN (ANALYZE, FORMAT JSON): {error}")
    if "Actual Loops" not in root:
        sys.exit("the plan has no real numbers; use EXPLAIN (ANALYZE, FORMAT JSON)")
    rows = sorted(walk(root), key=lambda row: -row[0])
    everything = sum(row[0] for row in rows) or 1.0
    print(f"{'own ms':>10}  {'share':>5}  {'rows':>10}  {'off':>6}  {'loops':>7}  node")
    for own, label, estimated, actual, loops in rows:
        print(f"{own:10.2f}  {own / everything:5.0%}  {actual:10.0f}  {off(estimated, actual):>6}  {loops:7}  {label.strip()}")


if __name__ == "__main__":
    main()
