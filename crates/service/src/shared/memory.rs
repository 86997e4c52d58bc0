//! Shared state for the nodes of one process.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::cells::Cells;
use super::log::{Budget, Log};
use super::sessions::Sessions;
use super::{
    Away, Cell, Change, Follow, Keep, Later, NoRoom, PutError, Settings, SettingsChange, Shared, Topic, owner,
};

/// Logs that the changes of sessions are spread over, so that one session wakes few others.
const SESSION_LOGS: usize = 64;
/// How often what has expired is looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// Most changes that are kept for subscriptions that lag or are taken up again.
const MAX_CHANGES: usize = 1024;
/// Most bytes of those.
const MAX_CHANGE_BYTES: usize = 1 << 20;
/// Most bytes of all topics together: over it a topic keeps its last message only, and none is opened.
const MAX_TOPIC_BYTES: usize = 64 << 20;
/// Most topics of one legacy session at a time, so that one client does not take the room of all.
const MAX_TOPICS_OF_SESSION: usize = 128;
/// Most topics at a time.
const MAX_TOPICS: usize = 16_384;
/// Most topics of all sessions of one caller at a time.
const MAX_TOPICS_OF_CALLER: usize = MAX_TOPICS / 4;
/// Most bytes of those: over it they keep their last messages only, and none is opened.
const MAX_TOPIC_BYTES_OF_CALLER: usize = MAX_TOPIC_BYTES / 4;

/// Shared state kept in memory: for a single node, or for several in one process.
#[derive(Debug)]
pub struct InMemory {
    sessions: Sessions,
    changes: Arc<Log>,
    session_changes: [Arc<Log>; SESSION_LOGS],
    task_changes: Arc<Log>,
    topics: Mutex<Topics>,
    topic_bytes: Arc<Budget>,
    cells: Cells,
}

#[derive(Debug, Default)]
struct Topics {
    open: HashMap<Topic, Open>,
    /// How many each session has.
    of_session: HashMap<u128, usize>,
    /// What each caller has.
    of_owner: HashMap<NonZeroU64, Owned>,
    /// When expired ones are looked for next.
    sweep: Option<Instant>,
}

/// The topics of one caller.
#[derive(Debug)]
struct Owned {
    topics: usize,
    bytes: Arc<Budget>,
}

impl Topics {
    /// Forgets topics whose time is over, now and then, or at once where room is wanted.
    fn sweep(&mut self, now: Instant, at_once: bool) {
        if at_once || self.sweep.is_none_or(|at| at <= now) {
            self.open.retain(|_, open| open.until > now);
            self.of_session.clear();
            self.of_owner.values_mut().for_each(|owned| owned.topics = 0);
            for session in self.open.keys().filter_map(Topic::session) {
                *self.of_session.entry(session).or_default() += 1;
                if let Some(owned) = owner(session).and_then(|owner| self.of_owner.get_mut(&owner)) {
                    owned.topics += 1;
                }
            }
            self.of_owner.retain(|_, owned| owned.topics > 0);
            self.sweep = Some(now + SWEEP);
        }
    }

    /// Counts a topic for its session and its caller, and returns what its bytes are taken from; `None` when there are too many.
    fn count(&mut self, topic: Topic, whole: &Arc<Budget>) -> Option<Arc<Budget>> {
        let Some(session) = topic.session() else { return Some(Arc::clone(whole)) };
        let count = self.of_session.entry(session).or_default();
        if *count >= MAX_TOPICS_OF_SESSION {
            return None;
        }
        let Some(owner) = owner(session) else {
            *count += 1;
            return Some(Arc::clone(whole));
        };
        let new = || Owned { topics: 0, bytes: Budget::part_of(whole, MAX_TOPIC_BYTES_OF_CALLER) };
        let owned = self.of_owner.entry(owner).or_insert_with(new);
        if owned.topics >= MAX_TOPICS_OF_CALLER || owned.bytes.is_spent() {
            return None;
        }
        *count += 1;
        owned.topics += 1;
        Some(Arc::clone(&owned.bytes))
    }

    fn remove(&mut self, topic: Topic) {
        if self.open.remove(&topic).is_some()
            && let Some(session) = topic.session()
            && let Some(count) = self.of_session.get_mut(&session)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_session.remove(&session);
            }
            if let Some(owned) = owner(session).and_then(|owner| self.of_owner.get_mut(&owner)) {
                owned.topics = owned.topics.saturating_sub(1);
            }
        }
    }
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
            changes: changes(),
            session_changes: std::array::from_fn(|_| changes()),
            task_changes: changes(),
            topics: Mutex::default(),
            topic_bytes: Budget::new(MAX_TOPIC_BYTES),
            cells: Cells::default(),
        }
    }
}

fn changes() -> Arc<Log> {
    Arc::new(Log::new(MAX_CHANGES, MAX_CHANGE_BYTES, Budget::new(usize::MAX)))
}

