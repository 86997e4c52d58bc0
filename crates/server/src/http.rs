//! Streamable HTTP: one path, both eras, an accept loop of our own.
//!
//! The order of checks is fixed: Host and Origin, method, media types and size, then the body, then the era. Answers given
//! before the body is read carry no id. Spec: 2026-07-28 and 2025-11-25 basic/transports.

mod answer;
mod calls;
mod connection;
mod events;
mod handshake;
mod heads;
mod inline;
mod line;
mod post;
mod socket;
mod streams;
mod timer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body::Body;
use tokio::sync::Semaphore;
use trunkline_protocol::Code;
use trunkline_protocol::header::Allowed;
use trunkline_service::Caller;
use trunkline_service::endpoint::Live;
use trunkline_service::seal::Sealer;

pub use answer::Answer;
use answer::{busy, empty, method_not_allowed, refusal};
use calls::Calls;
use connection::Stopping;
use heads::Heads;
use streams::Streams;

/// How long a client may take for its head, and between two requests on one connection, unless the options say otherwise.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// KiB that bodies which are still being read may take together; over it the answer is 503.
const BODIES_KIB: usize = 256 * 1024;

/// How the HTTP edge behaves.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The path that serves MCP; it is also served with a slash at its end.
    pub path: String,
    /// Most bytes of a request body; more is answered 413.
    pub max_body: usize,
    /// Which hosts and origins are served besides loopback.
    pub allowed: Allowed,
    /// Takes a body of 2026-07-28 whose version header names a legacy revision, from clients known to send that.
    ///
    /// Off unless asked for: it departs from a MUST of the specification.
    pub tolerate_version_header: bool,
    /// Seals legacy session ids.
    pub sealer: Arc<Sealer>,
    /// How long a client may take for the head of a request, between two requests on one connection, and to read something of
    /// an answer; kept to within a third of it. [`HEAD_TIMEOUT`] is a good value.
    pub head_timeout: Duration,
    /// Whether DELETE ends a session. It must not where other nodes open the same ids and do not hear of it: 405 then.
    pub ends_sessions: bool,
    /// How long requests in flight may go on after the edge was told to stop.
    pub shutdown_grace: Duration,
}

/// Whose business the path of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    /// Ours.
    Checked,
    /// The caller's, who chose it already.
    Chosen,
}

/// The HTTP edge.
#[derive(Debug)]
pub struct Http {
    live: Live,
    options: HttpOptions,
    calls: Calls,
    streams: Streams,
    stopping: Stopping,
    /// Room, in KiB, for bodies that come in more than one piece.
    bodies: Semaphore,
}

impl Http {
    /// Makes an edge for an endpoint.
    #[must_use]
    pub fn new(live: Live, options: HttpOptions) -> Self {
        Self {
            live,
            options,
            calls: Calls::default(),
            streams: Streams::default(),
            stopping: Stopping::default(),
            bodies: Semaphore::new(BODIES_KIB),
        }
    }

    /// Answers one request, for servers that bring their own connections and paths.
    ///
    /// The path is not looked at. The caller is the local user, so that Host and Origin are checked and forwarded requests
    /// refused, as [`serve`](Self::serve) does. The answer is a body of `http_body`; it must be read within a tokio runtime.
    /// Before such a server waits for its connections to end it has to call [`stop`](Self::stop).
    ///
    /// With axum: `Router::new().route_service("/mcp", service_fn(..))`, or
    /// `any(move |request: Request| async move { edge.respond(request).await.map(axum::body::Body::new) })`.
    ///
    /// # Cancel safety
    /// Dropping the future or the answer cancels a request of 2026-07-28. A call of a session goes on.
    pub async fn respond<B: Body<Data = Bytes>>(&self, request: http::Request<B>) -> Response<Answer> {
        self.answer(&Caller::local(), request, Path::Chosen).await
    }

    /// Ends streams without end, with their result where there is one; then lets calls of sessions that go on without their
    /// connection finish within the grace, and cancels the rest. From then on [`respond`](Self::respond) answers 503.
    ///
    /// # Cancel safety
    /// Streams are ended when the future is first polled; calls go on when it is dropped.
    pub async fn stop(&self) {
        self.stopping.stop();
        let _ = tokio::time::timeout(self.options.shutdown_grace, self.calls.idle()).await;
        self.calls.stop().await;
    }

