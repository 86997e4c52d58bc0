//! Who asks, decided from the head of a request before its body is read, and what the endpoint says of itself to those who
//! may not come in yet.
//!
//! Spec: 2026-07-28 basic/authorization, RFC 6750 section 3, RFC 9728 section 3.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use trunkline_protocol::Code;
use trunkline_service::authenticate::{
    Access, Authenticator, ChallengeError, Credentials, Denied, DeniedKind, Metadata, ProtectedResource,
};
use trunkline_service::notes::{AccessRecord, HeadInfo};
use trunkline_service::seal::now;
use trunkline_service::trace::{Mark, TraceParent};
use trunkline_service::{Caller, Chain, Failure, Proof};

use super::answer::{self, Answer, empty, method_not_allowed, refusal, retry_after};
use super::counts::Why;
use super::heads::Heads;
use crate::admit;
use crate::flood::Flood;

/// When to come back while whoever judges credentials does not answer.
const UNAVAILABLE: Duration = Duration::from_secs(5);

/// How long a connection remembers a key before it asks again: so that its use is seen.
const KEY_SEEN: u64 = 60;

/// What one connection knows of who speaks on it.
pub(super) struct Known {
    /// Where it comes from, when that is known.
    address: Option<IpAddr>,
    /// The local user. One handle for the connection: cloning what all connections share, for each request, would cost every
    /// core.
    local: Arc<Caller>,
    /// Who proved last who they are, with what; `None` for an edge that keeps no connections.
    memo: Option<Mutex<Option<Memo>>>,
}

/// Credentials that were accepted on this connection.
struct Memo {
    authorization: Option<Box<[u8]>>,
    api_key: Option<Box<[u8]>>,
    caller: Arc<Caller>,
    generation: u64,
    /// When it is no longer enough, in seconds since 1970.
    ends: u64,
}

impl Known {
    /// Knows nobody yet, on a connection of its own.
    pub(super) fn on_connection(address: Option<IpAddr>) -> Self {
        Self { address, local: Arc::new(Caller::clone(&Caller::local())), memo: Some(Mutex::default()) }
    }

    /// Knows nobody, and remembers nobody.
    pub(super) fn nobody() -> Self {
        Self { address: None, local: Caller::local(), memo: None }
    }

    /// Returns where the connection comes from, when that is known.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Returns the local user.
    pub(super) fn local(&self) -> Arc<Caller> {
        Arc::clone(&self.local)
    }

    /// Returns who was accepted with the same credentials on this connection, while that holds.
    pub(super) fn recall(&self, credentials: &Credentials<'_>, generation: u64) -> Option<Arc<Caller>> {
        let memo = self.memo.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let known = memo.as_ref()?;
        let is_same = known.generation == generation
            && known.authorization.as_deref() == credentials.authorization
            && known.api_key.as_deref() == credentials.api_key;
        (is_same && (known.ends == u64::MAX || now() < known.ends)).then(|| Arc::clone(&known.caller))
    }

