//! The end of `trunkline serve` while calls run and streams are open.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trunkline_testkit::postgres::PrivatePostgres;
use trunkline_testkit::within;

use crate::support::{Folder, PATIENCE, Server, eventually, raw};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn file(url: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndeadline = \"60s\"\nshutdown-grace = \"3s\"\n\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\n[connectors.db]\ntype = \"postgres\"\nurl = \"{url}\"\n\n\
         [tools.nap]\nconnector = \"db\"\nsql = \"select pg_sleep(:s)::text as s, 7 as n\"\nparams.s = {{ type = \"number\" }}\n"
    )
}

/// Sends a request and returns the thread that reads its answer to the end of the connection, and when that came.
fn open(address: SocketAddr, what: &str, head: &str, body: &str) -> JoinHandle<(String, Instant)> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{what} /mcp HTTP/1.1\r\nHost: {address}\r\n{head}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        // A connection that is cut ends what is read of it as well.
        let _ = stream.read_to_end(&mut answer);
        (String::from_utf8(answer).unwrap(), Instant::now())
    })
}

fn modern(address: SocketAddr, method: &str, name: &str, params: &str) -> JoinHandle<(String, Instant)> {
    let head = format!(
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{name}"
    );
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params},{META}}}}}"#);
    open(address, "POST", &head, &body)
}

fn nap(address: SocketAddr, seconds: u32) -> JoinHandle<(String, Instant)> {
    let params = format!(r#""name":"nap","arguments":{{"s":{seconds}}}"#);
    modern(address, "tools/call", "Mcp-Name: nap\r\n", &params)
}

/// The JSON of an answer in one piece, or of the events of a stream: whole messages, or this fails.
fn messages(answer: &str) -> Vec<Value> {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        assert_eq!(answer, "", "half a head");
        return Vec::new();
    };
    if !head.contains("text/event-stream") {
        return vec![serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))];
    }
    let events = body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| !data.is_empty());
    events.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ci_02_a_signal_ends_calls_and_streams_within_the_grace_and_what_runs_in_the_database() {
    let postgres = PrivatePostgres::start().await;
    let database = postgres.create_database().await;
    let folder = Folder::new();
    folder.write(&file(&database.url));
    let mut server = Server::start(&folder);
    let address = server.address;
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" },
    } });
    let head = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
    let answer = raw(address, "POST /mcp", head, &initialize.to_string());
    let session = answer.split("mcp-session-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let session = format!("Mcp-Session-Id: {session}\r\n");
    let listen = modern(address, "subscriptions/listen", "", r#""notifications":{"toolsListChanged":true}"#);
    let standing = open(address, "GET", &format!("Accept: text/event-stream\r\n{session}"), "");
    let (short, long) = (nap(address, 1), nap(address, 50));
    let call =
        r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"nap","arguments":{"s":50}}}"#;
    let legacy = open(address, "POST", &format!("{head}{session}"), call);
    let watcher = database.client().await;
    let naps = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid()";
    let end = Instant::now() + PATIENCE;
    while watcher.value(naps).await.as_deref() != Some("3") {
        assert!(Instant::now() < end, "the calls never reached the database: {}", server.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let told = Instant::now();
    server.signal("TERM");
    let (listened, ended) = listen.join().unwrap();
    assert!(ended - told < within(Duration::from_secs(1)), "{:?}", ended - told);
    let last = messages(&listened).pop().unwrap();
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&1.into(), &"complete".into()), "{listened}");
    assert!(listened.ends_with("0\r\n\r\n"), "{listened}");
    let (stood, ended) = standing.join().unwrap();
    assert!(ended - told < within(Duration::from_secs(1)) && stood.ends_with("0\r\n\r\n"), "{stood}");
    let (napped, _) = short.join().unwrap();
    let napped = messages(&napped);
    assert_eq!(napped[0]["result"]["structuredContent"]["rows"][0]["n"], 7, "{napped:?}");
    assert_eq!(server.wait().code(), Some(0));
    let took = told.elapsed();
    assert!(
        took > Duration::from_millis(2500) && took < Duration::from_secs(3) + within(Duration::from_secs(1)),
        "{took:?}"
    );
    // What was cut has no result, and no half of one.
    for cut in [long, legacy] {
        let (cut, _) = cut.join().unwrap();
        assert!(messages(&cut).iter().all(|message| message.get("result").is_none()), "{cut}");
    }
    // Statements that were given up were cancelled; nothing is left there.
    let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let end = Instant::now() + Duration::from_secs(3);
    while watcher.value(others).await.as_deref() != Some("0") {
        assert!(Instant::now() < end, "the database still has its connections");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually("it still listens", || TcpStream::connect(address).is_err());
}
