//! Calls of legacy sessions that outlive their connection: a dropped connection does not cancel them, a notification does,
//! on whatever node it arrives.

use std::collections::HashMap;
use std::collections::hash_map;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trunkline_service::shared::{Follow, Followed, Shared};
use trunkline_service::{Change, Event, Failure, FailureKind};

use super::answer::{Done, Work};
use super::line::{Line, Piece};
use crate::legacy::Session;

/// Shards of the table of running calls, so that sessions do not wait for each other.
const SHARDS: usize = 16;
/// How long a call may be silent before its stream begins: a client that loses its connection later can come back to it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long calls may take to go once they are cancelled.
const LAST: Duration = Duration::from_secs(1);
/// The longest id, in bytes of JSON, that other nodes are told of.
const MAX_TOLD_ID: usize = 256;

type Key = (u128, Box<[u8]>);

/// The calls of all legacy sessions that did not end at once. All of them end with it.
#[derive(Debug, Default)]
pub(super) struct Calls {
    tasks: TaskTracker,
    running: Running,
    /// Cancels every call.
    all: CancellationToken,
}

/// What became of a call.
pub(super) enum Started {
    /// It ended at once; what it told before may wait still.
    Ended(Done, Option<mpsc::Receiver<Event>>),
    /// It goes on by itself. Nothing comes when it was cancelled.
    Running(mpsc::Receiver<Piece>),
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

impl Calls {
    /// Starts a call, with what it tells its client if that takes a stream. Only one that has to wait becomes a task of its own
    /// and can be cancelled.
    ///
    /// # Errors
    /// `InvalidRequest` when a call of that id runs in the session already: answers and cancels name a call by its id alone.
    /// `Overloaded` when the edge was stopped.
    pub(super) fn start(
        &self,
        shared: &Arc<dyn Shared>,
        session: &Session,
        id: &[u8],
        mut work: Work,
        events: Option<mpsc::Receiver<Event>>,
    ) -> Result<Started, Failure> {
        if self.tasks.is_closed() {
            let text = "this server is stopping; connect again in a second";
            let failure = Failure::new(FailureKind::Overloaded, text);
            return Err(failure.with_retry_after(Duration::from_secs(1)));
        }
        // Before anything of it has happened.
        if self.running.has(session.number, id) {
            return Err(in_use());
        }
        if let Some(ended) = (&mut work).now_or_never() {
            return Ok(Started::Ended(ended, events));
        }
        // From before it is on the table: what is not found there is announced.
        let changes = shared.session_changes(session.number);
        let cancel = self.all.child_token();
        let entry = self.running.enter((session.number, id.into()), &cancel)?;
        let shared_by_all = Arc::clone(shared);
        let (line, pieces) = Line::new(shared, session);
        self.tasks.spawn(async move {
            tokio::select! {
                () = drive(work, events, line) => {}
                () = cancel.cancelled() => {}
                () = ended(changes, &*shared_by_all, &entry.key) => {}
            }
        });
        Ok(Started::Running(pieces))
    }

    /// Runs a call whose client takes no stream to its end; `None` when it was cancelled.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(super) async fn run(
        &self,
        shared: &Arc<dyn Shared>,
        session: &Session,
        id: &[u8],
        work: Work,
    ) -> Result<Option<Done>, Failure> {
        match self.start(shared, session, id, work, None)? {
            Started::Ended(done, _) => Ok(Some(done)),
            Started::Running(mut pieces) => match pieces.recv().await {
                Some(Piece::End(_, done)) => Ok(Some(done)),
                _ => Ok(None),
            },
        }
    }

    /// Cancels one call of a session: here, or else on the other nodes.
    pub(super) fn cancel(&self, shared: &Arc<dyn Shared>, session: u128, id: &[u8]) {
        if !self.running.cancel(session, id)
            && id.len() <= MAX_TOLD_ID
            && let Ok(id) = std::str::from_utf8(id)
        {
            shared.announce(Change::Cancel(session, id.into()));
        }
    }

    /// Cancels every call of a session on this node; the others hear of the end of the session by themselves.
    pub(super) fn end_session(&self, session: u128) {
        self.running.end(session);
    }

