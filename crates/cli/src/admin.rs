//! The admin listener: whether the process lives, and whether every connector is ready. It serves no MCP.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::header::Allowed;

use crate::assemble::Served;

/// Where `serve` answers health checks when the file says nothing.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

/// What the admin pages know.
#[derive(Debug)]
pub(crate) struct Admin {
    /// The connectors served now.
    pub(crate) served: Arc<ArcSwap<Vec<Served>>>,
    /// Which hosts and origins may ask.
    pub(crate) allowed: Allowed,
    /// What must be sent where others than this machine can reach the listener.
    pub(crate) token: Option<String>,
}

/// Serves the admin pages until `cancel`.
///
/// # Errors
/// What the listener reports.
///
/// # Cancel safety
/// Dropping the future closes the listener and its connections.
pub(crate) async fn serve(
    admin: Admin,
    listener: TcpListener,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let on_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let admin = Arc::new(Admin { token: admin.token.filter(|_| !on_loopback), ..admin });
    let pages = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), check))
        .with_state(admin);
    axum::serve(listener, pages).with_graceful_shutdown(cancel.cancelled_owned()).await
}

/// Lets through what may ask; the pages are for no browser of another site.
async fn check(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Some(token) = &admin.token
        && !bears(headers, token)
    {
        return (
            StatusCode::UNAUTHORIZED,
            [(WWW_AUTHENTICATE, "Bearer")],
            "`[admin] token` is needed here\n",
        )
            .into_response();
    }
    let mut hosts = headers.get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next(), request.uri().authority()) {
        (Some(host), None, _) => admin.allowed.host(host.as_bytes()),
        (None, None, Some(authority)) => admin.allowed.host(authority.as_str().as_bytes()),
        _ => false,
    };
    // Behind a token the caller has proven more than a host name could.
    if !named && admin.token.is_none() {
        return (StatusCode::FORBIDDEN, "this `Host` is not served\n").into_response();
    }
    if headers.get_all(ORIGIN).iter().any(|origin| !admin.allowed.origin(origin.as_bytes())) {
        return (StatusCode::FORBIDDEN, "this `Origin` is not served\n").into_response();
    }
    next.run(request).await
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

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let served = admin.served.load_full();
    let waiting: Vec<&str> =
        served.iter().filter(|served| !served.source.is_ready()).map(|served| served.name.as_str()).collect();
    if waiting.is_empty() {
        return "ok\n".into_response();
    }
    let mut text = String::from("not ready\n");
    for name in waiting {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "connector {name}: not every statement is prepared");
    }
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