    /// Answers one request. The future is as large as what it holds, and every connection keeps room for one: so the request is
    /// taken apart before it begins.
    fn answer<B: Body<Data = Bytes>>(
        &self,
        caller: &Arc<Caller>,
        request: http::Request<B>,
        place: Path,
    ) -> impl Future<Output = Response<Answer>> {
        let (parts, body) = request.into_parts();
        async move {
            if place == Path::Chosen && self.stopping.has_begun() {
                return busy("this server is stopping; connect again in a second");
            }
            let heads = Heads::read(&parts.headers);
            if let Some(mut refused) = self.refuse(&heads, &parts.uri, place) {
                answer::mark_as_json(&mut refused, parts.headers);
                return refused;
            }
            let mut response = if parts.method == Method::POST {
                self.post(caller, &parts.headers, &heads, body).await
            } else {
                self.other(caller, &parts, &heads)
            };
            if heads.origin.is_some() {
                add_cors(&parts.headers, response.headers_mut());
            }
            answer::mark_as_json(&mut response, parts.headers);
            response
        }
    }

    fn other(&self, caller: &Arc<Caller>, parts: &Parts, heads: &Heads<'_>) -> Response<Answer> {
        if parts.method == Method::GET {
            self.get(caller, &parts.headers, heads)
        } else if parts.method == Method::OPTIONS {
            preflight(&parts.headers, self.methods())
        } else if parts.method == Method::DELETE && self.options.ends_sessions {
            self.delete(caller, heads)
        } else {
            method_not_allowed(self.methods())
        }
    }

    /// The answer to a request that is not for us, or from where it may not come.
    fn refuse(&self, heads: &Heads<'_>, uri: &Uri, place: Path) -> Option<Response<Answer>> {
        let authority = uri.authority().map(http::uri::Authority::as_str);
        if let Some(refused) = self.check_host_and_origin(heads, authority) {
            return Some(refused);
        }
        let is_here =
            uri.path() == self.options.path || uri.path().strip_suffix('/') == Some(&self.options.path);
        (place == Path::Checked && !is_here).then(|| {
            let text = format!("nothing is served here; the MCP endpoint is {}", self.options.path);
            refusal(StatusCode::NOT_FOUND, Code::INVALID_REQUEST, &text)
        })
    }

    fn check_host_and_origin(&self, heads: &Heads<'_>, authority: Option<&str>) -> Option<Response<Answer>> {
        if let Some(name) = heads.repeated {
            let text = format!("header `{name}` occurs more than once");
            return Some(refusal(StatusCode::BAD_REQUEST, Code::INVALID_REQUEST, &text));
        }
        let forbidden = |text| Some(refusal(StatusCode::FORBIDDEN, Code::INVALID_REQUEST, text));
        if !heads.one_host(authority).is_some_and(|host| self.options.allowed.host(host)) {
            return forbidden("this `Host` is not served; add it to the allowed hosts");
        }
        if heads.origin.is_some_and(|origin| !self.options.allowed.origin(origin)) {
            return forbidden("this `Origin` is not served; add it to the allowed origins");
        }
        if heads.forwarded {
            return forbidden(
                "forwarded requests are not served without authentication: the local user is not behind a proxy",
            );
        }
        None
    }

    /// The methods that `Allow` names.
    fn methods(&self) -> &'static str {
        if self.options.ends_sessions { "GET, POST, DELETE, OPTIONS" } else { "GET, POST, OPTIONS" }
    }
}

/// Answers a browser that asks before it sends. The origin was checked.
fn preflight(request: &HeaderMap, methods: &'static str) -> Response<Answer> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    // Which `Mcp-Param-*` a client sends depends on the tool, so what is asked for is allowed: the origin is the gate.
    let wanted = request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let usual = HeaderValue::from_static(
        "content-type, accept, authorization, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id",
    );
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.unwrap_or(usual));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets an allowed origin read the answer.
fn add_cors(request: &HeaderMap, response: &mut HeaderMap) {
    if let Some(origin) = request.get(ORIGIN) {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version"),
        );
        response.insert(VARY, HeaderValue::from_static("Origin"));
    }
}
