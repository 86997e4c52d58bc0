//! Opens connections: to which of several hosts, how long that may take, what each lane's sessions are held to.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage};
use tokio_util::task::TaskTracker;
use trunkline_sql::DatabaseError;

use crate::cancel::{Peer, cancel};
use crate::damper::{Damper, Reason};
use crate::fault::{is_full, rejection};
use crate::file::PreparedMode;
use crate::framing::{Meter, Stage, Watched};
use crate::notify::drive;
use crate::tls::Tls;
use crate::transaction::{idle_timeout, settings};
use crate::url::{Address, Role, Target};

/// Which lane a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Many callers' short reads, pipelined.
    Shared,
    /// The same for statements that are planned once for all values.
    Generic,
    /// One caller's statement at a time.
    Exclusive,
    /// What the program itself keeps in the database.
    Writing,
}

/// Opens sessions of one database.
pub(crate) struct Dialer {
    address: Address,
    /// Which of the hosts are taken.
    role: Role,
    /// What a session of each lane is started with.
    shared: String,
    exclusive: String,
    writing: String,
    connect_timeout: Duration,
    idle_timeout: Duration,
    /// Whether a pooler was found that gives each transaction another server's session.
    is_pooled: AtomicBool,
    /// Owns the tasks that drive connections and those that clean up after dropped calls.
    tasks: TaskTracker,
    damper: Damper,
    attempts: Semaphore,
    next_id: AtomicU64,
    /// Where notices of the database go; `None` when nobody wants them.
    notices: Option<mpsc::Sender<Box<str>>>,
}

impl Dialer {
    /// Decides what sessions are held to. `statement_timeout` is the exclusive lane's; the shared lane's is never longer.
    pub(crate) fn new(
        address: Address,
        statement_timeout: Duration,
        connect_timeout: Duration,
        prepared: PreparedMode,
    ) -> Self {
        Self {
            role: address.role.unwrap_or(Role::Any),
            shared: session_options(shared_timeout(statement_timeout), "on"),
            exclusive: session_options(statement_timeout, "on"),
            // Whatever the login is set to by itself.
            writing: session_options(statement_timeout, "off"),
            connect_timeout,
            idle_timeout: idle_timeout(statement_timeout),
            is_pooled: AtomicBool::new(prepared == PreparedMode::Off),
            address,
            tasks: TaskTracker::new(),
            damper: Damper::default(),
            attempts: Semaphore::new(MOST_ATTEMPTS),
            next_id: AtomicU64::new(1),
            notices: None,
        }
    }

    /// Has what the database tells of its changes go there.
    pub(crate) fn hearing(mut self, notices: mpsc::Sender<Box<str>>) -> Self {
        self.notices = Some(notices);
        self
    }

    /// Opens a session, which takes at most the connect timeout.
    ///
    /// # Errors
    /// [`DatabaseError::Unreachable`], [`DatabaseError::Full`] and [`DatabaseError::Rejected`]; at once when another attempt failed a moment ago.
    ///
    /// # Cancel safety
    /// The connection is dropped; the next caller tries anew.
    pub(crate) async fn dial(&self, lane: Lane) -> Result<Session, DatabaseError> {
        let admission = self.damper.admit(self.connect_timeout).map_err(|reason| self.error(reason))?;
        let deadline = Instant::now() + self.connect_timeout;
        let connected = async {
            let _permit = self.attempts.acquire().await;
            self.reach(lane, deadline).await
        };
        match timeout_at(deadline, connected).await {
            Ok(Ok(session)) => {
                admission.succeeded();
                Ok(session)
            }
            Ok(Err(reason)) => {
                admission.failed(reason.clone());
                Err(self.error(reason))
            }
            Err(_) => {
                let reason = Reason::Unreached(format!("no connection within {:?}", self.connect_timeout));
                admission.failed(reason.clone());
                Err(self.error(reason))
            }
        }
    }

    /// Returns why the last attempt failed, when that is less than `age` ago and none succeeded since.
    pub(crate) fn failed_within(&self, age: Duration) -> Option<DatabaseError> {
        self.damper.failed_within(age).map(|reason| self.error(reason))
    }

    /// Makes the error that says the database does not answer any more.
    pub(crate) fn unreachable(&self, reason: String) -> DatabaseError {
        DatabaseError::Unreachable { address: self.address.shown(), source: reason.into(), sent: true }
    }

