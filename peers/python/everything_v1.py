"""Drives every feature of the example server `everything` with the official Python SDK, 1.x.

The plan is JSON in the first argument, the findings are JSON on stdout; `peers/everything.py` says what is in both.
This SDK speaks the handshake revisions only.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
from findings import Findings, NotOffered, all_pages, plain, until
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from pydantic import AnyUrl


class Peer:
    def __init__(self, plan):
        self.plan = plan
        self.action = "accept"
        self.asked = []
        self.notifications = []
        self.logged = []

    @asynccontextmanager
    async def transport(self):
        if "url" in self.plan:
            async with streamable_http_client(self.plan["url"]) as (read, write, _session_id):
                yield read, write
        else:
            command, *arguments = self.plan["command"]
            async with stdio_client(StdioServerParameters(command=command, args=arguments)) as streams:
                yield streams

    # What the server asks and tells.

    async def on_elicit(self, context, params):
        self.asked.append(plain(params))
        # An address is opened or not; there is nothing to fill in.
        content = self.plan["form"] if self.action == "accept" and params.mode == "form" else None
        return types.ElicitResult(action=self.action, content=content)

    async def on_sample(self, context, params):
        self.asked.append(plain(params))
        content = types.TextContent(type="text", text=self.plan["sampled"])
        return types.CreateMessageResult(role="assistant", content=content, model="a-model", stopReason="endTurn")

    async def on_roots(self, context):
        return types.ListRootsResult(roots=[types.Root(uri=self.plan["root"], name="root")])

    async def on_log(self, params):
        self.logged.append(plain(params))

    async def on_message(self, message):
        if isinstance(message, Exception):
            raise message
        if isinstance(message, types.ServerNotification):
            self.notifications.append(plain(message))

    def told(self, method):
        return [message for message in self.notifications if message["method"] == method]

    async def until_told(self, method):
        async def told():
            return self.told(method)

        return await until(told, method)

    # What this side asks.

    async def call(self, tool, arguments=None, **options):
        return plain(await self.session.call_tool(tool, arguments or {}, **options))

    async def counts(self):
        return (await self.call("slow_calls"))["structuredContent"]

    async def tools(self):
        return await all_pages(lambda cursor: self.page(self.session.list_tools, cursor), "tools")

    async def resources(self):
        return await all_pages(lambda cursor: self.page(self.session.list_resources, cursor), "resources")

    async def templates(self):
        fetch = self.session.list_resource_templates
        return await all_pages(lambda cursor: self.page(fetch, cursor), "resourceTemplates")

    async def prompts(self):
        return await all_pages(lambda cursor: self.page(self.session.list_prompts, cursor), "prompts")

    async def page(self, fetch, cursor):
        return plain(await fetch(params=types.PaginatedRequestParams(cursor=cursor)))

    async def calls(self):
        return {name: await self.call(call["tool"], call["arguments"]) for name, call in self.plan["calls"].items()}

    async def reads(self):
        return {uri: plain(await self.session.read_resource(AnyUrl(uri))) for uri in self.plan["reads"]}

    async def gets(self):
        return {
            name: plain(await self.session.get_prompt(name, arguments))
            for name, arguments in self.plan["gets"].items()
        }

    async def refusals(self):
        found = {}
        for name, request in {
            "tool": lambda: self.session.call_tool("no_such_tool", {}),
            "resource": lambda: self.session.read_resource(AnyUrl("test://no-such-resource")),
            "prompt": lambda: self.session.get_prompt("no_such_prompt"),
        }.items():
            try:
                found[name] = plain(await request())
            except McpError as error:
                found[name] = {"code": error.error.code, "message": error.error.message}
        return found

    async def completions(self):
        prompt = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
        template = types.ResourceTemplateReference(type="ref/resource", uri="test://template/{id}/data")
        return {
            "prompt": plain(await self.session.complete(prompt, {"name": "arg1", "value": "test"})),
            "template": plain(await self.session.complete(template, {"name": "id", "value": "1"})),
        }

    async def elicitation(self):
        found = {}
        for self.action in ("accept", "decline", "cancel"):
            self.asked.clear()
            result = await self.call("test_elicitation", {"message": "Who are you?"})
            found[self.action] = {"asked": list(self.asked), "result": result}
        return found

    async def addresses(self):
        found = {}
        for self.action in ("accept", "decline", "cancel"):
            self.asked.clear()
            found[self.action] = {"result": await self.call("test_url_elicitation"), "asked": list(self.asked)}
        return found

    async def sampling(self):
        self.asked.clear()
        result = await self.call("test_sampling", {"prompt": "Say something"})
        return {"asked": list(self.asked), "result": result}

    async def roots(self):
        return await self.call("test_input_required_result_list_roots")

    async def updates(self):
        watched, other = self.plan["watched"], self.plan["reads"][0]
        await self.session.subscribe_resource(AnyUrl(watched))
        await self.call("touch", {"uri": other})
        await self.call("touch", {"uri": watched})
        await self.until_told("notifications/resources/updated")
        await self.session.unsubscribe_resource(AnyUrl(watched))
        await self.call("touch", {"uri": watched})
        await anyio.sleep(0.2)
        return {"updated": [told["params"]["uri"] for told in self.told("notifications/resources/updated")]}

    async def list_changes(self):
        for kind, tool in self.plan["triggers"].items():
            await self.call(tool)
            await self.until_told(f"notifications/{kind}/list_changed")
        return list(self.plan["triggers"])

    async def progress(self):
        found = []

        async def on_progress(progress, total, message):
            found.append([progress, total])

        await self.call("test_tool_with_progress", progress_callback=on_progress)
        return found

    async def logging(self):
        await self.session.set_logging_level("debug")
        self.logged.clear()
        await self.call("test_tool_with_logging")
        await anyio.sleep(0.2)
        return list(self.logged)

    async def cancel(self):
        before = await self.counts()
        async with anyio.create_task_group() as running:
            # This SDK numbers its requests, and says nothing to the server when the caller is gone.
            request_id = self.session._request_id
            running.start_soon(self.call, "slow", {"ms": 60000})
            # The call must have taken the number before another request does.
            await anyio.wait_all_tasks_blocked()
            await until(lambda: self.more("started", before), "the start of the call")
            params = types.CancelledNotificationParams(requestId=request_id, reason="enough")
            await self.session.send_notification(
                types.ClientNotification(types.CancelledNotification(params=params))
            )
            after = await until(lambda: self.more("cancelled", before), "the end of the cancelled call")
            running.cancel_scope.cancel()
        return {"before": before, "after": after}

    async def more(self, count, before):
        now = await self.counts()
        return now if now[count] > before[count] else None

    async def ping(self):
        await self.session.send_ping()
        return True

    async def resumption(self):
        if "url" not in self.plan:
            raise NotOffered("a pipe has nothing to resume")
        return await self.call("test_reconnection")

    async def tasks(self):
        raise NotOffered("the extension is of 2026-07-28")

    async def skills(self):
        raise NotOffered("the extension is of 2026-07-28")

    async def run(self, findings):
        async with self.transport() as (read, write):
            async with ClientSession(
                read,
                write,
                read_timeout_seconds=timedelta(seconds=30),
                elicitation_callback=self.on_elicit,
                sampling_callback=self.on_sample,
                list_roots_callback=self.on_roots,
                logging_callback=self.on_log,
                message_handler=self.on_message,
            ) as self.session:
                greeting = await self.session.initialize()
                findings.about = {"revision": greeting.protocolVersion, "server": plain(greeting.serverInfo)}
                for name in self.plan["features"]:
                    await findings.look(name, getattr(self, name))


async def main():
    plan = json.loads(sys.argv[1])
    if plan["era"] != "legacy":
        sys.exit("this SDK does not speak 2026-07-28")
    findings = Findings()
    await Peer(plan).run(findings)
    findings.print()


asyncio.run(main())
