//! Streamable HTTP: one POST per message, answers as one JSON body or as an event stream.
//!
//! What it keeps true: redirects are not followed, a loopback server is never asked through a proxy of the environment,
//! and no header value is shown. The session of the handshake era is kept here and added to each message of that era.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};

use crate::error::ClientError;
use crate::message::{self, Answer, Incoming};
use crate::options::ConnectOptions;
use crate::request::Prepared;
use crate::sse;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer to a request of the server may take to be taken.
const REPLY: Duration = Duration::from_secs(5);
/// The largest part of a refusal's body that is looked at.
const REFUSAL: usize = 64 * 1024;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The endpoint of one server.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    url: Url,
    /// The address without user information, query and fragment.
    shown: String,
    max_answer: usize,
    session: Mutex<Option<Session>>,
}

/// What the handshake agreed on.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: Option<HeaderValue>,
    /// `None` before 2025-06-18, which brought the header.
    pub(crate) version: Option<HeaderValue>,
}

/// What came of a request.
pub(crate) enum Exchanged {
    /// An answer, with the session id of an answer to `initialize`.
    Answer { answer: Answer, session: Option<HeaderValue> },
    /// The server no longer knows the session.
    SessionGone(HeaderValue),
}

/// Headers that the protocol or HTTP sets by itself.
const RESERVED: [&str; 8] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "te",
    "transfer-encoding",
];

impl Http {
    /// Prepares for `url` without connecting.
    pub(crate) fn new(url: &str, options: &ConnectOptions) -> Result<Self, ClientError> {
        let url = parse(url)?;
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .default_headers(own_headers(&options.headers)?);
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let shown = shown(&url);
        let client = client.build().map_err(|error| ClientError::Unreachable {
            url: shown.clone(),
            source: Box::new(error.without_url()),
        })?;
        Ok(Self { client, url, shown, max_answer: options.max_answer, session: Mutex::new(None) })
    }

    /// Returns the address as it may be shown.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    pub(crate) fn session(&self) -> Option<Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_session(&self, session: Option<Session>) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }

    /// Sends a request and reads until its answer.
    pub(crate) async fn exchange(&self, request: &Prepared) -> Result<Exchanged, ClientError> {
        let session = self.session();
        let response =
            self.post(request.method, request.body.clone(), &request.headers, session.as_ref()).await?;
        if response.status() == StatusCode::NOT_FOUND
            && let Some(id) = session.and_then(|session| session.id)
        {
            return Ok(Exchanged::SessionGone(id));
        }
        let session = response.headers().get(&SESSION).cloned();
        let answer = self.answer(response, request).await?;
        Ok(Exchanged::Answer { answer, session })
    }

    /// Sends a notification or a response of the handshake era.
    ///
    /// # Errors
    /// Those of the connection and of access; that a server does not care for the message is none.
    pub(crate) async fn notify(&self, method: &'static str, body: Vec<u8>) -> Result<(), ClientError> {
        let response = self.post(method, body, &[], self.session().as_ref()).await?;
        self.check(response, method).await.map(drop)
    }

    /// Ends the session, if the server wants to know; its answer does not matter.
    pub(crate) async fn end_session(&self) {
        let Some(Session { id: Some(id), version }) = self.session() else { return };
        let mut request = self.client.delete(self.url.clone()).header(SESSION, id);
        if let Some(version) = version {
            request = request.header(VERSION, version);
        }
        match request.send().await {
            Ok(response) => tracing::debug!(status = response.status().as_u16(), "session ended"),
            Err(_) => tracing::debug!("the end of the session could not be told"),
        }
    }