    /// Makes the error that says there is no connection to the database, so that nothing was sent.
    pub(crate) fn unreached(&self, reason: String) -> DatabaseError {
        let address = self.address.shown();
        // Where there is one host, the reason begins with what the error says by itself.
        let reason = reason.strip_prefix(&format!("{address}: ")).unwrap_or(&reason).into();
        DatabaseError::Unreachable { address, source: reason, sent: false }
    }

    /// Returns the longest time to wait for a connection.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Returns how long an exclusive session may idle within a transaction before the server ends it.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Returns host and port, for the operator.
    pub(crate) fn address(&self) -> String {
        self.address.shown()
    }

    /// Whether a pooler stands between, so that nothing of a session lasts longer than a transaction.
    pub(crate) fn is_pooled(&self) -> bool {
        self.is_pooled.load(Ordering::Relaxed)
    }

    /// Returns the owner of this database's tasks.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn error(&self, reason: Reason) -> DatabaseError {
        match reason {
            Reason::Unreached(reason) => self.unreached(reason),
            Reason::Full(log) => DatabaseError::Full { source: log.into() },
            Reason::Rejected { message, help, log } => {
                DatabaseError::Rejected { message, hint: help.to_owned(), source: log.into() }
            }
        }
    }

    /// Tries each host in turn, none longer than its share of the time that is left.
    async fn reach(&self, lane: Lane, deadline: Instant) -> Result<Session, Reason> {
        let mut told = Vec::new();
        let (mut rejected, mut is_any_full) = (None, false);
        // One that would do if there is no better.
        let mut second_best = None;
        let count = self.address.targets.len();
        let start = if self.address.is_shuffled { pick(count) } else { 0 };
        for turn in 0..count {
            let Some(target) = self.address.targets.get((start + turn) % count) else { continue };
            let end = Instant::now() + share(deadline, count - turn);
            let opened = timeout_at(end, self.open(target, lane, end)).await;
            match opened.unwrap_or(Err(Unopened::Late)) {
                Ok(session) if self.is_wanted(&session) => return Ok(session),
                Ok(session) if self.role == Role::PreferStandby => {
                    second_best.get_or_insert(session);
                }
                Ok(session) => told.push(format!("{target}: {}", unwanted(&session))),
                Err(Unopened::Unknown(error)) => told.push(format!("{target}: not found: {error}")),
                Err(Unopened::Unreached(error)) => told.push(format!("{target}: not reached: {error}")),
                Err(Unopened::Late) => told.push(format!("{target}: no answer in time")),
                Err(Unopened::Failed(error)) => {
                    told.push(format!("{target}: {}", chain(&error)));
                    rejected = rejected.or_else(|| rejection(&error));
                    is_any_full |= is_full(&error);
                }
            }
        }
        if let Some(session) = second_best {
            return Ok(session);
        }
        let log = told.join("; ");
        Err(match rejected {
            Some((message, help)) => Reason::Rejected { message, help, log },
            None if is_any_full => Reason::Full(log),
            None => Reason::Unreached(log),
        })
    }

    fn is_wanted(&self, session: &Session) -> bool {
        match (self.role, session.is_standby) {
            (Role::Any, _) => true,
            (Role::Primary, is_standby) => is_standby == Some(false),
            (Role::Standby | Role::PreferStandby, is_standby) => is_standby == Some(true),
        }
    }

    /// Opens a session of one host, at the first of its addresses that answers; each has its share of the time.
    async fn open(&self, target: &Target, lane: Lane, deadline: Instant) -> Result<Session, Unopened> {
        let peers = target.peers().await.map_err(Unopened::Unknown)?;
        let mut outcome = Err(Unopened::Unknown(std::io::ErrorKind::NotFound.into()));
        for (peer, left) in std::iter::zip(&peers, (1..=peers.len()).rev()) {
            outcome = match timeout(share(deadline, left), self.open_at(target, peer, lane)).await {
                // The server has answered, so the next address is no better.
                Ok(Err(Unopened::Failed(error))) if error.as_db_error().is_some() => {
                    return Err(Unopened::Failed(error));
                }
                Ok(Err(unopened)) => Err(unopened),
                Ok(Ok(session)) => return Ok(session),
                Err(_) => Err(Unopened::Late),
            };
        }
        outcome
    }

    /// Opens a session in the ways that the TLS mode allows.
    async fn open_at(&self, target: &Target, peer: &Peer, lane: Lane) -> Result<Session, Unopened> {
        let ways = match peer {
            Peer::Unix(_) => (SslMode::Disable, None),
            Peer::Tcp(..) => self.address.tls.ways(),
        };
        match (self.open_as(target, peer, lane, ways.0).await, ways.1) {
            (Err(Unopened::Failed(error)), Some(way)) if is_about_tls(&error) => {
                self.open_as(target, peer, lane, way).await
            }
            (outcome, _) => outcome,
        }
    }

    /// Opens a session in one way, and looks whether it is what it seems.
    ///
    /// A pooler refuses the options that a session is started with, or takes them and does not pass them on. Both show, and
    /// from then on every transaction brings its own.
    async fn open_as(
        &self,
        target: &Target,
        peer: &Peer,
        lane: Lane,
        way: SslMode,
    ) -> Result<Session, Unopened> {
        if !self.is_pooled() {
            match self.connect(target, peer, Some(lane), way).await {
                Ok(mut session) => {
                    let found = session.examine().await?;
                    session.is_standby = found.is_standby;
                    if found.has_options {
                        return Ok(session);
                    }
                }
                Err(Unopened::Failed(error)) if refuses_options(&error) => {}
                Err(error) => return Err(error),
            }
            tracing::info!(host = %target, "a pooler stands before the database: each transaction brings its own settings");
            self.is_pooled.store(true, Ordering::Relaxed);
        }
        let mut session = self.connect(target, peer, None, way).await?;
        if self.role != Role::Any {
            session.is_standby = session.examine().await?.is_standby;
        }
        Ok(session)
    }

    async fn connect(
        &self,
        target: &Target,
        peer: &Peer,
        lane: Option<Lane>,
        way: SslMode,
    ) -> Result<Session, Unopened> {
        let mut config = self.address.config(target, peer, way);
        let own = config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
        match lane {
            Some(Lane::Shared) => config.options(format!("{own}{}", self.shared)),
            Some(Lane::Generic) => {
                config.options(format!("{own}{} -c plan_cache_mode=force_generic_plan", self.shared))
            }
            Some(Lane::Exclusive) => config.options(format!("{own}{}", self.exclusive)),
            Some(Lane::Writing) => config.options(format!("{own}{}", self.writing)),
            // The address may have some of its own, which the pooler then has to know.
            None => &mut config,
        };
        let meter = Arc::new(Meter::default());
        let (client, task) = match peer {
            Peer::Tcp(at, name) => {
                let stream = crate::socket::connect(*at, &config).await.map_err(Unopened::Unreached)?;
                self.start(stream, name, target, &config, &meter).await?
            }
            Peer::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(Unopened::Unreached)?;
                self.start(stream, "localhost", target, &config, &meter).await?
            }
        };
        Ok(Session {
            client,
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            task,
            is_severed: AtomicBool::new(false),
            meter,
            is_pooled: lane.is_none(),
            is_standby: None,
            peer: peer.clone(),
            tls: self.address.tls.clone(),
        })
    }

    /// Logs in on a connection, and has a task drive it from then on.
    async fn start<S>(
        &self,
        stream: S,
        name: &str,
        target: &Target,
        config: &Config,
        meter: &Arc<Meter>,
    ) -> Result<(Client, AbortHandle), Unopened>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stage = match (config.get_ssl_mode(), config.get_ssl_negotiation()) {
            (SslMode::Disable, _) => Stage::Messages,
            (_, SslNegotiation::Direct) => Stage::Encrypted,
            _ => Stage::Answer,
        };
        let stream = Watched::new(stream, stage, Arc::clone(meter));
        let handshake = self.address.tls.handshake(name).map_err(Unopened::Unreached)?;
        let (client, connection) = config.connect_raw(stream, handshake.watched(Arc::clone(meter))).await?;
        let host = target.to_string();
        let notices = self.notices.clone();
        let task = self.tasks.spawn(async move {
            let ended = match notices {
                None => connection.await,
                Some(notices) => drive(connection, notices).await,
            };
            if let Err(error) = ended {
                tracing::info!(%host, error = chain(&error), "a database connection ended");
            }
        });
        Ok((client, task.abort_handle()))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("address", &self.address.shown()).finish_non_exhaustive()
    }
}

