//! From a classified message to a request of the right era, by the same rules on every edge.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;
use trunkline_protocol::{Envelope, Kind, Method, Revision, Span, revision, write};
use trunkline_service::{Caller, Chain, Endpoint, Failure, FailureKind, Outcome, Progress, Request};

use crate::legacy::Session;

/// Events that wait for a slow reader before progress is dropped.
const EVENT_QUEUE: usize = 16;

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

/// Tells whether a request is of the modern era. `header` is the HTTP version header, if any.
///
/// A version in `_meta` decides, even for a method that only the other era has. Spec: digest of 2026-07-28
/// basic/lifecycle#backward-compatibility.
pub(crate) fn is_modern(envelope: &Envelope, method: Method, header: Option<&[u8]>) -> bool {
    envelope.version.is_present()
        || header.is_some_and(revision::is_modern_date)
        || matches!(method, Method::ServerDiscover | Method::SubscriptionsListen)
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
    Err(Failure::new(FailureKind::MethodNotFound, "method not found: a notification has no `id`"))
}

/// Checks what every modern request must carry, less what only HTTP has.
///
/// # Errors
/// `InvalidParams` for a hole in `_meta`.
pub(crate) fn check_meta(envelope: &Envelope) -> Result<(), Failure> {
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
    Ok(())
}

/// The version as nearly every request writes it.
const QUOTED_LATEST: &[u8] = b"\"2026-07-28\"";

/// Checks that the version in `_meta` is served.
///
/// # Errors
/// `UnsupportedVersion` with the versions that are.
pub(crate) fn check_version(body: &[u8], envelope: &Envelope) -> Result<(), Failure> {
    if envelope.version.raw(body) == QUOTED_LATEST {
        return Ok(());
    }
    let version = envelope.version.text(body).unwrap_or_default();
    if version == Revision::LATEST.as_str() {
        return Ok(());
    }
    let requested: String = version.chars().take(64).collect();
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

/// Returns the sender and receiver of a request's progress, when the client asked for it.
pub(crate) fn progress(
    body: &Bytes,
    envelope: &Envelope,
    out: Option<&mpsc::Sender<Bytes>>,
) -> Option<(Progress, Option<mpsc::Receiver<Bytes>>)> {
    let token = envelope.progress_token;
    if !token.is_string() && token.kind != Kind::Integer {
        return None;
    }
    let token = slice(body, token.span);
    Some(match out {
        Some(out) => (Progress::new(token, out.clone()), None),
        None => {
            let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
            (Progress::new(token, sender), Some(receiver))
        }
    })
}

/// Appends the response message of an outcome, without line breaks.
pub(crate) fn write_outcome(
    out: &mut Vec<u8>,
    id: &[u8],
    revision: Revision,
    endpoint: &Endpoint,
    outcome: &Outcome,
    log_id: u64,
) {
    let from = out.len();
    match outcome {
        Ok(reply) => reply.write(out, id, revision, &endpoint.result_meta),
        Err(failure) => {
            log_failure(failure, log_id);
            let text = public_text(failure, log_id);
            write::error(out, Some(id), failure.kind().row().code, &text, failure.data());
        }
    }
    if out.get(from..).is_some_and(write::has_line_break) {
        let mut tail = out.split_off(from);
        write::without_line_breaks(&mut tail);
        out.append(&mut tail);
    }
}

/// What the caller reads; with the request's number where the operator has something to find under it.
fn public_text(failure: &Failure, log_id: u64) -> Cow<'_, str> {
    if failure.kind().row().level <= tracing::Level::WARN {
        Cow::Owned(format!("{} (request {log_id:016x})", failure.public()))
    } else {
        Cow::Borrowed(failure.public())
    }
}

/// Writes a refusal to the operator's log, with its whole chain of causes.
fn log_failure(failure: &Failure, log_id: u64) {
    let kind = failure.kind();
    let request = format_args!("{log_id:016x}");
    match kind.row().level {
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
