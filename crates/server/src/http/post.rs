//! One POST: read the body, decide the era, check what its era demands, run it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use trunkline_protocol::{
    Code, Envelope, Kind, Message, Method, Refusal, Revision, Token, header, scan, write,
};
use trunkline_service::authenticate::Access;
use trunkline_service::trace::Mark;
use trunkline_service::{Caller, Endpoint, Event, Failure, FailureKind, Outcome, ParamHeaders, Request};

use super::Http;
use super::answer::{self, Answer, Done, Work, busy, empty, message, rate_limit, refusal, retry_after};
use super::counts::Why;
use super::events::{Events, message_of};
use super::heads::{Heads, Mirrored};
use super::identity::scope_challenge;
use crate::admit;

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the rest of a refused body is taken in.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Who asks on this connection, and what it takes of the two answer forms.
#[derive(Clone, Copy)]
pub(super) struct Form<'a> {
    /// The connection's own handle on its caller: cloning it disturbs no other core.
    pub(super) caller: &'a Arc<Caller>,
    /// Answer with an event even where there is nothing to stream.
    pub(super) as_event: bool,
    /// There may be a stream.
    pub(super) may_stream: bool,
}

impl Http {
    pub(super) async fn post<B: Body<Data = Bytes>>(
        &self,
        caller: &Arc<Caller>,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        body: B,
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
        match self.read(heads, pin!(body)).await {
            Ok(body) => {
                let response = self.message(headers, heads, body, form).await;
                // Nearly none is.
                if response.status().is_client_error() && Why::is_of_message(&response) {
                    return Box::pin(self.counted(caller, response)).await;
                }
                response
            }
            Err(refused) => refused,
        }
    }

    /// Counts a message that this edge itself refused: whoever sends many of them has as many as of any other.
    async fn counted(&self, caller: &Arc<Caller>, refused: Response<Answer>) -> Response<Answer> {
        self.count(caller).await.unwrap_or(refused)
    }

    /// Reads the body: as it came when it is one piece, which small ones always are, else copied into a bounded buffer.
    async fn read<B: Body<Data = Bytes>>(
        &self,
        heads: &Heads<'_>,
        mut body: Pin<&mut B>,
    ) -> Result<Bytes, Response<Answer>> {
        let max = self.options.max_body;
        if heads.content_length.is_some_and(|length| length > max as u64) {
            Box::pin(discard(&mut body, max)).await;
            return Err(too_large(max));
        }
        // A small body is there with its head: no timer is armed for it.
        let first = match body.frame().now_or_never() {
            None => None,
            Some(None) => return Ok(Bytes::new()),
            Some(Some(frame)) => Some(frame.map_err(|_| cut_short())?.into_data().unwrap_or_default()),
        };
        match first {
            Some(first) if first.len() > max => Err(too_large(max)),
            Some(first) if body.is_end_stream() => Ok(first),
            first => {
                let before = self.generation();
                let pieces = tokio::time::timeout(BODY_TIMEOUT, self.read_pieces(first, body));
                match Box::pin(pieces).await {
                    // Whoever takes long for a body is not the caller of before the change.
                    Ok(Ok(_)) if self.generation() != before => {
                        Err(busy("who may come in changed while the body was read; send it again"))
                    }
                    Ok(result) => result,
                    Err(_) => {
                        let text = "the body did not come in time";
                        Err(refusal(StatusCode::REQUEST_TIMEOUT, Code::INVALID_REQUEST, text))
                    }
                }
            }
        }
    }

    /// Returns the number that changes when callers have to be judged anew.
    fn generation(&self) -> Option<u64> {
        let Access::Guarded { authenticator, .. } = &self.live.load().access else { return None };
        Some(authenticator.generation())
    }

