//! How long calls waited until a connection was theirs, added up without a lock.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long calls waited for a connection of their own, since the database was opened. A call that found one free did not
/// wait; one that gave up did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolWait {
    /// How many calls waited.
    pub waits: u64,
    /// How long they waited, all together.
    pub total: Duration,
    /// The longest of these waits.
    pub longest: Duration,
}

/// The connections for statements that need one of their own, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStatus {
    /// How many there may be.
    pub size: u32,
    /// How many there are.
    pub open: u32,
    /// How many places are taken by calls, also by those that still open a connection or have one cleaned behind them.
    pub in_use: u32,
    /// How calls waited for a place since the start.
    pub waited: PoolWait,
}

impl PoolWait {
    /// Returns the sums of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            waits: self.waits.saturating_add(other.waits),
            total: self.total.saturating_add(other.total),
            longest: self.longest.max(other.longest),
        }
    }
}

/// The sums, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    count: AtomicU64,
    total: AtomicU64,
    longest: AtomicU64,
    /// When waits were last told, in seconds since this process first waited; 0 for never.
    told: AtomicU64,
}

impl Waits {
    /// Adds a wait.
    pub(crate) fn note(&self, waited: Duration) {
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(waited, Ordering::Relaxed);
        self.longest.fetch_max(waited, Ordering::Relaxed);
    }

    /// Tells the operator that calls wait long, or are refused, at most every ten seconds.
    pub(crate) fn tell(&self, waited: Duration, places: u32, is_refused: bool) {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now = START.elapsed().as_secs() + TOLD_EVERY;
        let told = self.told.load(Ordering::Relaxed);
        let is_due = (waited >= LONG || is_refused) && now - told.min(now) >= TOLD_EVERY;
        if is_due && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let PoolWait { waits, longest, .. } = self.summary();
            tracing::warn!(
                ?waited,
                waits,
                ?longest,
                places,
                "calls wait for a connection of their own; a larger `pool`, or shorter statements, would help"
            );
        }
    }

    /// Returns the sums. Waits that end meanwhile may be in one of them and not yet in another.
    pub(crate) fn summary(&self) -> PoolWait {
        PoolWait {
            waits: self.count.load(Ordering::Relaxed),
            total: Duration::from_micros(self.total.load(Ordering::Relaxed)),
            longest: Duration::from_micros(self.longest.load(Ordering::Relaxed)),
        }
    }
}

/// A wait that the operator should know of.
const LONG: Duration = Duration::from_millis(250);

/// Seconds between two warnings.
const TOLD_EVERY: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_add_up() {
        let waits = Waits::default();
        assert_eq!(waits.summary(), PoolWait::default());
        for millis in [5, 20, 10] {
            waits.note(Duration::from_millis(millis));
        }
        let longest = Duration::from_millis(20);
        let sums = waits.summary();
        assert_eq!(sums, PoolWait { waits: 3, total: Duration::from_millis(35), longest });
        assert_eq!(sums.and(sums), PoolWait { waits: 6, total: Duration::from_millis(70), longest });
    }
}
