//! `trunkline serve`: what the config file says, over HTTP or stdio, until a signal or the end of stdin.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use clap::Args;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trunkline_guard::record::Recorder;
use trunkline_protocol::header::Allowed;
use trunkline_server::http::{Http, HttpOptions};
use trunkline_server::stdio::{self, StdioOptions};
use trunkline_service::file::Severity;
use trunkline_service::notes::AccessRecord;
use trunkline_service::seal::Sealer;

use crate::admin;
use crate::assemble::{self, Served};
use crate::config::{self, Edge, Loaded, Server, address, refuse_listen};
use crate::exit::{Code, Failed, chain};
use crate::logging;
use crate::output::{self, Voice, count};
use crate::shutdown::Signals;
use crate::supervise::Supervisor;
use crate::watch::{self, Trigger};

/// How long the end waits for databases to hear that nobody wants an answer any more.
const SETTLE: Duration = Duration::from_millis(700);
/// The path of the endpoint.
const PATH: &str = "/mcp";

/// The arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The config file.
    #[arg(short, long, default_value = "trunkline.toml", value_name = "FILE")]
    config: PathBuf,
    /// Speak MCP over stdin and stdout instead of HTTP.
    #[arg(long)]
    stdio: bool,
    /// Listen on this address instead of the one in the file.
    #[arg(long, value_name = "ADDR", value_parser = listen_address, conflicts_with = "stdio")]
    listen: Option<SocketAddr>,
}

/// Reads an address from the command line.
///
/// # Errors
/// What an address looks like.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    address(text).ok_or_else(|| "write an IP address and a port, like 127.0.0.1:3000".to_owned())
}

/// Serves until a signal, or until the end of stdin.
///
/// # Errors
/// The file cannot be read, the address is taken, or the system gives no randomness.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let edge = if args.stdio { Edge::Stdio } else { Edge::Http(args.listen) };
    let loaded =
        config::load(&args.config, edge).map_err(|error| Failed::new(Code::Configuration, chain(&error)))?;
    if !loaded.problems.is_empty() {
        output::diagnostics(&loaded.problems, &loaded.document);
        // What works all the same is told and served.
        if loaded.problems.iter().any(|problem| problem.severity != Severity::Warning) {
            return Ok(Code::Configuration.into());
        }
    }
    let admin = match edge {
        Edge::Http(_) => Some(loaded.config.admin.listen.unwrap_or(admin::DEFAULT_LISTEN)),
        Edge::Stdio => loaded.config.admin.listen,
    };
    let site = Site { watched: true, admin, announce: None };
    match edge {
        Edge::Http(_) => {
            let listener = bind(loaded.config.server.listen).await?;
            site.serve_http(loaded, edge, listener).await
        }
        Edge::Stdio => site.serve_stdio(loaded).await,
    }
}

/// Refuses an address of the command line that others could reach, for an endpoint that anybody may use.
///
/// # Errors
/// A failure that leads to exit code 78.
pub(crate) fn allow(listen: Option<SocketAddr>) -> Result<(), Failed> {
    match listen.and_then(refuse_listen) {
        Some((message, help)) => Err(Failed::new(Code::Configuration, format!("{message}; {help}"))),
        None => Ok(()),
    }
}

/// Opens the listener.
///
/// # Errors
/// The address is taken or is not ours; exit code 69.
pub(crate) async fn bind(listen: SocketAddr) -> Result<TcpListener, Failed> {
    TcpListener::bind(listen).await.map_err(|error| {
        let what = match error.kind() {
            io::ErrorKind::AddrInUse => format!("`{listen}` is taken by another program"),
            _ => format!("`{listen}` cannot be listened on: {error}"),
        };
        Failed::new(Code::Unavailable, format!("{what}; name another address with `--listen`"))
    })
}

/// Something to tell once the endpoint is served.
type Announce = Box<dyn FnOnce(SocketAddr) + Send>;

/// What surrounds an endpoint that is served.
pub(crate) struct Site {
    /// Whether the file is followed.
    pub(crate) watched: bool,
    /// Where the admin pages are served; `None` for nowhere.
    pub(crate) admin: Option<SocketAddr>,
    /// What to tell instead of the address.
    pub(crate) announce: Option<Announce>,
}

