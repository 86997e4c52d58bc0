//! One POST: read the body, decide the era, check what its era demands, run it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::mpsc;
use trunkline_protocol::{Code, Envelope, Message, Method, Refusal, Revision, header, scan, write};
use trunkline_service::{Caller, Endpoint, Failure, FailureKind, Outcome, Request};

use super::answer::{self, Answer, Done, Events, Work, busy, empty, message, refusal, retry_after};
use super::heads::{Heads, Mirrored};
use super::legacy_calls::Started;
use super::{Http, unknown_session};
use crate::admit;
use crate::batch::{self, Part};
use crate::legacy::{Session, Tells, answer_here};

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the rest of a refused body is taken in.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Who asks on this connection, and what it takes of the two answer forms.
#[derive(Clone, Copy)]
struct Form<'a> {
    /// The connection's own handle on its caller: cloning it disturbs no other core.
    caller: &'a Arc<Caller>,
    /// Answer with an event even where there is nothing to stream.
    as_event: bool,
    /// Progress may be streamed.
    may_stream: bool,
}

impl Http {
    pub(super) async fn post(
        &self,
        caller: &Arc<Caller>,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        body: Incoming,
    ) -> Response<Answer> {
        if !heads.content_type.is_some_and(header::is_json) {
            return refusal(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::INVALID_REQUEST,
                "`Content-Type` must be application/json",
            );
        }
        if heads.is_encoded {
            let text = "`Content-Encoding` must be absent: bodies are read as they are";
            return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::INVALID_REQUEST, text);
        }
        let accepts = heads.accepts();
        if !accepts.json && !accepts.event_stream {
            let text = "`Accept` must allow application/json or text/event-stream";
            return refusal(StatusCode::NOT_ACCEPTABLE, Code::INVALID_REQUEST, text);
        }
        let form = Form { caller, as_event: !accepts.json, may_stream: accepts.event_stream };
        match self.read(heads, body).await {
            Ok(body) => self.message(headers, heads, body, form).await,
            Err(refused) => refused,
        }
    }

    /// Reads the body: as it came when it is one piece, which small ones always are, else copied into a bounded buffer.
    async fn read(&self, heads: &Heads<'_>, mut body: Incoming) -> Result<Bytes, Response<Answer>> {
        let max = self.options.max_body;
        if heads.content_length.is_some_and(|length| length > max as u64) {
            discard(&mut body, max).await;
            return Err(too_large(max));
        }
        let pieces = async {
            let first = match body.frame().await {
                None => return Ok(Bytes::new()),
                Some(frame) => frame.map_err(|_| cut_short())?.into_data().unwrap_or_default(),
            };
            if first.len() > max {
                return Err(too_large(max));
            }
            if body.is_end_stream() {
                return Ok(first);
            }
            let room = u32::try_from(max / 1024 + 1).unwrap_or(u32::MAX);
            let Ok(_room) = self.bodies.try_acquire_many(room) else {
                return Err(busy("too many large bodies are being read; try again in a second"));
            };
            let mut whole = BytesMut::from(first);
            while let Some(frame) = body.frame().await {
                let piece = frame.map_err(|_| cut_short())?.into_data().unwrap_or_default();
                if whole.len() + piece.len() > max {
                    discard(&mut body, max).await;
                    return Err(too_large(max));
                }
                whole.extend_from_slice(&piece);
            }
            Ok(whole.freeze())
        };
        // Polled once before a timer is armed: a small body is there with its head.
        let mut pieces = pin!(pieces);
        if let Some(result) = pieces.as_mut().now_or_never() {
            return result;
        }
        match tokio::time::timeout(BODY_TIMEOUT, pieces).await {
            Ok(result) => result,
            Err(_) => Err(refusal(
                StatusCode::REQUEST_TIMEOUT,
                Code::INVALID_REQUEST,
                "the body did not come in time",
            )),
        }
    }

    async fn message(
        &self,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        body: Bytes,
        form: Form<'_>,
    ) -> Response<Answer> {
        let (kind, envelope) = match scan(&body) {
            Ok(scanned) => scanned,
            Err(refused) if heads.session.is_some() && body.trim_ascii_start().first() == Some(&b'[') => {
                return Box::pin(self.batch(headers, heads, &body, refused, form)).await;
            }
            Err(refused) => return refused_message(&body, &refused, form),
        };
        let method = admit::method_of(&body, &envelope);
        let header_version = heads.version.once();
        match kind {
            Message::Request if admit::is_modern(&envelope, method, header_version) => {
                self.modern(heads, body, &envelope, method, form).await
            }
            // Rare paths are boxed: the future of every request is as large as its largest path.
            Message::Request => {
                Box::pin(self.legacy_request(headers, heads, body, &envelope, method, form)).await
            }
            Message::Notification | Message::Response => {
                self.no_request(heads, &body, &envelope, method, form.caller)
            }
        }
    }

    async fn modern(
        &self,
        heads: &Heads<'_>,
        body: Bytes,
        envelope: &Envelope,
        method: Method,
        form: Form<'_>,
    ) -> Response<Answer> {
        // A guard: counting a reference that all cores share would cost each call more than the look-up.
        let endpoint = self.live.load();
        let id = envelope.id.span;
        if let Err(failure) = self.check_modern(heads, &body, envelope, method) {
            return failed(&endpoint, id.of(&body), failure, form);
        }
        let request =
            admit::modern(body.clone(), envelope, method, Arc::clone(form.caller)).with_time(endpoint.time);
        let log_id = request.log_id();
        let progress = if form.may_stream { admit::progress(&body, envelope, None) } else { None };
        if let Some((progress, Some(events))) = progress {
            let request = request.with_progress(Some(progress));
            return stream(work(Guard::into_inner(endpoint), request, admit::slice(&body, id)), events, form)
                .await;
        }
        let outcome = endpoint.service.call(request).await;
        finished(done(&endpoint, id.of(&body), Revision::LATEST, &outcome, log_id), form)
    }

    /// The checks of the modern era in the order of digest 2.2.4, from `_meta` on.
    fn check_modern(
        &self,
        heads: &Heads<'_>,
        body: &[u8],
        envelope: &Envelope,
        method: Method,
    ) -> Result<(), Failure> {
        admit::check_is_no_notification(body, envelope, method)?;
        admit::check_meta(envelope)?;
        self.check_version_header(heads, body, envelope)?;
        admit::check_version(body, envelope)?;
        check_mirrored("Mcp-Method", heads.method, envelope.method.bytes(body).as_deref())?;
        let name = match method {
            Method::ToolsCall | Method::PromptsGet => envelope.name.bytes(body),
            Method::ResourcesRead => envelope.uri.bytes(body),
            _ => None,
        };
        if name.is_some() { check_mirrored("Mcp-Name", heads.name, name.as_deref()) } else { Ok(()) }
    }

    fn check_version_header(
        &self,
        heads: &Heads<'_>,
        body: &[u8],
        envelope: &Envelope,
    ) -> Result<(), Failure> {
        let checked =
            check_mirrored("MCP-Protocol-Version", heads.version, envelope.version.bytes(body).as_deref());
        if checked.is_err() && self.options.tolerate_version_header && is_known_to_mix(heads, body, envelope)
        {
            tracing::warn!(
                "took a 2026-07-28 body under a legacy version header, as `tolerate-version-header` says"
            );
            return Ok(());
        }
        checked
    }

    async fn legacy_request(
        &self,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        body: Bytes,
        envelope: &Envelope,
        method: Method,
        form: Form<'_>,
    ) -> Response<Answer> {
        let endpoint = self.live.load_full();
        let id = admit::slice(&body, envelope.id.span);
        if method == Method::Initialize {
            return self.initialize(&endpoint, &body, envelope, &id, form);
        }
        let session = match self.legacy_session(headers, heads, form.caller) {
            Ok(session) => session,
            Err(NoSession::Unknown) => return unknown_session(Some(&id)),
            Err(NoSession::Refused(text)) => {
                return failed(&endpoint, &id, Failure::new(FailureKind::InvalidRequest, text), form);
            }
        };
        if let Some(reply) = answer_here(method) {
            let mut out = Vec::new();
            reply.write(&mut out, &id, session.revision, &[]);
            return message(StatusCode::OK, out, form.as_event);
        }
        let request = admit::legacy(body.clone(), envelope, method, &session, Arc::clone(form.caller))
            .with_time(endpoint.time);
        let progress = if form.may_stream { admit::progress(&body, envelope, None) } else { None };
        let (request, events) = match progress {
            Some((progress, events)) => (request.with_progress(Some(progress)), events),
            None => (request, None),
        };
        match self.legacy.start(session.number, &id, work(endpoint, request, id.clone())) {
            Started::Ended(done) => finished(done, form),
            Started::Running(result) => {
                let work: Work = Box::pin(async move { result.await.unwrap_or_default() });
                match events {
                    Some(events) => stream(work, events, form).await,
                    None => finished(work.await, form),
                }
            }
        }
    }

    fn initialize(
        &self,
        endpoint: &Endpoint,
        body: &[u8],
        envelope: &Envelope,
        id: &[u8],
        form: Form<'_>,
    ) -> Response<Answer> {
        let session = match Session::agree(body, envelope) {
            Ok(session) => session,
            Err(failure) => {
                return finished(
                    done(endpoint, id, Revision::LATEST_LEGACY, &Err(failure), admit::next_log_id()),
                    form,
                );
            }
        };
        let sealed = session.seal(&self.options.sealer, form.caller).ok();
        let Some(sealed) = sealed.and_then(|sealed| HeaderValue::from_str(&sealed).ok()) else {
            let text = "no session can be made now; try again later";
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, Code::INTERNAL_ERROR, text);
        };
        let mut out = Vec::new();
        session.initialize_reply(endpoint, Tells::Nothing).write(&mut out, id, session.revision, &[]);
        let mut response = message(StatusCode::OK, out, form.as_event);
        response.headers_mut().insert("mcp-session-id", sealed);
        response
    }

    fn legacy_session(
        &self,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        caller: &Caller,
    ) -> Result<Session, NoSession> {
        let Some(id) = heads.session else {
            return Err(NoSession::Refused(
                "`Mcp-Session-Id` is missing: send `initialize` first, or use 2026-07-28 with `_meta` on every request",
            ));
        };
        let session = self.session(caller, id).map_err(|_| NoSession::Unknown)?;
        match heads.legacy_version(headers) {
            Ok(None) => Ok(session),
            Ok(Some(version))
                if Revision::parse(version).is_some() || version == Revision::STRAY_HEADER.as_bytes() =>
            {
                Ok(session)
            }
            _ => Err(NoSession::Refused("`MCP-Protocol-Version` names no revision that is served")),
        }
    }

    /// Takes in a notification or an answer. Neither is ever answered with a message.
    fn no_request(
        &self,
        heads: &Heads<'_>,
        body: &[u8],
        envelope: &Envelope,
        method: Method,
        caller: &Caller,
    ) -> Response<Answer> {
        let Some(id) = heads
            .session
            .filter(|_| !heads.version.once().is_some_and(trunkline_protocol::revision::is_modern_date))
        else {
            return empty(StatusCode::ACCEPTED);
        };
        let Ok(session) = self.session(caller, id) else { return unknown_session(None) };
        if method == Method::Cancelled {
            self.legacy.cancel(session.number, envelope.request_id.raw(body));
        }
        empty(StatusCode::ACCEPTED)
    }

    /// Runs a batch, which sessions of 2025-03-26 alone may send.
    async fn batch(
        &self,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        body: &Bytes,
        refused: Refusal,
        form: Form<'_>,
    ) -> Response<Answer> {
        let session = match self.legacy_session(headers, heads, form.caller) {
            Ok(session) if batch::is_batch(body, Some(&session)) => session,
            Err(NoSession::Unknown) => return unknown_session(None),
            _ => return refused_message(body, &refused, form),
        };
        let endpoint = self.live.load_full();
        let parts = match batch::parts(body, &session, &endpoint, form.caller) {
            Ok(parts) => parts,
            Err(refused) => return refused_message(body, &refused, form),
        };
        let answers = parts.into_iter().map(|part| self.batch_part(&endpoint, &session, part));
        let answers: Vec<Vec<u8>> =
            futures_util::future::join_all(answers).await.into_iter().flatten().collect();
        match batch::join(&answers) {
            Some(whole) => message(StatusCode::OK, whole, form.as_event),
            None => empty(StatusCode::ACCEPTED),
        }
    }

    async fn batch_part(&self, endpoint: &Arc<Endpoint>, session: &Session, part: Part) -> Option<Vec<u8>> {
        match part {
            Part::Nothing => None,
            Part::Cancel(id) => {
                self.legacy.cancel(session.number, &id);
                None
            }
            Part::Answer(answer) => Some(answer),
            Part::Call(request, id) => {
                match self.legacy.start(session.number, &id, work(Arc::clone(endpoint), *request, id.clone()))
                {
                    Started::Ended(done) => Some(done.message),
                    Started::Running(result) => result.await.ok().map(|done| done.message),
                }
            }
        }
    }
}

