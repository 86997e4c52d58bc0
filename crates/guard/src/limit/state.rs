//! What is counted, for as long as the process: a file that is read again finds its limits as they were, unless it changed them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ahash::RandomState;
use trunkline_service::Caller;
use trunkline_service::meter::{Meter, Page};
use trunkline_service::store::Store;
use trunkline_service::store::file::OnStoreFailure;

use super::bucket::{Bucket, Whose};
use super::budget::Budget;
use super::cell;
use super::presence::Presence;
use super::rate::Rate;
use super::shared::{Settled, Shared, Subject};
use super::spec::BudgetSpec;
use super::stage::Stage;

/// Everything that is counted for limits. Clones are handles on the same.
#[derive(Debug, Clone, Default)]
pub struct LimitState(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// What keys are hashed with, from random numbers of this process: nobody can find callers or addresses that share a place. A
    /// third of what SipHash costs, which each call would pay twice.
    seed: RandomState,
    known: Mutex<Known>,
    shared: Option<Arc<Shared>>,
}

/// What there is, by the key of the file that says it.
#[derive(Debug, Default)]
struct Known {
    buckets: BTreeMap<Box<str>, Arc<Bucket>>,
    budgets: BTreeMap<Box<str>, Arc<Budget>>,
    presences: BTreeMap<Box<str>, Arc<Presence>>,
}

impl LimitState {
    /// Begins to count, for this node alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to count for all nodes that share a store. Needs a runtime once requests come.
    #[must_use]
    pub fn with_store(store: Store, on_failure: OnStoreFailure) -> Self {
        let shared = Some(Arc::new(Shared::new(store, on_failure)));
        Self(Arc::new(Inner { shared, ..Inner::default() }))
    }

    /// Returns what nodes share.
    #[cfg(test)]
    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        self.0.shared.as_ref()
    }

    /// Takes what a stage asks for, at a moment that may have been looked at before.
    pub(super) fn settle<'a>(&'a self, stage: Stage<'a>, subject: Subject<'_>, now: Instant) -> Settled<'a> {
        match &self.0.shared {
            _ if stage.is_empty() => Settled::Passed,
            Some(shared) => shared.settle(stage, subject),
            None => match stage.take_here(cell::at(now)) {
                Ok(()) => {
                    stage.count();
                    Settled::Passed
                }
                Err(refused) => Settled::Refused(refused),
            },
        }
    }

    /// Tells whether other nodes count too, so that the store may have to be asked.
    pub(super) fn is_shared(&self) -> bool {
        self.0.shared.is_some()
    }

    /// Returns the number that stands for a caller.
    pub(super) fn key(&self, caller: &Caller) -> u64 {
        self.0.seed.hash_one((caller.is_local, caller.issuer.as_deref(), &*caller.subject))
    }

    /// Returns the number that stands for an address: an IPv6 network of 64 bits, which is what one client has, is one.
    pub(super) fn key_of_address(&self, address: IpAddr) -> u64 {
        self.0.seed.hash_one(network(address))
    }

    pub(super) fn bucket(&self, path: &str, label: &str, rate: Rate, whose: Whose) -> Arc<Bucket> {
        let make = || Bucket::new(path, label, rate, whose);
        get(&mut self.known().buckets, path, |known| known.rate == rate && known.whose() == whose, make)
    }

    pub(super) fn budget(&self, path: &str, label: &str, spec: BudgetSpec) -> Arc<Budget> {
        get(&mut self.known().budgets, path, |known| known.spec == spec, || Budget::new(path, label, spec))
    }

    pub(super) fn presence(&self, path: &str, label: &str, most: NonZeroU32) -> Arc<Presence> {
        get(
            &mut self.known().presences,
            path,
            |known| known.most == most,
            || Presence::new(path, label, most),
        )
    }

    /// Forgets what no file says any longer.
    pub(super) fn prune(&self) {
        let mut known = self.known();
        known.buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1);
        known.budgets.retain(|_, budget| Arc::strong_count(budget) > 1);
        known.presences.retain(|_, presence| Arc::strong_count(presence) > 1);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing in here panics half way.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what is known under a path, or makes it where it is not, or is another.
fn get<T>(
    known: &mut BTreeMap<Box<str>, Arc<T>>,
    path: &str,
    is_same: impl Fn(&T) -> bool,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    if let Some(same) = known.get(path).filter(|known| is_same(known)) {
        return Arc::clone(same);
    }
    let new = Arc::new(make());
    known.insert(path.into(), Arc::clone(&new));
    new
}

/// Returns what of an address tells clients apart: all of IPv4, the first 64 bits of IPv6.
pub(super) fn network(address: IpAddr) -> (bool, u64) {
    match address.to_canonical() {
        IpAddr::V4(address) => (false, u32::from(address).into()),
        // The upper half, which fits.
        IpAddr::V6(address) => (true, u64::try_from(u128::from(address) >> 64).unwrap_or_default()),
    }
}