impl InMemory {
    fn topics(&self) -> MutexGuard<'_, Topics> {
        // Nothing in here panics half way.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_now(&self, topic: Topic, keep: Keep) -> Result<(), NoRoom> {
        let now = Instant::now();
        let mut topics = self.topics();
        let is_full = topics.open.len() >= MAX_TOPICS || self.topic_bytes.is_spent();
        topics.sweep(now, is_full);
        if topics.open.get(&topic).is_some_and(|open| open.until > now) {
            return Ok(());
        }
        // One whose time is over leaves its place to the new one.
        topics.remove(topic);
        if topics.open.len() >= MAX_TOPICS || self.topic_bytes.is_spent() {
            return Err(NoRoom::OfAll);
        }
        let bytes = topics.count(topic, &self.topic_bytes).ok_or(NoRoom::OfCaller)?;
        let log = Arc::new(Log::new(keep.messages, keep.bytes, bytes));
        topics.open.insert(topic, Open { log, closed_for: keep.closed_for, until: now + keep.at_most });
        Ok(())
    }

    fn session_log(&self, session: u128) -> &Arc<Log> {
        let [first, ..] = &self.session_changes;
        let place = usize::try_from(session % SESSION_LOGS as u128).unwrap_or(0);
        self.session_changes.get(place).unwrap_or(first)
    }

    fn log(&self, topic: Topic) -> Option<Arc<Log>> {
        let now = Instant::now();
        let mut topics = self.topics();
        topics.sweep(now, false);
        topics.open.get(&topic).filter(|open| open.until > now).map(|open| Arc::clone(&open.log))
    }
}

