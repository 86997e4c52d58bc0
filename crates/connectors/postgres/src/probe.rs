//! Looks at every node of a database that has replicas, as long as it is used: whether it answers, what it is, and how far a
//! replica is behind.
//!
//! How far behind is measured against positions of the primary's log that were seen at known times, so that neither clocks
//! that differ, nor a primary that writes nothing, nor a replica of a replica look like lag. Only where the primary does not
//! answer is a replica taken at its word. Nobody looks at a database that is not used.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::dial::{Lane, Session, chain};
use crate::node::{Node, NodeState};
use crate::writes::position;

/// What those who look at the nodes share with those who use them.
#[derive(Debug)]
pub(crate) struct Watch {
    max_lag: Duration,
    /// Counts choices of a replica: whose turn it is, and whether the database is used.
    turn: AtomicUsize,
    /// Whether some node is not looked at any more, for lack of use.
    is_asleep: AtomicBool,
    /// Changes when nodes should be looked at soon.
    urged: watch::Sender<()>,
    /// Told after each look.
    seen: Notify,
    /// How many reads wait for an answer for long, and are to hear when their node gives none.
    waiting: AtomicUsize,
    /// Whether the primary did not answer when last looked at.
    is_primary_down: AtomicBool,
    history: Mutex<History>,
}

impl Watch {
    /// Makes one that nobody looks through yet.
    pub(crate) fn new(max_lag: Duration) -> Self {
        Self {
            max_lag,
            turn: AtomicUsize::new(0),
            is_asleep: AtomicBool::new(false),
            urged: watch::Sender::new(()),
            seen: Notify::new(),
            waiting: AtomicUsize::new(0),
            is_primary_down: AtomicBool::new(false),
            history: Mutex::default(),
        }
    }

    /// Returns how far behind a replica may be that is read from: so far when it was looked at, and that is some time ago.
    pub(crate) fn lag(&self) -> Duration {
        self.max_lag + FRESH
    }

    /// Returns a number that is another each time.
    pub(crate) fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Says that nodes are chosen from, so that they are looked at again if they were not.
    pub(crate) fn note_use(&self) {
        if self.is_asleep.load(Ordering::Relaxed) {
            self.urge();
        }
    }

    /// Has every node looked at soon.
    pub(crate) fn urge(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
        self.urged.send_replace(());
    }

    /// Waits until some node was looked at, from now on.
    pub(crate) fn seen(&self) -> Notified<'_> {
        self.seen.notified()
    }

    /// Has the nodes looked at for as long as the returned guard is held.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.note_use();
        Waiting(self)
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read that waits for an answer.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Watch);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Looks at one node again and again.
pub(crate) struct Watcher {
    node: Arc<Node>,
    watch: Arc<Watch>,
    /// Of its own, so that it waits behind no caller's statement.
    session: Option<Session>,
    told: NodeState,
    jitter: RandomState,
}

impl Watcher {
    /// Makes one.
    pub(crate) fn new(node: Arc<Node>, watch: Arc<Watch>) -> Self {
        Self { node, watch, session: None, told: NodeState::Healthy, jitter: RandomState::new() }
    }

