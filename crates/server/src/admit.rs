//! From a classified message to a request of the right era, by the same rules on every edge.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{Code, Envelope, Kind, LogLevel, Method, Revision, Span, revision, write};
use trunkline_service::trace::Mark;
use trunkline_service::{
    Attached, Caller, Chain, Endpoint, Event, Failure, FailureKind, Input, Log, Outcome, Outlet, Progress,
    Request,
};

use crate::flood::Flood;
use crate::legacy::Session;
use crate::outgoing::{LARGE, Outgoing};

/// Events that wait for a slow reader before progress is dropped.
const EVENT_QUEUE: usize = 16;
/// Most characters that are shown of the name of a method.
const MAX_SHOWN: usize = 64;
/// The code for a resource that does not exist, before 2026-07-28.
const RESOURCE_NOT_FOUND: Code = Code(-32002);

/// Returns a number under which caller and log know a request; unlike those of other processes.
///
/// Each thread takes numbers in blocks, so that no two cores write the same line of memory for each request.
#[must_use]
pub fn next_log_id() -> u64 {
    const BLOCK: u64 = 1 << 16;
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let mut seed = [0; 8];
        // Without randomness the numbers start at zero: they are names, not secrets.
        let _ = trunkline_service::seal::random(&mut seed);
        AtomicU64::new(u64::from_le_bytes(seed) & !(BLOCK - 1))
    });
    thread_local!(static MINE: Cell<u64> = const { Cell::new(0) });
    MINE.with(|mine| {
        let id = match mine.get() {
            used if used & (BLOCK - 1) == 0 => NEXT.fetch_add(BLOCK, Ordering::Relaxed),
            next => next,
        };
        mine.set(id.wrapping_add(1));
        id
    })
}

/// Returns the part of a body that a span covers.
pub(crate) fn slice(body: &Bytes, span: Span) -> Bytes {
    body.slice(span.start as usize..span.end as usize)
}

/// Returns the method of a message.
pub(crate) fn method_of(body: &[u8], envelope: &Envelope) -> Method {
    envelope.method.bytes(body).map_or(Method::Unknown, |name| Method::parse(&name))
}

/// Tells whether a request is of the modern era. `header` is the HTTP version header, if any; `in_session` says that it comes
/// within a session of the handshake era.
///
/// A version in `_meta` decides, even for a method that only the other era has; methods that only this era has decide where
/// nothing else does. Spec: 2026-07-28 basic/lifecycle#backward-compatibility.
pub(crate) fn is_modern(
    envelope: &Envelope,
    method: Method,
    header: Option<&[u8]>,
    in_session: bool,
) -> bool {
    envelope.version.is_present()
        || header.is_some_and(revision::is_modern_date)
        || !in_session && matches!(method, Method::ServerDiscover | Method::SubscriptionsListen)
}

/// Refuses a request that has the name of a notification, in any era and whatever else it lacks.
///
/// # Errors
/// `MethodNotFound`.
pub(crate) fn check_is_no_notification(
    body: &[u8],
    envelope: &Envelope,
    method: Method,
) -> Result<(), Failure> {
    if method.is_modern() {
        return Ok(());
    }
    let name = envelope.method.bytes(body).unwrap_or_default();
    if !name.starts_with(b"notifications/") {
        return Ok(());
    }
    Err(method_not_found(&name, ": a notification has no `id`"))
}

/// Says that a method, whose name came from outside, is not found, and why.
pub(crate) fn method_not_found(name: &[u8], why: &str) -> Failure {
    let name = String::from_utf8_lossy(name);
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(MAX_SHOWN).collect();
    Failure::new(FailureKind::MethodNotFound, format!("method `{name}` not found{why}"))
}

/// Checks what every modern request must carry, less what only HTTP has.
///
/// # Errors
/// `InvalidParams` for a hole in `_meta`.
pub(crate) fn check_meta(body: &[u8], envelope: &Envelope) -> Result<(), Failure> {
    let missing = |what| Err(Failure::new(FailureKind::InvalidParams, what));
    if !envelope.version.is_string() {
        return missing("`_meta` needs `io.modelcontextprotocol/protocolVersion`, a string");
    }
    if envelope.capabilities.kind != Kind::Object {
        return missing("`_meta` needs `io.modelcontextprotocol/clientCapabilities`, an object");
    }
    if !matches!(
        envelope.progress_token.kind,
        Kind::Absent | Kind::String | Kind::EscapedString | Kind::Integer
    ) {
        return missing("`_meta.progressToken` must be a string or an integer");
    }
    if !envelope.log_level.is_nothing() && log_level(body, envelope).is_none() {
        let names = LogLevel::ALL.map(LogLevel::as_str).join(", ");
        let text = format!("`_meta` needs `io.modelcontextprotocol/logLevel` to be one of {names}");
        return Err(Failure::new(FailureKind::InvalidParams, text));
    }
    Ok(())
}