    async fn post(
        &self,
        method: &'static str,
        body: Vec<u8>,
        headers: &[(HeaderName, HeaderValue)],
        session: Option<&Session>,
    ) -> Result<Response, ClientError> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(Session { id, version }) = session {
            for (name, value) in [(SESSION, id), (VERSION, version)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
        }
        request.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                let source = Box::new(error.without_url());
                return ClientError::Unreachable { url: self.shown.clone(), source };
            }
            self.broken(method, Some(error))
        })
    }

    async fn answer(&self, response: Response, request: &Prepared) -> Result<Answer, ClientError> {
        let response = self.check(response, request.method).await?;
        let status = response.status();
        let kind = content_type(&response);
        if status.is_success() && is_event_stream(&kind) {
            return self.stream(response, request).await;
        }
        let limit = if status.is_success() { self.max_answer } else { REFUSAL };
        let body = match self.body(response, request.method, limit).await {
            Err(ClientError::TooLarge { .. }) if !status.is_success() => Vec::new(),
            other => other?,
        };
        let malformed = |what| self.malformed(request.method, what);
        match message::read(&body) {
            Ok(messages) => self.only_answer(messages, request),
            Err(_) if !status.is_success() => Err(ClientError::Refused {
                url: self.shown.clone(),
                method: request.method,
                status: status.as_u16(),
                found: (!kind.is_empty()).then(|| format!("a body of type `{kind}`")),
            }),
            Err(_) if body.trim_ascii().is_empty() => {
                Err(malformed(format!("status {} and no body", status.as_u16())))
            }
            Err(_) if kind.is_empty() => Err(malformed("a body that is no JSON-RPC message".to_owned())),
            Err(_) => Err(malformed(format!("a body of type `{kind}` that is no JSON-RPC message"))),
        }
    }

    /// Turns the statuses that say all by themselves into errors.
    async fn check(&self, response: Response, method: &'static str) -> Result<Response, ClientError> {
        let status = response.status();
        let header = |name: HeaderName| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(printable)
        };
        let url = self.shown.clone();
        match status.as_u16() {
            401 | 403 => {
                let challenge = header(WWW_AUTHENTICATE);
                let message = self.refusal_message(response).await;
                Err(ClientError::Denied { url, status: status.as_u16(), message, challenge })
            }
            429 | 500..=599 => {
                let retry_after =
                    header(RETRY_AFTER).and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
                let message = self.refusal_message(response).await;
                Err(ClientError::Busy { url, status: status.as_u16(), message, retry_after })
            }
            300..=399 => {
                let found = header(LOCATION).map(|to| format!("a redirect to `{to}`, which is not followed"));
                Err(ClientError::Refused { url, method, status: status.as_u16(), found })
            }
            _ => Ok(response),
        }
    }

    /// Returns the message of a JSON-RPC error in the body of a refusal.
    async fn refusal_message(&self, response: Response) -> Option<String> {
        let body = self.body(response, "", REFUSAL).await.ok()?;
        match message::read(&body).ok()?.into_iter().next()? {
            Incoming::Response { answer: Err(error), .. } => Some(printable(&error.message)),
            _ => None,
        }
    }

    async fn body(
        &self,
        mut response: Response,
        method: &'static str,
        limit: usize,
    ) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(method, Some(error)))? {
            if body.len() + chunk.len() > limit {
                return Err(ClientError::TooLarge { target: self.shown.clone(), method, limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Finds the answer in a JSON body. An error without an id can only belong to the one request the body answers.
    fn only_answer(&self, messages: Vec<Incoming<'_>>, request: &Prepared) -> Result<Answer, ClientError> {
        let mut other = None;
        for message in messages {
            let Incoming::Response { id, answer } = message else { continue };
            match (id.map(message::own_id), answer) {
                (Some(Some(id)), answer) if id == request.id => return Ok(answer),
                (None, Err(error)) => return Ok(Err(error)),
                _ => other = Some(id.map_or_else(|| "none".to_owned(), |id| short(id.get()))),
            }
        }
        Err(self.malformed(
            request.method,
            match other {
                Some(id) => format!("an answer whose id is {id} instead of {}", request.id),
                None => "a message that is no answer".to_owned(),
            },
        ))
    }

    /// Reads an event stream until the answer; what else comes along is dealt with on the way.
    async fn stream(&self, mut response: Response, request: &Prepared) -> Result<Answer, ClientError> {
        let mut parser = sse::Parser::new(self.max_answer);
        let mut events = Vec::new();
        let mut without_id = None;
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.broken(request.method, Some(error)))?
        {
            parser.feed(&chunk, &mut events).map_err(|sse::TooLarge| ClientError::TooLarge {
                target: self.shown.clone(),
                method: request.method,
                limit: self.max_answer,
            })?;
            for event in events.drain(..) {
                let Ok(messages) = message::read(&event) else {
                    tracing::debug!(bytes = event.len(), "an event that is no message was ignored");
                    continue;
                };
                for message in messages {
                    match message {
                        Incoming::Response { id: None, answer: Err(error) } => without_id = Some(error),
                        Incoming::Response { id, answer }
                            if id.and_then(message::own_id) == Some(request.id) =>
                        {
                            return Ok(answer);
                        }
                        Incoming::Response { .. } => {
                            tracing::debug!("an answer to no request of ours was ignored")
                        }
                        Incoming::Request { id, method } => self.reply(message::reply_to(id, &method)).await,
                        Incoming::Notification { method, params } if method == "notifications/progress" => {
                            request.tell_progress(params)
                        }
                        Incoming::Notification { .. } => {}
                    }
                }
            }
        }
        // The stream belongs to this request, so an error that could not name it is its answer.
        without_id.map(Err).ok_or_else(|| self.broken(request.method, None))
    }

    /// Answers a request of the server; only handshake-era servers may send any, so nobody else is answered.
    async fn reply(&self, body: Vec<u8>) {
        if self.session().is_none() {
            return;
        }
        let replied = tokio::time::timeout(REPLY, self.notify("response", body)).await;
        if !matches!(replied, Ok(Ok(()))) {
            tracing::debug!("the server did not take the answer to its request");
        }
    }

    fn broken(&self, method: &'static str, source: Option<reqwest::Error>) -> ClientError {
        let source =
            source.map(|error| Box::new(error.without_url()) as Box<dyn std::error::Error + Send + Sync>);
        ClientError::Broken { url: self.shown.clone(), method, source }
    }

    fn malformed(&self, method: &'static str, what: String) -> ClientError {
        ClientError::Malformed { target: self.shown.clone(), method, what }
    }
}

fn parse(text: &str) -> Result<Url, ClientError> {
    let bad =
        |url: &str, reason: &str| ClientError::BadUrl { url: url.to_owned(), reason: reason.to_owned() };
    // A text that does not parse may hold credentials anywhere, so none of it is shown beyond the scheme.
    let url = Url::parse(text).map_err(|error| {
        bad(text.split_once("://").map_or("the address", |(scheme, _)| scheme), &error.to_string())
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(&shown(&url), "it begins with neither `http://` nor `https://`"));
    }
    Ok(url)
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // These fail only for addresses without a host, which have nothing to hide there.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn own_headers(headers: &[(String, String)]) -> Result<HeaderMap, ClientError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let bad = |reason| ClientError::BadHeader { name: name.clone(), reason };
        let key =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("the name is no HTTP header name"))?;
        if RESERVED.contains(&key.as_str()) || key.as_str().starts_with("mcp-") {
            return Err(bad("the client sets it by itself"));
        }
        let mut value =
            HeaderValue::from_str(value).map_err(|_| bad("the value holds a control character"))?;
        value.set_sensitive(true);
        map.append(key, value);
    }
    Ok(map)
}

