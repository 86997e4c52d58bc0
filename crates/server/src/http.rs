//! Streamable HTTP: one path, both eras, an accept loop of our own.
//!
//! The order of checks is fixed: Host and Origin, method, media types and size, then the body, then the era. Answers given
//! before the body is read carry no id. Spec: 2026-07-28 and 2025-11-25 basic/transports.

mod answer;
mod heads;
mod legacy_calls;
mod post;
mod timer;

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::Code;
use trunkline_protocol::header::Allowed;
use trunkline_service::Caller;
use trunkline_service::endpoint::Live;
use trunkline_service::seal::Sealer;
use trunkline_service::shared::Shared;

pub use answer::Answer;
use answer::{busy, empty, method_not_allowed, refusal};
use heads::Heads;
use legacy_calls::LegacyCalls;
use timer::{Clock, CoarseTimer};

use crate::legacy::Session;

/// Connections open at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// How long a client may take for its head, and between two requests on one connection, unless the options say otherwise.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// KiB that bodies which are still being read may take together; over it the answer is 503.
const BODIES_KIB: usize = 256 * 1024;
/// Bytes of request headers; more is answered 431.
const MAX_HEADER_BYTES: usize = 64 * 1024;

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
    /// Knows which sessions were ended.
    pub shared: Arc<dyn Shared>,
    /// How long a client may take for the head of a request, and between two requests on one connection; kept to within a
    /// sixth of it. [`HEAD_TIMEOUT`] is a good value.
    pub head_timeout: Duration,
    /// Whether DELETE ends a session. It must not where other nodes open the same ids and do not hear of it: 405 then.
    pub ends_sessions: bool,
    /// How long requests in flight may go on after the edge was told to stop.
    pub shutdown_grace: Duration,
}

/// The word to stop, for every connection: the token wakes them, the flag is what they look at when awake.
#[derive(Debug, Default)]
struct Stopping {
    now: AtomicBool,
    token: CancellationToken,
}

impl Stopping {
    fn stop(&self) {
        self.now.store(true, Ordering::Release);
        self.token.cancel();
    }
}

/// One connection's handle on what its requests need.
struct Peer {
    edge: Arc<Http>,
    caller: Arc<Caller>,
    /// Requests answered so far.
    answered: AtomicU64,
}

/// The HTTP edge.
#[derive(Debug)]
pub struct Http {
    live: Live,
    options: HttpOptions,
    legacy: LegacyCalls,
    /// Room, in KiB, for bodies that come in more than one piece.
    bodies: Semaphore,
}

impl Http {
    /// Makes an edge for an endpoint.
    #[must_use]
    pub fn new(live: Live, options: HttpOptions) -> Self {
        Self { live, options, legacy: LegacyCalls::default(), bodies: Semaphore::new(BODIES_KIB) }
    }

