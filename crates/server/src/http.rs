//! Streamable HTTP: one path, both eras, an accept loop of our own.
//!
//! The order of checks is fixed: Host and Origin, method, media types and size, then the body, then the era. Answers given
//! before the body is read carry no id. Spec: 2026-07-28 and 2025-11-25 basic/transports.

mod answer;
mod calls;
mod connection;
mod counts;
mod events;
mod handshake;
mod heads;
mod identity;
mod inline;
mod line;
mod peers;
mod post;
mod socket;
mod streams;
mod timer;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
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
use trunkline_service::authenticate::Access;
use trunkline_service::door::{Arrival, Waiting};
use trunkline_service::endpoint::Live;
use trunkline_service::notes::AccessRecord;
use trunkline_service::seal::Sealer;
use trunkline_service::{Caller, Endpoint};

pub use answer::Answer;
use answer::{busy, empty, method_not_allowed, refusal};
use calls::Calls;
use connection::Stopping;
pub use counts::Counts;
use counts::Why;
use heads::Heads;
use identity::{Known, Refusals};
pub use peers::Network;
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
    /// Another path that serves the same: that of the public name, where no proxy takes it off. None is usual.
    pub public_path: Option<String>,
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
    /// From where connections may come whose callers prove who they are, besides this machine; `None` for anywhere. What comes
    /// from elsewhere is answered 403 before anybody looks at its token.
    pub peers: Option<Arc<[Network]>>,
    /// The proxies that are believed when they say from whom a request came; nobody unless named, so that the address of the
    /// connection counts.
    pub proxies: Arc<[Network]>,
    /// Who keeps a record of those who are turned away because nobody knows them. None is usual.
    pub record: Option<Arc<dyn AccessRecord>>,
}

/// Whose business the path of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    /// Ours.
    Checked,
    /// The caller's, who chose it already.
    Chosen,
}

