//! Keeps a database that is down from being knocked at by everyone at once: what was found is remembered, and one caller at
//! a time looks again, after a wait that grows.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why no connection came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nobody answered, or not in a way that can be used.
    Unreached(String),
    /// The database answered and has no place for one more, as it was told to the operator.
    Full(String),
    /// The database answered and refuses the login: looking again seldom helps.
    Rejected {
        /// What is refused, without any part of the address.
        message: String,
        /// What to do about it.
        help: &'static str,
        /// All that was found, for the operator.
        log: String,
    },
}

/// The memory of one database's failures.
#[derive(Debug, Default)]
pub(crate) struct Damper {
    last: Mutex<Option<Failure>>,
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    retry_at: Instant,
    /// How many came in a row.
    count: u32,
    reason: Reason,
    /// Since when someone looks again.
    probing: Option<Instant>,
}

/// Leave to try. Dropped without an outcome, the next caller has it.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    damper: &'a Damper,
    began: Instant,
    is_probe: bool,
}

impl Damper {
    /// Admits a caller to try, unless it is known that there is no use in that yet. Of those who come after the wait, the
    /// first one tries; should that take longer than `patience`, another does.
    ///
    /// # Errors
    /// What was found last.
    pub(crate) fn admit(&self, patience: Duration) -> Result<Admission<'_>, Reason> {
        let now = Instant::now();
        let mut last = self.last();
        let is_probe = match &mut *last {
            None => false,
            Some(failure) if now < failure.retry_at => return Err(failure.reason.clone()),
            Some(failure) => {
                if failure.probing.is_some_and(|since| now < since + patience) {
                    return Err(failure.reason.clone());
                }
                failure.probing = Some(now);
                true
            }
        };
        Ok(Admission { damper: self, began: now, is_probe })
    }

    /// Returns what was found last, when that is less than `age` ago and nothing better since.
    pub(crate) fn failed_within(&self, age: Duration) -> Option<Reason> {
        self.last()
            .as_ref()
            .filter(|failure| failure.at.elapsed() < age)
            .map(|failure| failure.reason.clone())
    }

    fn last(&self) -> MutexGuard<'_, Option<Failure>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission<'_> {
    /// Forgets all failures.
    pub(crate) fn succeeded(mut self) {
        self.is_probe = false;
        *self.damper.last() = None;
    }

    /// Remembers a failure, and waits longer than before until the next try.
    pub(crate) fn failed(mut self, reason: Reason) {
        self.is_probe = false;
        let now = Instant::now();
        let mut last = self.damper.last();
        let count = match &*last {
            // Of several that tried at once, one counts.
            Some(failure) if failure.at > self.began => failure.count,
            Some(failure) => failure.count.saturating_add(1),
            None => 1,
        };
        let retry_at = now + wait(count, &reason, random());
        *last = Some(Failure { at: now, retry_at, count, reason, probing: None });
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(failure) = &mut *self.damper.last()
        {
            failure.probing = None;
        }
    }
}

/// Returns how long to leave a database alone: doubled with each failure, less up to a quarter, so that many processes do
/// not come back together.
fn wait(count: u32, reason: &Reason, random: u64) -> Duration {
    let longest = match reason {
        Reason::Unreached(_) | Reason::Full(_) => LONGEST,
        Reason::Rejected { .. } => LONGEST_REJECTED,
    };
    let whole = SHORTEST.saturating_mul(1 << count.saturating_sub(1).min(10)).min(longest);
    let per_mille = u32::try_from(random % 250).unwrap_or(0);
    whole - whole * per_mille / 1000
}

/// Taken from the keys that hash maps are given against guessing.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Long enough that 200 calls at once find one failure.
const SHORTEST: Duration = Duration::from_millis(250);

/// Short enough that a server that is back is found within two seconds.
const LONGEST: Duration = Duration::from_secs(2);

/// Servers count refused logins, and some lock an account for them.
const LONGEST_REJECTED: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> Reason {
        Reason::Unreached("down".to_owned())
    }

    #[test]
    fn waits_grow_to_a_bound_and_are_never_the_same_for_all() {
        let at = |count, random| wait(count, &down(), random).as_millis();
        assert_eq!([at(1, 0), at(2, 0), at(3, 0), at(4, 0), at(400, 0)], [250, 500, 1000, 2000, 2000]);
        assert!(at(1, 249) > 180 && at(1, 249) < 190);
        let refused = Reason::Rejected { message: String::new(), help: "", log: String::new() };
        assert_eq!(wait(9, &refused, 0).as_millis(), 5000);
    }

    #[test]
    fn of_many_that_fail_at_once_one_counts() {
        let damper = Damper::default();
        let patience = Duration::from_secs(1);
        let all: Vec<_> = (0..200).map(|_| damper.admit(patience).unwrap()).collect();
        std::iter::zip(all, 0..).for_each(|(admission, _)| admission.failed(down()));
        assert_eq!(damper.last().as_ref().unwrap().count, 1);
        assert_eq!(damper.admit(patience).unwrap_err(), down());
    }

    #[test]
    fn after_the_wait_one_looks_and_the_others_hear_what_is_known() {
        let damper = Damper::default();
        let patience = Duration::from_secs(1);
        damper.admit(patience).unwrap().failed(down());
        damper.last().as_mut().unwrap().retry_at = Instant::now();
        let probe = damper.admit(patience).unwrap();
        assert!(damper.admit(patience).is_err());
        // One that gives up leaves the place to the next.
        drop(probe);
        let probe = damper.admit(patience).unwrap();
        assert!(damper.admit(Duration::ZERO).is_ok());
        probe.succeeded();
        assert!(damper.admit(patience).is_ok() && damper.failed_within(patience).is_none());
    }
}
