//! A scripted HTTP server that sends exactly the bytes a test wants, in the portions it wants, and records what it got.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Request line and headers, names in lower case.
    pub(crate) head: Vec<String>,
    pub(crate) body: Value,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub(crate) fn id(&self) -> &Value {
        &self.body["id"]
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What is sent back: portions of bytes, each in a segment of its own; then the connection closes.
pub(crate) type Portions = Vec<Vec<u8>>;

pub(crate) struct Peer {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Peer {
    pub(crate) async fn start(respond: impl Fn(&Seen) -> Portions + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (record, respond) = (Arc::clone(&seen), Arc::new(respond));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(one(stream, Arc::clone(&record), Arc::clone(&respond)));
            }
        });
        Self { url, seen, _tasks: tasks }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.method().to_owned()).collect()
    }
}

async fn one(mut stream: TcpStream, record: Arc<Mutex<Vec<Seen>>>, respond: Arc<impl Fn(&Seen) -> Portions>) {
    let Some(seen) = receive(&mut stream).await else { return };
    record.lock().unwrap().push(seen.clone());
    stream.set_nodelay(true).unwrap();
    for portion in respond(&seen) {
        if stream.write_all(&portion).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _ = stream.shutdown().await;
}

async fn receive(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head: Vec<String> = std::str::from_utf8(&bytes[..end])
            .unwrap()
            .lines()
            .map(|line| match line.split_once(": ") {
                Some((name, value)) => format!("{}: {value}", name.to_ascii_lowercase()),
                None => line.to_owned(),
            })
            .collect();
        let mut seen = Seen { head, body: Value::Null };
        let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < end + 4 + length {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        if length > 0 {
            seen.body = serde_json::from_slice(&bytes[end + 4..]).unwrap();
        }
        return Some(seen);
    }
}

/// A whole answer with that status, type and body.
pub(crate) fn plain(status: &str, kind: &str, body: &str) -> Portions {
    with(status, &[("Content-Type", kind)], body)
}

/// A whole answer with headers.
pub(crate) fn with(status: &str, headers: &[(&str, &str)], body: &str) -> Portions {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    vec![format!("{head}\r\n{body}").into_bytes()]
}

/// An event stream in portions, ended by closing the connection.
pub(crate) fn events(portions: &[&str]) -> Portions {
    let head =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n";
    std::iter::once(head).chain(portions.iter().copied()).map(|portion| portion.as_bytes().to_vec()).collect()
}

/// A result as JSON body.
pub(crate) fn result(seen: &Seen, result: &str) -> Portions {
    plain(
        "200 OK",
        "application/json",
        &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.id()),
    )
}

/// A JSON-RPC error with that HTTP status.
pub(crate) fn error(seen: &Seen, status: &str, code: i32, data: &str) -> Portions {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":{code},"message":"no","data":{data}}}}}"#,
        seen.id()
    );
    plain(status, "application/json", &body)
}

pub(crate) const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}"#;
pub(crate) const INITIALIZED: &str =
    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#;

/// A modern server that leaves one method to the test.
pub(crate) fn modern(seen: &Seen, rest: impl FnOnce(&Seen) -> Portions) -> Portions {
    if seen.method() == "server/discover" { result(seen, DISCOVERED) } else { rest(seen) }
}

/// A handshake-era server with session `s1` that leaves the other methods to the test.
pub(crate) fn legacy(seen: &Seen, rest: impl FnOnce(&Seen) -> Portions) -> Portions {
    match seen.method() {
        "server/discover" => plain("400 Bad Request", "text/plain", ""),
        "initialize" => {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{INITIALIZED}}}"#, seen.id());
            with("200 OK", &[("Content-Type", "application/json"), ("Mcp-Session-Id", "s1")], &body)
        }
        "notifications/initialized" => with("202 Accepted", &[], ""),
        _ => rest(seen),
    }
}
