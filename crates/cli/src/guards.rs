//! The guards of a served endpoint: made from what the file says, renewed when it says something else, ended in order.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trunkline_guard::authenticate::keys::{Absent, Keys, Ring, StoreChoice};
use trunkline_guard::authenticate::{Assign, Described, Identity, KeyCheck};
use trunkline_guard::authorize::Policy;
use trunkline_guard::limit::{Counted, LimitState, Limits};
use trunkline_guard::record::sink::file::FileSink;
use trunkline_guard::record::sink::stream::Stream;
use trunkline_guard::record::sink::syslog::Syslog;
use trunkline_guard::record::sink::{Sink, SinkError};
use trunkline_guard::record::{Audit, Recorder, SinkChoice, StartError};
use trunkline_service::authenticate::{Access, Authenticator, ProtectedResource};
use trunkline_service::file::Problem;

use crate::assemble::Served;
use crate::audit::postgres::PostgresSink;
use crate::config::{self, Authentication, Server};
use crate::keys::{self, open_store};
use crate::sources;

/// How long the end waits for the last use of keys to be written.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How long a write of the audit record may take in a database.
const RECORD_WITHIN: Duration = Duration::from_secs(10);

/// Who may come in and what they may do, as one configuration says.
#[derive(Debug, Clone)]
pub(crate) struct Guards {
    pub(crate) policy: Arc<Policy>,
    /// How often they may ask.
    pub(crate) limits: Arc<Limits>,
    /// How many requests the server works on at a time, where `[limits]` says so.
    pub(crate) most_at_a_time: Option<usize>,
    /// Where the limit of the server is asked.
    pub(crate) counted: Counted,
    /// `None`: the local user alone.
    door: Option<Door>,
}

/// Who judges credentials, and what refusals say.
#[derive(Debug, Clone)]
struct Door {
    identity: Arc<Identity>,
    resource: Arc<ProtectedResource>,
    /// All that it was made from.
    print: Print,
    keys: Option<KeyRing>,
}

/// What a door is made from: equal for equal ones.
type Print = (config::Fingerprint, Option<String>, Option<config::Fingerprint>);

/// The task that follows a store of keys.
#[derive(Clone)]
struct KeyRing {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").finish_non_exhaustive()
    }
}

impl Guards {
    /// Makes the guards that the file asks for, keeping of `old` what did not change. Nothing is in force before
    /// [`take_over`](Self::take_over). The connectors in `served` are those of the same file.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was begun.
    pub(crate) async fn new(
        said: config::Guards,
        server: &Server,
        served: &[Served],
        old: Option<&Self>,
        absent: Absent,
        state: &LimitState,
    ) -> Self {
        let config::Guards { auth, policy, scopes, limits, .. } = said;
        let most_at_a_time = limits.concurrent.map(|most| most.get() as usize);
        let limits = Arc::new(Limits::new(&limits, state, policy.local()));
        let counted = Counted::AtTheDoor;
        let Some(Authentication { auth, keys, print }) = auth else {
            return Self { policy, limits, most_at_a_time, counted, door: None };
        };
        let url = server.url.as_ref().map(|url| url.text.clone());
        let print: Print = (print, url.clone(), keys.as_ref().and_then(|keys| store_print(keys, served)));
        let described = Described {
            url: url.as_deref(),
            name: Some(&server.name),
            issuers: &auth.issuers(),
            scopes: &scopes,
            login_scopes: &auth.login_scopes,
        };
        let resource = Arc::new(described.protected_resource());
        let known = old.and_then(|old| old.door.as_ref()).filter(|door| door.print == print);
        if let Some(door) = known {
            return Self {
                policy,
                limits,
                most_at_a_time,
                counted,
                door: Some(Door { resource, ..door.clone() }),
            };
        }
        let (ring, keys) = match &keys {
            Some(keys) => start_ring(keys, served, absent).await,
            None => (None, None),
        };
        let assign: Arc<dyn Assign> = Arc::clone(&policy) as _;
        let identity = Identity::new(&auth, ring, assign);
        Self { policy, limits, most_at_a_time, counted, door: Some(Door { identity, resource, print, keys }) }
    }

    /// Makes the guards of an edge on which only the local user asks.
    pub(crate) fn local(said: config::Guards, state: &LimitState) -> Self {
        let config::Guards { policy, limits, .. } = said;
        let most_at_a_time = limits.concurrent.map(|most| most.get() as usize);
        let limits = Arc::new(Limits::new(&limits, state, policy.local()));
        Self { policy, limits, most_at_a_time, counted: Counted::Here, door: None }
    }

