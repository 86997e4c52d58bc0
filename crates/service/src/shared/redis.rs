//! Shared state for the nodes that share a store.
//!
//! Topics and cells are in the store alone. What a session set, whether it was ended, and the log of changes are there too, and
//! every node has all of it in memory: it hears of each change, and reads everything anew whenever it may have missed something.
//! What holds data of clients is sealed, with the key it is kept under bound in.

mod cells;
mod feed;
mod mirror;
mod scripts;
mod sessions;
mod speaker;
mod topics;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{
    Away, Cell, Change, Follow, Keep, Later, NoRoom, PutError, Settings, SettingsChange, Shared, Topic,
};
use crate::seal::{Purpose, Sealer, now, now_ms, random};
use crate::store::{Store, StoreError};
use feed::Feed;
use speaker::Speaker;

/// How long a node that hears nothing of the others vouches for sessions, in seconds.
const VOUCHES: u64 = 600;
/// What sealing adds to a message, in bytes.
const SEAL: usize = 41;
/// The channel on which nodes tell each other what happened.
const NEWS: &str = "news";

/// Shared state kept in a store: for all nodes that have the same store, namespace and seal keys.
///
/// While the store is not reached nothing new is remembered, and whoever asks is told so; what this node knows of sessions goes
/// on to count. It counts for ten minutes at most: after that, sessions that began before are treated as ended, since another
/// node may have ended them.
pub struct InRedis {
    core: Arc<Core>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Stops the tasks when this is dropped.
    _stop: DropGuard,
}

/// What the tasks have in common.
struct Core {
    store: Store,
    sealer: Arc<Sealer>,
    /// What this node is to the others.
    node: [u8; 16],
    feed: Feed,
    speaker: Speaker,
}

impl InRedis {
    /// Keeps shared state in that store. Needs a runtime.
    #[must_use]
    pub fn open(store: Store, sealer: Arc<Sealer>) -> Self {
        let mut node = [0; 16];
        if random(&mut node).is_err() {
            // Only to know its own voice by.
            let drawn = RandomState::new().hash_one(now_ms());
            node = (u128::from(drawn) << 64 | u128::from(std::process::id())).to_be_bytes();
        }
        let (speaker, said) = Speaker::new();
        let core = Arc::new(Core { store, sealer, node, feed: Feed::default(), speaker });
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        tasks.spawn(stop.clone().run_until_cancelled_owned(feed::follow(Arc::clone(&core))));
        tasks.spawn(stop.clone().run_until_cancelled_owned(speaker::speak(Arc::clone(&core), said)));
        tasks.close();
        let guard = stop.clone().drop_guard();
        Self { core, tasks, stop, _stop: guard }
    }

    /// Stops hearing and telling; the store itself stays open.
    ///
    /// # Cancel safety
    /// It stops all the same when the future is dropped.
    pub async fn end(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// Tells whether this node hears what the others tell, and knows what they told before.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.core.feed.is_current()
    }

    /// Waits until this node knows what the others told: for as long as the store is not reached.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn until_current(&self) {
        self.core.feed.until_current().await;
    }
}

impl fmt::Debug for InRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InRedis").field("store", &self.core.store).finish_non_exhaustive()
    }
}

impl Core {
    fn seal(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, Away> {
        self.sealer.seal_bytes(Purpose::Stored, key, None, value).map_err(|_| Away)
    }

    /// Opens what a node sealed; `None` when it was altered, moved from another key, or sealed with keys that are not ours.
    fn open(&self, key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.sealer.open_bytes(Purpose::Stored, key, sealed).ok()
    }
}

impl From<StoreError> for Away {
    fn from(error: StoreError) -> Self {
        // What is not reached was told when it was lost; what the store refuses is told here, at a level that does not flood.
        tracing::debug!(%error, "the store did not do what the nodes share");
        Self
    }
}

impl Shared for InRedis {
    fn end_session(&self, session: u128, expires: u64) -> Later<'_, Result<bool, NoRoom>> {
        Box::pin(self.core.end_session(session, expires))
    }

    fn is_ended(&self, session: u128) -> bool {
        self.core.feed.sessions.is_ended(session)
    }

    fn vouches_for(&self, began: u64) -> bool {
        vouches(self.core.feed.heard(), began, now())
    }

    fn settings(&self, session: u128) -> Option<Arc<Settings>> {
        self.core.feed.sessions.settings(session)
    }

    fn change_settings(
        &self,
        session: u128,
        expires: u64,
        change: SettingsChange,
    ) -> Later<'_, Result<(), NoRoom>> {
        Box::pin(self.core.change_settings(session, expires, change))
    }

    fn announce(&self, change: Change) {
        // What concerns lists and resources is heard when it comes back with its position.
        match &change {
            Change::Session(session, _) | Change::Cancel(session, _) => {
                self.core.feed.session_log(*session).append(change.to_bytes());
            }
            Change::Task(_) => self.core.feed.tasks.append(change.to_bytes()),
            Change::Tools | Change::Prompts | Change::Resources | Change::Resource(_) => {}
        }
        self.core.speaker.say(change);
    }

    fn changes(&self, after: Option<u64>) -> Box<dyn Follow> {
        Box::new(self.core.feed.changes.reader(after))
    }

    fn session_changes(&self, session: u128) -> Box<dyn Follow> {
        Box::new(self.core.feed.session_log(session).reader(None))
    }

    fn task_changes(&self) -> Box<dyn Follow> {
        Box::new(self.core.feed.tasks.reader(None))
    }

    fn open(&self, topic: Topic, keep: Keep) -> Later<'_, Result<(), NoRoom>> {
        Box::pin(async move { self.core.open_topic(topic, keep).await })
    }

    fn append(&self, topic: Topic, message: Bytes) -> Later<'_, Result<Option<u64>, Away>> {
        Box::pin(async move { self.core.append(topic, &message).await })
    }

    fn follow(&self, topic: Topic, after: Option<u64>) -> Later<'_, Result<Option<Box<dyn Follow>>, Away>> {
        Box::pin(async move { topics::follow(&self.core, topic, after).await })
    }

    fn close(&self, topic: Topic) {
        self.core.speaker.close(topic);
    }

    fn get(&self, cell: &Cell) -> Later<'_, Result<Option<(u64, Bytes)>, Away>> {
        let name = cells::name(cell);
        Box::pin(async move { self.core.get_cell(&name).await })
    }

    fn put(
        &self,
        cell: &Cell,
        expected: u64,
        value: Bytes,
        expires_ms: u64,
    ) -> Later<'_, Result<u64, PutError>> {
        let name = cells::name(cell);
        Box::pin(async move { self.core.put_cell(&name, expected, &value, expires_ms).await })
    }

    fn remove(&self, cell: &Cell) -> Later<'_, Result<(), Away>> {
        let name = cells::name(cell);
        Box::pin(async move { self.core.remove_cell(&name).await })
    }
}

/// Tells whether who last heard then would know of the end of a session that began then, all in seconds since 1970.
fn vouches(heard: u64, began: u64, now: u64) -> bool {
    now.saturating_sub(heard.max(began)) <= VOUCHES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_cut_off_vouches_for_ten_minutes_and_for_new_sessions_as_long() {
        assert!(vouches(1000, 0, 1600) && !vouches(1000, 0, 1601));
        assert!(vouches(1000, 5000, 5600) && !vouches(1000, 5000, 5601));
        assert!(vouches(1000, 5000, 900), "a clock that was set back shuts nobody out");
    }
}