/// The lowest level of log messages that a modern request wants; `None`: none at all.
fn log_level(body: &[u8], envelope: &Envelope) -> Option<LogLevel> {
    LogLevel::parse(&envelope.log_level.text(body)?)
}

/// The longest version, in bytes, that is told back to its client.
const MAX_VERSION: usize = 256;
/// The version as nearly every request writes it.
const QUOTED_LATEST: &[u8] = b"\"2026-07-28\"";

/// Checks that the version in `_meta` is served.
///
/// # Errors
/// `UnsupportedVersion` with the versions that are; `InvalidParams` for what is too long to be one.
pub(crate) fn check_version(body: &[u8], envelope: &Envelope) -> Result<(), Failure> {
    if envelope.version.raw(body) == QUOTED_LATEST {
        return Ok(());
    }
    let version = envelope.version.text(body).unwrap_or_default();
    if version == Revision::LATEST.as_str() {
        return Ok(());
    }
    // The answer has to name it as it was sent.
    if version.len() > MAX_VERSION {
        let text = format!(
            "`_meta` needs `io.modelcontextprotocol/protocolVersion` to be a date such as `{}`; it is {} bytes long",
            Revision::LATEST,
            version.len()
        );
        return Err(Failure::new(FailureKind::InvalidParams, text));
    }
    let requested = &*version;
    let data = json!({ "supported": [Revision::LATEST.as_str()], "requested": requested });
    let text = format!("protocol version `{requested}` is not served here; use `{}`", Revision::LATEST);
    Err(Failure::new(FailureKind::UnsupportedVersion, text).with_data(data.to_string().into_bytes()))
}

/// Makes the request of a modern message.
pub(crate) fn modern(body: Bytes, envelope: &Envelope, method: Method, caller: Arc<Caller>) -> Request {
    let method = if method.is_modern() { method } else { Method::Unknown };
    Request::new(body, envelope, method, Revision::LATEST, caller, next_log_id())
}

/// Makes the stateless request of a legacy message in its session.
pub(crate) fn legacy(
    body: Bytes,
    envelope: &Envelope,
    method: Method,
    session: &Session,
    caller: Arc<Caller>,
) -> Request {
    let method = if method == Method::ServerDiscover { Method::Unknown } else { method };
    Request::new(body, envelope, method, session.revision, caller, next_log_id())
        .with_legacy_client(Arc::clone(&session.client))
}

/// Returns the progress token of a request as a copy: it outlives the request, and must not keep the buffer of a connection.
pub(crate) fn progress_token(body: &[u8], envelope: &Envelope) -> Option<Bytes> {
    let token = envelope.progress_token;
    let is_token = token.is_string() || token.kind == Kind::Integer;
    is_token.then(|| Bytes::copy_from_slice(token.raw(body)))
}

/// Tells whether a modern request has a use for a stream: its client asked for progress or log messages, or listens.
pub(crate) fn wants_stream(envelope: &Envelope, method: Method) -> bool {
    envelope.progress_token.is_present()
        || envelope.log_level.is_present()
        || method == Method::SubscriptionsListen
}

/// Returns what is attached to a modern request that leaves on `outlet`.
pub(crate) fn attached(body: &[u8], envelope: &Envelope, outlet: Outlet) -> Box<Attached> {
    let progress = progress_token(body, envelope).map(|token| Progress::new(token, outlet.clone()));
    let log = log_level(body, envelope).map(|level| Log::new(level, outlet.clone()));
    Box::new(Attached { progress, log, ..Attached::new(outlet) })
}

/// Returns an outlet of one request, and where its events come out.
pub(crate) fn outlet(closing: &CancellationToken) -> (Outlet, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel(EVENT_QUEUE);
    (Outlet::new(sender, closing.clone()), events)
}

/// Tells whether a modern request is sent again with what it was asked for.
pub(crate) fn has_input(envelope: &Envelope) -> bool {
    envelope.input_responses.is_present() || envelope.request_state.is_present()
}

/// Counts a request that the edge answers by itself; the failure is its answer.
pub(crate) async fn count(endpoint: &Endpoint, caller: &Arc<Caller>) -> Option<Failure> {
    endpoint.door.as_ref()?.count(caller).refusal().await
}