impl Shared for InMemory {
    fn end_session(&self, session: u128, expires: u64) -> Later<'_, Result<bool, NoRoom>> {
        let ended = self.sessions.end(session, expires);
        if ended == Ok(true) {
            self.announce(Change::Session(session, self.changes.last()));
        }
        Box::pin(std::future::ready(ended))
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
            self.announce(Change::Session(session, self.changes.last()));
            Ok(())
        })
    }

    fn announce(&self, change: Change) {
        let log = match &change {
            Change::Tools | Change::Prompts | Change::Resources | Change::Resource(_) => &self.changes,
            Change::Task(_) => &self.task_changes,
            Change::Session(session, _) | Change::Cancel(session, _) => self.session_log(*session),
        };
        // The logs of changes are never closed.
        let _ = log.append(change.to_bytes());
    }

    fn changes(&self, after: Option<u64>) -> Box<dyn Follow> {
        Box::new(self.changes.reader(after))
    }

    fn session_changes(&self, session: u128) -> Box<dyn Follow> {
        Box::new(self.session_log(session).reader(None))
    }

    fn task_changes(&self) -> Box<dyn Follow> {
        Box::new(self.task_changes.reader(None))
    }

    fn open(&self, topic: Topic, keep: Keep) -> Later<'_, Result<(), NoRoom>> {
        Box::pin(async move { self.open_now(topic, keep) })
    }

    fn append(&self, topic: Topic, message: Bytes) -> Later<'_, Result<Option<u64>, Away>> {
        Box::pin(async move { Ok(self.log(topic).and_then(|log| log.append(message))) })
    }

    fn follow(&self, topic: Topic, after: Option<u64>) -> Later<'_, Result<Option<Box<dyn Follow>>, Away>> {
        let reader = self.log(topic).map(|log| Box::new(log.reader(after)) as Box<dyn Follow>);
        Box::pin(std::future::ready(Ok(reader)))
    }

    fn close(&self, topic: Topic) {
        let now = Instant::now();
        let mut topics = self.topics();
        topics.sweep(now, false);
        let Some(open) = topics.open.get_mut(&topic) else { return };
        open.log.close();
        open.until = open.until.min(now + open.closed_for);
        if open.closed_for.is_zero() {
            topics.remove(topic);
        }
    }

    fn get(&self, cell: &Cell) -> Later<'_, Result<Option<(u64, Bytes)>, Away>> {
        let found = self.cells.get(cell);
        Box::pin(std::future::ready(Ok(found)))
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

    fn remove(&self, cell: &Cell) -> Later<'_, Result<(), Away>> {
        self.cells.remove(cell);
        Box::pin(std::future::ready(Ok(())))
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
        assert_eq!(shared.append(topic, Bytes::from_static(b"x")).await, Ok(None), "nobody asked");
        assert!(shared.follow(topic, None).await.unwrap().is_none());
        shared.open(topic, KEEP).await.unwrap();
        assert_eq!(shared.append(topic, Bytes::from_static(b"x")).await, Ok(Some(1)));
        shared.close(topic);
        assert_eq!(shared.append(topic, Bytes::from_static(b"y")).await, Ok(None));
        let mut reader = shared.follow(topic, Some(0)).await.unwrap().unwrap();
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
        assert!(shared.topics().open.len() < 10);
    }

    #[tokio::test]
    async fn what_was_kept_of_streams_goes_when_its_time_is_over() {
        let shared = InMemory::default();
        let brief = Keep { bytes: 1 << 20, closed_for: Duration::from_millis(1), ..KEEP };
        for number in 0..20 {
            let topic = Topic::Stream(1, number);
            shared.open(topic, brief).await.unwrap();
            shared.append(topic, Bytes::from(vec![0; 900_000])).await.unwrap().unwrap();
            shared.close(topic);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        shared.topics().sweep = None;
        shared.close(Topic::Task(0));
        assert_eq!(shared.topics().open.len(), 0);
        assert!(!shared.topic_bytes.is_spent());
    }

    #[tokio::test]
    async fn one_session_does_not_take_the_room_of_all() {
        let shared = InMemory::default();
        let keep = Keep { closed_for: Duration::ZERO, ..KEEP };
        for number in 0..MAX_TOPICS_OF_SESSION as u128 {
            shared.open(Topic::Answer(1, number), keep).await.unwrap();
        }
        assert_eq!(shared.open(Topic::Answer(1, u128::MAX), keep).await, Err(NoRoom::OfCaller));
        assert!(shared.open(Topic::Answer(2, 0), keep).await.is_ok());
        shared.close(Topic::Answer(1, 0));
        assert!(shared.open(Topic::Answer(1, u128::MAX), keep).await.is_ok());
    }

    #[tokio::test]
    async fn the_sessions_of_one_caller_do_not_take_the_room_of_all() {
        let shared = InMemory::default();
        let topic = |caller: u128, number: usize| {
            let number = number as u128;
            Topic::Answer((caller << 64) | (number / 100), number)
        };
        for number in 0..MAX_TOPICS_OF_CALLER {
            shared.open(topic(1, number), KEEP).await.unwrap();
        }
        let one_more = topic(1, MAX_TOPICS_OF_CALLER);
        assert_eq!(shared.open(one_more, KEEP).await, Err(NoRoom::OfCaller));
        shared.topics().sweep(Instant::now(), true);
        assert_eq!(shared.open(one_more, KEEP).await, Err(NoRoom::OfCaller));
        assert_eq!(shared.open(topic(2, 0), KEEP).await, Ok(()));
        let at_once = Keep { closed_for: Duration::ZERO, ..KEEP };
        shared.topics().open.get_mut(&topic(1, 0)).unwrap().closed_for = at_once.closed_for;
        shared.close(topic(1, 0));
        assert_eq!(shared.open(one_more, KEEP).await, Ok(()));
    }

    #[tokio::test]
    async fn the_streams_of_one_caller_keep_a_part_of_all_bytes() {
        let shared = InMemory::default();
        let keep = Keep { messages: 64, bytes: 4 << 20, ..KEEP };
        let stream = |caller: u128, number: u128| Topic::Stream((caller << 64) | number, number);
        let mut opened = 0;
        for number in 0..200 {
            if shared.open(stream(1, number), keep).await.is_err() {
                continue;
            }
            opened += 1;
            for _ in 0..4 {
                shared.append(stream(1, number), Bytes::from(vec![0; 1 << 20])).await.unwrap();
            }
        }
        assert!((4..8).contains(&opened), "{opened}");
        assert_eq!(shared.open(stream(1, 999), keep).await, Err(NoRoom::OfCaller));
        // Another caller's are kept whole.
        shared.open(stream(2, 0), keep).await.unwrap();
        for _ in 0..4 {
            shared.append(stream(2, 0), Bytes::from(vec![0; 1 << 20])).await.unwrap();
        }
        let mut reader = shared.follow(stream(2, 0), Some(0)).await.unwrap().unwrap();
        assert!(matches!(reader.next().await, Followed::Message(1, _)));
        drop(reader);
        shared.topics().open.clear();
        assert!(!shared.topic_bytes.is_spent());
    }

    #[tokio::test]
    async fn streams_together_keep_a_bounded_number_of_bytes() {
        let shared = InMemory::default();
        let keep = Keep { messages: 64, bytes: 4 << 20, ..KEEP };
        let mut opened = 0;
        for number in 0..200 {
            let topic = Topic::Stream(number, number);
            if shared.open(topic, keep).await.is_ok() {
                opened += 1;
                for _ in 0..4 {
                    shared.append(topic, Bytes::from(vec![0; 1 << 20])).await.unwrap();
                }
            }
        }
        assert!(opened < 64, "{opened}");
    }

    #[tokio::test]
    async fn a_session_that_changes_is_announced() {
        let shared = InMemory::default();
        let mut changes = shared.session_changes(7);
        shared.change_settings(7, u64::MAX, SettingsChange::Subscribe("a".into())).await.unwrap();
        let Followed::Message(1, change) = changes.next().await else { panic!("no change") };
        assert_eq!(Change::from_bytes(&change), Some(Change::Session(7, 0)));
        shared.end_session(7, u64::MAX).await.unwrap();
        let Followed::Message(2, _) = changes.next().await else { panic!("no change") };
    }
}
