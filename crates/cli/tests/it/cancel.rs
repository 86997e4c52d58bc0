//! A statement that nobody waits for any more ends in the database, whichever way its caller went.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trunkline_testkit::postgres::{Client, PrivatePostgres, TestDatabase};
use trunkline_testkit::within;

use crate::support::{Folder, PATIENCE, Server, call, raw, trunkline};

fn file(url: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndeadline = \"60s\"\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [connectors.db]\ntype = \"postgres\"\nurl = \"{url}\"\npool = 1\nstatement-timeout = \"60s\"\n\n\
         [tools.nap]\nconnector = \"db\"\nsql = \"select pg_sleep(:s)::text as s, 7 as n\"\nparams.s = {{ type = \"number\" }}\n\n\
         [tools.brief]\nconnector = \"db\"\ndeadline = \"1s\"\nsql = \"select pg_sleep(:s)::text as s, 8 as n\"\nparams.s = {{ type = \"number\" }}\n"
    )
}

async fn fixture() -> (PrivatePostgres, TestDatabase, Client, Folder) {
    let postgres = PrivatePostgres::start().await;
    let database = postgres.create_database().await;
    let watcher = database.client().await;
    let folder = Folder::new();
    folder.write(&file(&database.url));
    (postgres, database, watcher, folder)
}

/// Waits until so many naps are taken in the database.
async fn until(watcher: &Client, naps: &str, bound: Duration) {
    let sql = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid()";
    let started = Instant::now();
    loop {
        let found = watcher.value(sql).await.unwrap();
        if found == naps {
            return;
        }
        assert!(started.elapsed() < within(bound), "{found} naps instead of {naps} after {bound:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How soon nothing of an abandoned call runs any more.
const SOON: Duration = Duration::from_secs(1);

fn post(address: SocketAddr, head: &str, body: &Value) -> TcpStream {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{head}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

fn nap(id: u32) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "nap", "arguments": { "s": 30 } } })
}

/// The only connection serves the next caller, with that caller's own result.
fn assert_served(address: SocketAddr) {
    let answer = call(address, "nap", &json!({ "s": 0 }));
    assert_eq!(answer["result"]["structuredContent"]["rows"][0]["n"], 7, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_07_a_call_past_its_deadline_is_stopped_in_the_database() {
    let (_postgres, _database, watcher, folder) = fixture().await;
    let server = Server::start(&folder);
    let started = Instant::now();
    let answer = call(server.address, "brief", &json!({ "s": 30 }));
    assert!(started.elapsed() < within(Duration::from_secs(3)), "{:?}", started.elapsed());
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("stopped after"), "{text}");
    until(&watcher, "0", SOON).await;
    assert_served(server.address);
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_07_a_call_cancelled_on_stdio_is_stopped_in_the_database() {
    let (_postgres, _database, watcher, folder) = fixture().await;
    let mut command = trunkline();
    command.args(["serve", "--stdio", "-c"]).arg(folder.config());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut lines =
        BufReader::new(output).lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" },
    } });
    writeln!(input, "{initialize}").unwrap();
    assert_eq!(lines.next().unwrap()["id"], 0);
    writeln!(input, "{}", json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).unwrap();
    writeln!(input, "{}", nap(1)).unwrap();
    until(&watcher, "1", PATIENCE).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    writeln!(input, "{cancel}").unwrap();
    until(&watcher, "0", SOON).await;
    let mut next = nap(2);
    next["params"]["arguments"]["s"] = 0.into();
    writeln!(input, "{next}").unwrap();
    let answer = lines.find(|message| message["id"] == 2).unwrap();
    assert_eq!(answer["result"]["structuredContent"]["rows"][0]["n"], 7, "{answer}");
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_07_a_client_that_disconnects_leaves_nothing_running() {
    let (_postgres, _database, watcher, folder) = fixture().await;
    let server = Server::start(&folder);
    let mut body = nap(1);
    body["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    for _ in 0..3 {
        let head = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: nap\r\n";
        let stream = post(server.address, head, &body);
        until(&watcher, "1", PATIENCE).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.shutdown(Shutdown::Both).unwrap();
        drop(stream);
        until(&watcher, "0", SOON).await;
        assert_served(server.address);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_07_a_legacy_call_outlives_its_connection_and_ends_when_it_is_cancelled() {
    let (_postgres, _database, watcher, folder) = fixture().await;
    let server = Server::start(&folder);
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" },
    } });
    let json = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
    let answer = raw(server.address, "POST /mcp", json, &initialize.to_string());
    let session = answer.split("mcp-session-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let session = format!("Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: 2025-11-25\r\n");
    let mut stream = post(server.address, &session, &nap(1));
    until(&watcher, "1", PATIENCE).await;
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // Whatever came by then, the answer is not among it.
    let mut some = [0; 1024];
    let _ = stream.read(&mut some);
    drop(stream);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    until(&watcher, "1", Duration::from_millis(100)).await;
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    let told = raw(server.address, "POST /mcp", &format!("{json}{session}"), &cancel.to_string());
    assert!(told.starts_with("HTTP/1.1 202"), "{told}");
    until(&watcher, "0", SOON).await;
    assert_served(server.address);
}