/// Returns what a modern request was asked for; `None` when it has nothing of it, or is one that is never asked.
///
/// # Errors
/// `InvalidParams` when the state is no string.
pub(crate) fn input(
    body: &Bytes,
    envelope: &Envelope,
    method: Method,
) -> Result<Option<Box<Input>>, Failure> {
    if !has_input(envelope)
        || !matches!(method, Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead)
    {
        return Ok(None);
    }
    let state = envelope.request_state;
    let text = state.text(body);
    if !state.is_nothing() && text.is_none() {
        let text = "`requestState` must be the string that the server gave";
        return Err(Failure::new(FailureKind::InvalidParams, text));
    }
    let responses = slice(body, envelope.input_responses.span);
    Ok(Some(Box::new(Input { responses, state: text.map(Box::from) })))
}

/// Returns the message that is sent on a shared channel after the result of a subscription that the server ends. The two
/// pages that speak of it ask for one or the other; clients take either. Spec: 2026-07-28 basic/utilities/cancellation.
pub(crate) fn cancelled(id: &[u8]) -> Vec<u8> {
    let head = br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"#;
    [&head[..], id, br#","reason":"the server ends this subscription"}}"#].concat()
}

/// Returns the response message of an outcome, without line breaks. What is large of it is not copied.
pub(crate) fn outgoing(
    id: &[u8],
    revision: Revision,
    endpoint: &Endpoint,
    outcome: &mut Outcome,
    mark: Mark,
) -> Outgoing {
    if let Ok(reply) = outcome
        && reply.members().len() > LARGE
    {
        return Outgoing::Pieces(reply.pieces(id, revision, &endpoint.result_meta));
    }
    let mut message = Vec::new();
    write_outcome(&mut message, id, revision, endpoint, outcome, mark);
    message.into()
}

/// Appends the response message of an outcome, without line breaks.
pub(crate) fn write_outcome(
    out: &mut Vec<u8>,
    id: &[u8],
    revision: Revision,
    endpoint: &Endpoint,
    outcome: &Outcome,
    mark: Mark,
) {
    let from = out.len();
    match outcome {
        Ok(reply) => reply.write(out, id, revision, &endpoint.result_meta),
        Err(failure) => {
            log_failure(failure, mark);
            let text = public_text(failure, mark.log_id);
            write::error(out, Some(id), code(failure.kind(), revision), &text, failure.data());
        }
    }
    if out.get(from..).is_some_and(write::has_line_break) {
        let mut tail = out.split_off(from);
        write::without_line_breaks(&mut tail);
        out.append(&mut tail);
    }
}

fn code(kind: FailureKind, revision: Revision) -> Code {
    if kind == FailureKind::ResourceNotFound && !revision.is_modern() {
        RESOURCE_NOT_FOUND
    } else {
        kind.row().code
    }
}

/// What the caller reads; with the request's number where the operator has something to find under it.
fn public_text(failure: &Failure, log_id: u64) -> Cow<'_, str> {
    if failure.kind().is_numbered() {
        Cow::Owned(format!("{} (request {log_id:016x})", failure.public()))
    } else {
        Cow::Borrowed(failure.public())
    }
}

/// Writes a refusal to the operator's log, with its whole chain of causes.
fn log_failure(failure: &Failure, mark: Mark) {
    let kind = failure.kind();
    let _entered = mark.enter();
    let request = format_args!("{:016x}", mark.log_id);
    // Of these there may be thousands a second, when the log is needed most.
    static REFUSED: [Flood; 2] = [Flood::new(1), Flood::new(1)];
    let [overloaded, limited] = &REFUSED;
    let flood = match kind {
        FailureKind::Overloaded => Some(overloaded),
        FailureKind::RateLimited => Some(limited),
        _ => None,
    };
    let level = match flood.map(Flood::line) {
        None => kind.row().level,
        Some(None) => tracing::Level::DEBUG,
        Some(Some(before)) => {
            if before > 0 {
                tracing::info!(
                    ?kind,
                    refused = before,
                    "more requests were refused since the last one that was told"
                );
            }
            kind.row().level
        }
    };
    match level {
        tracing::Level::ERROR => tracing::error!(%request, ?kind, "{}", Chain(failure)),
        tracing::Level::WARN => tracing::warn!(%request, ?kind, "{}", Chain(failure)),
        tracing::Level::INFO => tracing::info!(%request, ?kind, "{}", Chain(failure)),
        _ => tracing::debug!(%request, ?kind, "{}", Chain(failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quoted_version_is_the_latest_one() {
        assert_eq!(QUOTED_LATEST, format!("\"{}\"", Revision::LATEST).as_bytes());
    }
}