fn content_type(response: &Response) -> String {
    let value =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_event_stream(kind: &str) -> bool {
    kind == "text/event-stream"
}

/// Drops what could move a terminal's cursor, and cuts at 300 characters.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(300).collect()
}

fn short(text: &str) -> String {
    printable(text).chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        let url = parse("http://user:pass@example.com:8080/mcp?key=secret#frag").unwrap();
        assert_eq!(shown(&url), "http://example.com:8080/mcp");
        assert!(!parse("ftp://user:pass@host/").unwrap_err().to_string().contains("pass"));
        assert!(!parse("http://user:pass@ho st/").unwrap_err().to_string().contains("pass"));
    }

    #[test]
    fn loopback_is_told_by_name_and_number() {
        for (url, expected) in [
            ("http://localhost:1/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:1/mcp", true),
            ("http://example.com/", false),
            ("http://localhost.example.com/", false),
        ] {
            assert_eq!(is_loopback(&parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn headers_of_the_protocol_cannot_be_replaced() {
        let with = |name: &str, value: &str| own_headers(&[(name.to_owned(), value.to_owned())]);
        assert!(with("Authorization", "Bearer x").unwrap()["authorization"].is_sensitive());
        for name in ["Mcp-Method", "content-type", "Host", "bad name", ""] {
            assert_eq!(with(name, "x").unwrap_err().kind(), crate::Kind::Usage, "{name}");
        }
        assert!(!with("X-Key", "se\ncret").unwrap_err().to_string().contains("cret"));
    }
}
