//! When a call is tried again: how often, after what wait, and how many such tries all calls of a source may have together.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How a source is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryConfig {
    /// How often one call is tried in all, at least 1.
    pub attempts: u32,
    /// How long it is waited before the second try, give or take a half; doubled before each further one.
    pub wait: Duration,
    /// Of a hundred calls, how many tries more may be made.
    pub budget: u32,
}

impl Default for RetryConfig {
    /// Three tries, the second after 50 to 150 ms, at most one more try for ten calls.
    fn default() -> Self {
        Self { attempts: 3, wait: Duration::from_millis(100), budget: 10 }
    }
}

impl RetryConfig {
    /// Returns how long to wait after so many tries; `random` is any number.
    pub(super) fn wait_after(&self, tries: u32, random: u64) -> Duration {
        let whole = self.wait.saturating_mul(1 << tries.saturating_sub(1).min(10));
        let per_mille = u32::try_from(500 + random % 1001).unwrap_or(1000);
        whole.saturating_mul(per_mille) / 1000
    }
}

/// How many tries more there may be: some, and a share of the calls that were made. When a source fails for all, tries in
/// numbers would keep it from coming back.
#[derive(Debug)]
pub(super) struct Budget(Mutex<Left>);

#[derive(Debug)]
struct Left {
    /// In hundredths of a try.
    hundredths: u64,
    /// How many calls were made when it was last looked at.
    calls: u64,
}

/// What there is at the start, in tries.
const FEW: u64 = 10;

/// Most that is saved up, in tries.
const MOST: u64 = 100;

impl Budget {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Left { hundredths: FEW * 100, calls: 0 }))
    }

    /// Takes one try, if there is one. `calls` is how many calls were made until now, `share` how many tries a hundred of
    /// them bring.
    pub(super) fn take(&self, calls: u64, share: u32) -> bool {
        // Nothing in there panics half way.
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earned = calls.saturating_sub(left.calls).saturating_mul(u64::from(share));
        left.calls = left.calls.max(calls);
        left.hundredths = left.hundredths.saturating_add(earned).min(MOST * 100);
        let rest = left.hundredths.checked_sub(100);
        left.hundredths = rest.unwrap_or(left.hundredths);
        rest.is_some()
    }
}

/// Taken from the keys that hash maps are given against guessing.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_differ() {
        let config = RetryConfig::default();
        let wait = |tries, random| config.wait_after(tries, random).as_millis();
        assert_eq!([wait(1, 0), wait(1, 500), wait(1, 1000)], [50, 100, 150]);
        assert_eq!([wait(2, 500), wait(3, 500)], [200, 400]);
        assert!((0..100).map(|_| random() % 1001).collect::<std::collections::HashSet<_>>().len() > 50);
    }

    #[test]
    fn tries_are_a_tenth_of_the_calls_and_a_few() {
        let budget = Budget::new();
        let granted = (0..1000).filter(|_| budget.take(0, 10)).count();
        assert_eq!(granted, 10);
        let granted = (1..=10_000).filter(|calls| budget.take(*calls, 10)).count();
        assert_eq!(granted, 1000);
        // What was not used for long does not add up to a storm.
        let granted = (0..100_000).filter(|_| budget.take(1_000_000, 10)).count();
        assert_eq!(granted, 100);
    }
}
