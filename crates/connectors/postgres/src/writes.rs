//! Who wrote lately and up to where, so that a caller's reads go to no replica that lacks what the caller wrote.
//!
//! Kept in this process only: a caller that writes through one Trunkline and reads through another gets what the replica
//! has. A read pays one atomic load while nobody wrote, and as long as the replica it would go to has all that anybody wrote.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trunkline_service::Caller;

/// The writes of the last half minute.
#[derive(Debug)]
pub(crate) struct Writes {
    /// The furthest position anybody wrote to; 0 when nobody did.
    furthest: AtomicU64,
    /// When the last write counts no more. Held while `furthest` changes.
    until: Mutex<Option<Instant>>,
    /// Callers are known by a keyed hash. Two with the same one are held to the further write, which is only slower.
    hasher: RandomState,
    shards: Box<[Mutex<Shard>; SHARDS]>,
}

#[derive(Debug, Default)]
struct Shard {
    callers: HashMap<u64, Written>,
    /// What everyone of this shard is held to who is not in the table, because it was full.
    rest: Option<Written>,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    position: u64,
    until: Instant,
}

impl Writes {
    /// Makes an empty table.
    pub(crate) fn new() -> Self {
        Self {
            furthest: AtomicU64::new(0),
            until: Mutex::new(None),
            hasher: RandomState::new(),
            shards: Box::new(std::array::from_fn(|_| Mutex::default())),
        }
    }

    /// Notes that a caller's write is in the database, at or before this position.
    pub(crate) fn note(&self, caller: &Caller, position: u64) {
        self.note_at(caller, position, Instant::now());
    }

    /// Says that a caller's commit is about to be sent. What is returned must be settled or dismissed; dropped, it counts
    /// as a write that no replica is known to have.
    pub(crate) fn begin<'a>(&'a self, caller: &'a Caller) -> Pending<'a> {
        Pending { writes: self, caller: Some(caller) }
    }

    /// Returns the furthest position anybody wrote to lately; 0 when nobody did.
    pub(crate) fn furthest(&self) -> u64 {
        match self.furthest.load(Ordering::Acquire) {
            0 => 0,
            furthest => self.still(furthest, Instant::now()),
        }
    }

    /// Returns the position that a caller's reads must have reached; 0 for any.
    pub(crate) fn of(&self, caller: &Caller) -> u64 {
        self.of_at(caller, Instant::now())
    }

    fn note_at(&self, caller: &Caller, position: u64, now: Instant) {
        let (shard, key) = self.shard(caller);
        let until = now + KEPT_FOR;
        lock(shard).note(key, Written { position, until }, now);
        let mut last = lock(&self.until);
        *last = Some(until);
        self.furthest.fetch_max(position, Ordering::AcqRel);
    }

    fn still(&self, furthest: u64, now: Instant) -> u64 {
        let until = lock(&self.until);
        if until.is_some_and(|until| now < until) {
            return furthest;
        }
        self.furthest.store(0, Ordering::Release);
        0
    }

    fn of_at(&self, caller: &Caller, now: Instant) -> u64 {
        let (shard, key) = self.shard(caller);
        let shard = lock(shard);
        let written = shard.callers.get(&key).into_iter().chain(&shard.rest);
        written.filter(|written| now < written.until).map(|written| written.position).max().unwrap_or(0)
    }

    fn shard(&self, caller: &Caller) -> (&Mutex<Shard>, u64) {
        let key = self.hasher.hash_one((caller.is_local, &caller.issuer, &caller.subject));
        let at = usize::try_from(key % SHARDS as u64).unwrap_or(0);
        (self.shards.get(at).unwrap_or(&self.shards[0]), key)
    }
}

