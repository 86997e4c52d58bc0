//! Units that were taken from the store ahead of time, to be spent here without asking: for limits of 1,000 a second and more.
//!
//! They are charged when they are taken, so that all nodes together never let through more than the limit; what is not spent in
//! a second is lost. How many are taken follows how fast they are spent, so that a node with little to do loses little.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::rate::Rate;

/// From how many a second on limits are leased.
const LEASED_FROM: u32 = 1000;
/// Which part of a second's worth is taken at a time at most.
const PART: u32 = 40;
/// How many are taken first.
const FIRST: u32 = 4;
/// How long they may be spent, in nanoseconds.
const LIFE: u64 = 1_000_000_000;
/// Those who spend all of it this soon take more the next time, in nanoseconds.
const FAST: u64 = 100_000_000;
/// The longest time for which a limit that had nothing left is not asked again, in nanoseconds.
const LONGEST_PAUSE: u64 = 20_000_000;

/// What one node has of one bucket.
#[derive(Debug, Default)]
pub(super) struct Lease {
    units: AtomicI64,
    /// When the units are lost.
    until: AtomicU64,
    /// Until when nothing is to be had.
    empty_until: AtomicU64,
    /// When units were taken last.
    taken: AtomicU64,
    size: AtomicU32,
    /// Held by the one who asks the store; all others wait for what it brings.
    pub(super) asking: Mutex<()>,
}

/// What spending came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    /// They are spent. `is_low`: it is time to ask for more.
    Yes { is_low: bool },
    /// There are not as many: the store has to be asked.
    No,
    /// Nothing is to be had for so many nanoseconds.
    Empty(u64),
}

impl Lease {
    /// Tells whether a limit is leased at all.
    pub(super) fn is_for(rate: &Rate) -> bool {
        rate.a_second() >= LEASED_FROM
    }

    /// Spends so many units.
    pub(super) fn spend(&self, units: u32, now: u64) -> Spent {
        if now < self.until.load(Ordering::Acquire) {
            let wanted = i64::from(units);
            let enough = |left: i64| (left >= wanted).then(|| left - wanted);
            if let Ok(before) = self.units.fetch_update(Ordering::AcqRel, Ordering::Acquire, enough) {
                let left = before - wanted;
                return Spent::Yes { is_low: left * 2 < i64::from(self.size.load(Ordering::Relaxed)) };
            }
        }
        match self.empty_until.load(Ordering::Relaxed).saturating_sub(now) {
            0 => Spent::No,
            wait => Spent::Empty(wait),
        }
    }

    /// Gives back units that were spent and not used.
    pub(super) fn give_back(&self, units: u32) {
        self.units.fetch_add(units.into(), Ordering::AcqRel);
    }

    /// Tells whether it is time to ask for more.
    pub(super) fn is_low(&self, now: u64) -> bool {
        let left =
            if now < self.until.load(Ordering::Relaxed) { self.units.load(Ordering::Relaxed) } else { 0 };
        left * 2 < i64::from(self.size.load(Ordering::Relaxed))
    }

    /// Tells whether it has units, or knows that there are none.
    pub(super) fn is_of_use(&self, now: u64) -> bool {
        now < self.until.load(Ordering::Relaxed) || self.is_paused(now)
    }

    /// Tells whether nothing is to be had for a moment.
    pub(super) fn is_paused(&self, now: u64) -> bool {
        now < self.empty_until.load(Ordering::Relaxed)
    }

    /// Decides how many to ask for. Called by the one who holds [`asking`](Self::asking).
    pub(super) fn size(&self, rate: &Rate, least: u32, now: u64) -> u32 {
        let most = (rate.a_second() / PART).min(rate.burst() / 2).max(1);
        let old = self.size.load(Ordering::Relaxed).clamp(FIRST.min(most), most);
        let age = now.saturating_sub(self.taken.load(Ordering::Relaxed));
        let new = match age {
            0..=FAST => old.saturating_mul(2).min(most),
            _ if age > LIFE => (old / 2).max(FIRST.min(most)),
            _ => old,
        };
        self.size.store(new, Ordering::Relaxed);
        new.max(least)
    }

    /// Adds what the store gave.
    pub(super) fn add(&self, units: u32, now: u64) {
        // Only one adds at a time, and what is lost is spent by nobody.
        if now < self.until.load(Ordering::Acquire) {
            self.units.fetch_add(units.into(), Ordering::AcqRel);
        } else {
            self.units.store(units.into(), Ordering::Release);
        }
        self.taken.store(now, Ordering::Relaxed);
        self.empty_until.store(0, Ordering::Relaxed);
        self.until.store(now + LIFE, Ordering::Release);
    }

    /// Learns that nothing is to be had for so long. Asking again at once would bring one unit at a time.
    pub(super) fn is_empty_for(&self, wait: u64, rate: &Rate, now: u64) -> u64 {
        let size = u64::from(self.size.load(Ordering::Relaxed));
        let pause = (size * rate.interval() / 2).min(LONGEST_PAUSE).max(wait);
        self.empty_until.store(now + pause, Ordering::Relaxed);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::super::rate::Unit;
    use super::*;

    #[test]
    fn units_are_spent_until_they_are_lost() {
        let lease = Lease::default();
        assert_eq!(lease.spend(1, 5), Spent::No);
        lease.add(3, 5);
        assert!(matches!(lease.spend(2, 6), Spent::Yes { .. }));
        assert_eq!(lease.spend(2, 6), Spent::No);
        lease.give_back(1);
        assert!(matches!(lease.spend(2, LIFE), Spent::Yes { .. }));
        lease.add(3, 6);
        assert_eq!(lease.spend(1, 6 + LIFE), Spent::No);
        lease.add(1, 6 + LIFE);
        assert_eq!(lease.spend(2, 7 + LIFE), Spent::No);
    }

    #[test]
    fn as_many_are_taken_as_are_spent() {
        let rate = Rate::new(10_000, Unit::Second, None).unwrap();
        let lease = Lease::default();
        let mut now = LIFE * 9;
        let mut ask = |after: u64| {
            now += after;
            let size = lease.size(&rate, 1, now);
            lease.add(size, now);
            size
        };
        let grown: Vec<u32> = std::iter::once(LIFE * 2).chain([FAST; 9]).map(&mut ask).collect();
        assert_eq!(grown, [4, 8, 16, 32, 64, 128, 250, 250, 250, 250]);
        assert_eq!([LIFE / 2, LIFE + 1, LIFE + 1].map(&mut ask), [250, 125, 62]);
        let burst = Rate::new(1000, Unit::Second, Some(2)).unwrap();
        assert_eq!(Lease::default().size(&burst, 1, 0), 1);
    }

    #[test]
    fn what_has_nothing_is_not_asked_for_a_moment() {
        let rate = Rate::new(1000, Unit::Second, None).unwrap();
        let lease = Lease::default();
        lease.size(&rate, 1, 0);
        let pause = lease.is_empty_for(100, &rate, 50);
        assert!((100..=LONGEST_PAUSE).contains(&pause));
        assert_eq!(lease.spend(1, 60), Spent::Empty(pause - 10));
        assert_eq!(lease.spend(1, 50 + pause), Spent::No);
        assert!(Lease::is_for(&rate) && !Lease::is_for(&Rate::new(999, Unit::Second, None).unwrap()));
    }
}
