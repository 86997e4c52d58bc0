//! The breaker: leaves a source alone that fails, and lets one call at a time look whether it works again.
//!
//! While the source works a call costs one look at a number and one addition; only failures take the lock. What is counted are
//! failures of the source, never mistakes of callers. Calls that were late count for nothing: how long a statement takes is its
//! caller's choice, and a source that stopped it works. What hangs is held by its places.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trunkline_service::Fault;
use trunkline_service::meter::Counter;

use super::retry::random;
use super::verdict::Verdict;

/// When a source is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Of a hundred calls within the window, how many have to fail.
    pub share: u32,
    /// How many have to fail at least.
    pub calls: u32,
    /// The time that is looked at, give or take a half.
    pub window: Duration,
    /// The longest time before it is looked again. The first is an eighth of it, doubled with each look that finds the source
    /// failing.
    pub pause: Duration,
}

impl Default for BreakerConfig {
    /// Half of the calls of ten seconds and at least ten; looked again after 250 ms at first, after 2 s at last.
    fn default() -> Self {
        let (window, pause) = (Duration::from_secs(10), Duration::from_secs(2));
        Self { share: 50, calls: 10, window, pause }
    }
}

/// A look that takes longer than this is not waited for: another call looks.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a breaker does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Every call goes through.
    Closed,
    /// One call looks.
    HalfOpen,
    /// No call goes through for so long.
    Open(Duration),
}

/// What changed with an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    /// Nothing that anyone has to know.
    Not,
    /// The source is left alone from now on: so many of so many calls failed.
    Opened { failed: u64, of: u64 },
    /// It works again.
    Closed,
}

/// The breaker of one source.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    /// [`CLOSED`] or not: what a call looks at first.
    is_closed: AtomicU8,
    state: Mutex<State>,
    /// Numbers the looks, so that one that comes back late is not taken for another.
    looks: AtomicU64,
}

const CLOSED: u8 = 0;
const NOT_CLOSED: u8 = 1;

#[derive(Debug)]
enum State {
    Closed {
        /// The half of the window before, and the one of now.
        halves: [Half; 2],
    },
    Open {
        until: Instant,
        /// How many looks found it failing, the first failures included.
        looks: u32,
    },
    HalfOpen {
        since: Instant,
        looks: u32,
        /// Which look it is that counts.
        probe: u64,
    },
}

/// What failed in a part of the window.
#[derive(Debug, Clone, Copy)]
struct Half {
    began: Instant,
    /// How many calls had worked when it began.
    worked: u64,
    failed: u64,
}

/// Leave to ask the source. A look that is dropped without a verdict is left to the next call.
#[derive(Debug)]
pub(super) struct Admission<'a> {
    breaker: &'a Breaker,
    /// The number of the look; `None` for a call like any other.
    probe: Option<u64>,
}

