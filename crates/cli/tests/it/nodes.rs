//! Two processes of `trunkline serve` that share a Redis: one endpoint for clients with a session.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trunkline_testkit::redis;

use crate::support::{COUNT, Folder, PATIENCE, SLOW, Server, config, eventually, http, raw, trunkline};

const KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// A folder, a Redis, and as many processes as are wanted.
struct Nodes {
    folder: Folder,
    redis: redis::Server,
}

impl Nodes {
    async fn new() -> Self {
        Self { folder: Folder::new(), redis: redis::Server::start().await }
    }

    fn write(&self, name: &str) -> PathBuf {
        let store = format!("[store]\nredis = \"{}\"\n{COUNT}{SLOW}", self.redis.url());
        let text = config(&store).replace("[server]\n", &format!("[server]\nseal-keys = [\"{KEY}\"]\n"));
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn start(&self, name: &str) -> Server {
        let mut command = trunkline();
        command.args(["serve", "-c"]).arg(self.write(name));
        Server::spawn(command)
    }
}

fn head(session: &str) -> String {
    format!(
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMcp-Session-Id: {session}\r\n"
    )
}

/// Begins a session and returns its id.
fn session(address: SocketAddr) -> String {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string();
    let headers = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
    let answer = raw(address, "POST /mcp", headers, &body);
    let id = answer.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
    id.unwrap_or_else(|| panic!("no session: {answer}")).trim().to_owned()
}

/// Sends one request of a session; the status and the answer as it came.
fn post(address: SocketAddr, session: &str, id: u32, method: &str, params: &Value) -> (u16, String) {
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
    http(address, "POST /mcp", &head(session), &body)
}

fn count(address: SocketAddr, session: &str) -> (u16, String) {
    post(address, session, 1, "tools/call", &json!({ "name": "count_customers", "arguments": {} }))
}

fn end(address: SocketAddr, session: &str) -> u16 {
    http(address, "DELETE /mcp", &head(session), "").0
}

/// The stand-alone stream of a session.
fn listen(address: SocketAddr, session: &str, last_event: Option<&str>) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let last = last_event.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    write!(stream, "GET /mcp HTTP/1.1\r\nHost: {address}\r\n{}{last}\r\n", head(session)).unwrap();
    stream
}

/// Reads a stream until it has said something.
fn hear(stream: &mut TcpStream, what: &str) -> String {
    let (mut heard, mut chunk) = (String::new(), [0; 4096]);
    while !heard.contains(what) {
        let length = stream.read(&mut chunk).unwrap();
        assert!(length > 0, "the stream ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&chunk[..length]));
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_one_and_the_same_at_every_process_and_its_end_outlives_them() {
    let nodes = Nodes::new().await;
    let (one, other) = (nodes.start("one.toml"), nodes.start("other.toml"));
    let id = session(one.address);
    let (status, said) = count(other.address, &id);
    assert!(status == 200 && said.contains("\"n\":2"), "{said}");
    assert_eq!(end(other.address, &id), 204);
    assert_eq!(count(other.address, &id).0, 404);
    eventually("the other process hears of the end", || count(one.address, &id).0 == 404);
    assert_eq!(end(one.address, &id), 404);
    // One that begins later reads what happened before.
    let late = nodes.start("late.toml");
    assert_eq!(count(late.address, &id).0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_cancelled_through_the_other_process() {
    let nodes = Nodes::new().await;
    let (one, other) = (nodes.start("one.toml"), nodes.start("other.toml"));
    let id = session(one.address);
    let (address, of) = (one.address, id.clone());
    let arguments = json!({ "name": "slow", "arguments": { "n": 2_000_000_000 } });
    let running = std::thread::spawn(move || post(address, &of, 7, "tools/call", &arguments));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!running.is_finished(), "it runs for minutes: {:?}", running.join());
    let began = Instant::now();
    // Sent again and again: one that comes before the call itself is for nothing.
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    eventually("the call ends", || {
        assert_eq!(http(other.address, "POST /mcp", &head(&id), &cancel.to_string()).0, 202);
        running.is_finished()
    });
    let (_, said) = running.join().unwrap();
    assert!(!said.contains("\"x\""), "{said}");
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changed_at_one_process_is_told_at_the_other_and_taken_up_again() {
    let nodes = Nodes::new().await;
    let (one, other) = (nodes.start("one.toml"), nodes.start("other.toml"));
    let id = session(other.address);
    let mut stream = listen(other.address, &id, None);
    hear(&mut stream, "200 OK");
    let path = nodes.folder.path().join("one.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let more = "[tools.names]\nconnector = \"shop\"\nsql = \"select name from customers\"\n";
    std::fs::write(&path, format!("{text}{more}")).unwrap();
    one.signal("HUP");
    let heard = hear(&mut stream, "notifications/tools/list_changed");
    let place = heard.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    drop(stream);
    // What came after that place is told where the client comes back, and that is the other process now.
    std::fs::write(&path, text).unwrap();
    one.signal("HUP");
    let mut again = listen(one.address, &id, Some(&place));
    hear(&mut again, "notifications/tools/list_changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_calls_go_on_and_a_session_cannot_be_ended() {
    let mut nodes = Nodes::new().await;
    let one = nodes.start("one.toml");
    let id = session(one.address);
    nodes.redis.kill();
    eventually("an end that nobody could be told of is refused", || {
        let id = session(one.address);
        end(one.address, &id) == 503
    });
    assert_eq!(count(one.address, &id).0, 200);
    nodes.redis.restart().await;
    eventually("it can be ended again", || end(one.address, &id) == 204);
    assert_eq!(count(one.address, &id).0, 404);
    assert!(!one.said().contains("panicked"), "{}", one.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_stops_no_start_and_one_that_is_none_is_told() {
    let mut nodes = Nodes::new().await;
    nodes.redis.kill();
    let began = Instant::now();
    let one = nodes.start("one.toml");
    assert!(began.elapsed() < trunkline_testkit::within(Duration::from_secs(5)));
    assert_eq!(count(one.address, &session(one.address)).0, 200);
    one.wait_for(|said| said.contains("the store is not reached").then_some(()));
}

#[test]
fn a_store_that_cannot_be_is_marked_in_the_file_without_its_password() {
    let folder = Folder::new();
    folder.write(&config("[store]\nredis = \"redis://:hunter2@h:0\"\ntimeout = \"1m\"\nprefix = \"a b\"\n"));
    let output = folder.run(&["check", "--output", "json"]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stdout);
    for key in ["store.redis", "store.timeout", "store.prefix"] {
        assert!(said.contains(key), "{said}");
    }
    assert!(!format!("{said}{}", String::from_utf8_lossy(&output.stderr)).contains("hunter2"));
}
