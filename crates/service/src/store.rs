//! A Redis (6 and later) or Valkey that all nodes of an endpoint share: one connection for commands, one to hear what is
//! published, both made anew in the background when they are lost.
//!
//! It is reached by a small client of our own rather than a crate's: every reply is bounded, what may have been done is told from
//! what was not, and nothing of a key, a value or an address comes into an error.

mod address;
mod backoff;
mod dial;
mod error;
#[cfg(feature = "file")]
pub mod file;
mod keeper;
mod link;
mod listen;
mod resp;
mod script;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::meter::{Counter, Durations, Meter, Page};
use address::Address;
use keeper::Connection;
use listen::Ears;
use resp::Command;

pub use address::AddressError;
pub use error::{Code, StoreError};
pub use listen::{Event, Subscription};
pub use resp::Value;
pub use script::Script;
pub use tls::TrustError;

/// How long a command may take unless something else is said.
const TIMEOUT: Duration = Duration::from_millis(250);

/// The URL of a store with its password; `Debug` hides it.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(feature = "file", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// Takes a URL as it is; it is read by [`StoreConfig::new`].
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreUrl(..)")
    }
}

/// Where the store is and how it is used, all decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    address: Address,
    namespace: String,
    timeout: Duration,
    roots: Option<Vec<CertificateDer<'static>>>,
}

impl StoreConfig {
    /// Reads the URL of a store. Its namespace is `shared` and a command may take 250 ms, unless something else is said.
    ///
    /// # Errors
    /// [`AddressError`], which shows nothing of the URL.
    pub fn new(url: &StoreUrl) -> Result<Self, AddressError> {
        let address = Address::read(&url.0)?;
        Ok(Self { address, namespace: "shared".to_owned(), timeout: TIMEOUT, roots: None })
    }

    /// Sets the namespace: all keys and channels begin with `trunkline:{NAMESPACE}:`, so that nodes with the same one share. The
    /// braces keep all of them in one slot of a cluster.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets how long one command may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Trusts the certificates of a file in PEM form instead of the system's.
    ///
    /// # Errors
    /// [`TrustError`] when it has none, or one is damaged.
    pub fn trust(mut self, pem: &[u8]) -> Result<Self, TrustError> {
        self.roots = Some(tls::read_roots(pem)?);
        Ok(self)
    }

    /// Returns what all keys and channels begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("trunkline:{{{}}}:", self.namespace)
    }
}

/// A store that nodes share. Clones are the same one; when the last is dropped its connections end.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Stops the tasks when nobody holds the store any more.
    _stop: DropGuard,
}

/// What the tasks and all clones have in common.
#[derive(Debug)]
struct Core {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    prefix: Box<[u8]>,
    timeout: Duration,
    connection: Connection,
    ears: Arc<Ears>,
    counts: Counts,
}

/// What became of commands.
#[derive(Debug, Default)]
struct Counts {
    done: Counter,
    refused: Counter,
    late: Counter,
    down: Counter,
    took: Durations,
}

