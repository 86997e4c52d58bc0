//! Opens connections: how long that may take, what each lane's sessions are held to, and not knocking again at once where
//! nobody answered.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};
use tokio_util::task::TaskTracker;
use trunkline_sql::DatabaseError;

/// Which lane a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Many callers' short reads, pipelined.
    Shared,
    /// One caller's statement at a time.
    Exclusive,
}

/// Opens sessions of one database.
pub(crate) struct Dialer {
    shared: Config,
    exclusive: Config,
    /// Host and port, for the operator.
    address: String,
    connect_timeout: Duration,
    idle_timeout: Duration,
    /// Owns the tasks that drive connections and those that clean up after dropped calls.
    tasks: TaskTracker,
    last_failure: Mutex<Option<(Instant, String)>>,
    next_id: AtomicU64,
}

impl Dialer {
    /// Decides what sessions are held to. `statement_timeout` is the exclusive lane's; the shared lane's is never longer.
    pub(crate) fn new(config: &Config, statement_timeout: Duration, connect_timeout: Duration) -> Self {
        let with = |timeout: Duration| {
            let mut config = config.clone();
            let own = config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
            config.options(format!("{own}{}", session_options(timeout))).connect_timeout(connect_timeout);
            if config.get_application_name().is_none() {
                config.application_name("trunkline");
            }
            config
        };
        Self {
            shared: with(shared_timeout(statement_timeout)),
            exclusive: with(statement_timeout),
            address: address(config),
            connect_timeout,
            idle_timeout: idle_timeout(statement_timeout),
            tasks: TaskTracker::new(),
            last_failure: Mutex::new(None),
            next_id: AtomicU64::new(1),
        }
    }

    /// Opens a session, which takes at most the connect timeout.
    ///
    /// # Errors
    /// [`DatabaseError::Unreachable`]; at once when another attempt failed less than 250 ms ago.
    pub(crate) async fn dial(&self, lane: Lane) -> Result<Session, DatabaseError> {
        if let Some(reason) = self.failed_within(REMEMBER_FAILURE) {
            return Err(self.unreached(reason));
        }
        let config = match lane {
            Lane::Shared => &self.shared,
            Lane::Exclusive => &self.exclusive,
        };
        let connected = tokio::time::timeout(self.connect_timeout, config.connect(NoTls)).await;
        let (client, connection) = match connected {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(self.note_failure(chain(&error))),
            Err(_) => {
                return Err(self.note_failure(format!("no connection within {:?}", self.connect_timeout)));
            }
        };
        *self.failure() = None;
        let address = self.address.clone();
        let task = self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::info!(%address, error = chain(&error), "a database connection ended");
            }
        });
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Ok(Session {
            client,
            id,
            task: task.abort_handle(),
            is_severed: AtomicBool::new(false),
            is_bloated: AtomicBool::new(false),
        })
    }

    /// Returns why the last attempt failed, when that is less than `age` ago and none succeeded since.
    pub(crate) fn failed_within(&self, age: Duration) -> Option<String> {
        self.failure().as_ref().filter(|(at, _)| at.elapsed() < age).map(|(_, reason)| reason.clone())
    }

    /// Makes the error that says the database does not answer any more.
    pub(crate) fn unreachable(&self, reason: String) -> DatabaseError {
        DatabaseError::Unreachable { address: self.address.clone(), source: reason.into(), sent: true }
    }

    /// Makes the error that says there is no connection to the database, so that nothing was sent.
    pub(crate) fn unreached(&self, reason: String) -> DatabaseError {
        DatabaseError::Unreachable { address: self.address.clone(), source: reason.into(), sent: false }
    }

    /// Returns the longest time to wait for a connection.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Returns how long an exclusive session may idle within a transaction before the server ends it.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Returns the owner of this database's tasks.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn note_failure(&self, reason: String) -> DatabaseError {
        *self.failure() = Some((Instant::now(), reason.clone()));
        self.unreached(reason)
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<(Instant, String)>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// An open connection. Dropping it ends the server's session once what was sent is answered.
pub(crate) struct Session {
    client: Client,
    id: u64,
    task: AbortHandle,
    is_severed: AtomicBool,
    is_bloated: AtomicBool,
}

impl Session {
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
        self.is_open() && !self.is_bloated.load(Ordering::Relaxed)
    }

    /// Takes note of how large a row was. The driver reads a row whole, and its buffer stays as large as long as the
    /// connection lives.
    pub(crate) fn note_row(&self, bytes: usize) {
        if bytes > LARGE_ROW {
            self.is_bloated.store(true, Ordering::Relaxed);
        }
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

/// `RESET ALL` brings exactly these back, since they come with the start of the session. A date style of ISO makes the text
/// form of ranges the same everywhere. The bound on idling in a transaction frees locks should this process be frozen.
fn session_options(statement_timeout: Duration) -> String {
    let timeout = statement_timeout.as_millis().max(1);
    let idle = idle_timeout(statement_timeout).as_millis();
    format!(
        "-c default_transaction_read_only=on -c statement_timeout={timeout} \
         -c idle_in_transaction_session_timeout={idle} -c datestyle=ISO -c standard_conforming_strings=on"
    )
}

fn idle_timeout(statement_timeout: Duration) -> Duration {
    statement_timeout.max(Duration::from_millis(1)) + Duration::from_secs(10)
}

fn address(config: &Config) -> String {
    let port = |at: usize| config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
    let hosts = config.get_hosts().iter().enumerate().map(|(at, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(at)),
        Host::Unix(folder) => format!("{}:{}", folder.display(), port(at)),
    });
    hosts.collect::<Vec<_>>().join(", ")
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

/// Long enough that 200 calls at once find one failure, short enough that recovery is not noticed.
const REMEMBER_FAILURE: Duration = Duration::from_millis(250);

/// A connection that read a larger row is not used again.
const LARGE_ROW: usize = 1 << 20;

const SHARED_STATEMENT_TIMEOUT: Duration = Duration::from_millis(500);
