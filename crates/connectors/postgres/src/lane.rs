//! Chooses a statement's lane by how long its runs keep the server busy.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The lane of one statement that may be on either.
///
/// One that turns out slow leaves the shared lane, where others wait behind it. Every statement looks slow while the machine
/// or the server has a bad moment, so one that is quick again for long enough comes back.
#[derive(Debug)]
pub(crate) struct LaneChoice {
    may_share: bool,
    is_shared: AtomicBool,
    /// Whether it did what must not happen twice on connections of others: ran into their timeout, had a row too large.
    is_barred: AtomicBool,
    /// What was counted since then, in microseconds; 0 before the first run.
    counted_from: AtomicU64,
    runs: AtomicU32,
    slow: AtomicU32,
}

impl LaneChoice {
    /// Starts on the shared lane, if it may be there at all.
    pub(crate) fn new(may_share: bool) -> Self {
        Self {
            may_share,
            is_shared: AtomicBool::new(may_share),
            is_barred: AtomicBool::new(false),
            counted_from: AtomicU64::new(0),
            runs: AtomicU32::new(0),
            slow: AtomicU32::new(0),
        }
    }

    /// Whether it may be on the shared lane at all.
    pub(crate) fn may_share(&self) -> bool {
        self.may_share
    }

    /// Whether it is on the shared lane.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Leaves the shared lane for good.
    pub(crate) fn bar(&self) {
        self.is_barred.store(true, Ordering::Relaxed);
        self.is_shared.store(false, Ordering::Relaxed);
    }

    /// Counts a run on the shared lane that kept the server busy so long and ended now, in microseconds.
    pub(crate) fn note_shared(&self, took: Duration, now: u64) {
        if self.is_slow_on(took, now, SLOW, WINDOW) == Some(true) {
            self.is_shared.store(false, Ordering::Relaxed);
        }
    }

    /// Counts a run on the exclusive lane that took so long and ended now, in microseconds.
    pub(crate) fn note_exclusive(&self, took: Duration, now: u64) {
        if self.may_share
            && !self.is_barred.load(Ordering::Relaxed)
            && self.is_slow_on(took, now, QUICK, LONG_WINDOW) == Some(false)
        {
            self.is_shared.store(true, Ordering::Relaxed);
        }
    }

    /// Counts a run; tells at the end of a window whether more than one run in twenty took longer than `most`.
    ///
    /// Two runs that end together may both count into the next window, which changes nothing.
    fn is_slow_on(&self, took: Duration, now: u64, most: Duration, window: u32) -> Option<bool> {
        if took > most {
            self.slow.fetch_add(1, Ordering::Relaxed);
        }
        let runs = self.runs.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if runs == 1 {
            self.counted_from.store(now, Ordering::Relaxed);
        }
        let lasted = now.saturating_sub(self.counted_from.load(Ordering::Relaxed));
        if runs < window || lasted < LEAST {
            return None;
        }
        self.runs.store(0, Ordering::Relaxed);
        Some(self.slow.swap(0, Ordering::Relaxed) > runs / 20)
    }
}

/// A statement whose 95th percentile passes this leaves the shared lane.
const SLOW: Duration = Duration::from_millis(20);

/// How many runs on the shared lane are looked at together, at least.
const WINDOW: u32 = 128;

/// How long a window lasts at least, in microseconds: a hundred runs may all fall into one hiccup of the machine.
const LEAST: u64 = 1_000_000;

/// A statement whose 95th percentile stays below this comes back. Far from [`SLOW`], so that none goes to and fro.
const QUICK: Duration = Duration::from_millis(5);

/// How many runs on the exclusive lane are looked at together, at least.
const LONG_WINDOW: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts a window of so many runs, evenly over its time.
    fn count(of: u32, mut run: impl FnMut(u32, u64)) {
        let step = LEAST / u64::from(of - 1) + 1;
        (0..of).for_each(|number| run(number, u64::from(number) * step));
    }

    fn share(choice: &LaneChoice, slow: u32) -> bool {
        count(WINDOW, |run, now| choice.note_shared(if run < slow { SLOW * 2 } else { SLOW / 2 }, now));
        choice.is_shared()
    }

    fn alone(choice: &LaneChoice, slow: u32) -> bool {
        count(LONG_WINDOW, |run, now| {
            choice.note_exclusive(if run < slow { QUICK * 2 } else { QUICK / 2 }, now);
        });
        choice.is_shared()
    }

    #[test]
    fn a_hiccup_of_less_than_a_second_sends_nobody_away() {
        let choice = LaneChoice::new(true);
        (0..WINDOW * 4).for_each(|_| choice.note_shared(SLOW * 2, 0));
        assert!(choice.is_shared());
        // The rest of that second, of a tool that is called often.
        count(WINDOW * 100, |_, now| choice.note_shared(SLOW / 2, now));
        assert!(choice.is_shared());
    }

    #[test]
    fn a_statement_leaves_when_more_than_one_in_twenty_is_slow() {
        let choice = LaneChoice::new(true);
        assert!(share(&choice, 6));
        assert!(!share(&choice, 7));
    }

    #[test]
    fn one_that_is_quick_for_long_comes_back() {
        let choice = LaneChoice::new(true);
        assert!(!share(&choice, 7));
        assert!(!alone(&choice, 52));
        assert!(alone(&choice, 51));
        assert!(share(&choice, 0));
    }

    #[test]
    fn one_that_is_barred_or_never_shared_stays_where_it_is() {
        let barred = LaneChoice::new(true);
        barred.bar();
        assert!(!alone(&barred, 0));
        assert!(!alone(&LaneChoice::new(false), 0));
    }
}
