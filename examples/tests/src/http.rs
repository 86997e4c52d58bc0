//! A client of either era over HTTP.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{patiently, with_meta};

/// A client that speaks one era.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    capabilities: Value,
    next_id: AtomicU64,
    /// The id of a legacy session; `None` for the modern era.
    session: Option<String>,
}

impl Client {
    fn new(url: String, capabilities: Value) -> Self {
        Self { http: reqwest::Client::new(), url, capabilities, next_id: AtomicU64::new(1), session: None }
    }

    /// Speaks 2026-07-28 with these capabilities.
    #[must_use]
    pub fn modern(url: String, capabilities: Value) -> Self {
        Self::new(url, capabilities)
    }

    /// Speaks 2025-11-25 with these capabilities, after the handshake.
    ///
    /// # Panics
    /// When the server does not shake hands.
    pub async fn legacy(url: String, capabilities: Value) -> Self {
        let mut client = Self::new(url, capabilities);
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": client.capabilities,
            "clientInfo": { "name": "example-tests", "version": "1" },
        });
        let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let response = client.post(&initialize, &[]).await;
        let session = response.headers().get("mcp-session-id").expect("a session").to_str().expect("ASCII");
        client.session = Some(session.to_owned());
        let answer = Messages::of(response).next().await.expect("an answer");
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer}");
        client.notify("notifications/initialized", json!({})).await;
        client
    }

    /// Returns the same client, at another node of the server.
    ///
    /// # Panics
    /// Never, as long as fewer requests were sent than there are numbers.
    #[must_use]
    pub fn at(&self, url: String) -> Self {
        Self {
            http: self.http.clone(),
            url,
            capabilities: self.capabilities.clone(),
            // Far enough from what this one uses up meanwhile.
            next_id: AtomicU64::new(self.next_id.load(Ordering::Relaxed) + 1000),
            session: self.session.clone(),
        }
    }

    /// Ends the session and returns the status of the answer.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn end(&self) -> u16 {
        let request =
            self.http.delete(&self.url).header("mcp-session-id", self.session.as_deref().unwrap_or_default());
        patiently("the end of the session", request.send()).await.expect("a response").status().as_u16()
    }

    /// Sends a message and returns the status of the answer.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn status(&self, message: &Value) -> u16 {
        self.post(message, &[]).await.status().as_u16()
    }

    /// Takes up a stream of the session that was lost, after the event of that id.
    ///
    /// # Panics
    /// When the server does not let it.
    pub async fn resume(&self, event: &str) -> Messages {
        self.get(Some(event)).await
    }

    /// Tells whether the client speaks a revision with a handshake.
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.session.is_some()
    }

    /// Sends a request and returns its id and what comes back.
    pub async fn open(&self, method: &str, params: Value) -> (u64, Messages) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let params = if self.is_legacy() { params } else { with_meta(params, &self.capabilities) };
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let headers = if self.is_legacy() { Vec::new() } else { modern_headers(method, &params) };
        (id, Messages::of(self.post(&message, &headers).await))
    }

    /// Sends a request and returns the notifications before its answer, and the answer.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn exchange(&self, method: &str, params: Value) -> (Vec<Value>, Value) {
        let (id, mut messages) = self.open(method, params).await;
        let mut before = Vec::new();
        while let Some(message) = messages.next().await {
            if message["id"] == id && message.get("method").is_none() {
                return (before, message);
            }
            before.push(message);
        }
        panic!("{method} was not answered; before it ended came {before:?}");
    }

    /// Sends a request and returns its answer.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        self.exchange(method, params).await.1
    }

    /// Calls a tool and returns the answer.
    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Calls a tool that asks back. `answer` is given each question (`method` and `params`) and returns its result.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn call_answering(
        &self,
        tool: &str,
        arguments: Value,
        mut answer: impl FnMut(&Value) -> Value,
    ) -> Value {
        let mut params = json!({ "name": tool, "arguments": arguments });
        if self.is_legacy() {
            return self.answer_on_stream(params, answer).await;
        }
        loop {
            let message = self.ask("tools/call", params.clone()).await;
            if message["result"]["resultType"] != "input_required" {
                return message;
            }
            let asked = message["result"]["inputRequests"].as_object().cloned().unwrap_or_default();
            params["inputResponses"] =
                asked.iter().map(|(key, question)| (key.clone(), answer(question))).collect();
            params["requestState"] = message["result"]["requestState"].clone();
        }
    }

    /// The legacy way: the server asks on the stream of the request, and is answered by posts.
    async fn answer_on_stream(&self, params: Value, mut answer: impl FnMut(&Value) -> Value) -> Value {
        let (id, mut messages) = self.open("tools/call", params).await;
        while let Some(message) = messages.next().await {
            if message.get("method").is_none() && message["id"] == id {
                return message;
            }
            if message.get("method").is_some() && message.get("id").is_some() {
                let answered = json!({ "jsonrpc": "2.0", "id": message["id"], "result": answer(&message) });
                let response = self.post(&answered, &[]).await;
                assert_eq!(response.status(), StatusCode::ACCEPTED);
            }
        }
        panic!("the call was not answered");
    }

    /// Opens the stream of a legacy session that carries what belongs to no request.
    pub async fn listen_legacy(&self) -> Messages {
        self.get(None).await
    }

    async fn get(&self, last_event: Option<&str>) -> Messages {
        let mut request = self.http.get(&self.url).header("accept", "text/event-stream");
        request = request.header("mcp-session-id", self.session.as_deref().unwrap_or_default());
        if let Some(id) = last_event {
            request = request.header("last-event-id", id);
        }
        let response = patiently("a stream of the session", request.send()).await.expect("a response");
        assert_eq!(response.status(), StatusCode::OK);
        Messages::of(response)
    }

    /// Sends a notification.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn notify(&self, method: &str, params: Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        assert_eq!(self.post(&message, &[]).await.status(), StatusCode::ACCEPTED);
    }

    async fn post(&self, message: &Value, headers: &[(&'static str, String)]) -> Response {
        let mut request = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        patiently("a response", request.body(message.to_string()).send()).await.expect("a response")
    }
}

/// What a modern request repeats in its headers. Spec: 2026-07-28 basic/transports#standard-headers.
fn modern_headers(method: &str, params: &Value) -> Vec<(&'static str, String)> {
    let mut headers =
        vec![("mcp-protocol-version", "2026-07-28".to_owned()), ("mcp-method", method.to_owned())];
    let named = match method {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        "tasks/get" | "tasks/update" | "tasks/cancel" => params["taskId"].as_str(),
        _ => None,
    };
    headers.extend(named.map(|name| ("mcp-name", name.to_owned())));
    headers
}

/// The messages of one response: a single one, or a stream. Dropping it closes the request.
#[derive(Debug)]
pub struct Messages {
    response: Response,
    is_stream: bool,
    read: Vec<u8>,
    ended: bool,
    /// The id of the last event that had one.
    last_event: Option<String>,
}

impl Messages {
    fn of(response: Response) -> Self {
        let kind =
            response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_stream = kind.starts_with("text/event-stream");
        Self { response, is_stream, read: Vec::new(), ended: false, last_event: None }
    }

    /// Returns the id to come back with when the stream is lost now.
    #[must_use]
    pub fn last_event(&self) -> Option<&str> {
        self.last_event.as_deref()
    }

    /// Waits for the next message; `None` when there are no more.
    ///
    /// # Panics
    /// When none comes within half a minute, or what comes is no message.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            if self.ended {
                return None;
            }
            match patiently("a message", self.response.chunk()).await {
                Ok(Some(piece)) => self.read.extend_from_slice(&piece),
                Ok(None) | Err(_) => self.ended = true,
            }
        }
    }

    fn take(&mut self) -> Option<Value> {
        if !self.is_stream {
            let whole = self.ended && !self.read.is_empty();
            return whole.then(|| parse(&std::mem::take(&mut self.read)));
        }
        while let Some(end) = self.read.windows(2).position(|window| window == b"\n\n") {
            let event: Vec<u8> = self.read.drain(..end + 2).collect();
            let event = String::from_utf8(event).expect("events are UTF-8");
            if let Some(id) = event.lines().find_map(|line| line.strip_prefix("id:")) {
                self.last_event = Some(id.trim().to_owned());
            }
            let data: Vec<&str> =
                event.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect();
            let data = data.concat();
            // Comments keep the stream alive, and an event without data only carries an id.
            if !data.is_empty() {
                return Some(parse(data.as_bytes()));
            }
        }
        None
    }
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}
