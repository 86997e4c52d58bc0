//! Budgets: how many requests and bytes each caller of a role may use in a time that begins with its first request.
//!
//! A request is let through while both are not used up, and what it and its result weigh is added: the one that goes over the
//! bytes is answered still.

use std::sync::MutexGuard;
use std::time::Duration;

use rustc_hash::FxHashMap;
use trunkline_service::meter::Counter;

use super::sharded::Sharded;
use super::spec::BudgetSpec;

/// Parts of the table with a lock of their own.
const SHARDS: usize = 64;
/// Most callers that one part tells apart.
const MOST: usize = 1024;
/// Under which all are counted that find no room; hashes are odd or even, and this one may be somebody's: then they share too.
const POOL: u64 = 0;

/// Times that end as close together as that are one, told by two clocks; in nanoseconds.
const SAME: u64 = 2_000_000_000;

/// The budget of a role.
#[derive(Debug)]
pub(super) struct Budget {
    /// The key of the file that says it: `roles.support.budget`.
    pub(super) path: Box<str>,
    /// How metrics name it: `role support`.
    pub(super) label: Box<str>,
    pub(super) spec: BudgetSpec,
    shards: Sharded<FxHashMap<u64, Used>>,
    pub(super) allowed: Counter,
    pub(super) refused: Counter,
}

/// What one caller has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// When the time is over, in nanoseconds of our clock.
    until: u64,
    calls: u64,
    bytes: u64,
    /// Of the bytes, those that the store has not heard of.
    untold: u64,
}

/// What this node knows of one caller, for the store that knows of all nodes; and what the store knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// How many nanoseconds the time goes on; 0 where none has begun.
    pub(super) left: u64,
    pub(super) calls: u64,
    pub(super) bytes: u64,
    /// Of the bytes, those that the store has not heard of.
    pub(super) untold: u64,
}

/// Which part of a budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Calls,
    Bytes,
}

/// A budget is used up; it is renewed after so many nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UsedUp {
    pub(super) part: Part,
    pub(super) wait: u64,
}

impl Budget {
    pub(super) fn new(path: &str, label: &str, spec: BudgetSpec) -> Self {
        let shards = Sharded::new(SHARDS);
        let (path, label) = (path.into(), label.into());
        Self { path, label, spec, shards, allowed: Counter::default(), refused: Counter::default() }
    }

    /// The time, in nanoseconds.
    pub(super) fn window(&self) -> u64 {
        u64::from(self.spec.per.seconds()) * 1_000_000_000
    }

    /// Uses so many calls and bytes, or tells that there are not as many. Where no bytes are used it does not matter whether there
    /// are any left.
    pub(super) fn charge(&self, key: u64, calls: u64, bytes: Option<u64>, now: u64) -> Result<(), UsedUp> {
        let mut shard = self.shard(key);
        let used = self.used(&mut shard, key, now);
        let part = self.lacks(used, calls, bytes.is_some());
        match part {
            Some(part) => Err(UsedUp { part, wait: used.until.saturating_sub(now) }),
            None => {
                used.calls = used.calls.saturating_add(calls);
                used.bytes = used.bytes.saturating_add(bytes.unwrap_or(0));
                Ok(())
            }
        }
    }

