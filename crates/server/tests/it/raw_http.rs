//! HTTP/1.1 by hand: tests choose every byte of a request and see every byte of the answer.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }

    /// The messages, of a JSON body or of events.
    pub(crate) fn messages(&self) -> Vec<Value> {
        if self.is_stream() {
            self.body
                .split("\n\n")
                .filter_map(|event| event.strip_prefix("data: "))
                .map(|data| serde_json::from_str(data).unwrap())
                .collect()
        } else {
            vec![serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))]
        }
    }

    pub(crate) fn json(&self) -> Value {
        self.messages().pop().unwrap()
    }

    pub(crate) fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or(0)
    }
}

/// A keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str(&format!("Host: {}\r\n", self.stream.peer_addr().unwrap()));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let bytes = [text.as_bytes(), body].concat();
        // The server may have answered and closed already.
        let _ = self.stream.write_all(&bytes).await;
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let head_end = self
            .read_until(|buffer| buffer.windows(4).position(|window| window == b"\r\n\r\n"))
            .await
            .expect("no head");
        let head = String::from_utf8(self.buffer.drain(..head_end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: String::new() };
        let body = if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks().await
        } else {
            let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
            self.read_until(|buffer| (buffer.len() >= length).then_some(0)).await;
            self.buffer.drain(..length.min(self.buffer.len())).collect()
        };
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let Some(end) =
                self.read_until(|buffer| buffer.windows(2).position(|window| window == b"\r\n")).await
            else {
                return body;
            };
            let line = String::from_utf8(self.buffer.drain(..end + 2).collect()).unwrap();
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            self.read_until(|buffer| (buffer.len() >= length + 2).then_some(0)).await;
            let chunk: Vec<u8> = self.buffer.drain(..length + 2).collect();
            if length == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    async fn read_until<T>(&mut self, found: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = found(&self.buffer) {
                return Some(found);
            }
            let mut piece = vec![0; 65536];
            match self.stream.read(&mut piece).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
            }
        }
    }
}

/// The headers of a modern POST for the message; replaced by `changes` of the same name, or removed where the value is empty.
pub(crate) fn modern_headers(body: &str, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let message: Value = serde_json::from_str(body).unwrap_or_default();
    let method = message["method"].as_str().unwrap_or_default();
    let mut headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("Accept".to_owned(), "application/json, text/event-stream".to_owned()),
        ("MCP-Protocol-Version".to_owned(), "2026-07-28".to_owned()),
        ("Mcp-Method".to_owned(), method.to_owned()),
    ];
    if let Some(name) = message["params"]["name"].as_str() {
        headers.push(("Mcp-Name".to_owned(), name.to_owned()));
    }
    headers.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed.eq_ignore_ascii_case(name)));
    headers.extend(
        changes
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    headers
}

/// Sends one modern POST on a connection of its own.
pub(crate) async fn post(address: SocketAddr, body: &str, changes: &[(&str, &str)]) -> Answer {
    let headers = modern_headers(body, changes);
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    request(address, "POST", "/mcp", &headers, body.as_bytes()).await
}

/// Sends one request on a connection of its own.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut connection = Connection::open(address).await;
    connection.send(method, path, headers, body).await;
    connection.answer().await
}

/// Sends one legacy POST. `session` is the session id, if any.
pub(crate) async fn post_legacy(
    address: SocketAddr,
    body: &str,
    session: Option<&str>,
    extra: &[(&str, &str)],
) -> Answer {
    let mut headers =
        vec![("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];
    headers.extend(session.map(|session| ("Mcp-Session-Id", session)));
    headers.extend_from_slice(extra);
    request(address, "POST", "/mcp", &headers, body.as_bytes()).await
}