/// An open connection. Dropping it ends the server's session once what was sent is answered.
pub(crate) struct Session {
    client: Client,
    id: u64,
    task: AbortHandle,
    is_severed: AtomicBool,
    meter: Arc<Meter>,
    is_pooled: bool,
    /// Whether the server followed another when the session was opened; `None` when it was not asked.
    is_standby: Option<bool>,
    peer: Peer,
    tls: Tls,
}

/// Why a host has no session for us.
enum Unopened {
    /// Nobody knows where it is.
    Unknown(std::io::Error),
    /// There is no connection to where it is.
    Unreached(std::io::Error),
    /// The driver or the server said so.
    Failed(Error),
    /// Nobody answered in time.
    Late,
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Returns the time for one of so many that are left to try. Somewhat less than all of it, so that what the last one says
/// comes before the bound of the whole.
fn share(deadline: Instant, left: usize) -> Duration {
    let whole = deadline.saturating_duration_since(Instant::now()).mul_f32(0.98);
    whole / u32::try_from(left).unwrap_or(1).max(1)
}

/// What a session says of itself.
struct Found {
    is_standby: Option<bool>,
    /// Whether it was started with the options that were sent.
    has_options: bool,
}

impl Session {
    /// Whether nothing of the session lasts longer than a transaction.
    pub(crate) fn is_pooled(&self) -> bool {
        self.is_pooled
    }

