#!/usr/bin/env python3
"""User-space instructions and allocations per `tools/call`, counted by callgrind.

  instructions.py NAME=COMMAND ...      e.g.  ours=target/profiling/bench-echo  floor=target/bench-peers/release/floor-axum

Each server is run twice under callgrind with one worker thread and one keep-alive connection, with 500 and with 2500
calls; the difference divided by 2000 is what one call costs, start-up and warm-up taken out. The counts repeat within
half a percent whatever else the machine does. Needs valgrind and binaries with symbols (cargo build --profile profiling).

Knobs (environment): TOOL ARGS (JSON, `%d` is replaced by a running number) TOKEN (a bearer token) TWIN=1 prints one answer
KEEP (a folder for the files of callgrind).
"""
import json, os, re, shutil, signal, socket, subprocess, sys, tempfile, time

TOOL = os.environ.get("TOOL", "echo")
ARGS = os.environ.get("ARGS", '{"message":"hello world"}')
BEARER = f"Authorization: Bearer {os.environ['TOKEN']}\r\n" if os.environ.get("TOKEN") else ""
META = ('"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":'
        '{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}')
# Entry points of an allocator; what they call among themselves is the same allocation.
ALLOCATES = re.compile(r"^(mi_)?(m|z|re|c)alloc(_aligned)?$|^aligned_alloc$")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def request(n):
    args = ARGS.replace("%d", str(n % 10000 + 1))
    body = f'{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{{"name":"{TOOL}","arguments":{args},{META}}}}}'
    return (f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
            f"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {TOOL}\r\n{BEARER}Content-Length: {len(body)}\r\n\r\n{body}").encode()


def answer(s):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        if not piece:
            raise OSError("closed: " + data.decode(errors="replace"))
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower()).group(1))
    while len(body) < length:
        body += s.recv(65536)
    if not head.startswith(b"HTTP/1.1 200") or b'"isError":true' in body:
        raise OSError(head.decode() + body.decode())
    return body


def run(command, calls, out):
    port = free_port()
    env = os.environ | {"PORT": str(port), "TOKIO_WORKER_THREADS": "1", "WORKERS": "1"}
    server = subprocess.Popen(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--quiet"] + [part.replace("{port}", str(port)) for part in command],
                              env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                s = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.05)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n in range(calls):
            s.sendall(request(n))
            body = answer(s)
        if os.environ.get("TWIN"):
            print(body.decode())
        s.close()
    finally:
        server.send_signal(signal.SIGINT if os.environ.get("STOP") == "INT" else signal.SIGTERM)
        server.wait(30)


def totals(path):
    text = open(path).read()
    instructions = int(re.search(r"^(?:summary|totals): (\d+)", text, re.M).group(1))
    names, allocations, caller, callee = {}, 0, "", ""
    for line in text.splitlines():
        if m := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line):
            if m.group(3):
                names[m.group(2)] = re.sub(r"'\d+$", "", m.group(3))
            if m.group(1):
                callee = names[m.group(2)]
            else:
                caller = names[m.group(2)]
        elif line.startswith("calls="):
            if ALLOCATES.search(callee) and not re.match(r"_?mi_", caller):
                allocations += int(line[6:].split()[0])
    return instructions, allocations


def main():
    rows = []
    for spec in sys.argv[1:]:
        name, _, command = spec.partition("=")
        counts = []
        with tempfile.TemporaryDirectory() as folder:
            for calls in (500, 2500):
                out = f"{folder}/{calls}"
                run(command.split(), calls, out)
                counts.append(totals(out))
                if keep := os.environ.get("KEEP"):
                    shutil.copy(out, f"{keep}/{name}.{calls}")
        (i0, a0), (i1, a1) = counts
        rows.append({"name": name, "instructions": round((i1 - i0) / 2000), "allocations": round((a1 - a0) / 2000, 1)})
    width = max(len(row["name"]) for row in rows)
    floor = rows[0]["instructions"]
    for row in rows:
        print(f'{row["name"]:{width}}  {row["instructions"]:>8} instructions  {row["allocations"]:>6} allocations  {row["instructions"] / floor:.2f} of {rows[0]["name"]}')
    if out := os.environ.get("OUT"):
        with open(out, "a") as f:
            f.writelines(json.dumps(row | {"tool": TOOL}) + "\n" for row in rows)


if __name__ == "__main__":
    main()
