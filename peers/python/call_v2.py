"""Drives a server with the official Python SDK, 2.x: lists its tools and makes the calls of a plan.

The plan is JSON in the first argument, the findings are JSON on stdout; `peers/run.py` says what is in both.
"""

import asyncio
import json
import sys

from mcp import Client, StdioServerParameters


def target(plan):
    if "url" in plan:
        return plan["url"]
    command, *arguments = plan["command"]
    return StdioServerParameters(command=command, args=arguments, env=plan["env"])


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main():
    plan = json.loads(sys.argv[1])
    # "auto" probes with server/discover, as hosts do; which revision came of it is for the driver to judge.
    mode = {"modern": "auto", "legacy": "legacy"}[plan["era"]]
    async with Client(target(plan), mode=mode, read_timeout_seconds=30) as client:
        tools, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            tools += [plain(tool) for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        results = [plain(await client.call_tool(call["tool"], call["arguments"])) for call in plan["calls"]]
        server = plain(client.server_info) if client.server_info else None
        found = {"revision": client.protocol_version, "server": server, "tools": tools, "results": results}
    print(json.dumps(found))


asyncio.run(main())