    /// Whether the server followed another when the session was opened; `None` when it was not asked.
    pub(crate) fn is_standby(&self) -> Option<bool> {
        self.is_standby
    }

    /// Asks the server to cancel what runs in this session.
    ///
    /// # Errors
    /// That the server was not reached. It does not say whether it cancelled anything.
    pub(crate) fn cancel(&self) -> impl Future<Output = std::io::Result<()>> + Send + use<> {
        cancel(self.client.cancel_token(), self.peer.clone(), self.tls.clone())
    }

    async fn examine(&self) -> Result<Found, Error> {
        let messages = self.client.simple_query(EXAMINE).await?;
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let cell = |at| row.and_then(|row| row.try_get(at).ok().flatten());
        Ok(Found {
            is_standby: cell(0).map(|text| text == "t"),
            has_options: cell(1).is_some_and(|text| text == MARK),
        })
    }

    /// Returns the driver's handle.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns a number no other session of this database has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether the connection has been neither found closed nor cut off.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_severed.load(Ordering::Relaxed) && !self.client.is_closed()
    }

    /// Whether the next caller may have the connection.
    pub(crate) fn is_reusable(&self) -> bool {
        self.is_open() && !self.meter.is_bloated()
    }

    /// Returns what is seen of the connection's messages.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Cuts the connection off without waiting for anything.
    pub(crate) fn sever(&self) {
        // The task ends a little later, and nobody should take the connection until then.
        self.is_severed.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("is_open", &self.is_open())
            .finish_non_exhaustive()
    }
}

/// Returns the shared lane's statement timeout.
pub(crate) fn shared_timeout(statement_timeout: Duration) -> Duration {
    statement_timeout.min(SHARED_STATEMENT_TIMEOUT)
}

/// `RESET ALL` brings exactly these back, since they come with the start of the session.
fn session_options(statement_timeout: Duration, read_only: &str) -> String {
    let settings = settings(statement_timeout).map(|(name, value)| format!("-c {name}={value}"));
    format!("-c default_transaction_read_only={read_only} {} -c trunkline.session={MARK}", settings.join(" "))
}

fn unwanted(session: &Session) -> &'static str {
    match session.is_standby {
        Some(true) => "it follows another server, and one that takes writes is wanted",
        Some(false) => "it takes writes, and one that follows another is wanted",
        None => "it does not say whether it follows another server",
    }
}

/// Whether the other way may work: the handshake failed, or the server has no place for logins like this one.
fn is_about_tls(error: &Error) -> bool {
    match error.code() {
        Some(code) => code.code() == "28000",
        // The driver has no other sign of it.
        None => error.to_string().contains("TLS"),
    }
}

fn refuses_options(error: &Error) -> bool {
    error.as_db_error().is_some_and(|report| report.message().contains("unsupported startup parameter"))
}

/// Returns a number below `count`, another each time.
fn pick(count: usize) -> usize {
    let random = usize::try_from(crate::damper::random() >> 33).unwrap_or(0);
    random.checked_rem(count).unwrap_or(0)
}

/// Tells an error with its causes: the driver's own text alone is `error connecting to server`.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A role, and whether the options came through: a setting that no server has by itself.
const EXAMINE: &str =
    "select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('trunkline.session', true)";

const MARK: &str = "on";

/// Most connections being opened at a time: a server that comes back has others to serve, too.
const MOST_ATTEMPTS: usize = 4;

const SHARED_STATEMENT_TIMEOUT: Duration = Duration::from_millis(500);
