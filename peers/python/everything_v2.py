"""Drives every feature of the example server `everything` with the official Python SDK, 2.x.

The plan is JSON in the first argument, the findings are JSON on stdout; `peers/everything.py` says what is in both.
"""

import asyncio
import json
import sys
import warnings
from typing import Any, Literal

import anyio
import mcp_types as types
from findings import Findings, NotOffered, all_pages, plain, until
from mcp import Client, MCPDeprecationWarning, MCPError, StdioServerParameters
from mcp.client.extension import ClientExtension, ResultClaim

# Of sampling, roots and logging, all of which must go on working.
warnings.simplefilter("ignore", MCPDeprecationWarning)

TASKS = "io.modelcontextprotocol/tasks"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"


# ---- the tasks extension, which the SDK leaves to those who use it ----


class Task(types.Result):
    task_id: str
    status: str


class CreatedTask(Task):
    result_type: Literal["task"] = "task"


class DetailedTask(Task):
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    input_requests: dict[str, Any] | None = None


class TaskParams(types.RequestParams):
    task_id: str


class TaskAnswers(TaskParams):
    input_responses: dict[str, Any]


class GetTask(types.Request[TaskParams, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    name_param = "taskId"


class UpdateTask(types.Request[TaskAnswers, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"
    name_param = "taskId"


class CancelTask(types.Request[TaskParams, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    name_param = "taskId"


async def look_at(session, task_id):
    return await session.send_request(GetTask(params=TaskParams(task_id=task_id)), DetailedTask)


async def settled(session, task_id, answer):
    """Waits for the end of a task, and answers its questions with `answer`."""

    async def step():
        task = await look_at(session, task_id)
        if task.status == "input_required":
            answers = {key: answer for key in task.input_requests}
            update = UpdateTask(params=TaskAnswers(task_id=task_id, input_responses=answers))
            await session.send_request(update, types.EmptyResult)
        return task if task.status in ("completed", "failed", "cancelled") else None

    return await until(step, f"the end of task {task_id}")


class Tasks(ClientExtension):
    identifier = TASKS

    def claims(self):
        return [ResultClaim(result_type="task", model=CreatedTask, resolve=self.resolve)]

    async def resolve(self, created, context):
        task = await settled(context.session, created.task_id, {"action": "accept", "content": {"confirm": True}})
        return types.CallToolResult.model_validate(task.result)


# ---- the features ----


class Peer:
    def __init__(self, plan):
        self.plan = plan
        self.modern = plan["era"] == "modern"
        self.action = "accept"
        self.asked = []
        self.notifications = []
        self.logged = []

    def client(self):
        return Client(
            self.target(),
            # "auto" probes with server/discover, as hosts do; which revision came of it is for the driver to judge.
            mode="auto" if self.modern else "legacy",
            read_timeout_seconds=30,
            elicitation_callback=self.on_elicit,
            sampling_callback=self.on_sample,
            list_roots_callback=self.on_roots,
            logging_callback=self.on_log,
            message_handler=self.on_message,
            extensions=[Tasks()],
        )

    def target(self):
        if "url" in self.plan:
            return self.plan["url"]
        command, *arguments = self.plan["command"]
        return StdioServerParameters(command=command, args=arguments)

    # What the server asks and tells.

    async def on_elicit(self, context, params):
        self.asked.append(plain(params))
        # An address is opened or not; there is nothing to fill in.
        content = self.plan["form"] if self.action == "accept" and params.mode == "form" else None
        return types.ElicitResult(action=self.action, content=content)

    async def on_sample(self, context, params):
        self.asked.append(plain(params))
        content = types.TextContent(type="text", text=self.plan["sampled"])
        return types.CreateMessageResult(role="assistant", content=content, model="a-model", stop_reason="endTurn")

    async def on_roots(self, context):
        return types.ListRootsResult(roots=[types.Root(uri=self.plan["root"], name="root")])

    async def on_log(self, params):
        self.logged.append(plain(params))

    async def on_message(self, message):
        if isinstance(message, Exception):
            raise message
        self.notifications.append(plain(message))

    def told(self, method):
        return [message for message in self.notifications if message["method"] == method]

    # What this side asks.

    async def call(self, tool, arguments=None, **options):
        return plain(await self.client.call_tool(tool, arguments or {}, **options))

    async def counts(self):
        return (await self.call("slow_calls"))["structuredContent"]

    async def tools(self):
        return await all_pages(lambda cursor: self.page(self.client.list_tools, cursor), "tools")

    async def resources(self):
        return await all_pages(lambda cursor: self.page(self.client.list_resources, cursor), "resources")

    async def templates(self):
        fetch = self.client.list_resource_templates
        return await all_pages(lambda cursor: self.page(fetch, cursor), "resourceTemplates")

    async def prompts(self):
        return await all_pages(lambda cursor: self.page(self.client.list_prompts, cursor), "prompts")

    async def page(self, fetch, cursor):
        return plain(await fetch(cursor=cursor, cache_mode="refresh"))

    async def calls(self):
        return {name: await self.call(call["tool"], call["arguments"]) for name, call in self.plan["calls"].items()}

    async def reads(self):
        return {uri: plain(await self.client.read_resource(uri)) for uri in self.plan["reads"]}

    async def gets(self):
        return {
            name: plain(await self.client.get_prompt(name, arguments))
            for name, arguments in self.plan["gets"].items()
        }

    async def refusals(self):
        found = {}
        for name, request in {
            "tool": lambda: self.client.call_tool("no_such_tool", {}),
            "resource": lambda: self.client.read_resource("test://no-such-resource"),
            "prompt": lambda: self.client.get_prompt("no_such_prompt"),
        }.items():
            try:
                found[name] = plain(await request())
            except MCPError as error:
                found[name] = {"code": error.error.code, "message": error.error.message}
        return found

    async def completions(self):
        prompt = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
        template = types.ResourceTemplateReference(type="ref/resource", uri="test://template/{id}/data")
        return {
            "prompt": plain(await self.client.complete(prompt, {"name": "arg1", "value": "test"})),
            "template": plain(await self.client.complete(template, {"name": "id", "value": "1"})),
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
        if self.modern:
            async with self.client.listen(resource_subscriptions=[watched]) as subscription:
                await self.call("touch", {"uri": other})
                await self.call("touch", {"uri": watched})
                updated = [(await anext(subscription)).uri]
                honored = plain(subscription.honored)
            return {"updated": updated, "honored": honored}
        await self.client.subscribe_resource(watched)
        await self.call("touch", {"uri": other})
        await self.call("touch", {"uri": watched})
        await self.until_told("notifications/resources/updated")
        await self.client.unsubscribe_resource(watched)
        await self.call("touch", {"uri": watched})
        await anyio.sleep(0.2)
        return {"updated": [told["params"]["uri"] for told in self.told("notifications/resources/updated")]}

    async def list_changes(self):
        triggers = self.plan["triggers"]
        if not self.modern:
            for kind, tool in triggers.items():
                await self.call(tool)
                await self.until_told(f"notifications/{kind}/list_changed")
            return list(triggers)
        found = []
        async with self.client.listen(**{f"{kind}_list_changed": True for kind in triggers}) as subscription:
            for kind, tool in triggers.items():
                await self.call(tool)
                while kind not in found:
                    found.append(type(await anext(subscription)).__name__.removesuffix("ListChanged").lower())
        return list(dict.fromkeys(found))

    async def until_told(self, method):
        async def told():
            return self.told(method)

        return await until(told, method)

    async def progress(self):
        found = []

        async def on_progress(progress, total, message):
            found.append([progress, total])

        await self.call("test_tool_with_progress", progress_callback=on_progress)
        return found

    async def logging(self):
        meta = None
        if self.modern:
            meta = {LOG_LEVEL: "debug"}
        else:
            await self.client.set_logging_level("debug")
        self.logged.clear()
        await self.call("test_tool_with_logging", meta=meta)
        await anyio.sleep(0.2)
        return list(self.logged)

    async def cancel(self):
        before = await self.counts()
        async with anyio.create_task_group() as running:
            running.start_soon(self.call, "slow", {"ms": 60000})
            await until(lambda: self.more("started", before), "the start of the call")
            running.cancel_scope.cancel()
        after = await until(lambda: self.more("cancelled", before), "the end of the cancelled call")
        return {"before": before, "after": after}

    async def more(self, count, before):
        now = await self.counts()
        return now if now[count] > before[count] else None

    async def ping(self):
        if self.modern:
            raise NotOffered("2026-07-28 has no ping")
        await self.client.session.send_ping()
        return True

    async def resumption(self):
        if self.modern:
            raise NotOffered("2026-07-28 has no resumable streams")
        if "url" not in self.plan:
            raise NotOffered("a pipe has nothing to resume")
        return await self.call("test_reconnection")

    async def tasks(self):
        if not self.modern:
            raise NotOffered("the extension is of 2026-07-28")
        session = self.client.session
        running = await session.call_tool("slow_compute", {"seconds": 60, "label": "x"}, allow_claimed=True)
        await session.send_request(CancelTask(params=TaskParams(task_id=running.task_id)), types.EmptyResult)
        failing = await session.call_tool("protocol_error_job", {}, allow_claimed=True)
        return {
            "completed": await self.call("slow_compute", {"seconds": 1, "label": "x"}),
            "answered": await self.call("confirm_delete", {"filename": "a.txt"}),
            "cancelled": (await settled(session, running.task_id, None)).status,
            "failed": (await settled(session, failing.task_id, None)).error,
        }

    async def skills(self):
        if not self.modern:
            raise NotOffered("the extension is of 2026-07-28")
        raise NotOffered("this SDK knows no skills")

    async def run(self, findings):
        async with self.client() as self.client:
            server = plain(self.client.server_info) if self.client.server_info else None
            findings.about = {"revision": self.client.protocol_version, "server": server}
            for name in self.plan["features"]:
                await findings.look(name, getattr(self, name))


async def main():
    findings = Findings()
    await Peer(json.loads(sys.argv[1])).run(findings)
    findings.print()


asyncio.run(main())