    /// Tells whether there are so many calls and any bytes left, without using them.
    pub(super) fn look(&self, key: u64, calls: u64, with_bytes: bool, now: u64) -> Result<(), UsedUp> {
        let shard = self.shard(key);
        match shard.get(&key).filter(|used| used.until > now) {
            Some(used) => match self.lacks(used, calls, with_bytes) {
                Some(part) => Err(UsedUp { part, wait: used.until - now }),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Tells whether something was used that the store has not heard of.
    pub(super) fn has_untold(&self, key: u64) -> bool {
        self.shard(key).get(&key).is_some_and(|used| used.untold > 0)
    }

    /// Returns what this node knows of a caller, to be told to the store: what it has not heard of is told once.
    pub(super) fn tell(&self, key: u64, now: u64) -> Account {
        let mut shard = self.shard(key);
        let Some(used) = shard.get_mut(&key) else { return Account::default() };
        let left = used.until.saturating_sub(now);
        let untold = std::mem::take(&mut used.untold);
        // What was used of a time that is over says nothing of the next.
        let (calls, bytes) = if left > 0 { (used.calls, used.bytes) } else { (0, 0) };
        Account { left, calls, bytes: bytes.saturating_sub(untold), untold }
    }

    /// Keeps for the next time what the store may not have heard of.
    pub(super) fn keep(&self, key: u64, untold: u64, now: u64) {
        if untold > 0 {
            let mut shard = self.shard(key);
            let used = self.used(&mut shard, key, now);
            used.untold = used.untold.saturating_add(untold);
        }
    }

    /// Learns what the store knows of a caller.
    pub(super) fn learn(&self, key: u64, known: Account, now: u64) {
        let mut shard = self.shard(key);
        let used = self.used(&mut shard, key, now);
        let until = now.saturating_add(known.left.min(self.window()));
        let is_same = used.until.abs_diff(until) <= SAME.min(self.window() / 4);
        used.until = until;
        let bytes = known.bytes.saturating_add(used.untold);
        // Answers about one time may overtake each other.
        let (old_calls, old_bytes) = if is_same { (used.calls, used.bytes) } else { (0, 0) };
        used.calls = old_calls.max(known.calls);
        used.bytes = old_bytes.max(bytes);
    }

    /// Adds bytes that were used already.
    pub(super) fn add_bytes(&self, key: u64, bytes: u64, now: u64) {
        let mut shard = self.shard(key);
        let used = self.used(&mut shard, key, now);
        used.bytes = used.bytes.saturating_add(bytes);
        used.untold = used.untold.saturating_add(bytes);
    }

    /// Gives back calls and bytes that were charged.
    pub(super) fn give_back(&self, key: u64, calls: u64, bytes: u64, now: u64) {
        let mut shard = self.shard(key);
        let used = self.used(&mut shard, key, now);
        used.calls = used.calls.saturating_sub(calls);
        used.bytes = used.bytes.saturating_sub(bytes);
    }

    fn lacks(&self, used: &Used, calls: u64, with_bytes: bool) -> Option<Part> {
        // What costs more than the whole budget takes all of it.
        let calls_left = |most: u64| used.calls.saturating_add(calls.min(most)) <= most;
        if !self.spec.calls.is_none_or(calls_left) {
            return Some(Part::Calls);
        }
        let is_over = self.spec.bytes.is_some_and(|most| used.bytes >= most);
        (with_bytes && is_over).then_some(Part::Bytes)
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, FxHashMap<u64, Used>> {
        self.shards.of(key)
    }

    /// Returns what a caller has used in the time that is now.
    fn used<'s>(&self, shard: &'s mut FxHashMap<u64, Used>, key: u64, now: u64) -> &'s mut Used {
        let fresh = Used { until: now.saturating_add(self.window()), ..Used::default() };
        if shard.len() >= MOST && !shard.contains_key(&key) {
            shard.retain(|_, used| used.until > now);
        }
        let mut key = key;
        if shard.len() >= MOST && !shard.contains_key(&key) {
            // The one who used least is forgotten, unless all is used up.
            let least = shard.iter().filter(|(_, used)| self.lacks(used, 1, true).is_none());
            match least.min_by_key(|(_, used)| (used.calls, used.bytes)).map(|(key, _)| *key) {
                Some(least) => drop(shard.remove(&least)),
                None => key = POOL,
            }
        }
        let used = shard.entry(key).or_insert(fresh);
        if used.until <= now {
            // The store hears of the last ones still.
            *used = Used { untold: used.untold, ..fresh };
        }
        used
    }

    /// Counts the callers that are told apart.
    pub(super) fn tracked(&self) -> usize {
        self.shards.sum(FxHashMap::len)
    }
}

/// Returns a length of time of nanoseconds.
pub(super) const fn wait(nanoseconds: u64) -> Duration {
    Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::super::rate::Unit;
    use super::*;

    fn budget(calls: Option<u64>, bytes: Option<u64>) -> Budget {
        Budget::new("roles.r.budget", "role r", BudgetSpec { calls, bytes, per: Unit::Hour })
    }

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn calls_are_counted_from_the_first_one_until_the_time_is_over() {
        let budget = budget(Some(3), None);
        assert!((0..3).all(|at| budget.charge(7, 1, Some(100), at).is_ok()));
        let used_up = budget.charge(7, 1, Some(100), 10).unwrap_err();
        assert_eq!(used_up, UsedUp { part: Part::Calls, wait: HOUR - 10 });
        assert!(budget.charge(8, 1, Some(100), 10).is_ok());
        assert!(budget.charge(7, 1, Some(100), HOUR).is_ok());
    }

    #[test]
    fn the_request_that_goes_over_the_bytes_is_answered_and_the_next_is_not() {
        let budget = budget(None, Some(100));
        assert!(budget.charge(7, 1, Some(60), 0).is_ok());
        budget.add_bytes(7, 39, 1);
        assert!(budget.charge(7, 1, Some(60), 2).is_ok());
        assert_eq!(budget.charge(7, 1, Some(1), 3).map_err(|used_up| used_up.part), Err(Part::Bytes));
    }

    #[test]
    fn what_costs_more_than_is_left_is_refused_and_more_than_all_takes_all() {
        let budget = budget(Some(5), None);
        assert!(budget.charge(1, 3, Some(0), 0).is_ok());
        assert!(budget.charge(1, 3, Some(0), 0).is_err());
        assert!(budget.charge(2, 50, Some(0), 0).is_ok());
        assert!(budget.charge(2, 1, Some(0), 0).is_err());
        budget.give_back(1, 3, 0, 0);
        assert!(budget.charge(1, 5, Some(0), 0).is_ok());
    }

    #[test]
    fn callers_that_are_told_apart_are_bounded_and_nobody_who_used_all_is_forgotten() {
        let budget = budget(Some(2), None);
        let same_shard = |number: u64| number * SHARDS as u64 + 1;
        assert!((0..10).all(|number| budget.charge(same_shard(number), 2, Some(0), 0).is_ok()));
        (10..4000).for_each(|number| assert!(budget.charge(same_shard(number), 1, Some(0), 0).is_ok()));
        assert!(budget.tracked() <= MOST);
        assert!((0..10).all(|number| budget.charge(same_shard(number), 1, Some(0), 1).is_err()));
    }
}