impl Shard {
    fn note(&mut self, key: u64, written: Written, now: Instant) {
        if self.callers.len() >= CALLERS / SHARDS && !self.callers.contains_key(&key) {
            self.callers.retain(|_, kept| now < kept.until);
        }
        if self.callers.len() >= CALLERS / SHARDS && !self.callers.contains_key(&key) {
            // Nobody is forgotten: the many are held together to what is the furthest of them.
            let position = self.rest.map_or(0, |rest| rest.position).max(written.position);
            self.rest = Some(Written { position, ..written });
            return;
        }
        let kept = self.callers.entry(key).or_insert(written);
        // A position of before a fail-over may be past all that come after; it ends with its time.
        let still = if now < kept.until { kept.position } else { 0 };
        *kept = Written { position: still.max(written.position), until: written.until };
    }
}

/// A commit on its way.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    writes: &'a Writes,
    caller: Option<&'a Caller>,
}

impl Pending<'_> {
    /// Notes where the commit is, at the latest; `None` when the database did not tell.
    pub(crate) fn settle(mut self, position: Option<u64>) {
        if let Some(caller) = self.caller.take() {
            self.writes.note(caller, position.unwrap_or(NOWHERE));
        }
    }

    /// Says that nothing was changed.
    pub(crate) fn dismiss(mut self) {
        self.caller = None;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(caller) = self.caller.take() {
            self.writes.note(caller, NOWHERE);
        }
    }
}

/// Reads a position as the database writes it in numbers, `16/B374D848`.
pub(crate) fn position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let (high, low) = (u32::from_str_radix(high, 16).ok()?, u32::from_str_radix(low, 16).ok()?);
    Some(u64::from(high) << 32 | u64::from(low))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A position that no replica reaches.
const NOWHERE: u64 = u64::MAX;

/// How long a caller is held to what it wrote. A replica further behind than that serves nobody under any sensible bound.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// Most callers kept one by one: some 500 kB.
const CALLERS: usize = 10_000;

const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Caller {
        Caller { subject: name.into(), ..Caller::default() }
    }

    #[test]
    fn only_who_wrote_is_held_to_it_and_only_for_a_while() {
        let writes = Writes::new();
        let (ann, bob, now) = (caller("ann"), caller("bob"), Instant::now());
        assert_eq!(writes.furthest(), 0);
        writes.note_at(&ann, 700, now);
        writes.note_at(&ann, 600, now);
        assert_eq!((writes.of_at(&ann, now), writes.of_at(&bob, now), writes.furthest()), (700, 0, 700));
        let later = now + KEPT_FOR;
        assert_eq!((writes.of_at(&ann, later), writes.still(700, later), writes.furthest()), (0, 0, 0));
        writes.note_at(&ann, 5, later);
        assert_eq!((writes.of_at(&ann, later), writes.furthest()), (5, 5));
    }

    #[test]
    fn a_commit_nobody_waited_for_counts_as_made() {
        let writes = Writes::new();
        let (ann, bob, eve) = (caller("ann"), caller("bob"), caller("eve"));
        drop(writes.begin(&ann));
        writes.begin(&bob).dismiss();
        writes.begin(&eve).settle(Some(9));
        assert_eq!((writes.of(&ann), writes.of(&bob), writes.of(&eve)), (NOWHERE, 0, 9));
    }

    #[test]
    fn more_callers_than_fit_are_held_together() {
        let writes = Writes::new();
        let now = Instant::now();
        for number in 0..3 * CALLERS {
            writes.note_at(&caller(&number.to_string()), 1000 + number as u64, now);
        }
        let kept: usize = writes.shards.iter().map(|shard| lock(shard).callers.len()).sum();
        assert!(kept <= CALLERS, "{kept}");
        for number in 0..3 * CALLERS {
            assert!(writes.of_at(&caller(&number.to_string()), now) >= 1000 + number as u64);
        }
    }

    #[test]
    fn a_position_is_read_as_the_database_writes_it() {
        assert_eq!(position("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(position("0/0"), Some(0));
        assert!(["", "16", "x/y", "1/2/3"].iter().all(|text| position(text).is_none()));
    }
}
