//! Requests with a stream attached, and the edge of HTTP around a server.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{LogLevel, Method, Revision, scan};
use trunkline_server::sdk::{BuiltServer, ServeError};
use trunkline_service::{Attached, Caller, Event, Log, Outlet, Progress, Request};

/// A request of 2026-07-28 whose client takes a stream with room for `room` events, asks for progress and logs at `info`.
pub(crate) fn streaming(method: &str, mut params: Value, room: usize) -> (Request, mpsc::Receiver<Event>) {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": "p",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let body = Bytes::from(body);
    let (_, envelope) = scan(&body).unwrap();
    let (sender, events) = mpsc::channel(room);
    let outlet = Outlet::new(sender, CancellationToken::new());
    let mut attached = Attached::new(outlet.clone());
    attached.progress = Some(Progress::new(Bytes::from_static(b"\"p\""), outlet.clone()));
    attached.log = Some(Log::new(LogLevel::Info, outlet));
    let method = Method::parse(method.as_bytes());
    let request = Request::new(body, &envelope, method, Revision::LATEST, Caller::local(), 7);
    (request.with_attached(Some(Box::new(attached))), events)
}

/// The message of an event.
pub(crate) fn message(event: &Event) -> Value {
    match event {
        Event::Message(message) => serde_json::from_slice(message).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The text of the first block of a tool's result.
pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}"))
}

/// A server behind the edge of HTTP, stopped when dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: tokio::task::JoinHandle<Result<(), ServeError>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[expect(clippy::disallowed_methods, reason = "the test owns the task through its handle and token")]
pub(crate) async fn serve(server: BuiltServer) -> Served {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let ended = tokio::spawn(server.serve_listener(listener, stop.clone()));
    Served { address, stop, ended }
}

/// Posts a modern request and returns the raw answer.
pub(crate) async fn post(address: SocketAddr, method: &str, name: Option<&str>, mut params: Value) -> String {
    let mut meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    if let Some(token) = params.get("progressToken").cloned() {
        params.as_object_mut().unwrap().remove("progressToken");
        meta["progressToken"] = token;
    }
    params["_meta"] = meta;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let name = name.map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json, \
         text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{name}Content-Length: \
         {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// The JSON of an answer that is one message.
pub(crate) fn body(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// What log lines were written, for tests of what is logged.
#[derive(Clone, Default)]
pub(crate) struct Lines(pub(crate) Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