impl Meter for LimitState {
    fn read(&self, page: &mut Page) {
        let known = self.known();
        let buckets = known.buckets.values().map(|bucket| (&*bucket.label, &bucket.allowed, &bucket.refused));
        let budgets = known.budgets.values().map(|budget| (&*budget.label, &budget.allowed, &budget.refused));
        for (limit, allowed, _) in buckets.clone() {
            page.counter(ALLOWED, "Requests that a limit let through.", &[("limit", limit)], allowed.sum());
        }
        for (limit, _, refused) in buckets {
            page.counter(REFUSED, "Requests that a limit refused.", &[("limit", limit)], refused.sum());
        }
        for (budget, allowed, _) in budgets.clone() {
            let help = "Requests that a budget let through.";
            page.counter("trunkline_limit_budget_allowed_total", help, &[("budget", budget)], allowed.sum());
        }
        for (budget, _, refused) in budgets {
            let help = "Requests that a budget refused.";
            page.counter("trunkline_limit_budget_refused_total", help, &[("budget", budget)], refused.sum());
        }
        for budget in known.budgets.values() {
            let help = "Callers whose budgets are told apart.";
            // Far below 2^53.
            #[expect(clippy::cast_precision_loss, reason = "at most 65,536")]
            page.gauge(
                "trunkline_limit_budget_tracked",
                help,
                &[("budget", &budget.label)],
                budget.tracked() as f64,
            );
        }
        for presence in known.presences.values() {
            let help = "Requests that were refused for want of a place among those of their caller.";
            let labels = [("limit", &*presence.label)];
            page.counter("trunkline_limit_concurrent_refused_total", help, &labels, presence.refused.sum());
        }
        if let Some(shared) = &self.0.shared {
            shared.read(page);
        }
        let now = cell::now();
        let tables = || known.buckets.values().filter_map(|bucket| Some((&*bucket.label, bucket.table()?)));
        for (limit, table) in tables() {
            let help = "Callers or addresses whose buckets are not full.";
            // Far below 2^53.
            #[expect(clippy::cast_precision_loss, reason = "at most 65,536")]
            page.gauge("trunkline_limit_tracked", help, &[("limit", limit)], table.tracked(now) as f64);
        }
        for (limit, table) in tables() {
            let help = "Buckets that were forgotten before they were full, for want of room.";
            page.counter("trunkline_limit_evicted_total", help, &[("limit", limit)], table.evicted());
        }
        for (limit, table) in tables() {
            let help = "Requests that shared a bucket with others, for want of room.";
            page.counter("trunkline_limit_pooled_total", help, &[("limit", limit)], table.pooled());
        }
    }
}

const ALLOWED: &str = "trunkline_limit_allowed_total";
const REFUSED: &str = "trunkline_limit_refused_total";

#[cfg(test)]
mod tests {
    use super::super::rate::Unit;
    use super::*;

    #[test]
    fn what_the_file_says_as_before_is_counted_on_and_what_it_says_no_longer_is_forgotten() {
        let state = LimitState::new();
        let rate = |count| Rate::new(count, Unit::Hour, None).unwrap();
        let first = state.bucket("limits.caller", "caller", rate(1), Whose::Each);
        assert!(first.take(7, 1, 0).is_ok());
        let same = state.bucket("limits.caller", "caller", rate(1), Whose::Each);
        assert!(same.take(7, 1, 0).is_err());
        let other = state.bucket("limits.caller", "caller", rate(2), Whose::Each);
        assert!(other.take(7, 1, 0).is_ok());
        drop(other);
        state.prune();
        assert!(state.known().buckets.is_empty());
    }

    #[test]
    fn an_address_is_known_by_all_of_ipv4_and_by_the_network_of_ipv6() {
        let state = LimitState::new();
        let key = |text: &str| state.key_of_address(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_ne!(key("0.0.0.1"), key("0:0:0:1::"));
    }

    #[test]
    fn a_page_names_limits_as_the_file_does() {
        let state = LimitState::new();
        let rate = Rate::new(1, Unit::Hour, None).unwrap();
        let bucket = state.bucket("roles.a.limit", "role a", rate, Whose::Each);
        bucket.refused.add(3);
        bucket.take(7, 1, cell::now()).unwrap();
        let mut page = Page::new();
        state.read(&mut page);
        let text = page.into_text();
        assert!(text.contains("trunkline_limit_refused_total{limit=\"role a\"} 3\n"), "{text}");
        assert!(text.contains("trunkline_limit_tracked{limit=\"role a\"} 1\n"), "{text}");
    }
}