/// The tasks beside the edge, ended when it ends.
struct Beside {
    tasks: JoinSet<()>,
    /// The one task that has something to end.
    supervisor: JoinSet<()>,
    cancel: CancellationToken,
    served: Arc<ArcSwap<Vec<Served>>>,
    /// Kept: dropping it ends the watch.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Site {
    /// Serves over HTTP until a signal, then lets requests in flight finish.
    ///
    /// # Errors
    /// What the listener reports.
    pub(crate) async fn serve_http(
        mut self,
        loaded: Loaded,
        edge: Edge,
        listener: TcpListener,
    ) -> anyhow::Result<ExitCode> {
        let mut signals = Signals::new();
        let (server, token) = (loaded.config.server.clone(), loaded.config.admin.token.clone());
        let has_store = loaded.config.store.as_ref().is_some_and(|store| store.config.is_some());
        let voice = Voice::new(&loaded.config.log, edge);
        let Some((supervisor, sealer)) = start(loaded, edge, voice).await? else {
            return Ok(Code::Configuration.into());
        };
        let (live, recorder) = (supervisor.live(), supervisor.recorder());
        let record = recorder.clone().map(|recorder| Arc::new(recorder) as Arc<dyn AccessRecord>);
        let options = HttpOptions { record, ..http_options(&server, sealer, has_store) };
        let local = listener.local_addr().context("the listener has no address")?;
        announce_connectors(&supervisor, voice);
        let allowed = options.allowed.clone();
        let edge = Http::new(live, options);
        supervisor.meters().add(edge.counts());
        let mut beside = self.beside(supervisor, allowed, token, voice).await;
        match self.announce.take() {
            Some(announce) => announce(local),
            None => voice.say(&format!("serving http://{local}{PATH}")),
        }
        let serving = edge.serve(listener, beside.cancel.clone());
        tokio::pin!(serving);
        let served = tokio::select! {
            served = &mut serving => served,
            () = signals.next() => {
                voice.say("stopping; requests in flight may finish");
                beside.cancel.cancel();
                tokio::select! {
                    served = &mut serving => served,
                    // Whoever asks twice does not want to wait.
                    () = signals.next() => Ok(()),
                }
            }
        };
        beside.end(recorder).await;
        served.context("the listener failed")?;
        Ok(ExitCode::SUCCESS)
    }

    /// Serves over stdin and stdout until the input ends or a signal comes.
    ///
    /// # Errors
    /// What reading stdin reports.
    pub(crate) async fn serve_stdio(self, loaded: Loaded) -> anyhow::Result<ExitCode> {
        let mut signals = Signals::new();
        let (server, token) = (loaded.config.server.clone(), loaded.config.admin.token.clone());
        let voice = Voice::new(&loaded.config.log, Edge::Stdio);
        let Some((supervisor, _)) = start(loaded, Edge::Stdio, voice).await? else {
            return Ok(Code::Configuration.into());
        };
        let (live, recorder) = (supervisor.live(), supervisor.recorder());
        let allowed = Allowed::new(&server.allowed_hosts, &server.allowed_origins);
        let mut beside = self.beside(supervisor, allowed, token, voice).await;
        let options = StdioOptions { max_line: server.max_body, grace: server.shutdown_grace };
        let cancel = CancellationToken::new();
        let mut serving = pin!(stdio::serve(live, options, cancel.clone()));
        let served = tokio::select! {
            served = &mut serving => served,
            () = signals.next() => {
                cancel.cancel();
                tokio::select! {
                    served = &mut serving => served,
                    () = signals.next() => Ok(()),
                }
            }
        };
        beside.end(recorder).await;
        served.context("stdin cannot be read")?;
        Ok(ExitCode::SUCCESS)
    }