impl Half {
    fn new(began: Instant, worked: u64) -> Self {
        Self { began, worked, failed: 0 }
    }
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig, now: Instant) -> Self {
        let state = State::Closed { halves: [Half::new(now, 0); 2] };
        Self { config, is_closed: AtomicU8::new(CLOSED), state: Mutex::new(state), looks: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in there panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call through, or tells how long none is.
    pub(super) fn admit(&self, now: impl FnOnce() -> Instant) -> Result<Admission<'_>, Duration> {
        if self.is_closed.load(Ordering::Acquire) == CLOSED {
            return Ok(Admission { breaker: self, probe: None });
        }
        let now = now();
        let mut state = self.state();
        let looks = match &*state {
            State::Closed { .. } => return Ok(Admission { breaker: self, probe: None }),
            State::Open { until, .. } if now < *until => return Err(*until - now),
            State::HalfOpen { since, looks, .. } if now < *since + PATIENCE => {
                return Err(self.pause(*looks, 0));
            }
            State::Open { looks, .. } | State::HalfOpen { looks, .. } => *looks,
        };
        let probe = self.looks.fetch_add(1, Ordering::Relaxed);
        *state = State::HalfOpen { since: now, looks, probe };
        Ok(Admission { breaker: self, probe: Some(probe) })
    }

    /// Tells what it does now.
    pub(super) fn position(&self, now: Instant) -> Position {
        if self.is_closed.load(Ordering::Acquire) == CLOSED {
            return Position::Closed;
        }
        match &*self.state() {
            State::Closed { .. } => Position::Closed,
            State::Open { until, .. } => Position::Open(until.saturating_duration_since(now)),
            State::HalfOpen { .. } => Position::HalfOpen,
        }
    }

    /// How long the source is left alone after so many looks, less up to a quarter, so that nodes do not look all together.
    fn pause(&self, looks: u32, random: u64) -> Duration {
        let whole = (self.config.pause / 8).saturating_mul(1 << looks.saturating_sub(1).min(10));
        let whole = whole.min(self.config.pause);
        whole - whole * u32::try_from(random % 250).unwrap_or(0) / 1000
    }

    /// Counts a failure of a call like any other.
    fn failed(&self, worked: u64, now: Instant) -> Turned {
        let mut state = self.state();
        let State::Closed { halves } = &mut *state else { return Turned::Not };
        let [before, current] = halves;
        let age = now.saturating_duration_since(current.began);
        if age >= self.config.window {
            *before = Half::new(now, worked);
            *current = *before;
        } else if age >= self.config.window / 2 {
            *before = *current;
            *current = Half::new(now, worked);
        }
        current.failed += 1;
        let failed = before.failed + current.failed;
        let of = failed + worked.saturating_sub(before.worked);
        if failed < u64::from(self.config.calls) || failed * 100 < u64::from(self.config.share) * of {
            return Turned::Not;
        }
        *state = State::Open { until: now + self.pause(1, random()), looks: 1 };
        self.is_closed.store(NOT_CLOSED, Ordering::Release);
        Turned::Opened { failed, of }
    }

    /// Ends a look.
    fn looked(&self, probe: u64, verdict: Verdict, worked: u64, now: Instant) -> Turned {
        let mut state = self.state();
        let State::HalfOpen { looks, probe: current, .. } = &*state else { return Turned::Not };
        // One that took too long is not waited for; that the source works is good news from anyone.
        if *current != probe && verdict != Verdict::Works {
            return Turned::Not;
        }
        match verdict {
            Verdict::Works => {
                *state = State::Closed { halves: [Half::new(now, worked); 2] };
                self.is_closed.store(CLOSED, Ordering::Release);
                return Turned::Closed;
            }
            Verdict::Nothing | Verdict::Failed(Fault::Busy | Fault::Late) => {
                *state = State::Open { until: now, looks: *looks };
            }
            Verdict::Failed(_) => {
                let looks = looks.saturating_add(1);
                *state = State::Open { until: now + self.pause(looks, random()), looks };
            }
        }
        Turned::Not
    }
}

impl Admission<'_> {
    /// Says what the call showed. `worked` counts the calls that showed the source to work; of those through a closed breaker
    /// nothing else is kept.
    pub(super) fn settle(
        mut self,
        verdict: Verdict,
        worked: &Counter,
        now: impl FnOnce() -> Instant,
    ) -> Turned {
        if verdict == Verdict::Works {
            worked.add_one();
        }
        match (self.probe.take(), verdict) {
            (Some(probe), verdict) => self.breaker.looked(probe, verdict, worked.sum(), now()),
            (None, Verdict::Works | Verdict::Nothing | Verdict::Failed(Fault::Busy | Fault::Late)) => {
                Turned::Not
            }
            (None, Verdict::Failed(_)) => self.breaker.failed(worked.sum(), now()),
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if let Some(probe) = self.probe {
            self.breaker.looked(probe, Verdict::Nothing, 0, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
