#!/usr/bin/env python3
"""Lets the official SDKs use every feature of the example server `everything`, in both eras, over both transports.

Usage: peers/everything.py [--everything PATH] [--only TEXT] [--feature NAME]

Each column of the table is one program in `peers/rust`, `peers/python` or `peers/node` with a server of its own. It is started
with a plan, JSON in its argument:

    {"era": "modern" | "legacy", "url": URL | "command": [...], "features": [NAME, ...],
     "calls": {NAME: {"tool": ..., "arguments": {...}}}, "reads": [URI], "gets": {PROMPT: {...}}, "watched": URI,
     "triggers": {LIST: TOOL}, "form": {...}, "sampled": TEXT, "root": URI}

It does what each feature's name says, and answers with JSON on stdout:

    {"revision": ..., "server": {...}, "features": {NAME: {"found": ...} | {"notOffered": WHY} | {"failed": TEXT}}}

What it found is in the protocol's own shapes and is judged here, so that all SDKs are held to the same. `scripts/lib/peers-setup`
installs what the programs need and builds the one in Rust.
"""

import argparse
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from run import INSTALLED, REVISIONS, ROOT, TARGET, contents, node_binary, stop, tail, text_of, wait_for

ONE_RUN_SECONDS = 240
# So that every list of the fixture has several pages.
PAGE_SIZE = "7"

WATCHED = "test://watched-resource"
TEXT, BINARY, TEMPLATED = "test://static-text", "test://static-binary", "test://template/123/data"
FORM = {"username": "testuser", "email": "test@example.com"}
SAMPLED = "A model said this."
SCRIPTS = "héllo — 漢😀 \u2028"

PLAN = {
    "calls": {
        "text": {"tool": "test_simple_text", "arguments": {}},
        "image": {"tool": "test_image_content", "arguments": {}},
        "audio": {"tool": "test_audio_content", "arguments": {}},
        "embedded": {"tool": "test_embedded_resource", "arguments": {}},
        "mixed": {"tool": "test_multiple_content_types", "arguments": {}},
        "link": {"tool": "test_resource_link", "arguments": {}},
        "structured": {"tool": "test_structured_content", "arguments": {}},
        "error": {"tool": "test_error_handling", "arguments": {}},
        "sum": {"tool": "sum", "arguments": {"a": 1.5, "b": 2}},
        "echo": {"tool": "echo", "arguments": {"message": SCRIPTS}},
        "header": {"tool": "test_custom_header", "arguments": {"value": "Grüße, 世界"}},
        "mistake": {"tool": "echo", "arguments": {"message": 5}},
    },
    "reads": [TEXT, BINARY, TEMPLATED],
    "gets": {
        "test_simple_prompt": {},
        "test_prompt_with_arguments": {"arg1": "testValue1", "arg2": "testValue2"},
        "test_prompt_with_embedded_resource": {"resourceUri": "test://example-resource"},
        "test_prompt_with_image": {},
    },
    "watched": WATCHED,
    "triggers": {
        "tools": "test_trigger_tool_change",
        "prompts": "test_trigger_prompt_change",
        "resources": "test_trigger_resource_change",
    },
    "form": FORM,
    "sampled": SAMPLED,
    "root": "file:///test/root",
}


def main():
    options = parse_arguments()
    folder = INSTALLED / "node"
    for program in ("findings.mjs", "everything_v1.mjs", "everything_v2.mjs"):
        # Node looks for packages beside the program, and they are installed outside of the source tree.
        shutil.copy(ROOT / "peers/node" / program, folder / program)
    features = [name for name in FEATURES if options.feature in ("", name)]
    runs = [run for run in all_runs(options.everything, features) if options.only in run.title]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        list(workers.map(Run.go, runs))
    sys.exit(report(runs, features))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--everything", default=str(TARGET / "debug/everything"), help="the server to test")
    parser.add_argument("--only", default="", metavar="TEXT", help="only runs whose title holds this text")
    parser.add_argument("--feature", default="", metavar="NAME", choices=["", *FEATURES], help="only that feature")
    options = parser.parse_args()
    options.everything = str(Path(options.everything).resolve())
    return options


