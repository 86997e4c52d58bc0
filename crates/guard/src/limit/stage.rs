//! All that one request takes from at one place of its way: every limit grants, or none is charged.

use std::sync::Arc;

use super::bucket::Bucket;
use super::budget::{Budget, UsedUp, wait};
use super::lease::Lease;
use super::list::List;
use super::refusal::{By, Refused};

/// What a request takes at one stage.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    /// Who asks, as a number: the key of limits that tell callers or addresses apart.
    pub(super) key: u64,
    pub(super) takes: List<Take<'a>>,
    pub(super) uses: List<Use<'a>>,
}

/// So many units of a limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Take<'a> {
    pub(super) bucket: &'a Arc<Bucket>,
    pub(super) units: u32,
}

/// So many calls and bytes of a budget.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use<'a> {
    pub(super) budget: &'a Arc<Budget>,
    pub(super) calls: u64,
    /// `None` for what a request costs beyond itself: its own bytes, which may be the last there were, are no reason to refuse it.
    pub(super) bytes: Option<u64>,
}

impl Take<'_> {
    /// How many units it takes: more than the burst takes all of it, so that it can be paid at all.
    pub(super) fn units(&self) -> u32 {
        self.units.min(self.bucket.rate.burst())
    }

    pub(super) fn is_leased(&self) -> bool {
        Lease::is_for(&self.bucket.rate)
    }
}

impl<'a> Stage<'a> {
    /// What is spent from units that were taken from the store ahead of time.
    pub(super) fn leased(&self) -> impl Iterator<Item = Take<'a>> {
        self.takes.iter().filter(Take::is_leased)
    }

    /// What the store is asked for each time.
    pub(super) fn exact(&self) -> impl Iterator<Item = Take<'a>> {
        self.takes.iter().filter(|take| !take.is_leased())
    }

    pub(super) fn is_all_leased(&self) -> bool {
        self.uses.is_empty() && self.exact().next().is_none()
    }

    pub(super) const fn new(key: u64) -> Self {
        Self { key, takes: List::new(), uses: List::new() }
    }

    pub(super) fn take(&mut self, bucket: Option<&'a Arc<Bucket>>, units: u32) {
        if let Some(bucket) = bucket {
            self.takes.push(Take { bucket, units });
        }
    }

    /// Takes what a request costs beyond the one unit it took before: of a burst that is smaller, all the rest. So a dear request
    /// passes when nothing else did for a while, however dear it is.
    pub(super) fn take_more(&mut self, bucket: Option<&'a Arc<Bucket>>, units: u32) {
        let rest = bucket.map_or(0, |bucket| bucket.rate.burst().saturating_sub(1));
        if rest > 0 {
            self.take(bucket, units.min(rest));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.takes.is_empty() && self.uses.is_empty()
    }

    /// Takes all of it from what this node counts by itself, in its order: those of the fewest requests come first, so that what is
    /// taken for a moment by a request that another limit refuses is missed by those alone whom that limit refuses too.
    ///
    /// # Errors
    /// What refuses it, of several the one that makes it wait longest; then nothing is charged.
    pub(super) fn take_here(&self, now: u64) -> Result<(), Refused<'a>> {
        let Err(first) = self.try_take(now) else { return Ok(()) };
        self.look_at(|_| true, |_| true, now)?;
        Err(first)
    }

    fn try_take(&self, now: u64) -> Result<(), Refused<'a>> {
        for (taken, take) in self.takes.iter().enumerate() {
            if let Err(nanoseconds) = take.bucket.take(self.key, take.units, now) {
                self.give_back(taken, 0, now);
                return Err(Refused { by: By::Limit(take.bucket), wait: wait(nanoseconds) });
            }
        }
        for (used, one) in self.uses.iter().enumerate() {
            if let Err(used_up) = one.budget.charge(self.key, one.calls, one.bytes, now) {
                self.give_back(usize::MAX, used, now);
                return Err(used_up_of(one.budget, used_up));
            }
        }
        Ok(())
    }

    /// Tells what would make a request wait longest, if anything, of those limits and those budgets.
    pub(super) fn look_at(
        &self,
        limits: impl Fn(&Take<'a>) -> bool,
        budgets: impl Fn(&Use<'a>) -> bool,
        now: u64,
    ) -> Result<(), Refused<'a>> {
        let limits = self.takes.iter().filter(limits).filter_map(|take| {
            let nanoseconds = take.bucket.wait(self.key, take.units, now);
            (nanoseconds > 0).then(|| Refused { by: By::Limit(take.bucket), wait: wait(nanoseconds) })
        });
        let budgets = self.uses.iter().filter(budgets).filter_map(|one| {
            let used_up = one.budget.look(self.key, one.calls, one.bytes.is_some(), now).err()?;
            Some(used_up_of(one.budget, used_up))
        });
        match limits.chain(budgets).max_by_key(|refused| refused.wait) {
            Some(refused) => Err(refused),
            None => Ok(()),
        }
    }

    fn give_back(&self, taken: usize, used: usize, at: u64) {
        for take in self.takes.iter().take(taken) {
            take.bucket.give_back(self.key, take.units, at);
        }
        for one in self.uses.iter().take(used) {
            one.budget.give_back(self.key, one.calls, one.bytes.unwrap_or(0), at);
        }
    }

    /// Counts that it was let through.
    pub(super) fn count(&self) {
        self.takes.iter().for_each(|take| take.bucket.allowed.add_one());
        self.uses.iter().for_each(|one| one.budget.allowed.add_one());
    }
}