enum NoSession {
    Unknown,
    Refused(&'static str),
}

/// The whole of one request as work that owns all it needs.
fn work(endpoint: Arc<Endpoint>, request: Request, id: Bytes) -> Work {
    Box::pin(async move {
        let (revision, log_id) = (request.revision(), request.log_id());
        let outcome = endpoint.service.call(request).await;
        done(&endpoint, &id, revision, &outcome, log_id)
    })
}

/// Writes the response message of an outcome and decides its status.
fn done(endpoint: &Endpoint, id: &[u8], revision: Revision, outcome: &Outcome, log_id: u64) -> Done {
    let mut message = Vec::new();
    admit::write_outcome(&mut message, id, revision, endpoint, outcome, log_id);
    let failure = outcome.as_ref().err();
    let status = failure.map_or(StatusCode::OK, |failure| status_of(failure, revision));
    Done { message, status, retry_after: failure.and_then(Failure::retry_after) }
}

/// Legacy clients read an error from a 200; only refusals for want of room have a status of their own there.
fn status_of(failure: &Failure, revision: Revision) -> StatusCode {
    let kind = failure.kind();
    if !revision.is_modern() && !matches!(kind, FailureKind::Overloaded | FailureKind::RateLimited) {
        return StatusCode::OK;
    }
    StatusCode::from_u16(kind.row().http).unwrap_or(StatusCode::OK)
}

fn finished(done: Done, form: Form<'_>) -> Response<Answer> {
    // Cancelled by a notification: nothing is owed.
    if done.message.is_empty() {
        return empty(StatusCode::ACCEPTED);
    }
    let mut response = message(done.status, done.message, form.as_event);
    if let Some(wait) = done.retry_after {
        retry_after(&mut response, wait);
    }
    response
}

/// Streams if there is something to stream before the work ends; else answers in one piece.
async fn stream(mut work: Work, mut events: mpsc::Receiver<Bytes>, form: Form<'_>) -> Response<Answer> {
    tokio::select! {
        biased;
        Some(first) = events.recv() => answer::events(Events::new(first, events, work)),
        done = &mut work => finished(done, form),
    }
}

/// Answers a request that was refused before it reached a service.
fn failed(endpoint: &Endpoint, id: &[u8], failure: Failure, form: Form<'_>) -> Response<Answer> {
    finished(done(endpoint, id, Revision::LATEST, &Err(failure), admit::next_log_id()), form)
}

/// Answers a message that is no acceptable JSON-RPC message, with its id if it has one.
fn refused_message(body: &[u8], refused: &Refusal, form: Form<'_>) -> Response<Answer> {
    let mut out = Vec::new();
    write::error(&mut out, refused.id.map(|id| id.of(body)), refused.code, refused.message, None);
    message(StatusCode::BAD_REQUEST, out, form.as_event)
}

/// Takes in what is left of a refused body, up to `max` more bytes and not for long: a client that is still sending would
/// see a reset connection in place of the answer.
async fn discard(body: &mut Incoming, max: usize) {
    let mut left = max.saturating_mul(2);
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Late or not, the refusal goes out next.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, rest).await;
}