# ---- what is run ----


class Run:
    """One program with a server of its own."""

    def __init__(self, peer, program, era, transport, everything, features):
        self.title = f"{peer} {era} {transport}"
        self.era, self.transport = era, transport
        self.program, self.everything = program, everything
        self.plan = {**PLAN, "era": era, "features": features}
        self.cells = {}
        self.faults = []

    def go(self):
        with ExitStack() as stack:
            if self.transport == "stdio":
                self.plan["command"] = [self.everything, "--stdio", "--page-size", PAGE_SIZE]
            else:
                self.plan["url"] = stack.enter_context(self.http_server())
            self.judge(self.found())

    def found(self):
        try:
            done = subprocess.run(
                [*self.program, json.dumps(self.plan)], capture_output=True, text=True, timeout=ONE_RUN_SECONDS
            )
        except subprocess.TimeoutExpired as late:
            self.faults.append(f"no end after {ONE_RUN_SECONDS} s; stderr: {tail(late.stderr)}")
        except OSError as error:
            self.faults.append(f"cannot start: {error}; run scripts/lib/peers-setup")
        else:
            try:
                if done.returncode == 0:
                    # In the last line: SDKs print remarks of their own.
                    return json.loads(done.stdout.rstrip("\n").rpartition("\n")[2])
            except ValueError:
                self.faults.append(f"wrote no JSON but: {tail(done.stdout)}")
            self.faults.append(f"exit code {done.returncode}; stderr: {tail(done.stderr)}")
        return None

    @contextmanager
    def http_server(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with tempfile.TemporaryFile() as log:
            command = [self.everything, "--listen", f"127.0.0.1:{port}", "--page-size", PAGE_SIZE]
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
            try:
                wait_for(server, port, log)
                yield f"http://127.0.0.1:{port}/mcp"
            finally:
                if fault := stop(server):
                    self.faults.append(f"the server {fault}; stderr: {contents(log)}")

    def judge(self, found):
        if found is None:
            return
        if found["revision"] != REVISIONS[self.era]:
            self.faults.append(f"speaks {found['revision']}, not {REVISIONS[self.era]}")
        if not (found["server"] or {}).get("name"):
            self.faults.append(f"the server calls itself {found['server']}")
        for name in self.plan["features"]:
            self.cells[name] = cell(name, found["features"].get(name, {"failed": "left out"}), self.era)


class Cell:
    def __init__(self, faults=(), reason=None):
        self.faults = list(faults)
        self.reason = reason

    def __str__(self):
        return "FAIL" if self.faults else "-" if self.reason else "ok"


def cell(name, finding, era):
    if "notOffered" in finding:
        return Cell(reason=finding["notOffered"])
    if "failed" in finding:
        return Cell([finding["failed"]])
    try:
        return Cell(FEATURES[name](finding["found"], era))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        return Cell([f"{error!r} in {json.dumps(finding['found'], ensure_ascii=False)[:2000]}"])


def all_runs(everything, features):
    def python(version):
        return [str(INSTALLED / f"python-{version}/bin/python"), str(ROOT / f"peers/python/everything_v{version}.py")]

    def node(version):
        return [str(node_binary()), str(INSTALLED / f"node/everything_v{version}.mjs")]

    both = ["modern", "legacy"]
    peers = [
        ("rust 3.x", [str(TARGET / "peers-rust/debug/trunkline-peers-rust")], both),
        ("python 2.x", python(2), both),
        ("typescript 2.x", node(2), both),
        ("python 1.x", python(1), ["legacy"]),
        ("typescript 1.x", node(1), ["legacy"]),
    ]
    for peer, program, eras in peers:
        for era in eras:
            for transport in ("http", "stdio"):
                yield Run(peer, program, era, transport, everything, features)


# ---- what must come of it: each judge yields what is wrong ----


def differs(what, found, expected):
    if found != expected:
        yield f"{what} is {json.dumps(found, ensure_ascii=False)[:600]} and not {json.dumps(expected, ensure_ascii=False)[:600]}"


def lacks(what, found, expected):
    missing = [one for one in expected if one not in found]
    if missing:
        yield f"{what} lack {missing}; there are {found}"
    if len(set(found)) != len(found):
        yield f"{what} are there twice: {found}"


def is_text(what, result, expected):
    yield from differs(f"the text of {what}", text_of(result), expected)
    if result.get("isError"):
        yield f"{what} is an error"


def tools(found, era):
    yield from lacks("tools", [tool["name"] for tool in found], [call["tool"] for call in PLAN["calls"].values()])
    yield from differs("the first tool", found[0]["name"], "test_simple_text")
    for tool in found:
        if not tool.get("description"):
            yield f"{tool['name']} has no description"
        if tool["inputSchema"].get("type") != "object":
            yield f"{tool['name']} takes no object"
    schema = next(tool["inputSchema"] for tool in found if tool["name"] == "json_schema_2020_12_tool")
    for member in ("$schema", "$defs", "allOf", "if", "then", "else", "additionalProperties"):
        if member not in schema:
            yield f"the schema written by hand lost `{member}`"
    output = next(tool for tool in found if tool["name"] == "test_structured_content").get("outputSchema", {})
    yield from lacks("properties of the result", list(output.get("properties", {})), ["temperature", "conditions"])


def calls(found, era):
    yield from is_text("text", found["text"], "This is a simple text response for testing.")
    yield from is_text("echo", found["echo"], SCRIPTS)
    yield from is_text("header", found["header"], "The header and the body both say: Grüße, 世界")
    yield from has_picture(found["image"]["content"][0])
    (audio,) = found["audio"]["content"]
    yield from differs("the sound", [audio["type"], audio["mimeType"]], ["audio", "audio/wav"])
    yield from differs("the beginning of the sound", base64.b64decode(audio["data"])[:4].decode(), "RIFF")
    (embedded,) = found["embedded"]["content"]
    resource = {"uri": "test://embedded-resource", "mimeType": "text/plain", "text": "This is an embedded resource content."}
    yield from differs("the resource", embedded, {"type": "resource", "resource": resource})
    yield from differs("the kinds", [block["type"] for block in found["mixed"]["content"]], ["text", "image", "resource"])
    (link,) = found["link"]["content"]
    yield from differs("the link", [link["type"], link["uri"]], ["resource_link", TEXT])
    weather = {"temperature": 22.5, "conditions": "partly cloudy"}
    yield from differs("the structured content", found["structured"]["structuredContent"], weather)
    yield from differs("its text", json.loads(text_of(found["structured"])), weather)
    yield from differs("the sum", found["sum"]["structuredContent"], {"sum": 3.5})
    yield from differs("isError", found["error"].get("isError"), True)
    yield from differs("the error", text_of(found["error"]), "This tool intentionally returns an error for testing")
    if not found["mistake"].get("isError") or "message" not in text_of(found["mistake"]):
        yield f"a wrong argument gets {found['mistake']}"


def has_picture(block):
    yield from differs("the picture", [block["type"], block["mimeType"]], ["image", "image/png"])
    if not base64.b64decode(block["data"]).startswith(b"\x89PNG"):
        yield "the picture is no picture"


def refusals(found, era):
    for name in ("tool", "prompt"):
        yield from differs(f"the code for no {name}", found[name].get("code"), -32602)
    if "missing" in found["resource"]:
        yield from differs("what is missing", found["resource"]["missing"], "test://no-such-resource")
    else:
        expected = -32602 if era == "modern" else -32002
        yield from differs("the code for no resource", found["resource"].get("code"), expected)


def resources(found, era):
    yield from lacks("resources", [resource["uri"] for resource in found], [TEXT, BINARY, WATCHED])
    yield from differs("the first resource", found[0]["uri"], TEXT)
    yield from differs("its name and type", [found[0]["name"], found[0].get("mimeType")], ["static-text", "text/plain"])


def templates(found, era):
    yield from lacks("templates", [template["uriTemplate"] for template in found], ["test://template/{id}/data"])


def reads(found, era):
    (text,), (binary,), (templated,) = (found[uri]["contents"] for uri in PLAN["reads"])
    expected = {"uri": TEXT, "mimeType": "text/plain", "text": "This is the content of the static text resource."}
    yield from differs("the text", text, expected)
    yield from differs("the bytes", [binary["uri"], binary.get("mimeType")], [BINARY, "image/png"])
    if not base64.b64decode(binary["blob"]).startswith(b"\x89PNG"):
        yield "the bytes are no picture"
    data = {"id": "123", "templateTest": True, "data": "Data for ID: 123"}
    yield from differs("the template's", [templated["uri"], json.loads(templated["text"])], [TEMPLATED, data])


def prompts(found, era):
    yield from lacks("prompts", [prompt["name"] for prompt in found], list(PLAN["gets"]))
    arguments = next(prompt for prompt in found if prompt["name"] == "test_prompt_with_arguments")["arguments"]
    shown = [[one["name"], one.get("required")] for one in arguments]
    yield from differs("the arguments", shown, [["arg1", True], ["arg2", True]])


def gets(found, era):
    messages = {name: [message["content"] for message in prompt["messages"]] for name, prompt in found.items()}
    simple, filled = messages["test_simple_prompt"], messages["test_prompt_with_arguments"]
    yield from differs("the simple prompt", simple, [{"type": "text", "text": "This is a simple prompt for testing."}])
    yield from differs("the filled one", filled[0]["text"], "Prompt with arguments: arg1='testValue1', arg2='testValue2'")
    resource = messages["test_prompt_with_embedded_resource"][0]["resource"]
    expected = ["test://example-resource", "Embedded resource content for testing."]
    yield from differs("the resource", [resource["uri"], resource["text"]], expected)
    yield from has_picture(messages["test_prompt_with_image"][0])


def completions(found, era):
    prompt, template = found["prompt"]["completion"], found["template"]["completion"]
    yield from differs("the prompt's", prompt["values"], ["testValue1", "testValue2"])
    yield from lacks("the template's", template["values"], ["100", "123"])
    yield from differs("how many are shown", len(template["values"]) <= 100, True)


def elicitation(found, era):
    for action, answered in found.items():
        (asked,) = answered["asked"]
        yield from differs("the question", asked["message"], "Who are you?")
        yield from lacks("fields", list(asked["requestedSchema"]["properties"]), list(FORM))
        yield from differs("what is required", sorted(asked["requestedSchema"]["required"]), sorted(FORM))
    outcomes = {action: text_of(answered["result"]) for action, answered in found.items()}
    expected = {
        "accept": "accepted: username=testuser, email=test@example.com",
        "decline": "declined",
        "cancel": "cancelled",
    }
    yield from differs("the outcomes", outcomes, expected)


def addresses(found, era):
    for answered in found.values():
        (asked,) = answered["asked"]
        question = [asked["mode"], asked["message"], asked["url"]]
        yield from differs("the question", question, ["url", "Please sign in.", "https://example.com/sign-in"])
        if era == "legacy" and not asked.get("elicitationId"):
            yield "the question has no id"
    yield from is_text("the answer", found["accept"]["result"], "The user agreed to open the address.")
    for action in ("decline", "cancel"):
        yield from differs(f"isError after {action}", found[action]["result"].get("isError"), True)


def sampling(found, era):
    (asked,) = found["asked"]
    (message,) = asked["messages"]
    yield from differs("the question", [message["role"], blocks(message["content"])[0]["text"]], ["user", "Say something"])
    yield from differs("the limit", asked["maxTokens"], 100)
    yield from is_text("the answer", found["result"], f"LLM response: {SAMPLED}")


def blocks(content):
    return content if isinstance(content, list) else [content]


def roots(found, era):
    yield from is_text("the answer", found, f"The client works in {PLAN['root']}.")


def updates(found, era):
    yield from differs("what was updated", found["updated"], [WATCHED])
    if era == "modern":
        yield from differs("what was promised", found["honored"], {"resourceSubscriptions": [WATCHED]})


def list_changes(found, era):
    yield from differs("what changed", sorted(found), sorted(PLAN["triggers"]))


def progress(found, era):
    yield from differs("the progress", found, [[0, 100], [50, 100], [100, 100]])


def logging(found, era):
    texts = ["Tool execution started", "Tool processing data", "Tool execution completed"]
    yield from differs("the log", [[line["level"], line["data"]] for line in found], [["info", text] for text in texts])


def cancel(found, era):
    before, after = found["before"], found["after"]
    expected = {"started": before["started"] + 1, "finished": before["finished"], "cancelled": before["cancelled"] + 1}
    yield from differs("what the server counts", after, expected)
    if found.get("ended") == "a result":
        yield "the cancelled call has a result"


def ping(found, era):
    yield from differs("the answer", found, True)


def resumption(found, era):
    yield from is_text("the answer", found, "The answer came on another stream.")


def tasks(found, era):
    yield from is_text("the task", found["completed"], "Computed x in 1 s.")
    yield from is_text("the task that asked", found["answered"], "Deleted a.txt.")
    yield from differs("the status", found["cancelled"], "cancelled")
    yield from differs("the code", found["failed"]["code"], -32603)


def skills(found, era):
    yield from differs("how many there are", len(found) >= 2, True)
    for uri, skill in found.items():
        yield from lacks(f"files of {uri}", list(skill["files"]), [uri])
        wrong = [file for file, fits in skill["files"].items() if not fits]
        yield from differs("files that are not as the list says", wrong, [])
        yield from lacks(f"children of {uri}", [child["uri"] for child in skill["children"]], [uri])
        if not any(child.get("mimeType") == "inode/directory" for child in skill["children"]):
            yield f"{uri} has no folder beside it"


FEATURES = {
    judge.__name__: judge
    for judge in (
        tools, calls, refusals, resources, templates, reads, prompts, gets, completions, elicitation, addresses,
        sampling, roots, updates, list_changes, progress, logging, cancel, tasks, skills, resumption, ping,
    )
}  # fmt: skip


# ---- the report ----


def report(runs, features):
    headings = [run.title.replace("typescript", "ts").split() for run in runs]
    width = max(len(word) for heading in headings for word in heading)
    for words in zip(*headings):
        print(" " * 14 + " ".join(word.rjust(width) for word in words).rstrip())
    for name in features:
        cells = [str(run.cells.get(name, "none")) for run in runs]
        print(name.ljust(14) + " ".join(one.rjust(width) for one in cells))
    print_reasons(runs)
    failed = passed = 0
    for run in runs:
        faults = {"": run.faults, **{name: one.faults for name, one in run.cells.items()}}
        for name, wrong in faults.items():
            failed += bool(wrong)
            passed += bool(name) and str(run.cells.get(name)) == "ok"
            for fault in wrong:
                print(f"FAIL  {run.title} {name}\n      " + fault.replace("\n", "\n      "))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def print_reasons(runs):
    told = {}
    for run in runs:
        for name, one in run.cells.items():
            if one.reason:
                told.setdefault((name, one.reason), []).append(run.title)
    for (name, reason), titles in told.items():
        print(f"-     {name}: {reason} ({', '.join(titles)})")


if __name__ == "__main__":
    main()