pub(super) fn used_up_of(budget: &Budget, used_up: UsedUp) -> Refused<'_> {
    Refused { by: By::Budget(budget, used_up.part), wait: wait(used_up.wait) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::super::bucket::Whose;
    use super::super::cell;
    use super::super::rate::{Rate, Unit};
    use super::super::spec::BudgetSpec;
    use super::*;

    fn bucket(path: &str, count: u32, unit: Unit) -> Arc<Bucket> {
        Arc::new(Bucket::new(path, path, Rate::new(count, unit, None).unwrap(), Whose::Each))
    }

    #[test]
    fn where_one_limit_refuses_no_other_is_charged() {
        let (wide, narrow) = (bucket("wide", 10, Unit::Hour), bucket("narrow", 2, Unit::Hour));
        let spec = BudgetSpec { calls: Some(1), bytes: None, per: Unit::Hour };
        let budget = Arc::new(Budget::new("budget", "budget", spec));
        let stage = |units| {
            let mut stage = Stage::new(7);
            stage.take(Some(&wide), units);
            stage.take(Some(&narrow), units);
            stage
        };
        let with_budget = || {
            let mut stage = stage(1);
            stage.uses.push(Use { budget: &budget, calls: 1, bytes: Some(0) });
            stage
        };
        assert!(with_budget().take_here(cell::now()).is_ok());
        // The budget is used up: both limits have given back.
        assert_eq!(
            with_budget().take_here(cell::now()).map_err(|refused| refused.path().to_owned()),
            Err("budget".into())
        );
        assert!(stage(1).take_here(cell::now()).is_ok());
        assert_eq!(
            stage(1).take_here(cell::now()).map_err(|refused| refused.path().to_owned()),
            Err("narrow".into())
        );
        let left = (0..20).filter(|_| wide.take(7, 1, cell::now()).is_ok()).count();
        assert_eq!(left, 8);
    }

    #[test]
    fn a_refusal_names_the_limit_that_makes_wait_longest() {
        let (short, long) = (bucket("short", 1, Unit::Second), bucket("long", 1, Unit::Hour));
        let mut stage = Stage::new(7);
        stage.take(Some(&short), 1);
        stage.take(Some(&long), 1);
        assert!(stage.take_here(0).is_ok());
        assert_eq!(stage.take_here(0).map_err(|refused| refused.path().to_owned()), Err("long".into()));
    }

    #[test]
    fn all_or_none_holds_for_many_threads() {
        let (wide, narrow) = (bucket("wide", 100_000, Unit::Second), bucket("narrow", 1000, Unit::Second));
        let passed = AtomicU64::new(0);
        let start = cell::now();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while cell::now() - start < 100_000_000 {
                        let mut stage = Stage::new(7);
                        stage.take(Some(&wide), 1);
                        stage.take(Some(&narrow), 1);
                        if stage.take_here(cell::now()).is_ok() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let end = cell::now();
        let most = 1000 + (end - start) / narrow.pace.interval;
        let passed = passed.load(Ordering::Relaxed);
        assert!(passed <= most && passed * 100 >= most * 70, "{passed} of {most}");
        // The wide one was charged for those that passed alone.
        let owed = wide.owed(7, end) / wide.pace.interval;
        assert!(owed <= 1000, "{owed}");
    }
}
