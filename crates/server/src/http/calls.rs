//! Calls of legacy sessions that outlive their connection: a dropped connection does not cancel them, a notification does.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trunkline_service::Event;
use trunkline_service::shared::Shared;

use super::answer::{Done, Work};
use super::line::{Line, Piece};
use crate::legacy::Session;

/// Shards of the table of running calls, so that sessions do not wait for each other.
const SHARDS: usize = 16;
/// How long a call may be silent before its stream begins: a client that loses its connection later can come back to it.
const PATIENCE: Duration = Duration::from_secs(3);

type Key = (u128, Box<[u8]>);
/// The calls that run, each with a number of its own: a client may use an id again too early.
type Running = HashMap<Key, (u64, CancellationToken)>;

/// The calls of all legacy sessions that did not end at once.
#[derive(Debug, Default)]
pub(super) struct Calls {
    tasks: TaskTracker,
    serial: AtomicU64,
    running: Arc<[Mutex<Running>; SHARDS]>,
}

/// What became of a call.
pub(super) enum Started {
    /// It ended at once; what it told before may wait still.
    Ended(Done, Option<mpsc::Receiver<Event>>),
    /// It goes on by itself. Nothing comes when it was cancelled.
    Running(mpsc::Receiver<Piece>),
}

impl Calls {
    /// Starts a call, with what it tells its client if that takes a stream. Only one that has to wait becomes a task of its own
    /// and can be cancelled.
    pub(super) fn start(
        &self,
        shared: &Arc<dyn Shared>,
        session: &Session,
        id: &[u8],
        mut work: Work,
        events: Option<mpsc::Receiver<Event>>,
    ) -> Started {
        if let Some(ended) = (&mut work).now_or_never() {
            return Started::Ended(ended, events);
        }
        let cancel = CancellationToken::new();
        let key: Key = (session.number, id.into());
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut running) = self.shard(session.number).lock() {
            running.insert(key.clone(), (serial, cancel.clone()));
        }
        let (line, pieces) = Line::new(shared, session);
        let entry = Entry { running: Arc::clone(&self.running), key, serial };
        self.tasks.spawn(async move {
            let _entry = entry;
            tokio::select! {
                () = drive(work, events, line) => {}
                () = cancel.cancelled() => {}
            }
        });
        Started::Running(pieces)
    }

    /// Runs a call whose client takes no stream to its end; `None` when it was cancelled.
    pub(super) async fn run(
        &self,
        shared: &Arc<dyn Shared>,
        session: &Session,
        id: &[u8],
        work: Work,
    ) -> Option<Done> {
        match self.start(shared, session, id, work, None) {
            Started::Ended(done, _) => Some(done),
            Started::Running(mut pieces) => match pieces.recv().await {
                Some(Piece::End(_, done)) => Some(done),
                _ => None,
            },
        }
    }

    /// Cancels one call of a session, if it runs.
    pub(super) fn cancel(&self, session: u128, id: &[u8]) {
        if let Ok(running) = self.shard(session).lock()
            && let Some((_, call)) = running.get(&(session, id.into()))
        {
            call.cancel();
        }
    }

    /// Cancels every call of a session.
    pub(super) fn end_session(&self, session: u128) {
        if let Ok(running) = self.shard(session).lock() {
            running
                .iter()
                .filter(|((owner, _), _)| *owner == session)
                .for_each(|(_, (_, call))| call.cancel());
        }
    }

    /// Waits until no call runs. Further ones may still start.
    pub(super) async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Cancels every call and waits for their ends.
    pub(super) async fn stop(&self) {
        for shard in self.running.iter() {
            if let Ok(running) = shard.lock() {
                running.values().for_each(|(_, call)| call.cancel());
            }
        }
        self.idle().await;
    }

    fn shard(&self, session: u128) -> &Mutex<Running> {
        shard(&self.running, session)
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

fn shard(running: &[Mutex<Running>; SHARDS], session: u128) -> &Mutex<Running> {
    let [first, ..] = running;
    running.get((session % SHARDS as u128) as usize).unwrap_or(first)
}

/// Takes a call off the table however it ends.
struct Entry {
    running: Arc<[Mutex<Running>; SHARDS]>,
    key: Key,
    serial: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Ok(mut running) = shard(&self.running, self.key.0).lock()
            && running.get(&self.key).is_some_and(|(serial, _)| *serial == self.serial)
        {
            running.remove(&self.key);
        }
    }
}