    /// Puts these guards in force in the place of others: what `old` accepted is judged anew.
    pub(crate) fn take_over(&self, old: &Self) {
        let (Some(before), now) = (&old.door, &self.door) else { return };
        match now {
            Some(door) if Arc::ptr_eq(&door.identity, &before.identity) => {
                if self.policy.digest() != old.policy.digest() {
                    door.identity.reassign(Arc::clone(&self.policy) as _);
                }
            }
            _ => {
                before.identity.retire();
                if let Some(keys) = &before.keys {
                    keys.stop.cancel();
                }
            }
        }
    }

    /// Tells whether callers have to prove who they are.
    pub(crate) fn is_guarded(&self) -> bool {
        self.door.is_some()
    }

    /// Tells whether `[auth]` says what these were made from.
    pub(crate) fn was_made_from(&self, said: &config::Guards) -> bool {
        let print = said.auth.as_ref().map(|auth| &auth.print);
        self.door.as_ref().map(|door| &door.print.0) == print
    }

    /// Returns who may come in over HTTP.
    pub(crate) fn access(&self) -> Access {
        match &self.door {
            None => Access::Local,
            Some(door) => Access::Guarded {
                authenticator: Arc::clone(&door.identity) as _,
                resource: Arc::clone(&door.resource),
            },
        }
    }

    /// Returns who tells when a caller's proof ends.
    pub(crate) fn authenticator(&self) -> Option<Arc<dyn Authenticator>> {
        self.door.as_ref().map(|door| Arc::clone(&door.identity) as _)
    }

    /// Ends what runs for them, once nobody is served any more.
    pub(crate) async fn end(&self) {
        let Some(keys) = self.door.as_ref().and_then(|door| door.keys.as_ref()) else { return };
        keys.stop.cancel();
        // It writes when keys were last used; late is better told at the next start than waited for.
        let _ = tokio::time::timeout(LAST_WORD, keys.tasks.wait()).await;
    }
}

/// What the connector says whose database keeps the keys; `None` for a file.
fn store_print(keys: &Keys, served: &[Served]) -> Option<config::Fingerprint> {
    match &keys.store {
        StoreChoice::Postgres(name) => {
            served.iter().find(|served| served.name == **name).map(|served| served.own.clone())
        }
        _ => None,
    }
}

async fn start_ring(
    keys: &Keys,
    served: &[Served],
    absent: Absent,
) -> (Option<Arc<dyn KeyCheck>>, Option<KeyRing>) {
    let store = open_store(keys, absent, |name, within| sources::writer(served, name, within));
    // The file was checked: a connector that keeps keys is one of those that can.
    let Some(store) = store else { return (None, None) };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let ring = Ring::start(store, keys.stale, &tasks, stop.clone()).await;
    tasks.close();
    (Some(ring), Some(KeyRing { tasks, stop }))
}

/// Asks those whom the file has judge credentials whether they can, and looks at the store of keys, for `check`. Nothing is made.
pub(crate) async fn examine(said: &config::Guards, served: &[Served]) -> Vec<Problem> {
    let Some(Authentication { auth, keys, .. }) = &said.auth else { return Vec::new() };
    let store = async {
        let keys = keys.as_ref()?;
        keys::examine(keys, |name, within| sources::writer(served, name, within)).await
    };
    let (mut found, store) = tokio::join!(trunkline_guard::authenticate::examine(auth), store);
    found.extend(store);
    found
}

/// Starts the record that the file asks for.
///
/// # Errors
/// [`StartError`]: the sink is set up wrong.
pub(crate) async fn start_record(audit: &Audit, served: &[Served]) -> Result<Recorder, StartError> {
    let sink: Box<dyn Sink> = match &audit.sink {
        SinkChoice::File(path) => Box::new(FileSink::new(path.clone(), audit.rotation)),
        SinkChoice::Stdout => Box::new(
            Stream::stdout()
                .map_err(|error| SinkError::wrong("the process has no standard output").with_source(error))?,
        ),
        SinkChoice::Syslog => Box::new(Syslog::default()),
        SinkChoice::Postgres(name) => {
            let writer = sources::writer(served, name, RECORD_WITHIN).ok_or_else(|| {
                SinkError::wrong(format!("the connector `{name}` cannot keep the audit record"))
            })?;
            Box::new(PostgresSink::new(name, writer))
        }
    };
    Recorder::start(audit, sink).await
}
