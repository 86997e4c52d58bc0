//! The switch between the callers of a connection and the statement running on it: who is running, until when, and whether
//! anybody still waits.
//!
//! Runs are numbered. Stopping a run stops that number and every one before it, never the next, so a late stop cannot hit
//! the statement of another caller.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Virtual machine instructions of SQLite between two looks at the gate: some microseconds of work.
pub(crate) const OPS_BETWEEN_LOOKS: i32 = 1000;
/// How long a statement without deadline waits for another program's lock.
const LONGEST_WAIT_FOR_LOCK: Duration = Duration::from_secs(5);
const NO_DEADLINE: u64 = u64::MAX;

/// Whether a run may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may.
    Go,
    /// Nobody waits for it any more.
    Dropped,
    /// Its deadline has passed.
    Late,
}

/// What the authorizer saw while a statement was compiled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    /// What it refused, in words.
    pub(crate) refused: Option<String>,
    /// Something was read through a view.
    pub(crate) reads_view: bool,
    /// A function is called that is not known to give one value for one row.
    pub(crate) may_aggregate: bool,
    /// Rows would be changed.
    pub(crate) changes_rows: bool,
}

/// See the module. One per connection.
#[derive(Debug)]
pub(crate) struct Gate {
    epoch: Instant,
    running: AtomicU64,
    /// The highest number whose caller went away.
    stopped: AtomicU64,
    /// Nanoseconds after `epoch` at which the run began and at which it is late.
    began: AtomicU64,
    late: AtomicU64,
    /// A statement of ours is compiled, which the authorizer lets pass.
    trusted: AtomicBool,
    /// A statement of ours must run to its end.
    unstoppable: AtomicBool,
    notes: Mutex<Notes>,
    bell: (Mutex<()>, Condvar),
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            running: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
            began: AtomicU64::new(0),
            late: AtomicU64::new(NO_DEADLINE),
            trusted: AtomicBool::new(false),
            unstoppable: AtomicBool::new(false),
            notes: Mutex::default(),
            bell: (Mutex::new(()), Condvar::new()),
        }
    }

    /// Begins a run. Only the connection's own thread does.
    pub(crate) fn begin(&self, number: u64, deadline: Option<Instant>) {
        self.began.store(self.since_epoch(Instant::now()), Ordering::Relaxed);
        self.late
            .store(deadline.map_or(NO_DEADLINE, |deadline| self.since_epoch(deadline)), Ordering::Relaxed);
        self.running.store(number, Ordering::Release);
    }

    /// Stops a run if it is running or waiting to; ended ones and later ones are not touched.
    pub(crate) fn stop(&self, number: u64) {
        self.stopped.fetch_max(number, Ordering::AcqRel);
        let _held = self.bell.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.bell.1.notify_all();
    }

    /// Stops every run, for good.
    pub(crate) fn close(&self) {
        self.stop(u64::MAX);
    }

    pub(crate) fn verdict(&self) -> Verdict {
        if self.unstoppable.load(Ordering::Relaxed) {
            return Verdict::Go;
        }
        if self.stopped.load(Ordering::Acquire) >= self.running.load(Ordering::Acquire) {
            return Verdict::Dropped;
        }
        let late = self.late.load(Ordering::Relaxed);
        if late != NO_DEADLINE && self.since_epoch(Instant::now()) >= late {
            Verdict::Late
        } else {
            Verdict::Go
        }
    }

    /// How long the run was allowed to take.
    pub(crate) fn allowed(&self) -> Duration {
        Duration::from_nanos(
            self.late.load(Ordering::Relaxed).saturating_sub(self.began.load(Ordering::Relaxed)),
        )
    }

    /// Waits a little for another program's lock; `false` when waiting is of no more use.
    pub(crate) fn wait_for_lock(&self, attempt: i32) -> bool {
        let began = self.began.load(Ordering::Relaxed);
        let now = self.since_epoch(Instant::now());
        let last =
            self.late.load(Ordering::Relaxed).min(began.saturating_add(nanoseconds(LONGEST_WAIT_FOR_LOCK)));
        if now >= last || self.verdict() != Verdict::Go {
            return false;
        }
        let step = Duration::from_millis(1 << attempt.clamp(0, 5));
        let held = self.bell.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A stop between the look above and this wait is seen after at most one step.
        let _woken = self.bell.1.wait_timeout(held, step.min(Duration::from_nanos(last - now)));
        self.verdict() == Verdict::Go
    }

    /// Whether the statement being compiled is one of ours.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    /// Runs something with the authorizer letting everything pass.
    pub(crate) fn trusting<T>(&self, work: impl FnOnce() -> T) -> T {
        self.trusted.store(true, Ordering::Relaxed);
        let result = work();
        self.trusted.store(false, Ordering::Relaxed);
        result
    }

    /// Runs something that nothing may interrupt, trusted.
    pub(crate) fn uninterrupted<T>(&self, work: impl FnOnce() -> T) -> T {
        self.unstoppable.store(true, Ordering::Relaxed);
        let result = self.trusting(work);
        self.unstoppable.store(false, Ordering::Relaxed);
        result
    }

    /// Changes the authorizer's notes.
    pub(crate) fn note(&self, write: impl FnOnce(&mut Notes)) {
        write(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes the notes, leaving none.
    pub(crate) fn take_notes(&self) -> Notes {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn since_epoch(&self, instant: Instant) -> u64 {
        nanoseconds(instant.saturating_duration_since(self.epoch))
    }
}

/// At most one less than [`NO_DEADLINE`], five hundred years away.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NO_DEADLINE).min(NO_DEADLINE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_never_reaches_the_next_run() {
        let gate = Gate::new();
        gate.begin(1, None);
        assert_eq!(gate.verdict(), Verdict::Go);
        gate.stop(1);
        assert_eq!(gate.verdict(), Verdict::Dropped);
        gate.begin(2, None);
        gate.stop(1);
        assert_eq!(gate.verdict(), Verdict::Go);
        gate.stop(3);
        gate.begin(3, None);
        assert_eq!(gate.verdict(), Verdict::Dropped);
    }

    #[test]
    fn a_deadline_makes_a_run_late_except_for_what_must_end() {
        let gate = Gate::new();
        gate.begin(1, Some(Instant::now()));
        assert_eq!(gate.verdict(), Verdict::Late);
        assert_eq!(gate.uninterrupted(|| gate.verdict()), Verdict::Go);
        assert!(!gate.wait_for_lock(0));
    }
}
