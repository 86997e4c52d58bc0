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
            self.body.split("\n\n").filter_map(|event| SseEvent::read(event).message()).collect()
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

    /// Opens a connection whose end here takes little that nobody reads.
    pub(crate) async fn open_narrow(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self { stream: socket.connect(address).await.unwrap(), buffer: Vec::new() }
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
        let mut answer = self.head().await;
        answer.body = String::from_utf8(self.body(&answer).await).unwrap();
        answer
    }

    /// Reads an answer with a length; tells whether the connection ended before that was there.
    pub(crate) async fn is_cut_short(&mut self) -> bool {
        let head = self.head().await;
        let length: usize = head.header("content-length").unwrap().parse().unwrap();
        self.read_until(|buffer| (buffer.len() >= length).then_some(0)).await.is_none()
    }

    /// Takes a KiB every 20 ms for so long, and then all that is left until the connection ends; how many bytes there were.
    pub(crate) async fn trickle(&mut self, lasting: std::time::Duration) -> usize {
        let started = std::time::Instant::now();
        let mut taken = 0;
        loop {
            let is_slow = started.elapsed() < lasting;
            let mut piece = vec![0; if is_slow { 1024 } else { 65_536 }];
            let Ok(count @ 1..) = self.stream.read(&mut piece).await else { return taken };
            taken += count;
            if is_slow {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }

    async fn body(&mut self, head: &Answer) -> Vec<u8> {
        if head.header("transfer-encoding") == Some("chunked") {
            return self.chunks().await;
        }
        let length: usize = head.header("content-length").map_or(0, |length| length.parse().unwrap());
        self.read_until(|buffer| (buffer.len() >= length).then_some(0)).await;
        self.buffer.drain(..length.min(self.buffer.len())).collect()
    }

    /// Reads the head of an answer.
    pub(crate) async fn head(&mut self) -> Answer {
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
        Answer { status, headers, body: String::new() }
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await {
            body.extend_from_slice(&chunk);
        }
        body
    }

    /// Reads one chunk; `None` at the end of the body, or where the connection breaks off.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = self.read_until(|buffer| buffer.windows(2).position(|window| window == b"\r\n")).await?;
        let line = String::from_utf8(self.buffer.drain(..end + 2).collect()).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        self.read_until(|buffer| (buffer.len() >= length + 2).then_some(0)).await?;
        let mut chunk: Vec<u8> = self.buffer.drain(..length + 2).collect();
        chunk.truncate(length);
        (length > 0).then_some(chunk)
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

/// One event of a stream; a comment is one without anything.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SseEvent {
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u32>,
    pub(crate) data: Option<String>,
}

impl SseEvent {
    fn read(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.strip_prefix(' ').unwrap_or(line).to_owned())
        };
        Self {
            id: field("id"),
            retry: field("retry").map(|retry| retry.parse().unwrap()),
            data: field("data"),
        }
    }

    pub(crate) fn message(&self) -> Option<Value> {
        let data = self.data.as_deref().filter(|data| !data.is_empty())?;
        Some(serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}")))
    }
}

/// An answer that is read as it comes.
pub(crate) struct Stream {
    connection: Connection,
    pub(crate) head: Answer,
    text: String,
}

impl Stream {
    /// Sends one request on a connection of its own and reads the head of its answer.
    pub(crate) async fn open(
        address: SocketAddr,
        method: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Self {
        let mut connection = Connection::open(address).await;
        connection.send(method, "/mcp", headers, body.as_bytes()).await;
        let head = connection.head().await;
        let mut stream = Self { connection, head, text: String::new() };
        if !stream.head.is_stream() {
            // One message, as if it were an event.
            let body = stream.connection.body(&stream.head).await;
            stream.text = format!("data: {}\n\n", String::from_utf8(body).unwrap());
        }
        stream
    }

    /// Opens the stream of a modern POST.
    pub(crate) async fn post(address: SocketAddr, body: &str) -> Self {
        let headers = modern_headers(body, &[]);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Self::open(address, "POST", &headers, body).await
    }

    /// Opens the stream of a POST in a session.
    pub(crate) async fn post_legacy(address: SocketAddr, session: &str, body: &str) -> Self {
        let headers = [
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            ("Mcp-Session-Id", session),
        ];
        Self::open(address, "POST", &headers, body).await
    }

    /// Opens the stream of a GET in a session, after an event.
    pub(crate) async fn get(address: SocketAddr, session: &str, after: Option<&str>) -> Self {
        let mut headers = vec![("Accept", "text/event-stream"), ("Mcp-Session-Id", session)];
        headers.extend(after.map(|after| ("Last-Event-ID", after)));
        Self::open(address, "GET", &headers, "").await
    }

    /// Waits for the next event; `None` when the stream ended. Ten seconds are too long.
    pub(crate) async fn event(&mut self) -> Option<SseEvent> {
        let wait = std::time::Duration::from_secs(10);
        tokio::time::timeout(wait, self.next_event()).await.expect("no event in time")
    }

    /// Waits for the next event with a message.
    pub(crate) async fn message(&mut self) -> Option<Value> {
        loop {
            if let Some(message) = self.event().await?.message() {
                return Some(message);
            }
        }
    }

    async fn next_event(&mut self) -> Option<SseEvent> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = SseEvent::read(event);
                self.text = rest.to_owned();
                return Some(event);
            }
            if !self.head.is_stream() {
                return None;
            }
            let chunk = self.connection.chunk().await?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