    /// Serves connections until `cancel`, then lets those in flight finish within the grace.
    ///
    /// # Errors
    /// What the listener reports, when it can accept no more.
    ///
    /// # Cancel safety
    /// Dropping the future closes every connection at once.
    pub async fn serve(self, listener: TcpListener, cancel: CancellationToken) -> io::Result<()> {
        let edge = Arc::new(self);
        let mut connections = JoinSet::new();
        let stopping = Arc::new(Stopping::default());
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let result = loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break Ok(()),
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let (edge, stopping) = (Arc::clone(&edge), Arc::clone(&stopping));
                    connections.spawn(async move {
                        edge.connection(stream, &stopping).await;
                        drop(place);
                    });
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        drop(listener);
        stopping.stop();
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(edge.options.shutdown_grace, drained).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "closing connections that did not finish in time"
            );
            connections.shutdown().await;
        }
        edge.legacy.stop().await;
        result
    }

    async fn connection(self: &Arc<Self>, stream: TcpStream, stopping: &Stopping) {
        // Best effort: without it answers are only later.
        let _ = stream.set_nodelay(true);
        let clock = Clock::for_timeout(self.options.head_timeout);
        // One handle for the connection: cloning what all connections share, for each request, would cost every core.
        let caller = Arc::new(Caller::clone(&Caller::local()));
        let peer = Arc::new(Peer { edge: Arc::clone(self), caller, answered: AtomicU64::new(0) });
        let handle = Arc::clone(&peer);
        let service = service_fn(move |request| {
            let peer = Arc::clone(&handle);
            async move {
                let response = peer.edge.handle(&peer.caller, request).await;
                peer.answered.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>(response)
            }
        });
        let builder = self.builder(&clock);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut told = pin!(stopping.token.cancelled());
        let mut tick = pin!(tokio::time::sleep(clock.tick()));
        let (mut registered, mut answered) = (false, 0);
        let result = poll_fn(|context| {
            loop {
                if let Poll::Ready(result) = connection.as_mut().poll(context) {
                    return Poll::Ready(result);
                }
                // One registration lasts: polling the token on every wake would cost each request its lock.
                if !registered || stopping.now.load(Ordering::Acquire) {
                    registered = true;
                    if told.as_mut().poll(context).is_ready() {
                        connection.as_mut().graceful_shutdown();
                        return connection.as_mut().poll(context);
                    }
                    let _ = tick.as_mut().poll(context);
                }
                // A wake that brought an answer was no tick.
                let now_answered = peer.answered.load(Ordering::Relaxed);
                if std::mem::replace(&mut answered, now_answered) != now_answered
                    || tick.as_mut().poll(context).is_pending()
                {
                    return Poll::Pending;
                }
                clock.advance();
                tick.as_mut().reset(tokio::time::Instant::now() + clock.tick());
            }
        })
        .await;
        if let Err(error) = result {
            tracing::debug!(%error, "connection ended");
        }
    }

    fn builder(&self, clock: &Arc<Clock>) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(CoarseTimer(Arc::clone(clock)))
            .header_read_timeout(self.options.head_timeout)
            // Head and body in one flat write: the kernel's work for two pieces costs more than copying, up to 16 KiB and
            // more (server CPU per call 4 % down at 200 bytes, 3 % at 16 KiB).
            .writev(false)
            .max_buf_size(MAX_HEADER_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            .keep_alive_interval(self.options.head_timeout);
        builder
    }

    async fn handle(&self, caller: &Arc<Caller>, request: http::Request<Incoming>) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let heads = Heads::read(&parts.headers);
        if let Some(refused) =
            self.check_host_and_origin(&heads, parts.uri.authority().map(http::uri::Authority::as_str))
        {
            return refused;
        }
        let path = parts.uri.path();
        let mut response = if path != self.options.path && path.strip_suffix('/') != Some(&self.options.path)
        {
            let text = format!("nothing is served here; the MCP endpoint is {}", self.options.path);
            refusal(StatusCode::NOT_FOUND, Code::INVALID_REQUEST, &text)
        } else if parts.method == Method::POST {
            self.post(caller, &parts.headers, &heads, body).await
        } else if parts.method == Method::OPTIONS {
            preflight(&parts.headers, self.methods())
        } else if parts.method == Method::DELETE && self.options.ends_sessions {
            self.delete(caller, &heads)
        } else {
            method_not_allowed(self.methods())
        };
        if heads.origin.is_some() {
            add_cors(&parts.headers, response.headers_mut());
        }
        response
    }

    fn check_host_and_origin(&self, heads: &Heads<'_>, authority: Option<&str>) -> Option<Response<Answer>> {
        if let Some(name) = heads.repeated {
            let text = format!("header `{name}` occurs more than once");
            return Some(refusal(StatusCode::BAD_REQUEST, Code::INVALID_REQUEST, &text));
        }
        let forbidden = |text| Some(refusal(StatusCode::FORBIDDEN, Code::INVALID_REQUEST, text));
        if !heads.one_host(authority).is_some_and(|host| self.options.allowed.host(host)) {
            return forbidden("this `Host` is not served; add it to `allowed-hosts` under `[server]`");
        }
        if heads.origin.is_some_and(|origin| !self.options.allowed.origin(origin)) {
            return forbidden("this `Origin` is not served; add it to `allowed-origins` under `[server]`");
        }
        if heads.forwarded {
            return forbidden(
                "forwarded requests are not served without `[auth]`: the local user is not behind a proxy",
            );
        }
        None
    }

    /// Ends a legacy session.
    fn delete(&self, caller: &Caller, heads: &Heads<'_>) -> Response<Answer> {
        let Some(id) = heads.session else {
            return refusal(StatusCode::BAD_REQUEST, Code::INVALID_REQUEST, "`Mcp-Session-Id` is missing");
        };
        let Ok(session) = self.session(caller, id) else { return unknown_session(None) };
        match self.options.shared.end_session(session.number, session.expires) {
            Ok(true) => {
                self.legacy.end_session(session.number);
                empty(StatusCode::NO_CONTENT)
            }
            Ok(false) => unknown_session(None),
            Err(error) => busy(&error.to_string()),
        }
    }

    /// The methods that `Allow` names.
    fn methods(&self) -> &'static str {
        if self.options.ends_sessions { "POST, DELETE, OPTIONS" } else { "POST, OPTIONS" }
    }

    /// Opens a session id and makes sure that nobody ended the session.
    fn session(&self, caller: &Caller, id: &[u8]) -> Result<Session, crate::legacy::UnknownSession> {
        let session = Session::open(&self.options.sealer, caller, id)?;
        if self.options.shared.is_ended(session.number) {
            Err(crate::legacy::UnknownSession)
        } else {
            Ok(session)
        }
    }
}

fn unknown_session(id: Option<&[u8]>) -> Response<Answer> {
    let mut body = Vec::with_capacity(160);
    trunkline_protocol::write::error(
        &mut body,
        id,
        Code::INVALID_REQUEST,
        &crate::legacy::UnknownSession.to_string(),
        None,
    );
    answer::json(StatusCode::NOT_FOUND, body)
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// Errors of `accept` that concern one client, who is gone already.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
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