    fn remember(&self, credentials: &Credentials<'_>, generation: u64, caller: Arc<Caller>) -> Arc<Caller> {
        let Some(memo) = &self.memo else { return caller };
        // A handle of this connection's own, as for the local user.
        let caller = Arc::new(Caller::clone(&caller));
        *memo.lock().unwrap_or_else(PoisonError::into_inner) = Some(Memo {
            authorization: credentials.authorization.map(Box::from),
            api_key: credentials.api_key.map(Box::from),
            caller: Arc::clone(&caller),
            generation,
            ends: end_of(&caller),
        });
        caller
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

/// Returns until when a connection may remember a caller.
fn end_of(caller: &Caller) -> u64 {
    let end = caller.expires.unwrap_or(u64::MAX);
    match caller.proof {
        Proof::Key { .. } => end.min(now().saturating_add(KEY_SEEN)),
        _ => end,
    }
}

/// Decides who asks, on a connection that does not know it yet.
///
/// # Errors
/// The answer to a request whose credentials are not accepted.
pub(super) async fn identify(
    access: &Access,
    heads: &Heads<'_>,
    known: &Known,
    (record, refusals): (Option<&dyn AccessRecord>, &Refusals),
) -> Result<Arc<Caller>, Response<Answer>> {
    let Access::Guarded { authenticator, resource } = access else { return Ok(known.local()) };
    let credentials = heads.credentials();
    // Read before the verdict: what is revoked meanwhile makes another number.
    let generation = authenticator.generation();
    match judge(&**authenticator, credentials).await {
        Ok(caller) => Ok(known.remember(&credentials, generation, caller)),
        Err(denied) => {
            let log_id = admit::next_log_id();
            if let Some(record) = record {
                let head = HeadInfo {
                    log_id,
                    method: heads.method.once(),
                    address: known.address,
                    traceparent: heads.traceparent.once(),
                };
                if let Err(failure) = record.denied(&denied, head).await {
                    return Err(answer::refused(&failure));
                }
            }
            let sent = heads.traceparent.once().and_then(TraceParent::parse);
            let _entered = Mark { log_id, sent }.enter();
            refusals.log(&denied, log_id);
            Err(refused(&denied, resource))
        }
    }
}

async fn judge(
    authenticator: &dyn Authenticator,
    credentials: Credentials<'_>,
) -> Result<Arc<Caller>, Denied> {
    if credentials.is_empty() {
        let text = "this endpoint needs a token: send `Authorization: Bearer`";
        return Err(Denied::new(DeniedKind::Missing, text));
    }
    match authenticator.remembered(&credentials) {
        Some(caller) => Ok(caller),
        None => authenticator.authenticate(credentials).await,
    }
}

fn refused(denied: &Denied, resource: &ProtectedResource) -> Response<Answer> {
    let (status, code, error) = match denied.kind() {
        DeniedKind::Missing => (StatusCode::UNAUTHORIZED, Code::INVALID_REQUEST, None),
        DeniedKind::Malformed => {
            (StatusCode::BAD_REQUEST, Code::INVALID_REQUEST, Some(ChallengeError::InvalidRequest))
        }
        DeniedKind::Unavailable => {
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, Code::OVERLOADED, denied.public());
            retry_after(&mut response, UNAVAILABLE);
            return Why::Unjudged.mark(response);
        }
        // Whatever else there will be is no way in.
        _ => (StatusCode::UNAUTHORIZED, Code::INVALID_REQUEST, Some(ChallengeError::InvalidToken)),
    };
    let mut response = refusal(status, code, denied.public());
    add_challenge(&mut response, &resource.challenge(error, &[]));
    let is_missing = denied.kind() == DeniedKind::Missing;
    if is_missing { Why::NoCredentials } else { Why::BadCredentials }.mark(response)
}

/// Writes refusals to the log, so many a second: anybody can cause them.
#[derive(Debug)]
pub(super) struct Refusals(Flood);

/// Most lines of a second.
const LOGGED: u64 = 50;

impl Default for Refusals {
    fn default() -> Self {
        Self(Flood::new(LOGGED))
    }
}

impl Refusals {
    fn log(&self, denied: &Denied, log_id: u64) {
        // Clients ask without a token first, to learn where to get one.
        if denied.kind() == DeniedKind::Missing {
            return tracing::debug!(request = %format_args!("{log_id:016x}"), "a request without credentials was refused");
        }
        let Some(left_out) = self.0.line() else { return };
        if left_out > 0 {
            tracing::warn!(
                refused = left_out,
                "more requests were refused for their credentials since the last one that was told"
            );
        }
        let request = format_args!("{log_id:016x}");
        match denied.kind() {
            DeniedKind::Unavailable => {
                tracing::warn!(%request, "nobody could tell whether credentials hold: {}", Chain(denied));
            }
            kind => tracing::info!(%request, ?kind, "a request was refused: {}", Chain(denied)),
        }
    }
}

fn add_challenge(response: &mut Response<Answer>, challenge: &str) {
    // What configuration says is checked when it is read; a value that is no header is left out, and the status stays.
    if let Ok(value) = HeaderValue::from_str(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
}

/// Returns the challenge for a failure that names scopes.
pub(super) fn scope_challenge(access: &Access, failure: &Failure) -> Option<HeaderValue> {
    let required = failure.required_scopes();
    let Access::Guarded { resource, .. } = access else { return None };
    if required.is_empty() {
        return None;
    }
    HeaderValue::from_str(&resource.challenge(Some(ChallengeError::InsufficientScope), required)).ok()
}

/// Returns the metadata of the endpoint as a protected resource, if the request asks for it.
///
/// It is for everybody: whoever reads it has no token yet, and it holds nothing that a request could change.
pub(super) fn metadata(access: &Access, parts: &Parts) -> Option<Response<Answer>> {
    let Access::Guarded { resource, .. } = access else { return None };
    let metadata = resource.metadata.as_ref().filter(|metadata| *metadata.path == *parts.uri.path())?;
    let mut response = document(metadata, &parts.method);
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Some(response)
}

fn document(metadata: &Metadata, method: &Method) -> Response<Answer> {
    if method == Method::GET || method == Method::HEAD {
        let mut response = answer::json(StatusCode::OK, metadata.document.to_vec());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        answer::mark_as_json(&mut response, HeaderMap::new());
        return response;
    }
    if method == Method::OPTIONS {
        let mut response = empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, OPTIONS"));
        let allowed = HeaderValue::from_static("content-type, accept, mcp-protocol-version");
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        return response;
    }
    method_not_allowed("GET, HEAD, OPTIONS")
}
