//! The admin listener: whether the process lives, whether every connector can serve, and what the record came to. It serves no
//! MCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::future::join_all;
use http::header::{AUTHORIZATION, CONTENT_TYPE, FORWARDED, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trunkline_guard::record::Recorder;
use trunkline_postgres::NodeState;
use trunkline_protocol::header::Allowed;

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
/// How long the state of the connectors is told without a new look.
const FRESH: Duration = Duration::from_secs(1);
/// How long a database may take to be looked at.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What the admin pages know.
#[derive(Debug)]
pub(crate) struct Admin {
    /// The connectors served now.
    pub(crate) served: Arc<ArcSwap<Vec<Served>>>,
    /// Which hosts and origins may ask.
    pub(crate) allowed: Allowed,
    /// What must be sent where others than this machine can reach the listener.
    pub(crate) token: Option<String>,
    /// What was found of the connectors, and when.
    pub(crate) looked: Looked,
    /// Who keeps the record; `None` when none is kept.
    pub(crate) recorder: Option<Recorder>,
}

/// When the connectors were last looked at, and what was found.
pub(crate) type Looked = Mutex<Option<(Instant, Found)>>;

/// What was found of connectors, in lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Which cannot serve.
    waiting: String,
    /// What is not well of those that can.
    notes: String,
}

/// Serves the admin pages until `cancel`.
///
/// # Cancel safety
/// Dropping the future closes the listener and its connections.
pub(crate) async fn serve(admin: Admin, listener: TcpListener, cancel: CancellationToken) {
    let on_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let pages = TowerToHyperService::new(pages(admin, on_loopback));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropped with the future, and every connection with it: no page takes long enough to be waited for.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
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
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
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

/// What the record came to, in the text format of Prometheus. The head is told here too: whoever keeps what was scraped can tell
/// later that the end of a record was cut off.
async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let mut text = String::new();
    if let Some(recorder) = &admin.recorder {
        let (counts, head) = (recorder.counts(), recorder.head());
        let mut add = |name: &str, kind: &str, help: &str, labels: &str, value: u64| {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}\n"));
        };
        let working = u64::from(recorder.is_working());
        add("trunkline_audit_working", "gauge", "Whether lines of the record can be written.", "", working);
        let help = "Lines of the record that are written.";
        add("trunkline_audit_lines_total", "counter", help, "", counts.lines);
        let help = "Lines of the record that were lost.";
        add("trunkline_audit_lost_total", "counter", help, "", counts.lost);
        let help = "Times that writing the record failed.";
        add("trunkline_audit_failures_total", "counter", help, "", counts.failures);
        let help = "Requests refused since the record could not be written.";
        add("trunkline_audit_refused_total", "counter", help, "", counts.refused);
        let labels = format!("{{mac=\"{}\"}}", head.mac);
        let help = "The number of the last line of the record, and its MAC.";
        add("trunkline_audit_head_seq", "gauge", help, &labels, head.seq);
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    // One look at a time: who asks meanwhile gets what it finds.
    let mut looked = admin.looked.lock().await;
    let found = match &*looked {
        Some((at, found)) if at.elapsed() < FRESH => found.clone(),
        _ => {
            let found = find(&admin.served.load_full()).await;
            *looked = Some((Instant::now(), found.clone()));
            found
        }
    };
    drop(looked);
    let Found { mut waiting, notes } = found;
    if admin.recorder.as_ref().is_some_and(Recorder::stops_serving) {
        waiting.push_str("audit: the record cannot be written, and without it nothing is served\n");
    }
    if waiting.is_empty() {
        return format!("ok\n{notes}").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{waiting}{notes}")).into_response()
}

/// Looks at every connector.
async fn find(served: &[Served]) -> Found {
    let mut all = Found::default();
    for found in join_all(served.iter().cloned().map(look)).await {
        all.waiting.push_str(&found.waiting);
        all.notes.push_str(&found.notes);
    }
    all
}

async fn look(served: Served) -> Found {
    let waiting =
        |why: &str| Found { waiting: format!("connector {}: {why}\n", served.name), notes: String::new() };
    if !served.source.is_ready() {
        return waiting("not every statement is prepared");
    }
    match tokio::time::timeout(ANSWER_WITHIN, served.source.ping()).await {
        Ok(Ok(())) => Found { waiting: String::new(), notes: notes(&served) },
        _ => waiting("the database does not answer"),
    }
}

/// Tells which servers of a database that answers are not well.
fn notes(served: &Served) -> String {
    let nodes = served.source.nodes();
    let unwell = nodes.iter().filter(|node| !matches!(node.state, NodeState::Healthy | NodeState::Unseen));
    unwell.map(|node| format!("connector {}: {node}\n", served.name)).collect()
}