fn too_large(max: usize) -> Response<Answer> {
    let text = format!("the body is larger than {max} bytes, the most that `max-body` allows");
    refusal(StatusCode::PAYLOAD_TOO_LARGE, Code::INVALID_REQUEST, &text)
}

fn cut_short() -> Response<Answer> {
    refusal(StatusCode::BAD_REQUEST, Code::PARSE_ERROR, "the body ended before its length")
}

/// Compares a header with the part of the body it mirrors.
fn check_mirrored(name: &'static str, header: Mirrored<'_>, body: Option<&[u8]>) -> Result<(), Failure> {
    let refuse =
        |what: &str| Err(Failure::new(FailureKind::HeaderMismatch, format!("header `{name}` {what}")));
    let value = match header {
        Mirrored::Absent => return refuse("is missing"),
        Mirrored::Repeated => return refuse("occurs more than once"),
        Mirrored::Once(value) => value,
    };
    if Some(value) == body && value.is_ascii() && !value.starts_with(b"=?") {
        return Ok(());
    }
    match header::decode(value) {
        Err(error) => refuse(&format!("cannot be read: {error}")),
        Ok(text) if Some(text.as_bytes()) == body => Ok(()),
        Ok(_) => refuse("differs from the body"),
    }
}

/// Clients seen to send a legacy version header with modern bodies.
fn is_known_to_mix(heads: &Heads<'_>, body: &[u8], envelope: &Envelope) -> bool {
    let legacy_header =
        heads.version.once().and_then(Revision::parse).is_some_and(|revision| !revision.is_modern());
    let modern_body = envelope.version.text(body).is_some_and(|version| version == Revision::LATEST.as_str());
    let client = crate::legacy::client_name_in(envelope.client.raw(body));
    legacy_header && modern_body && (client.starts_with("claude") || client.starts_with("Anthropic"))
}
