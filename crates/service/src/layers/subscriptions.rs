//! How many subscriptions are open, in all and of one caller.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::caller::Caller;
use crate::failure::{Failure, FailureKind};
use crate::queue::who;

/// Most `subscriptions/listen` at a time. They cost memory, not work, so that they are counted apart from other requests.
pub const MAX_SUBSCRIPTIONS: usize = 16_384;

/// Most of one caller, so that nobody can take all of them. The user of this machine is not counted.
pub const MAX_SUBSCRIPTIONS_OF_CALLER: usize = MAX_SUBSCRIPTIONS / 16;

/// The subscriptions that are open.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: AtomicUsize,
    callers: Mutex<FxHashMap<u64, usize>>,
}

/// One of them, until it is dropped.
pub(super) struct Listening<'a> {
    subscriptions: &'a Subscriptions,
    who: Option<u64>,
}

impl Subscriptions {
    pub(super) fn open(&self, caller: &Caller) -> Result<Listening<'_>, Failure> {
        let mut listening = Listening { subscriptions: self, who: None };
        if self.all.fetch_add(1, Ordering::Relaxed) >= MAX_SUBSCRIPTIONS {
            return Err(super::busy());
        }
        if caller.is_local {
            return Ok(listening);
        }
        let who = who(caller);
        let mut callers = self.callers();
        let open = callers.entry(who).or_default();
        if *open >= MAX_SUBSCRIPTIONS_OF_CALLER {
            drop(callers);
            let text = format!(
                "you have {MAX_SUBSCRIPTIONS_OF_CALLER} subscriptions open, as many as one caller may; end one of them first"
            );
            let failure = Failure::new(FailureKind::RateLimited, text);
            return Err(failure.with_retry_after(Duration::from_secs(1)));
        }
        *open += 1;
        drop(callers);
        listening.who = Some(who);
        Ok(listening)
    }

    pub(super) fn count(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    fn callers(&self) -> MutexGuard<'_, FxHashMap<u64, usize>> {
        // Nothing in there panics half way.
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.subscriptions.all.fetch_sub(1, Ordering::Relaxed);
        let Some(who) = self.who else { return };
        let mut callers = self.subscriptions.callers();
        if let Some(open) = callers.get_mut(&who) {
            *open -= 1;
            if *open == 0 {
                callers.remove(&who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(subject: &str) -> Caller {
        Caller { subject: subject.into(), ..Caller::default() }
    }

    #[test]
    fn one_caller_cannot_take_all_of_them_and_what_is_ended_can_be_had_again() {
        let subscriptions = Subscriptions::default();
        let greedy = caller("greedy");
        let mut open: Vec<_> =
            (0..MAX_SUBSCRIPTIONS_OF_CALLER).map(|_| subscriptions.open(&greedy).ok().unwrap()).collect();
        let refused = subscriptions.open(&greedy).err().unwrap();
        assert_eq!(refused.kind(), FailureKind::RateLimited);
        assert_eq!(subscriptions.count(), MAX_SUBSCRIPTIONS_OF_CALLER);
        open.push(subscriptions.open(&caller("modest")).ok().unwrap());
        open.remove(0);
        open.push(subscriptions.open(&greedy).ok().unwrap());
        let local = Caller::local();
        let of_local = (0..MAX_SUBSCRIPTIONS_OF_CALLER + 1).map(|_| subscriptions.open(&local).ok().unwrap());
        open.extend(of_local);
        drop(open);
        assert!(subscriptions.count() == 0 && subscriptions.callers().is_empty());
    }

    #[test]
    fn all_together_are_bounded_too() {
        let subscriptions = Subscriptions::default();
        let local = Caller::local();
        let open: Vec<_> = (0..MAX_SUBSCRIPTIONS).map(|_| subscriptions.open(&local).ok().unwrap()).collect();
        assert_eq!(subscriptions.open(&caller("late")).err().unwrap().kind(), FailureKind::Overloaded);
        drop(open);
        assert_eq!(subscriptions.count(), 0);
    }
}