    /// Looks until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut urged = self.watch.urged.subscribe();
        let (mut turn, mut used) = (self.watch.turn.load(Ordering::Relaxed), Instant::now());
        loop {
            urged.mark_unchanged();
            self.await_primary().await;
            self.look().await;
            self.watch.seen.notify_waiters();
            let now = self.watch.turn.load(Ordering::Relaxed);
            if now != turn || self.watch.waiting.load(Ordering::Relaxed) > 0 {
                (turn, used) = (now, Instant::now());
            }
            if used.elapsed() > IDLE_AFTER {
                // The flag first: whoever finds the node unseen finds that nobody looks.
                self.watch.is_asleep.store(true, Ordering::Relaxed);
                self.node.forget();
                self.session = None;
                if urged.changed().await.is_err() {
                    return;
                }
                used = Instant::now();
                continue;
            }
            let soon = async {
                tokio::time::sleep(SOONEST).await;
                urged.changed().await
            };
            // Both ways out lead to the next look.
            let _ = tokio::time::timeout(self.interval(now), soon).await;
        }
    }

    /// Spread, so that many servers that were started together do not ask together.
    fn interval(&self, salt: usize) -> Duration {
        INTERVAL + Duration::from_millis(self.jitter.hash_one((salt, Instant::now())) % 100)
    }

    /// Before a replica is looked at for the first time in a while, lets the primary tell what to measure it by.
    async fn await_primary(&self) {
        let until = tokio::time::Instant::now() + PRIMARY_FIRST;
        loop {
            let seen = self.watch.seen();
            let is_told = self.watch.is_primary_down.load(Ordering::Relaxed)
                || self.watch.history().is_fresh(Instant::now());
            if self.node.is_primary() || is_told || tokio::time::timeout_at(until, seen).await.is_err() {
                return;
            }
        }
    }

    async fn look(&mut self) {
        let asked = Instant::now();
        let (state, told) = match tokio::time::timeout(ANSWER_WITHIN, self.ask()).await {
            Ok(Ok(seen)) => {
                let (state, replayed, lag) = self.judge(&seen, asked);
                self.node.note(state, replayed, lag);
                (state, lag.map(|lag| format!("{lag:.1?} behind")))
            }
            Ok(Err(why)) => {
                self.session = None;
                self.node.mark_down();
                (NodeState::Down, Some(why))
            }
            Err(_) => {
                if let Some(session) = self.session.take() {
                    session.sever();
                }
                self.node.mark_silent();
                (NodeState::Down, Some(format!("no answer within {ANSWER_WITHIN:?}")))
            }
        };
        if self.node.is_primary() {
            self.watch.is_primary_down.store(state == NodeState::Down, Ordering::Relaxed);
        }
        self.tell(state, &told.unwrap_or_default());
    }

    async fn ask(&mut self) -> Result<Seen, String> {
        if self.session.as_ref().is_none_or(|session| !session.is_reusable()) {
            let dialed = self.node.dialer.dial(Lane::Exclusive).await;
            self.session = Some(dialed.map_err(|error| chain(&error))?);
        }
        let session = self.session.as_ref().ok_or_else(|| "no connection".to_owned())?;
        Seen::ask(session.client()).await
    }

    fn judge(&self, seen: &Seen, asked: Instant) -> (NodeState, u64, Option<Duration>) {
        let mut history = self.watch.history();
        match (self.node.is_primary(), seen.is_standby) {
            (true, false) => {
                history.note(asked, seen);
                (NodeState::Healthy, seen.position, None)
            }
            (true, true) => (NodeState::Detached, 0, None),
            // Promoted, or never a replica: well only if it is the very server that is the primary now.
            (false, false) if history.server == seen.server => {
                (NodeState::Healthy, u64::MAX, Some(Duration::ZERO))
            }
            (false, false) => (NodeState::Detached, 0, None),
            (false, true) => {
                let lag = history.lag(seen, Instant::now());
                let is_near = lag.is_some_and(|lag| lag <= self.watch.max_lag);
                let state = if is_near { NodeState::Healthy } else { NodeState::Lagging };
                (state, seen.position, lag)
            }
        }
    }

    /// Logs a change.
    fn tell(&mut self, state: NodeState, why: &str) {
        if std::mem::replace(&mut self.told, state) == state {
            return;
        }
        let (node, address) = (self.node.label(), self.node.dialer.address());
        match state {
            NodeState::Healthy => tracing::info!(%node, %address, "a database server is well again"),
            NodeState::Lagging => {
                tracing::warn!(%node, %address, why, "a replica is too far behind and is not read from");
            }
            NodeState::Detached if self.node.is_primary() => {
                tracing::warn!(%node, %address, "the primary is a replica: it takes no writes; correct `url`");
            }
            NodeState::Detached => {
                tracing::warn!(%node, %address, "a replica takes writes and is not the primary, so it is not read from");
            }
            _ => tracing::warn!(%node, %address, why, "a database server does not answer"),
        }
    }
}

/// What a node says of itself.
#[derive(Debug, Default)]
struct Seen {
    is_standby: bool,
    /// When the server was started, which tells one from another.
    server: String,
    /// Up to where a replica has replayed, or the primary has written to its disk.
    position: u64,
    /// Up to where a replica has received; `None` when it never did, since it reads the log from files.
    received: Option<u64>,
    /// Whether a replica is connected to what it follows.
    follows: bool,
    /// How long ago the last change was made that a replica has replayed, by its own clock.
    age: Option<Duration>,
}

impl Seen {
    async fn ask(client: &Client) -> Result<Self, String> {
        let answer = client.simple_query(QUESTION).await.map_err(|error| chain(&error))?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        row.and_then(Self::read).ok_or_else(|| "it does not say what it is".to_owned())
    }

    fn read(row: &SimpleQueryRow) -> Option<Self> {
        let cell = |at| row.try_get(at).ok().flatten();
        Some(Self {
            is_standby: cell(0)? == "t",
            server: cell(1)?.to_owned(),
            position: position(cell(2)?)?,
            received: cell(3).and_then(position),
            follows: cell(4) == Some("t"),
            age: cell(5)
                .and_then(|text| text.parse().ok())
                .and_then(|seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).ok()),
        })
    }
}

/// Where the primary's log was, and when.
#[derive(Debug, Default)]
struct History {
    /// Which server it is of.
    server: String,
    /// When it was last asked.
    asked: Option<Instant>,
    /// Each position and when it was first seen; oldest first, both rising.
    samples: VecDeque<(Instant, u64)>,
}

impl History {
    fn note(&mut self, asked: Instant, seen: &Seen) {
        if self.server != seen.server {
            // Another server, or the same after a crash: its log may go on from an earlier place.
            self.server.clone_from(&seen.server);
            self.samples.clear();
        }
        self.asked = Some(asked);
        if self.samples.back().is_none_or(|(_, position)| *position < seen.position) {
            self.samples.push_back((asked, seen.position));
        }
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Whether replicas can be measured by it.
    fn is_fresh(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.duration_since(asked) < FRESH)
    }