    /// Reads what comes after the first piece, which may not be there yet.
    async fn read_pieces<B: Body<Data = Bytes>>(
        &self,
        first: Option<Bytes>,
        mut body: Pin<&mut B>,
    ) -> Result<Bytes, Response<Answer>> {
        let max = self.options.max_body;
        let first = match first {
            Some(first) => first,
            None => match body.frame().await {
                None => return Ok(Bytes::new()),
                Some(frame) => frame.map_err(|_| cut_short())?.into_data().unwrap_or_default(),
            },
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
        let (header_version, in_session) = (heads.version.once(), heads.session.is_some());
        match kind {
            Message::Request if admit::is_modern(&envelope, method, header_version, in_session) => {
                self.modern(headers, heads, body, &envelope, method, form).await
            }
            // Rare paths are boxed: the future of every request is as large as its largest path.
            Message::Request => {
                Box::pin(self.legacy_request(headers, heads, body, &envelope, method, form)).await
            }
            Message::Notification | Message::Response => {
                Box::pin(self.no_request(heads, kind, &body, &envelope, method, form.caller)).await
            }
        }
    }

    async fn modern(
        &self,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        body: Bytes,
        envelope: &Envelope,
        method: Method,
        form: Form<'_>,
    ) -> Response<Answer> {
        // A guard: counting a reference that all cores share would cost each call more than the look-up.
        let endpoint = self.live.load();
        let id = envelope.id.span.of(&body);
        if let Err(failure) = self.check_modern(heads, &body, envelope, method) {
            return failed(&endpoint, id, failure, form);
        }
        if heads.has_params || admit::has_input(envelope) || admit::wants_stream(envelope, method) {
            let endpoint = Guard::into_inner(endpoint);
            return Box::pin(self.modern_rare(endpoint, headers, heads, body, envelope, method, form)).await;
        }
        let id = Id::new(id);
        let request = admit::modern(body, envelope, method, Arc::clone(form.caller))
            .with_time(endpoint.time)
            .with_param_headers(ParamHeaders::None)
            .with_trace(heads.trace(headers));
        let mark = request.mark();
        let mut outcome = endpoint.service.call(request).await;
        finished(done(&endpoint, id.bytes(), Revision::LATEST, &mut outcome, mark), form)
    }

    /// Runs a request that is sent again with input, mirrors arguments, or has something to stream.
    #[expect(clippy::too_many_arguments, reason = "all that is known of the request, from its one caller")]
    async fn modern_rare(
        &self,
        endpoint: Arc<Endpoint>,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        body: Bytes,
        envelope: &Envelope,
        method: Method,
        form: Form<'_>,
    ) -> Response<Answer> {
        // A copy: a stream that lasts must not keep the buffer of its connection.
        let id = Bytes::copy_from_slice(envelope.id.span.of(&body));
        let Some(params) = heads.params(headers) else {
            let text = "there are more `Mcp-Param-*` headers than any tool asks for";
            return failed(&endpoint, &id, Failure::new(FailureKind::HeaderMismatch, text), form);
        };
        let input = match admit::input(&body, envelope, method) {
            Ok(input) => input,
            Err(failure) => return failed(&endpoint, &id, failure, form),
        };
        let streams = form.may_stream && admit::wants_stream(envelope, method);
        let (attached, events) = match streams.then(|| admit::outlet(&self.stopping.token)) {
            Some((outlet, events)) => (Some(admit::attached(&body, envelope, outlet)), Some(events)),
            None => (None, None),
        };
        let request = admit::modern(body, envelope, method, Arc::clone(form.caller))
            .with_time(endpoint.time)
            .with_param_headers(params)
            .with_trace(heads.trace(headers))
            .with_input(input)
            .with_attached(attached);
        let work = work(endpoint, request, id);
        match events {
            Some(events) => stream(work, events, form).await,
            None => finished(work.await, form),
        }
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
        admit::check_meta(body, envelope)?;
        self.check_version_header(heads, body, envelope)?;
        admit::check_version(body, envelope)?;
        check_mirrored("Mcp-Method", heads.method, body, envelope.method)?;
        let name = match method {
            Method::ToolsCall | Method::PromptsGet => envelope.name,
            Method::ResourcesRead => envelope.uri,
            Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => envelope.task_id,
            // Also every method that does not exist: that it does not is told first.
            _ => Token::default(),
        };
        if name.is_string() { check_mirrored("Mcp-Name", heads.name, body, name) } else { Ok(()) }
    }

    fn check_version_header(
        &self,
        heads: &Heads<'_>,
        body: &[u8],
        envelope: &Envelope,
    ) -> Result<(), Failure> {
        let checked = check_mirrored("MCP-Protocol-Version", heads.version, body, envelope.version);
        if checked.is_err() && self.options.tolerate_version_header && is_known_to_mix(heads, body, envelope)
        {
            tracing::warn!(
                "took a 2026-07-28 body under a legacy version header, as `tolerate-version-header` says"
            );
            return Ok(());
        }
        checked
    }
}

/// The whole of one request as work that owns all it needs.
fn work(endpoint: Arc<Endpoint>, request: Request, id: Bytes) -> Work {
    Box::pin(async move {
        let (revision, mark) = (request.revision(), request.mark());
        let mut outcome = endpoint.service.call(request).await;
        done(&endpoint, &id, revision, &mut outcome, mark)
    })
}

/// Writes the response message of an outcome and decides its status.
pub(super) fn done(
    endpoint: &Endpoint,
    id: &[u8],
    revision: Revision,
    outcome: &mut Outcome,
    mark: Mark,
) -> Done {
    let message = admit::outgoing(id, revision, endpoint, outcome, mark);
    let failure = outcome.as_ref().err();
    let status = failure.map_or(StatusCode::OK, |failure| status_of(failure, revision));
    let retry_after = failure.and_then(Failure::retry_after);
    let challenge = failure.and_then(|failure| scope_challenge(&endpoint.access, failure));
    let limit = failure.and_then(Failure::rate_limit).cloned().map(Box::new);
    Done { message, status, retry_after, limit, challenge }
}

/// Legacy clients read an error from a 200; only refusals for want of room or of scopes have a status of their own there.
pub(super) fn status_of(failure: &Failure, revision: Revision) -> StatusCode {
    let kind = failure.kind();
    // A scope that is missing is told by a challenge in every era.
    let has_status = matches!(kind, FailureKind::Overloaded | FailureKind::RateLimited)
        || !failure.required_scopes().is_empty();
    if !revision.is_modern() && !has_status {
        return StatusCode::OK;
    }
    StatusCode::from_u16(kind.row().http).unwrap_or(StatusCode::OK)
}

pub(super) fn finished(done: Done, form: Form<'_>) -> Response<Answer> {
    // Cancelled by a notification: nothing is owed.
    if done.message.is_empty() {
        return empty(StatusCode::ACCEPTED);
    }
    let mut response = message(done.status, done.message, form.as_event);
    if let Some(wait) = done.retry_after {
        retry_after(&mut response, wait);
    }
    if let Some(limit) = done.limit {
        rate_limit(&mut response, &limit);
    }
    if let Some(challenge) = done.challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Streams if there is something to stream before the work ends; else answers in one piece.
async fn stream(mut work: Work, mut events: mpsc::Receiver<Event>, form: Form<'_>) -> Response<Answer> {
    loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => {
                if let Some(first) = message_of(event) {
                    return answer::events(Events::of_call(first, events, work));
                }
            }
            done = &mut work => return ended(done, Some(events), form),
        }
    }
}

