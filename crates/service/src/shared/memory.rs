//! Shared state for the nodes of one process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::cells::Cells;
use super::log::{Budget, Log};
use super::sessions::Sessions;
use super::{Cell, Change, Follow, Keep, Later, NoRoom, PutError, Settings, SettingsChange, Shared, Topic};

/// Most changes that are kept for subscriptions that lag or are taken up again.
const MAX_CHANGES: usize = 1024;
/// Most bytes of those.
const MAX_CHANGE_BYTES: usize = 1 << 20;
/// Most bytes of all topics together: over it a topic keeps its last message only, and none is opened.
const MAX_TOPIC_BYTES: usize = 64 << 20;
/// Most topics at a time.
const MAX_TOPICS: usize = 16_384;

/// Shared state kept in memory: for a single node, or for several in one process.
#[derive(Debug)]
pub struct InMemory {
    sessions: Sessions,
    changes: Arc<Log>,
    topics: Mutex<HashMap<Topic, Open>>,
    topic_bytes: Arc<Budget>,
    cells: Cells,
}

#[derive(Debug)]
struct Open {
    log: Arc<Log>,
    closed_for: Duration,
    /// When it is forgotten.
    until: Instant,
}

impl Default for InMemory {
    fn default() -> Self {
        Self {
            sessions: Sessions::default(),
            changes: Arc::new(Log::new(MAX_CHANGES, MAX_CHANGE_BYTES, Budget::new(usize::MAX))),
            topics: Mutex::default(),
            topic_bytes: Budget::new(MAX_TOPIC_BYTES),
            cells: Cells::default(),
        }
    }
}

impl InMemory {
    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Open>> {
        // Nothing in here panics half way.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_now(&self, topic: Topic, keep: Keep) -> Result<(), NoRoom> {
        let now = Instant::now();
        let mut topics = self.topics();
        if topics.len() >= MAX_TOPICS || self.topic_bytes.is_spent() {
            topics.retain(|_, open| open.until > now);
        }
        if topics.get(&topic).is_some_and(|open| open.until > now) {
            return Ok(());
        }
        if topics.len() >= MAX_TOPICS || self.topic_bytes.is_spent() {
            return Err(NoRoom);
        }
        let log = Arc::new(Log::new(keep.messages, keep.bytes, Arc::clone(&self.topic_bytes)));
        topics.insert(topic, Open { log, closed_for: keep.closed_for, until: now + keep.at_most });
        Ok(())
    }

    fn log(&self, topic: Topic) -> Option<Arc<Log>> {
        let topics = self.topics();
        topics.get(&topic).filter(|open| open.until > Instant::now()).map(|open| Arc::clone(&open.log))
    }
}

impl Shared for InMemory {
    fn end_session(&self, session: u128, expires: u64) -> Result<bool, NoRoom> {
        let ended = self.sessions.end(session, expires)?;
        if ended {
            self.announce(Change::Session(session));
        }
        Ok(ended)
    }

    fn is_ended(&self, session: u128) -> bool {
        self.sessions.is_ended(session)
    }

    fn settings(&self, session: u128) -> Option<Arc<Settings>> {
        self.sessions.settings(session)
    }

    fn change_settings(
        &self,
        session: u128,
        expires: u64,
        change: SettingsChange,
    ) -> Later<'_, Result<(), NoRoom>> {
        Box::pin(async move {
            self.sessions.change(session, expires, change)?;
            self.announce(Change::Session(session));
            Ok(())
        })
    }

    fn announce(&self, change: Change) {
        // The log of changes is never closed.
        let _ = self.changes.append(change.to_bytes());
    }

    fn changes(&self, after: Option<u64>) -> Box<dyn Follow> {
        Box::new(self.changes.reader(after))
    }

    fn open(&self, topic: Topic, keep: Keep) -> Later<'_, Result<(), NoRoom>> {
        Box::pin(async move { self.open_now(topic, keep) })
    }

    fn append(&self, topic: Topic, message: Bytes) -> Later<'_, Option<u64>> {
        Box::pin(async move { self.log(topic)?.append(message) })
    }

    fn follow(&self, topic: Topic, after: Option<u64>) -> Option<Box<dyn Follow>> {
        Some(Box::new(self.log(topic)?.reader(after)))
    }

    fn close(&self, topic: Topic) {
        let mut topics = self.topics();
        let Some(open) = topics.get_mut(&topic) else { return };
        open.log.close();
        open.until = open.until.min(Instant::now() + open.closed_for);
        if open.closed_for.is_zero() {
            topics.remove(&topic);
        }
    }

    fn get(&self, cell: &Cell) -> Later<'_, Option<(u64, Bytes)>> {
        let found = self.cells.get(cell);
        Box::pin(std::future::ready(found))
    }

    fn put(
        &self,
        cell: &Cell,
        expected: u64,
        value: Bytes,
        expires_ms: u64,
    ) -> Later<'_, Result<u64, PutError>> {
        let done = self.cells.put(cell, expected, value, expires_ms);
        Box::pin(std::future::ready(done))
    }

    fn remove(&self, cell: &Cell) -> Later<'_, ()> {
        self.cells.remove(cell);
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Followed;

    const KEEP: Keep = Keep {
        messages: 8,
        bytes: 1000,
        closed_for: Duration::from_secs(60),
        at_most: Duration::from_secs(60),
    };

    #[tokio::test]
    async fn a_topic_takes_messages_only_while_it_is_open_and_is_read_afterwards() {
        let shared = InMemory::default();
        let topic = Topic::Answer(1, 2);
        assert_eq!(shared.append(topic, Bytes::from_static(b"x")).await, None, "nobody asked");
        assert!(shared.follow(topic, None).is_none());
        shared.open(topic, KEEP).await.unwrap();
        assert_eq!(shared.append(topic, Bytes::from_static(b"x")).await, Some(1));
        shared.close(topic);
        assert_eq!(shared.append(topic, Bytes::from_static(b"y")).await, None);
        let mut reader = shared.follow(topic, Some(0)).unwrap();
        assert_eq!(reader.next().await, Followed::Message(1, Bytes::from_static(b"x")));
        assert_eq!(reader.next().await, Followed::Closed);
    }

    #[tokio::test]
    async fn topics_are_bounded_and_go_when_their_time_is_over() {
        let shared = InMemory::default();
        let brief = Keep { at_most: Duration::ZERO, ..KEEP };
        for number in 0..MAX_TOPICS as u128 {
            shared.open(Topic::Task(number), brief).await.unwrap();
        }
        shared.open(Topic::Task(u128::MAX), KEEP).await.unwrap();
        assert!(shared.topics().len() < 10);
    }

    #[tokio::test]
    async fn a_session_that_changes_is_announced() {
        let shared = InMemory::default();
        let mut changes = shared.changes(None);
        shared.change_settings(7, u64::MAX, SettingsChange::Subscribe("a".into())).await.unwrap();
        let Followed::Message(1, change) = changes.next().await else { panic!("no change") };
        assert_eq!(Change::from_bytes(&change), Some(Change::Session(7)));
        shared.end_session(7, u64::MAX).unwrap();
        let Followed::Message(2, _) = changes.next().await else { panic!("no change") };
    }
}
