//! The admin listener: whether the process lives, whether every connector can serve, and what was counted. It serves no MCP.

mod health;
mod metrics;
mod process;
mod purge;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trunkline_guard::cache::Cache;
use trunkline_guard::record::Recorder;
use trunkline_protocol::header::Allowed;
use trunkline_service::meter::Meters;

use crate::assemble::Served;

/// Where `serve` answers health checks when the file says nothing.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

/// Connections open at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take for its head, and between two requests on one connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of a head.
const MAX_HEAD: usize = 16 * 1024;

/// What the admin pages know.
#[derive(Debug)]
pub(crate) struct Admin {
    /// The connectors served now.
    pub(crate) served: Arc<ArcSwap<Vec<Served>>>,
    /// Which hosts and origins may ask.
    pub(crate) allowed: Allowed,
    /// What must be sent where others than this machine can reach the listener.
    pub(crate) token: Option<String>,
    /// What must be sent, wherever from, to change what is served; `None`: nobody may.
    pub(crate) own_token: Option<String>,
    /// The answers that are kept.
    pub(crate) cache: Arc<Cache>,
    /// What was found of the connectors, and when.
    pub(crate) looked: health::Looked,
    /// Who keeps the record; `None` when none is kept.
    pub(crate) recorder: Option<Recorder>,
    /// Who counts.
    pub(crate) meters: Meters,
    /// Cancelled when the process begins to stop: it is not ready from then on.
    pub(crate) stopping: CancellationToken,
}

/// Serves the admin pages.
///
/// # Cancel safety
/// Dropping the future closes the listener and its connections.
pub(crate) async fn serve(admin: Admin, listener: TcpListener) {
    process::started();
    let on_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let pages = TowerToHyperService::new(pages(admin, on_loopback));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropped with the future, and every connection with it: no page takes long enough to be waited for.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let pages = pages.clone();
                connections.spawn(async move {
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(PATIENCE)
                        .max_buf_size(MAX_HEAD)
                        .serve_connection(TokioIo::new(stream), pages);
                    // How the connection ends matters to nobody.
                    let _ = connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an admin connection; trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Accepts a connection once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

fn pages(admin: Admin, on_loopback: bool) -> Router {
    let admin = Arc::new(Admin { token: admin.token.filter(|_| !on_loopback), ..admin });
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::page))
        .route("/cache/purge", purge::route())
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), check))
        .with_state(admin)
}

/// Lets through what may ask; the pages are for no browser of another site.
async fn check(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    match admin.refuse(request.headers(), request.uri().authority()) {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

impl Admin {
    fn refuse(&self, headers: &HeaderMap, target: Option<&Authority>) -> Option<Response> {
        let refuse = |text: &'static str| Some((StatusCode::FORBIDDEN, text).into_response());
        match &self.token {
            Some(token) if bears(headers, token) => {}
            Some(_) => {
                let challenge = [(WWW_AUTHENTICATE, "Bearer")];
                let text = "`[admin] token` is needed here\n";
                return Some((StatusCode::UNAUTHORIZED, challenge, text).into_response());
            }
            // Behind a token the caller has proven more than a host name could.
            None if !self.names_us(headers, target) => return refuse("this `Host` is not served\n"),
            None if headers.keys().any(is_forwarding) => {
                return refuse("forwarded requests are not served without `[admin] token`\n");
            }
            None => {}
        }
        let foreign = headers.get_all(ORIGIN).iter().any(|origin| !self.allowed.origin(origin.as_bytes()));
        if foreign { refuse("this `Origin` is not served\n") } else { None }
    }

    /// Tells whether every host that the request names is served, and it names one. A target that names a host must name
    /// one that is served, whatever `Host` says.
    fn names_us(&self, headers: &HeaderMap, target: Option<&Authority>) -> bool {
        let hosts = headers.get_all(HOST);
        let mut names =
            hosts.iter().map(HeaderValue::as_bytes).chain(target.map(|target| target.as_str().as_bytes()));
        hosts.iter().count() <= 1
            && (target.is_some() || hosts.iter().next().is_some())
            && names.all(|name| self.allowed.host(name))
    }
}

fn is_forwarding(name: &HeaderName) -> bool {
    name == FORWARDED || name.as_str().starts_with("x-forwarded-")
}

fn bears(headers: &HeaderMap, token: &str) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, sent)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return false;
    };
    let equal = aws_lc_rs::constant_time::verify_slices_are_equal(sent.trim().as_bytes(), token.as_bytes());
    scheme.eq_ignore_ascii_case("bearer") && equal.is_ok()
}
