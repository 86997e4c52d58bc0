//! Puts Streamable HTTP of 2026-07-28 in front of a program that speaks stdio, so that what tests over HTTP tests the stdio edge.
//!
//! All requests of all clients share the program's two pipes: ids, progress tokens and subscription ids are replaced by
//! numbers of the shim's own on the way in and put back on the way out. What HTTP alone has is done here, with the rules of
//! `trunkline-protocol`: hosts and origins, mirrored headers, status codes. A client that closes its stream becomes a
//! `notifications/cancelled`.

mod headers;
mod link;
mod tools;

use std::io;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::header::{ALLOW, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use trunkline_protocol::{Code, Envelope, Message, scan};

use crate::http::{Body, serve as serve_http, whole};
use link::{Call, Link};
use tools::Tools;

/// Most bytes of a request.
const MAX_BODY: usize = 4 << 20;

/// Starts `command` and serves `listener` with it, until either ends.
///
/// The program is killed when the future is dropped; its stderr is this process's.
///
/// # Errors
/// What starting the program, its pipes or the listener report; `BrokenPipe` when the program ended.
pub async fn serve(listener: TcpListener, mut command: Command) -> io::Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the program has no pipes"));
    };
    let (link, lines) = Link::new();
    let shim = Arc::new(Shim { tools: Tools::new(Arc::clone(&link)), link: Arc::clone(&link) });
    let requests = serve_http(listener, move |request| {
        let shim = Arc::clone(&shim);
        async move { shim.answer(request).await }
    });
    tokio::select! {
        result = requests => result,
        result = link::write(lines, stdin) => result,
        result = link::read(&link, stdout) => {
            result?;
            Err(io::Error::new(io::ErrorKind::BrokenPipe, format!("the program ended: {}", child.wait().await?)))
        }
    }
}

struct Shim {
    link: Arc<Link>,
    tools: Tools,
}

impl Shim {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Err(text) = headers::check_host_and_origin(&parts.headers) {
            return refusal(StatusCode::FORBIDDEN, Code::INVALID_REQUEST, text, None);
        }
        if parts.method != Method::POST {
            let mut response =
                refusal(StatusCode::METHOD_NOT_ALLOWED, Code::INVALID_REQUEST, "only POST is served", None);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => self.message(&parts.headers, &body.to_bytes()).await,
            Err(error) => refusal(StatusCode::BAD_REQUEST, Code::INVALID_REQUEST, &error.to_string(), None),
        }
    }

    async fn message(&self, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
        let parsed = scan(body).map_err(|refused| (refused.code, refused.message.to_owned()));
        let message =
            serde_json::from_slice::<Value>(body).map_err(|error| (Code::PARSE_ERROR, error.to_string()));
        match (parsed, message) {
            (Ok((Message::Request, envelope)), Ok(message)) => {
                self.request(headers, body, &envelope, message).await
            }
            (Ok(_), Ok(message)) => {
                self.link.send(&message);
                whole(StatusCode::ACCEPTED, "application/json", Bytes::new())
            }
            (Err((code, text)), _) | (_, Err((code, text))) => {
                refusal(StatusCode::BAD_REQUEST, code, &text, None)
            }
        }
    }

    async fn request(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        envelope: &Envelope,
        message: Value,
    ) -> Response<Body> {
        let id = message.get("id").cloned();
        // What is missing in the body itself is the program's to refuse.
        if envelope.version.is_string() && envelope.capabilities.is_present() {
            let mirrored = self.tools.mirrored(&message).await;
            if let Err(text) = headers::check_mirrored(headers, body, envelope, &mirrored) {
                return refusal(StatusCode::BAD_REQUEST, Code::HEADER_MISMATCH, &text, id);
            }
        }
        let mut call = self.link.call(message);
        match call.next().await {
            Some(first) if first.get("method").is_some() => event_stream(first, call),
            Some(answer) => whole(status_of(&answer), "application/json", answer.to_string()),
            None => refusal(StatusCode::BAD_GATEWAY, Code::INTERNAL_ERROR, "the program gave no answer", id),
        }
    }
}

/// Streams the messages of a call, of which `first` has come, up to its answer.
fn event_stream(first: Value, call: Call) -> Response<Body> {
    let events = stream::unfold((Some(first), call), |(first, mut call)| async move {
        let message = match first {
            Some(first) => first,
            None => call.next().await?,
        };
        let event = Bytes::from(format!("event: message\ndata: {message}\n\n"));
        Some((Ok(Frame::data(event)), (None, call)))
    });
    let mut response = Response::new(StreamBody::new(events).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("text/event-stream"));
    headers.insert("cache-control", HeaderValue::from_static("no-cache"));
    response
}

/// The status an answer travels with. Spec: 2026-07-28 basic/transports/streamable-http.
fn status_of(answer: &Value) -> StatusCode {
    let code = answer.pointer("/error/code").and_then(Value::as_i64);
    match code.and_then(|code| i32::try_from(code).ok()).map(Code) {
        None => StatusCode::OK,
        Some(Code::METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(Code::INTERNAL_ERROR) => StatusCode::INTERNAL_SERVER_ERROR,
        // Codes of our own are the status they travel with.
        Some(Code(own @ 400..=599)) => {
            u16::try_from(own).ok().and_then(|own| StatusCode::from_u16(own).ok()).unwrap_or_default()
        }
        Some(_) => StatusCode::BAD_REQUEST,
    }
}

fn refusal(status: StatusCode, code: Code, text: &str, id: Option<Value>) -> Response<Body> {
    let mut message = json!({ "jsonrpc": "2.0", "error": { "code": code.0, "message": text } });
    if let (Some(id), Some(members)) = (id, message.as_object_mut()) {
        members.insert("id".to_owned(), id);
    }
    whole(status, "application/json", message.to_string())
}
