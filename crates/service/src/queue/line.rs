//! The order of the line, and when it is cut: plain data under its owner's lock.

use std::collections::BTreeMap;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Told;

/// Turn and number: who has the lower turn is served first, of one turn who came first.
pub(super) type Key = (u64, u64);

/// Requests in the order in which they are served.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiters: BTreeMap<Key, Waiter>,
    callers: FxHashMap<u64, Turns>,
    /// The turn that is served now.
    turn: u64,
    last: u64,
    /// How long those waited who were served last.
    waited: Duration,
    standing: Standing,
}

#[derive(Debug)]
struct Waiter {
    who: u64,
    joined: Instant,
    told: oneshot::Sender<Told>,
}

/// What a caller has in the line.
#[derive(Debug, Clone, Copy, Default)]
struct Turns {
    waiting: usize,
    /// The turn of its next request. Remembered until that is over, so that one who comes back at once is not served again
    /// before the others.
    next: u64,
}

/// Whether the line stands.
#[derive(Debug, Clone, Copy, Default)]
enum Standing {
    /// It is short.
    #[default]
    Not,
    /// It is long, since then: it may be a burst that will pass.
    Since(Instant),
    /// It did not pass. So long the line was then.
    Still(usize),
    /// It grew from there: more comes than goes.
    Growing,
}

/// How many turns of all places the line holds before it counts as long.
const LONG: usize = 2;

/// How long a long line may be a mere burst, at least; longer where one may wait for longer than [`BURSTS`] of them.
const BURST: Duration = Duration::from_millis(50);
const BURSTS: u32 = 50;

/// A line in which waits are shorter than this does no harm.
const HARMLESS: Duration = Duration::from_millis(25);

/// Most callers whose turns are remembered while they have nothing in the line.
const REMEMBERED: usize = 1024;

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Adds a request.
    pub(super) fn push(&mut self, who: u64, told: oneshot::Sender<Told>, now: Instant) -> Key {
        if self.callers.len() >= REMEMBERED + self.waiters.len() {
            self.callers.retain(|_, turns| turns.waiting > 0);
        }
        let turns = self.callers.entry(who).or_default();
        let turn = turns.next.max(self.turn);
        turns.next = turn + 1;
        turns.waiting += 1;
        self.last += 1;
        let key = (turn, self.last);
        self.waiters.insert(key, Waiter { who, joined: now, told });
        key
    }

    /// Takes out who is next.
    pub(super) fn pop_first(&mut self, now: Instant) -> Option<oneshot::Sender<Told>> {
        let ((turn, _), waiter) = self.waiters.pop_first()?;
        self.turn = self.turn.max(turn);
        let waited = now.duration_since(waiter.joined);
        self.waited = (self.waited * 3 + waited) / 4;
        self.gone(waiter.who);
        Some(waiter.told)
    }

    /// Takes out who would be served last: the newest of who has most in the line.
    pub(super) fn pop_last(&mut self) -> Option<(Key, oneshot::Sender<Told>)> {
        let (key, waiter) = self.waiters.pop_last()?;
        self.gone(waiter.who);
        Some((key, waiter.told))
    }

    /// Takes out one; `false` when it is not in here any more.
    pub(super) fn remove(&mut self, key: Key) -> bool {
        let waiter = self.waiters.remove(&key);
        waiter.map(|waiter| self.gone(waiter.who)).is_some()
    }

    fn gone(&mut self, who: u64) {
        if let Some(turns) = self.callers.get_mut(&who) {
            turns.waiting -= 1;
            if turns.waiting == 0 {
                // What it did not get does not count against it.
                turns.next = turns.next.min(self.turn + 1);
            }
        }
        if self.waiters.is_empty() {
            self.callers.clear();
            (self.turn, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Looks at the line after it grew; `longest` is how long one may stand in it.
    pub(super) fn judge(&mut self, places: usize, longest: Duration, now: Instant) {
        let length = self.len();
        if length <= LONG * places {
            return;
        }
        let burst = BURST.max(longest / BURSTS);
        self.standing = match self.standing {
            Standing::Not => Standing::Since(now),
            Standing::Since(then) if now - then >= burst => Standing::Still(length),
            Standing::Still(then) if length >= then + places && self.harms(now) => Standing::Growing,
            same => same,
        };
    }

    fn harms(&self, now: Instant) -> bool {
        let first = self.waiters.first_key_value().map_or(Duration::ZERO, |(_, first)| now - first.joined);
        self.waited.max(first) >= HARMLESS
    }

    /// Looks at the line after it may have become shorter.
    pub(super) fn shrunk(&mut self, places: usize) {
        let length = self.len();
        self.standing = match self.standing {
            // Whoever is free finds work no longer: what comes can be done again.
            Standing::Growing if length > places / 2 => Standing::Growing,
            _ if length > LONG * places => self.standing,
            _ => Standing::Not,
        };
    }

    /// Returns how long it may be now. Cut, it holds as much as keeps every place busy while requests come unevenly, so that an
    /// accepted request takes about two and a half times as long as one that waits for nothing.
    pub(super) fn most(&self, places: usize) -> usize {
        match self.standing {
            Standing::Growing => (places + places / 2).max(1),
            _ => usize::MAX,
        }
    }
}