/// Answers a request that ended before its stream began, after what it told.
pub(super) fn ended(done: Done, events: Option<mpsc::Receiver<Event>>, form: Form<'_>) -> Response<Answer> {
    let Some(mut events) = events.filter(|_| done.status.is_success() && !done.message.is_empty()) else {
        return finished(done, form);
    };
    while let Ok(event) = events.try_recv() {
        if let Some(first) = message_of(event) {
            return answer::events(Events::of_call(first, events, Box::pin(std::future::ready(done))));
        }
    }
    finished(done, form)
}

/// Answers a request that was refused before it reached a service.
pub(super) fn failed(endpoint: &Endpoint, id: &[u8], failure: Failure, form: Form<'_>) -> Response<Answer> {
    let mark = Mark::of(admit::next_log_id());
    Why::Message.mark(finished(done(endpoint, id, Revision::LATEST, &mut Err(failure), mark), form))
}

/// Answers a message that is no acceptable JSON-RPC message, with its id if it has one.
pub(super) fn refused_message(body: &[u8], refused: &Refusal, form: Form<'_>) -> Response<Answer> {
    let mut out = Vec::new();
    write::error(&mut out, refused.id.map(|id| id.of(body)), refused.code, refused.message, None);
    Why::Message.mark(message(StatusCode::BAD_REQUEST, out, form.as_event))
}

/// Takes in what is left of a refused body, up to `max` more bytes and not for long: a client that is still sending would
/// see a reset connection in place of the answer.
async fn discard<B: Body<Data = Bytes> + Unpin>(body: &mut B, max: usize) {
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
    let text = format!("the body is larger than {max} bytes, the most that is taken");
    refusal(StatusCode::PAYLOAD_TOO_LARGE, Code::INVALID_REQUEST, &text)
}

fn cut_short() -> Response<Answer> {
    let text = "the body ended before its length";
    Why::CutShort.mark(refusal(StatusCode::BAD_REQUEST, Code::PARSE_ERROR, text))
}

/// Compares a header with the string of the body that it mirrors.
fn check_mirrored(
    name: &'static str,
    header: Mirrored<'_>,
    body: &[u8],
    mirrored: Token,
) -> Result<(), Failure> {
    // Nearly always both are the same plain text.
    if let Mirrored::Once(value) = header
        && mirrored.kind == Kind::String
        && mirrored.raw(body).get(1..).and_then(|rest| rest.strip_suffix(b"\"")) == Some(value)
        && value.is_ascii()
        && !value.starts_with(b"=?")
    {
        return Ok(());
    }
    check_encoded(name, header, mirrored.bytes(body).as_deref())
}

fn check_encoded(name: &'static str, header: Mirrored<'_>, body: Option<&[u8]>) -> Result<(), Failure> {
    let refuse =
        |what: &str| Err(Failure::new(FailureKind::HeaderMismatch, format!("header `{name}` {what}")));
    let value = match header {
        Mirrored::Absent => return refuse("is missing"),
        Mirrored::Repeated => return refuse("occurs more than once"),
        Mirrored::Once(value) => value,
    };
    match header::decode(value) {
        Err(error) => refuse(&format!("cannot be read: {error}")),
        Ok(text) if Some(text.as_bytes()) == body => Ok(()),
        Ok(_) => refuse("differs from the body"),
    }
}

/// The id of a request, kept apart from its body, which goes to the service: short ones without another allocation.
enum Id {
    Short([u8; 31], u8),
    Long(Box<[u8]>),
}

impl Id {
    fn new(raw: &[u8]) -> Self {
        let mut short = [0; 31];
        match (short.get_mut(..raw.len()), u8::try_from(raw.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(raw);
                Self::Short(short, length)
            }
            _ => Self::Long(raw.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(short, length) => short.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(long) => long,
        }
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
