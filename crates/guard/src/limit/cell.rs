//! One bucket as one number: when everything that was taken from it will have come back (the theoretical arrival time of the
//! generic cell rate algorithm, GCRA).
//!
//! An amount of `n` fits when what is owed then is at most the burst. So any stretch of time sees at most rate x time + burst,
//! whoever races: by the times that the takers read on their clocks, in whatever order those arrive here.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::rate::Pace;

/// Nanoseconds since the process first asked. Never goes back, whatever becomes of the time of day.
pub(super) fn now() -> u64 {
    at(Instant::now())
}

/// The same of a moment that was looked at before: an older one lets no more through.
pub(super) fn at(moment: Instant) -> u64 {
    // An hour before, since a first request may have arrived before this is asked.
    static START: LazyLock<Instant> = LazyLock::new(|| {
        let now = Instant::now();
        now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
    });
    u64::try_from(moment.saturating_duration_since(*START).as_nanos()).unwrap_or(u64::MAX)
}

/// What becomes of a bucket from which `cost` nanoseconds are taken; `Err`: how long until that fits.
pub(super) fn take(empty_until: u64, pace: Pace, cost: u64, now: u64) -> Result<u64, u64> {
    let new = empty_until.max(now).saturating_add(cost);
    match new.saturating_sub(now).checked_sub(pace.room) {
        None | Some(0) => Ok(new),
        Some(wait) => Err(wait),
    }
}

/// What becomes of a bucket to which somebody gives back what they took at `taken` and had no use for.
///
/// The time since then would have filled it by as much if nothing had been taken, where it was full meanwhile: that much is
/// not given back, so that nobody ever gains by it.
pub(super) fn give_back(empty_until: u64, cost: u64, taken: u64, now: u64) -> u64 {
    empty_until.saturating_sub(cost.saturating_sub(now.saturating_sub(taken)))
}

/// A bucket that many take from at once, without a lock.
#[derive(Debug, Default)]
pub(super) struct Cell(AtomicU64);

impl Cell {
    /// Tells how long until `cost` fits; 0 for now.
    pub(super) fn wait(&self, pace: Pace, cost: u64, now: u64) -> u64 {
        take(self.0.load(Ordering::Relaxed), pace, cost, now).err().unwrap_or(0)
    }

    /// Takes `cost`, or tells how long until it fits.
    pub(super) fn take(&self, pace: Pace, cost: u64, now: u64) -> Result<(), u64> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let new = take(seen, pace, cost, now)?;
            match self.0.compare_exchange_weak(seen, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
    }

    /// Gives back what was taken at `taken`. The clock is read after the bucket is: who took before that read it before.
    pub(super) fn give_back(&self, cost: u64, taken: u64, clock: impl Fn() -> u64) {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let new = give_back(seen, cost, taken, clock());
            match self.0.compare_exchange_weak(seen, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }

    /// Learns that at least `owed` nanoseconds are owed now, as another who counts says.
    pub(super) fn learn(&self, owed: u64, now: u64) {
        self.0.fetch_max(now.saturating_add(owed), Ordering::AcqRel);
    }

    /// Returns what is owed, in nanoseconds.
    pub(super) fn owed(&self, now: u64) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::rate::{Rate, Unit};
    use super::*;

    fn pace(count: u32, burst: u32) -> Pace {
        Rate::new(count, Unit::Second, Some(burst)).unwrap().pace()
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_at_each_interval() {
        let (cell, pace) = (Cell::default(), pace(10, 3));
        let cost = pace.cost(1);
        assert!((0..3).all(|_| cell.take(pace, cost, 5).is_ok()));
        assert_eq!(cell.take(pace, cost, 5), Err(100_000_000));
        assert_eq!(cell.take(pace, cost, 100_000_004), Err(1));
        assert_eq!(cell.take(pace, cost, 100_000_005), Ok(()));
        assert_eq!(cell.wait(pace, cost, 100_000_005), 100_000_000);
    }

    #[test]
    fn more_than_the_burst_costs_all_of_it() {
        let (cell, pace) = (Cell::default(), pace(10, 3));
        assert_eq!(cell.take(pace, pace.cost(50), 0), Ok(()));
        assert_eq!(cell.take(pace, pace.cost(50), 0), Err(300_000_000));
    }

    #[test]
    fn what_is_given_back_at_once_is_there_again() {
        let (cell, pace) = (Cell::default(), pace(10, 3));
        cell.take(pace, pace.cost(3), 7).unwrap();
        cell.give_back(pace.cost(3), 7, || 7);
        assert_eq!(cell.take(pace, pace.cost(3), 7), Ok(()));
    }

    /// Counts what passes in every stretch between two takers.
    fn most_over(passed: &[(u64, u64)], pace: Pace) -> u64 {
        let mut worst = 0;
        for (from, (start, _)) in passed.iter().enumerate() {
            let mut sum = 0;
            for (end, cost) in passed.iter().skip(from) {
                sum += cost;
                worst = worst.max(sum.saturating_sub(end - start + pace.room));
            }
        }
        worst
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_sees_more_than_rate_times_time_and_burst(
            count in 1_u32..2000, burst in 1_u32..50,
            steps in vec((0_u64..50_000_000, 1_u32..5, any::<bool>(), 0_u64..100_000_000), 1..150),
        ) {
            let (cell, pace) = (Cell::default(), pace(count, burst));
            let (mut time, mut passed) = (0, Vec::new());
            let mut held: Vec<(u64, u64)> = Vec::new();
            for (step, units, is_given_back, late) in steps {
                time += step;
                // A clock that was read a while ago.
                let read = time.saturating_sub(late);
                let cost = pace.cost(units);
                if cell.take(pace, cost, read).is_ok() {
                    if is_given_back { held.push((cost, read)) } else { passed.push((read, cost)) }
                }
                // Some are given back later, when others took meanwhile.
                if held.len() > 3 {
                    let (cost, taken) = held.remove(0);
                    cell.give_back(cost, taken, || time);
                }
            }
            passed.sort_unstable();
            prop_assert_eq!(most_over(&passed, pace), 0);
        }
    }

    #[test]
    fn threads_together_never_get_more() {
        let (cell, pace) = (Cell::default(), pace(1000, 100));
        let count = AtomicUsize::new(0);
        let start = now();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while now() - start < 200_000_000 {
                        if cell.take(pace, pace.cost(1), now()).is_ok() {
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        // One who takes two and has no use for them.
                        let taken = now();
                        if cell.take(pace, pace.cost(2), taken).is_ok() {
                            cell.give_back(pace.cost(2), taken, now);
                        }
                    }
                });
            }
        });
        let took = now() - start;
        let most = took / pace.interval + 100;
        let count = count.load(Ordering::Relaxed) as u64;
        assert!(count <= most, "{count} of {most}");
        // Threads that get no time take nothing; that nothing is lost by giving back is proven above.
        assert!(count * 10 >= most * 3, "{count} of {most}");
    }
}
