//! A result of many parts, larger than memory should ever be, to a client that reads slowly: through the sockets and pipes
//! of both edges and both eras. A binary of its own, one test at a time, since what is measured is the process.
//!
//! `TRUNKLINE_FLOW_MIB` says how many MiB are streamed; 256 unless it is set.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::stream;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trunkline_server::sdk::{BuiltServer, Context, DynTool, Parts, Server};
use trunkline_server::stdio::{StdioOptions, serve_on};

const PART: usize = 1 << 20;
/// What may be on its way: queues of sixteen parts, the copies in between, and what is kept for a lost stream.
const MOST: usize = 96 << 20;

fn parts() -> usize {
    std::env::var("TRUNKLINE_FLOW_MIB").map_or(256, |mib| mib.parse().unwrap())
}

/// Lets one test run at a time, also where tests share a process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn server() -> BuiltServer {
    let tool = DynTool::new("t").handler(|_: Context| async {
        let part: Arc<str> = "x".repeat(PART).into();
        Parts(stream::iter((0..parts()).map(move |_| part.to_string())))
    });
    Server::new("flow", "1").tool(tool).deadline(None).build().unwrap()
}

fn call(meta: &Value) -> String {
    let params = json!({ "name": "t", "arguments": {}, "_meta": meta });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string()
}

fn modern() -> String {
    call(&json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": "p",
    }))
}

fn initialize() -> String {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "flow", "version": "1" } });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string()
}

/// Reads slowly until the result is there; asserts that all parts came and that memory stayed flat.
#[expect(clippy::disallowed_methods, reason = "a slow reader is what is tested")]
fn read_slowly(mut input: impl Read) {
    // As the first parts wait: nothing is read at all.
    std::thread::sleep(Duration::from_millis(500));
    let before = resident();
    assert!(before < MOST, "{before} bytes before anything was read");
    let (mut most, mut all, mut turn) = (before, 0, 0);
    let (mut chunk, mut tail) = (vec![0; 1 << 20], Vec::new());
    while !String::from_utf8_lossy(&tail).contains("\"id\":1") {
        let count = input.read(&mut chunk).unwrap();
        assert!(count > 0, "it ended after {all} bytes");
        (all, turn) = (all + count, turn + 1);
        // The id of a result stands at one of its ends.
        tail = tail.split_off(tail.len().saturating_sub(64));
        tail.extend_from_slice(&chunk[..count]);
        if turn % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
            most = most.max(resident());
        }
    }
    assert!(all >= parts() * PART, "{all} bytes");
    assert!(most < before.max(16 << 20) + MOST, "{before} bytes before, {most} at most");
}

struct Http {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn serve() -> Http {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let token = stop.clone();
    let thread = std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            server().serve_listener(listener, token).await.unwrap();
        });
    });
    Http { address, stop, thread: Some(thread) }
}

fn post(address: SocketAddr, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json, \
         text/event-stream\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

#[test]
fn parts_over_http_to_a_slow_reader_keep_memory_flat() {
    let _alone = alone();
    let http = serve();
    let headers = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: t\r\n";
    read_slowly(post(http.address, headers, &modern()));
}

#[test]
fn parts_in_a_session_over_http_to_a_slow_reader_keep_memory_flat() {
    let _alone = alone();
    let http = serve();
    let mut opened = post(http.address, "Connection: close\r\n", &initialize());
    let mut answer = String::new();
    opened.read_to_string(&mut answer).unwrap();
    let session = answer.split("mcp-session-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let call = call(&json!({ "progressToken": "p" }));
    read_slowly(post(http.address, &format!("Mcp-Session-Id: {session}\r\n"), &call));
}

/// One dialogue over pipes: all of `requests`, and the output left to a slow reader.
fn over_pipes(requests: &[String]) {
    let (input_end, mut input) = std::io::pipe().unwrap();
    let (output, output_end) = std::io::pipe().unwrap();
    let thread = std::thread::spawn(move || {
        let options = StdioOptions { max_line: 1 << 20, grace: Duration::from_secs(1) };
        let server = server();
        runtime()
            .block_on(serve_on(
                server.live().clone(),
                options,
                CancellationToken::new(),
                input_end,
                output_end,
            ))
            .unwrap();
    });
    for request in requests {
        writeln!(input, "{request}").unwrap();
    }
    read_slowly(output);
    drop(input);
    thread.join().unwrap();
}

#[test]
fn parts_over_stdio_to_a_slow_reader_keep_memory_flat() {
    let _alone = alone();
    over_pipes(&[modern()]);
}

#[test]
fn parts_in_a_session_over_stdio_to_a_slow_reader_keep_memory_flat() {
    let _alone = alone();
    over_pipes(&[initialize(), call(&json!({ "progressToken": "p" }))]);
}
