//! Calls of legacy sessions that outlive their connection: a dropped connection does not cancel them, a notification does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{Done, Work};

/// Shards of the table of running calls, so that sessions do not wait for each other.
const SHARDS: usize = 16;

type Key = (u128, Box<[u8]>);
/// The calls that run, each with a number of its own: a client may use an id again too early.
type Running = HashMap<Key, (u64, CancellationToken)>;

/// The calls of all legacy sessions that did not end at once.
#[derive(Debug, Default)]
pub(super) struct LegacyCalls {
    tasks: TaskTracker,
    serial: AtomicU64,
    running: Arc<[Mutex<Running>; SHARDS]>,
}

/// What became of a call.
pub(super) enum Started {
    /// It ended at once.
    Ended(Done),
    /// It goes on by itself. Nothing comes when it was cancelled.
    Running(oneshot::Receiver<Done>),
}

impl LegacyCalls {
    /// Starts a call. Only one that has to wait becomes a task of its own and can be cancelled.
    pub(super) fn start(&self, session: u128, id: &[u8], mut work: Work) -> Started {
        if let Some(ended) = (&mut work).now_or_never() {
            return Started::Ended(ended);
        }
        let cancel = CancellationToken::new();
        let key: Key = (session, id.into());
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut running) = self.shard(session).lock() {
            running.insert(key.clone(), (serial, cancel.clone()));
        }
        let (sender, receiver) = oneshot::channel();
        let entry = Entry { running: Arc::clone(&self.running), key, serial };
        self.tasks.spawn(async move {
            let _entry = entry;
            tokio::select! {
                ended = work => {
                    // Nobody may be listening any more: the connection was dropped.
                    let _ = sender.send(ended);
                }
                () = cancel.cancelled() => {}
            }
        });
        Started::Running(receiver)
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

    /// Cancels every call and waits for their ends.
    pub(super) async fn stop(&self) {
        for shard in self.running.iter() {
            if let Ok(running) = shard.lock() {
                running.values().for_each(|(_, call)| call.cancel());
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn shard(&self, session: u128) -> &Mutex<Running> {
        shard(&self.running, session)
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