    /// Starts what runs beside the edge: reloads, the background work of connectors, the admin pages.
    async fn beside(
        &self,
        supervisor: Supervisor,
        allowed: Allowed,
        token: Option<String>,
        voice: Voice,
    ) -> Beside {
        let (mut tasks, cancel) = (JoinSet::new(), CancellationToken::new());
        let trigger = Arc::new(Trigger::default());
        let mut watcher = None;
        if self.watched {
            tasks.spawn(watch::hangups(Arc::clone(&trigger)));
            tasks.spawn(watch::looks(supervisor.path().to_owned(), Arc::clone(&trigger)));
            match watch::file(supervisor.path(), &trigger) {
                Ok(started) => watcher = Some(started),
                Err(error) => voice.warn(&format!(
                    "changes of the config file are not noticed, send SIGHUP after one: {error}"
                )),
            }
        }
        if let Some(listen) = self.admin {
            match TcpListener::bind(listen).await {
                Ok(listener) => {
                    let pages = admin::Admin {
                        served: supervisor.served(),
                        allowed,
                        own_token: token.clone(),
                        token,
                        cache: supervisor.cache(),
                        looked: Default::default(),
                        recorder: supervisor.recorder(),
                        meters: supervisor.meters(),
                        stopping: cancel.clone(),
                    };
                    // They go on while requests in flight finish, so that whoever sends requests sees that no more should come.
                    tasks.spawn(admin::serve(pages, listener));
                }
                Err(error) => voice.warn(&format!(
                    "no admin pages on {listen}: {error}; set `[admin] listen` to another address"
                )),
            }
        }
        let served = supervisor.served();
        let mut running = JoinSet::new();
        running.spawn(supervisor.run(trigger, cancel.clone()));
        Beside { tasks, supervisor: running, cancel, served, _watcher: watcher }
    }
}

impl Beside {
    /// Ends what runs beside the edge, the record last: it has the last word on every call.
    async fn end(&mut self, recorder: Option<Recorder>) {
        self.cancel.cancel();
        self.tasks.shutdown().await;
        let _ = tokio::time::timeout(SETTLE, self.supervisor.join_next()).await;
        self.supervisor.shutdown().await;
        let served = self.served.load_full();
        join_all(served.iter().map(|served| served.source.settle(SETTLE))).await;
        if let Some(recorder) = recorder {
            recorder.stop().await;
        }
    }
}

/// Starts the configuration; `None` when names clash, which was told.
async fn start(
    loaded: Loaded,
    edge: Edge,
    voice: Voice,
) -> anyhow::Result<Option<(Supervisor, Arc<Sealer>)>> {
    logging::start(&loaded.config.log, edge);
    let sealer = assemble::sealer(&loaded.config.server).context("no randomness for session ids")?;
    match Box::pin(Supervisor::start(loaded, edge, voice, Arc::clone(&sealer))).await {
        Ok(supervisor) => Ok(Some((supervisor, sealer))),
        Err((problems, document)) => {
            output::diagnostics(&problems, &document);
            Ok(None)
        }
    }
}

fn http_options(server: &Server, sealer: Arc<Sealer>, has_store: bool) -> HttpOptions {
    HttpOptions {
        path: PATH.to_owned(),
        public_path: server.url.as_ref().map(|url| url.path.clone()),
        max_body: server.max_body,
        allowed: Allowed::new(&server.allowed_hosts, &server.allowed_origins),
        tolerate_version_header: server.tolerate_version_header,
        sealer,
        head_timeout: trunkline_server::http::HEAD_TIMEOUT,
        // Nodes with common keys open each other's sessions, and without a store nobody tells them of an end.
        ends_sessions: server.seal_keys.0.is_empty() || has_store,
        shutdown_grace: server.shutdown_grace,
        // What listens on loopback is reached from there alone.
        peers: (!server.listen.ip().is_loopback()).then(|| server.trusted_proxies.clone().into()),
        proxies: server.trusted_proxies.clone().into(),
        record: None,
    }
}

/// One line for each connector.
fn announce_connectors(supervisor: &Supervisor, voice: Voice) {
    for served in supervisor.served().load().iter() {
        let tools = served.source.definitions().len();
        let state = if served.source.is_ready() { "ready" } else { "not ready yet" };
        let kind = match served.source.nodes().len() {
            0 | 1 => served.kind.to_owned(),
            nodes => format!("{} with {}", served.kind, count(nodes - 1, "replica")),
        };
        voice.say(&format!("connector {}: {kind}, {}, {state}", served.name, count(tools, "tool")));
    }
}