/// The answer to a request that is not for us, out of the way of those that are.
type Refused = Box<Response<Answer>>;

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
    refusals: Refusals,
    counts: Arc<Counts>,
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
            refusals: Refusals::default(),
            counts: Arc::default(),
        }
    }

    /// Returns what this edge counts, for whoever shows it.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Answers one request, for servers that bring their own connections and paths.
    ///
    /// The path is not looked at. Who asks is decided as [`serve`](Self::serve) does: by the credentials of the request where the
    /// endpoint is guarded, else it is the local user, so that Host and Origin are checked and forwarded requests refused. The answer is a body of `http_body`; it must be read within a tokio runtime.
    /// Before such a server waits for its connections to end it has to call [`stop`](Self::stop).
    ///
    /// With axum: `Router::new().route_service("/mcp", service_fn(..))`, or
    /// `any(move |request: Request| async move { edge.respond(request).await.map(axum::body::Body::new) })`.
    ///
    /// # Cancel safety
    /// Dropping the future or the answer cancels a request of 2026-07-28. A call of a session goes on.
    pub async fn respond<B: Body<Data = Bytes>>(&self, request: http::Request<B>) -> Response<Answer> {
        let response = self.answer(&Known::nobody(), request, Path::Chosen).await;
        self.counts.answered(&response);
        response
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
        known: &Known,
        request: http::Request<B>,
        place: Path,
    ) -> impl Future<Output = Response<Answer>> {
        let (parts, body) = request.into_parts();
        async move {
            if place == Path::Chosen && self.stopping.has_begun() {
                return busy("this server is stopping; connect again in a second");
            }
            let heads = Heads::read(&parts.headers);
            let caller = match self.admit(known, &parts, &heads, place).await {
                Ok(caller) => caller,
                Err(mut refused) => {
                    let is_allowed = |origin| self.options.allowed.origin(origin);
                    if heads.repeated.is_none() && heads.origin.is_some_and(is_allowed) {
                        add_cors(&parts.headers, refused.headers_mut());
                    }
                    answer::mark_as_json(&mut refused, parts.headers);
                    return refused;
                }
            };
            let mut response = if parts.method == Method::POST {
                self.post(&caller, &parts.headers, &heads, body).await
            } else {
                // Boxed: calls take the other way, and their future would be as large.
                Box::pin(self.other(&caller, &parts, &heads)).await
            };
            if heads.origin.is_some() {
                add_cors(&parts.headers, response.headers_mut());
            }
            answer::mark_as_json(&mut response, parts.headers);
            response
        }
    }

    /// Decides whether a request is for us, may come from where it comes, and who asks.
    async fn admit(
        &self,
        known: &Known,
        parts: &Parts,
        heads: &Heads<'_>,
        place: Path,
    ) -> Result<Arc<Caller>, Response<Answer>> {
        let (endpoint, local) = self.enter(known, parts, heads, place).await.map_err(|refused| *refused)?;
        let Access::Guarded { authenticator, .. } = &endpoint.access else {
            return Ok(local.unwrap_or_else(|| known.local()));
        };
        if let Some(caller) = local {
            return Ok(caller);
        }
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        if let Some(caller) = known.recall(&heads.credentials(), authenticator.generation()) {
            self.check_host(heads, authority).map_err(|refused| *refused)?;
            return Ok(caller);
        }
        let (access, record) = (endpoint.access.clone(), self.options.record.as_deref());
        drop(endpoint);
        let caller = Box::pin(identity::identify(&access, heads, known, (record, &self.refusals))).await?;
        self.check_host(heads, authority).map_err(|refused| *refused)?;
        Ok(caller)
    }

    /// Looks at the head of a request and lets it in at the door; returns what is served, and who asks where nobody has to prove it.
    async fn enter(
        &self,
        known: &Known,
        parts: &Parts,
        heads: &Heads<'_>,
        place: Path,
    ) -> Result<(Guard<Arc<Endpoint>>, Option<Arc<Caller>>), Refused> {
        let endpoint = self.live.load();
        let local = self.check_head(&endpoint, known, parts, heads, place)?;
        let Some(door) = &endpoint.door else { return Ok((endpoint, local)) };
        let address = self.address(known, &parts.headers);
        if !door.may_ask() {
            // It is ready at once.
            let refused = door.arrive(address).refusal().await;
            arrived(refused.map_or(Arrival::Admitted, Arrival::Refused))?;
            return Ok((endpoint, local));
        }
        let door = Arc::clone(door);
        let Some(waiting) = arrived(door.arrive(address))? else { return Ok((endpoint, local)) };
        // A guard that is held while somebody is asked keeps what is served no longer, and slows those after it.
        drop(endpoint);
        arrived(waiting.await.map_or(Arrival::Admitted, Arrival::Refused))?;
        // What is served may be another by now, and this request is judged by that.
        let endpoint = self.live.load();
        let local = self.check_head(&endpoint, known, parts, heads, place)?;
        Ok((endpoint, local))
    }

    /// The address of the client, where the edge knows one.
    fn address(&self, known: &Known, headers: &HeaderMap) -> Option<IpAddr> {
        known.address().map(|peer| peers::client(peer, headers, &self.options.proxies))
    }

    /// Decides as [`admit`](Self::admit) does, as far as that costs nothing and nobody has to prove who they are: what a page of another
    /// site makes a browser send uses up no limit. Returns who asks, where that is known without a proof.
    ///
    /// Where callers prove who they are, `Host` is judged after that: it keeps pages of other sites from using what a browser
    /// can reach, and such a page has no token. Whoever has none yet is told where to get one, whatever name it used.
    fn check_head(
        &self,
        endpoint: &Endpoint,
        known: &Known,
        parts: &Parts,
        heads: &Heads<'_>,
        place: Path,
    ) -> Result<Option<Arc<Caller>>, Refused> {
        if let Some(name) = heads.repeated {
            let text = format!("header `{name}` occurs more than once");
            let refused = refusal(StatusCode::BAD_REQUEST, Code::INVALID_REQUEST, &text);
            return Err(Box::new(Why::Header.mark(refused)));
        }
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let Access::Guarded { .. } = &endpoint.access else {
            self.check_host(heads, authority)?;
            self.check_origin(heads)?;
            if heads.forwarded {
                let text = "forwarded requests are not served without authentication: the local user is not behind a proxy";
                return Err(forbidden(Why::Forwarded, text));
            }
            self.check_path(&parts.uri, place)?;
            // With roles the local user has some, and then all connections share the one who has them.
            return Ok(Some(if endpoint.views.is_some() { endpoint.local() } else { known.local() }));
        };
        if let Err(refused) = self.check_path(&parts.uri, place) {
            return Err(identity::metadata(&endpoint.access, parts).map_or(refused, Box::new));
        }
        self.check_origin(heads)?;
        self.check_peer(known)?;
        // A browser asks without credentials whether it may send some.
        if parts.method == Method::OPTIONS {
            self.check_host(heads, authority)?;
            return Ok(Some(known.local()));
        }
        Ok(None)
    }

    async fn other(&self, caller: &Arc<Caller>, parts: &Parts, heads: &Heads<'_>) -> Response<Answer> {
        if parts.method == Method::GET {
            self.get(caller, &parts.headers, heads).await
        } else if parts.method == Method::OPTIONS {
            preflight(&parts.headers, self.methods())
        } else if parts.method == Method::DELETE && self.options.ends_sessions {
            self.delete(caller, heads).await
        } else {
            method_not_allowed(self.methods())
        }
    }

    fn check_path(&self, uri: &Uri, place: Path) -> Result<(), Refused> {
        let served = [Some(&self.options.path), self.options.public_path.as_ref()];
        let is_here = served.into_iter().flatten().any(|path| {
            uri.path() == path || uri.path().strip_suffix('/') == Some(path.trim_end_matches('/'))
        });
        if place == Path::Chosen || is_here {
            return Ok(());
        }
        let text = format!("nothing is served here; the MCP endpoint is {}", self.options.path);
        Err(Box::new(refusal(StatusCode::NOT_FOUND, Code::INVALID_REQUEST, &text)))
    }

    fn check_host(&self, heads: &Heads<'_>, authority: Option<&str>) -> Result<(), Refused> {
        if heads.one_host(authority).is_some_and(|host| self.options.allowed.host(host)) {
            return Ok(());
        }
        Err(forbidden(Why::Host, "this `Host` is not served; add it to the allowed hosts"))
    }

    fn check_peer(&self, known: &Known) -> Result<(), Refused> {
        let Some(peers) = &self.options.peers else { return Ok(()) };
        let may = |address: IpAddr| {
            address.to_canonical().is_loopback() || peers.iter().any(|network| network.contains(address))
        };
        if known.address().is_none_or(may) {
            return Ok(());
        }
        Err(forbidden(
            Why::Peer,
            "connections come through a proxy here; this one did not, or its address is not trusted",
        ))
    }

    fn check_origin(&self, heads: &Heads<'_>) -> Result<(), Refused> {
        if heads.origin.is_some_and(|origin| !self.options.allowed.origin(origin)) {
            let text = "this `Origin` is not served; add it to the allowed origins";
            return Err(forbidden(Why::Origin, text));
        }
        Ok(())
    }

    /// The methods that `Allow` names.
    fn methods(&self) -> &'static str {
        if self.options.ends_sessions { "GET, POST, DELETE, OPTIONS" } else { "GET, POST, OPTIONS" }
    }
}

/// What is left to wait for of a request at the door.
///
/// # Errors
/// The answer to one that is refused.
fn arrived(arrival: Arrival<'_>) -> Result<Option<Waiting<'_>>, Refused> {
    match arrival {
        Arrival::Admitted => Ok(None),
        Arrival::Waiting(waiting) => Ok(Some(waiting)),
        Arrival::Refused(failure) => {
            tracing::debug!("a request was refused at the door: {failure}");
            Err(Box::new(answer::refused(&failure)))
        }
    }
}

fn forbidden(why: Why, text: &str) -> Refused {
    Box::new(why.mark(refusal(StatusCode::FORBIDDEN, Code::INVALID_REQUEST, text)))
}

/// Answers a browser that asks before it sends. The origin was checked.
fn preflight(request: &HeaderMap, methods: &'static str) -> Response<Answer> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    // Which `Mcp-Param-*` a client sends depends on the tool, so what is asked for is allowed: the origin is the gate.
    let wanted = request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let usual = HeaderValue::from_static(
        "content-type, accept, authorization, x-api-key, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id",
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
            HeaderValue::from_static("WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After, RateLimit, RateLimit-Policy"),
        );
        response.insert(VARY, HeaderValue::from_static("Origin"));
    }
}
