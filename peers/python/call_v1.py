"""Drives a server with the official Python SDK, 1.x: lists its tools and makes the calls of a plan.

The plan is JSON in the first argument, the findings are JSON on stdout; `peers/run.py` says what is in both.
This SDK speaks the handshake revisions only.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from datetime import timedelta

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


@asynccontextmanager
async def transport(plan):
    if "url" in plan:
        async with streamable_http_client(plan["url"]) as (read, write, _session_id):
            yield read, write
    else:
        command, *arguments = plan["command"]
        async with stdio_client(StdioServerParameters(command=command, args=arguments, env=plan["env"])) as streams:
            yield streams


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main():
    plan = json.loads(sys.argv[1])
    if plan["era"] != "legacy":
        sys.exit("this SDK does not speak 2026-07-28")
    async with transport(plan) as (read, write):
        async with ClientSession(read, write, read_timeout_seconds=timedelta(seconds=30)) as session:
            greeting = await session.initialize()
            await session.send_ping()
            tools, cursor = [], None
            while True:
                page = await session.list_tools(cursor=cursor)
                tools += [plain(tool) for tool in page.tools]
                cursor = page.nextCursor
                if cursor is None:
                    break
            results = [plain(await session.call_tool(call["tool"], call["arguments"])) for call in plan["calls"]]
            found = {
                "revision": greeting.protocolVersion,
                "server": plain(greeting.serverInfo),
                "tools": tools,
                "results": results,
            }
    print(json.dumps(found))


asyncio.run(main())