    /// Returns how far a replica is behind; `None` when nobody can tell.
    fn lag(&self, replica: &Seen, now: Instant) -> Option<Duration> {
        let newest = self.samples.back().filter(|_| self.is_fresh(now));
        // One that never received anything reads the log from files, and cannot be asked whether it is connected.
        let follows = replica.follows || replica.received.is_none();
        let Some((_, newest)) = newest.filter(|_| follows) else {
            let has_all = replica.follows && replica.received.is_some_and(|end| replica.position >= end);
            return if has_all { Some(Duration::ZERO) } else { replica.age };
        };
        if replica.position >= *newest {
            return Some(Duration::ZERO);
        }
        let missing = self.samples.iter().position(|(_, position)| *position > replica.position)?;
        let since = self.samples.get(missing).map(|(at, _)| now.duration_since(*at))?;
        // What is missing was written between two looks, or at some time before the first.
        if missing > 0 { Some(since) } else { Some(replica.age.map_or(since, |age| age.max(since))) }
    }
}

/// Every function is named with its schema, so that no `search_path` puts another in its place. Any login may ask all of
/// it: who may not look into `pg_stat_wal_receiver` still sees whether there is a row.
const QUESTION: &str = "select r.standby, pg_catalog.pg_postmaster_start_time(), \
    case when r.standby then coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0') \
         else pg_catalog.pg_current_wal_flush_lsn() end, \
    case when r.standby then pg_catalog.pg_last_wal_receive_lsn() end, \
    exists (select from pg_catalog.pg_stat_wal_receiver), \
    extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) \
    from (select pg_catalog.pg_is_in_recovery() as standby) r";

/// How often a node is looked at while its database is used.
const INTERVAL: Duration = Duration::from_millis(450);

/// How soon after a look the next may be, when there is a reason for one.
const SOONEST: Duration = Duration::from_millis(50);

/// How long a node may take to answer, connecting included.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// After how long without a read nobody looks any more.
const IDLE_AFTER: Duration = Duration::from_secs(10);

/// How long a replica's first look waits for the primary's.
const PRIMARY_FIRST: Duration = Duration::from_millis(200);

/// How old the primary's last answer may be for replicas to be measured by it.
const FRESH: Duration = Duration::from_secs(2);

/// So many positions of the primary are remembered: half a minute and more.
const SAMPLES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(position: u64) -> Seen {
        Seen { server: "a".to_owned(), position, ..Seen::default() }
    }

    fn replica(position: u64) -> Seen {
        let received = Some(position);
        let age = Some(Duration::from_secs(600));
        Seen { is_standby: true, position, received, follows: true, age, ..Seen::default() }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn lag_is_how_long_ago_the_first_thing_was_written_that_is_missing() {
        let (mut history, start) = (History::default(), Instant::now());
        for (second, position) in [(0, 100), (1, 100), (2, 200), (3, 300), (4, 300)] {
            history.note(start + seconds(second), &primary(position));
        }
        let now = start + seconds(4);
        assert_eq!(history.lag(&replica(300), now), Some(seconds(0)));
        assert_eq!(history.lag(&replica(250), now), Some(seconds(4) - seconds(3)));
        assert_eq!(history.lag(&replica(150), now), Some(seconds(2)));
    }

    #[test]
    fn a_primary_that_writes_nothing_is_no_lag() {
        let (mut history, start) = (History::default(), Instant::now());
        for second in 0..100 {
            history.note(start + seconds(second), &primary(100));
        }
        assert_eq!(history.lag(&replica(100), start + seconds(100)), Some(seconds(0)));
        assert_eq!(history.samples.len(), 1);
        // The first write after long silence is missed since it was seen, not since the silence began.
        history.note(start + seconds(101), &primary(101));
        assert_eq!(history.lag(&replica(100), start + seconds(101)), Some(seconds(0)));
    }

    #[test]
    fn a_replica_is_taken_at_its_word_where_the_primary_is_silent() {
        let (mut history, start) = (History::default(), Instant::now());
        assert_eq!(history.lag(&replica(5), start), Some(seconds(0)));
        history.note(start, &primary(100));
        assert_eq!(history.lag(&replica(5), start + seconds(60)), Some(seconds(0)));
        let behind = Seen { received: Some(9), ..replica(5) };
        assert_eq!(history.lag(&behind, start + seconds(60)), Some(seconds(600)));
        let cut_off = Seen { follows: false, ..replica(500) };
        assert_eq!(history.lag(&cut_off, start), Some(seconds(600)));
    }

    #[test]
    fn positions_of_another_primary_are_not_compared_with() {
        let (mut history, start) = (History::default(), Instant::now());
        history.note(start, &primary(1000));
        let next = Seen { server: "b".to_owned(), ..primary(500) };
        history.note(start + seconds(1), &next);
        assert_eq!(history.lag(&replica(500), start + seconds(1)), Some(seconds(0)));
    }
}