    /// Takes no more calls and waits until none runs.
    pub(super) async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Takes no more calls, cancels every one and waits for their ends, though not for one that does not yield.
    pub(super) async fn stop(&self) {
        self.all.cancel();
        if tokio::time::timeout(LAST, self.idle()).await.is_err() {
            tracing::warn!(calls = self.tasks.len(), "calls that were cancelled did not end in time");
        }
    }
}

fn in_use() -> Failure {
    let text =
        "a request with this `id` is still running in this session; give each request an `id` of its own";
    Failure::new(FailureKind::InvalidRequest, text)
}

/// Comes true when the call was cancelled or its session ended, at whatever node.
async fn ended(mut changes: Box<dyn Follow>, shared: &dyn Shared, (session, id): &Key) {
    while !shared.is_ended(*session) {
        match changes.next().await {
            Followed::Message(_, change) => match Change::from_bytes(&change) {
                Some(Change::Cancel(of, call)) if of == *session && call.as_bytes() == &**id => return,
                _ => {}
            },
            // Whether the session ended can be looked up; a cancel is lost, as the notification itself may be.
            Followed::Lagged(_) => {}
            Followed::Closed => return std::future::pending().await,
        }
    }
}

/// Drives a call to its end and says on the line what it tells, whoever is slower.
async fn drive(mut work: Work, events: Option<mpsc::Receiver<Event>>, mut line: Line) {
    let Some(mut events) = events else { return line.end(work.await).await };
    let mut patience = pin!(tokio::time::sleep(PATIENCE));
    let (mut done, mut is_open) = (None, true);
    while is_open || done.is_none() {
        let event = tokio::select! {
            biased;
            event = events.recv(), if is_open => event,
            ended = &mut work, if done.is_none() => {
                done = Some(ended);
                // What is there is said still; nothing comes after the end.
                events.close();
                continue;
            }
            () = &mut patience, if !line.has_begun() && done.is_none() => {
                line.begin().await;
                continue;
            }
        };
        let Some(event) = event else {
            is_open = false;
            continue;
        };
        let mut telling = pin!(line.tell(event));
        if done.is_none() {
            tokio::select! {
                biased;
                () = &mut telling => continue,
                ended = &mut work => done = Some(ended),
            }
            events.close();
        }
        telling.await;
    }
    if let Some(done) = done {
        line.end(done).await;
    }
}

// ---- the table ----

/// The calls that run, by session and id.
#[derive(Debug, Default, Clone)]
struct Running(Arc<[Mutex<HashMap<Key, CancellationToken>>; SHARDS]>);

impl Running {
    fn shard(&self, session: u128) -> MutexGuard<'_, HashMap<Key, CancellationToken>> {
        let [first, ..] = &*self.0;
        let shard = self.0.get((session % SHARDS as u128) as usize).unwrap_or(first);
        // Nothing in here panics half way.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, session: u128, id: &[u8]) -> bool {
        let running = self.shard(session);
        // Nearly no call waits, and a key is an allocation.
        !running.is_empty() && running.contains_key(&(session, id.into()))
    }

    /// Puts a call on the table until the entry is dropped.
    fn enter(&self, key: Key, cancel: &CancellationToken) -> Result<Entry, Failure> {
        match self.shard(key.0).entry(key.clone()) {
            hash_map::Entry::Occupied(_) => return Err(in_use()),
            hash_map::Entry::Vacant(place) => place.insert(cancel.clone()),
        };
        Ok(Entry { running: self.clone(), key })
    }

    /// Cancels one call; `false` when it does not run here.
    fn cancel(&self, session: u128, id: &[u8]) -> bool {
        let call = self.shard(session).get(&(session, id.into())).cloned();
        call.as_ref().inspect(|call| call.cancel()).is_some()
    }

    /// Cancels every call of a session.
    fn end(&self, session: u128) {
        let running = self.shard(session);
        let calls = running.iter().filter(|((owner, _), _)| *owner == session);
        let calls: Vec<_> = calls.map(|(_, call)| call.clone()).collect();
        drop(running);
        calls.iter().for_each(CancellationToken::cancel);
    }
}

/// Takes a call off the table however it ends.
struct Entry {
    running: Running,
    key: Key,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.shard(self.key.0).remove(&self.key);
    }
}