impl Store {
    /// Begins to reach the store; nothing is reached yet when this returns. Needs a runtime.
    ///
    /// # Errors
    /// [`TrustError`] where TLS is wanted and nobody is trusted.
    pub fn open(config: StoreConfig) -> Result<Self, TrustError> {
        let tls = config.address.tls.then(|| tls::client(config.roots.as_deref())).transpose()?;
        let core = Arc::new(Core {
            prefix: config.prefix().into_bytes().into(),
            address: config.address,
            tls,
            timeout: config.timeout,
            connection: Connection::default(),
            ears: Arc::default(),
            counts: Counts::default(),
        });
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let (keeper, listener) = (Arc::clone(&core), Arc::clone(&core));
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            keeper.connection.keep(&keeper.address, keeper.tls.as_ref(), keeper.timeout).await;
        }));
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            listener.ears.listen(&listener.address, listener.tls.as_ref(), listener.timeout).await;
        }));
        tasks.close();
        let guard = stop.clone().drop_guard();
        Ok(Self(Arc::new(Handle { core, tasks, stop, _stop: guard })))
    }

    /// Ends the connections. What is asked afterwards is [`StoreError::Down`].
    ///
    /// # Cancel safety
    /// The connections end all the same when the future is dropped.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.wait().await;
    }

    /// Tells whether the store answered the last command or question in time.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.core.connection.is_up.load(Ordering::Relaxed)
    }

    /// Tells whether what is published is heard: false while nobody subscribes.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.0.core.ears.is_live()
    }

    /// Returns how many connections for commands there were; rises with each.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.core.connection.generation.load(Ordering::Relaxed)
    }

    /// Returns how long one command may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.0.core.timeout
    }

    /// Runs a script, and gives it to the store where the store does not know it (any more). Keys get the store's prefix.
    ///
    /// Nothing that may have been done is tried again.
    ///
    /// # Errors
    /// [`StoreError`] of every kind.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have run the script.
    pub async fn run(&self, script: &Script, keys: &[&[u8]], args: &[&[u8]]) -> Result<Value, StoreError> {
        let command = |word: &[u8], what: &[u8]| {
            let command = Command::new(3 + keys.len() + args.len()).arg(word).arg(what);
            let command = command.number(keys.len() as u64);
            let command = keys.iter().fold(command, |command, key| command.joined(&self.0.core.prefix, key));
            args.iter().fold(command, |command, arg| command.arg(arg))
        };
        match self.ask(command(b"EVALSHA", script.digest())).await {
            // Not known: nothing of it was run.
            Err(StoreError::Refused(code)) if code.as_str() == "NOSCRIPT" => {
                self.ask(command(b"EVAL", script.source().as_bytes())).await
            }
            answered => answered,
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`StoreError`] of every kind.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.ask(Command::new(2).arg(b"GET").joined(&self.0.core.prefix, key)).await? {
            Value::Nil => Ok(None),
            Value::Text(value) => Ok(Some(value)),
            Value::Int(_) | Value::Array(_) => Err(StoreError::Unexpected),
        }
    }

    /// Writes a value that is forgotten after `ttl`, of which 1 ms is the least.
    ///
    /// # Errors
    /// [`StoreError`] of every kind.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have written.
    pub async fn set(&self, key: &[u8], value: &[u8], ttl: Duration) -> Result<(), StoreError> {
        let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_TTL_MS);
        let command = Command::new(5).arg(b"SET").joined(&self.0.core.prefix, key).arg(value);
        self.ask(command.arg(b"PX").number(milliseconds)).await?;
        Ok(())
    }

    /// Removes values.
    ///
    /// # Errors
    /// [`StoreError`] of every kind.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have removed them.
    pub async fn delete(&self, keys: &[&[u8]]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let command = Command::new(1 + keys.len()).arg(b"DEL");
        let command = keys.iter().fold(command, |command, key| command.joined(&self.0.core.prefix, key));
        self.ask(command).await?;
        Ok(())
    }

    /// Tells all who hear that channel, on every node, soon and without a promise.
    ///
    /// # Errors
    /// [`StoreError`] of every kind.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have told.
    pub async fn publish(&self, channel: &str, message: &[u8]) -> Result<(), StoreError> {
        let command = Command::new(3).arg(b"PUBLISH").joined(&self.0.core.prefix, channel.as_bytes());
        self.ask(command.arg(message)).await?;
        Ok(())
    }

    /// Begins to hear a channel; [`Event::Gap`] tells when it took effect.
    #[must_use]
    pub fn subscribe(&self, channel: &str) -> Subscription {
        self.0.core.ears.subscribe([&self.0.core.prefix, channel.as_bytes()].concat().into())
    }

    async fn ask(&self, command: Command) -> Result<Value, StoreError> {
        let core = &self.0.core;
        if self.0.stop.is_cancelled() {
            return Err(StoreError::Down("it was closed"));
        }
        let began = Instant::now();
        let mut was_sent = false;
        let answered = timeout(core.timeout, async {
            let link = core.connection.link().await?;
            was_sent = true;
            link.ask(command).await
        })
        .await;
        let answered = answered.unwrap_or_else(|_| {
            Err(if was_sent {
                StoreError::Late
            } else {
                StoreError::Down("no connection in the time a command may take")
            })
        });
        core.counts.count(&answered, began.elapsed());
        answered
    }
}

/// The longest time to live that is asked for, in milliseconds: a hundred years, which every server can add to its clock.
const MAX_TTL_MS: u64 = 3_155_760_000_000;

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("is_up", &self.is_up()).finish_non_exhaustive()
    }
}

impl Counts {
    fn count(&self, answered: &Result<Value, StoreError>, took: Duration) {
        match answered {
            Ok(_) => self.done.add_one(),
            // A script that is given next is no refusal.
            Err(StoreError::Refused(code)) if code.as_str() == "NOSCRIPT" => return,
            Err(StoreError::Refused(_) | StoreError::Unexpected) => self.refused.add_one(),
            Err(StoreError::Late | StoreError::Unknown) => self.late.add_one(),
            Err(StoreError::Down(_)) => return self.down.add_one(),
        }
        self.took.observe(took);
    }
}

impl Meter for Store {
    fn read(&self, page: &mut Page) {
        let counts = &self.0.core.counts;
        let outcomes = [
            ("done", &counts.done),
            ("refused", &counts.refused),
            ("unknown", &counts.late),
            ("down", &counts.down),
        ];
        for (outcome, counter) in outcomes {
            let help = "Commands to the store, by what became of them.";
            page.counter("trunkline_store_commands_total", help, &[("outcome", outcome)], counter.sum());
        }
        let help = "How long the store took for a command.";
        page.durations("trunkline_store_command_seconds", help, &[], &counts.took);
        let help = "How often a connection to the store was made.";
        page.counter("trunkline_store_connections_total", help, &[], self.generation());
        let up = |is_up| if is_up { 1.0 } else { 0.0 };
        page.gauge("trunkline_store_up", "Whether the store answers.", &[], up(self.is_up()));
        page.gauge(
            "trunkline_store_hears",
            "Whether what other nodes publish is heard.",
            &[],
            up(self.hears()),
        );
    }
}
