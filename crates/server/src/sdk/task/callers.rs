//! What each caller has on this node: tasks that run, and ended ones whose records are still kept.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::TaskOptions;
use super::record::TaskId;
use trunkline_service::seal::now_ms;

/// Ended tasks between two looks for callers of whom nothing is left.
const SWEEP_AFTER: usize = 256;

/// The callers that have something here.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    callers: HashMap<String, OfCaller>,
    ended: usize,
}

#[derive(Debug, Default)]
struct OfCaller {
    running: usize,
    /// Ended tasks, in the order in which they ended.
    kept: VecDeque<Kept>,
}

/// The record of an ended task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) id: TaskId,
    /// How large its outcome is.
    pub(super) bytes: usize,
    pub(super) expires_ms: u64,
}

impl Callers {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more task that runs, and returns how many do.
    pub(super) fn begin(&self, owner: &str) -> usize {
        let mut inner = self.inner();
        let of_caller = inner.callers.entry(owner.to_owned()).or_default();
        of_caller.running += 1;
        of_caller.running
    }

    /// Counts one less.
    pub(super) fn end(&self, owner: &str) {
        let mut inner = self.inner();
        let Some(of_caller) = inner.callers.get_mut(owner) else { return };
        of_caller.running = of_caller.running.saturating_sub(1);
        if of_caller.running == 0 && of_caller.kept.is_empty() {
            inner.callers.remove(owner);
        }
    }

    /// Notes that the record of an ended task is kept, and returns those that must go for it: the ones that ended first.
    pub(super) fn keep(&self, owner: &str, kept: Kept, options: &TaskOptions) -> Vec<TaskId> {
        let now = now_ms();
        let mut inner = self.inner();
        let of_caller = inner.callers.entry(owner.to_owned()).or_default();
        of_caller.drop_expired(now);
        of_caller.kept.push_back(kept);
        let gone = of_caller.over(options);
        inner.ended += 1;
        if inner.ended.is_multiple_of(SWEEP_AFTER) {
            inner.callers.retain(|_, of_caller| {
                of_caller.drop_expired(now);
                of_caller.running > 0 || !of_caller.kept.is_empty()
            });
        }
        gone
    }
}

impl OfCaller {
    fn drop_expired(&mut self, now: u64) {
        self.kept.retain(|kept| kept.expires_ms > now);
    }

    /// Takes out the oldest until the rest is within the bounds. The last one stays: its caller still waits for it.
    fn over(&mut self, options: &TaskOptions) -> Vec<TaskId> {
        let mut bytes: usize = self.kept.iter().map(|kept| kept.bytes).sum();
        let mut gone = Vec::new();
        while self.kept.len() > 1 && (self.kept.len() > options.max_kept || bytes > options.max_kept_bytes) {
            let Some(oldest) = self.kept.pop_front() else { break };
            bytes -= oldest.bytes;
            gone.push(oldest.id);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes: usize, expires_ms: u64) -> Kept {
        Kept { id: TaskId::draw().unwrap(), bytes, expires_ms }
    }

    #[test]
    fn the_first_to_end_go_first_by_number_and_by_bytes() {
        let options = TaskOptions::default().max_kept(2).max_kept_bytes(100);
        let callers = Callers::default();
        let [one, two, three, large] = [10, 10, 10, 200].map(|bytes| kept(bytes, u64::MAX));
        assert!(callers.keep("ann", one, &options).is_empty());
        assert!(callers.keep("ann", two, &options).is_empty());
        assert!(callers.keep("bob", three, &options).is_empty(), "another caller has his own");
        assert_eq!(callers.keep("ann", three, &options), [one.id]);
        assert_eq!(callers.keep("ann", large, &options), [two.id, three.id], "the last one stays");
    }

    #[test]
    fn nothing_is_left_of_callers_whose_tasks_expired() {
        let (options, callers) = (TaskOptions::default(), Callers::default());
        for number in 0..SWEEP_AFTER {
            callers.keep(&number.to_string(), kept(1, 1), &options);
        }
        assert!(callers.inner().callers.is_empty());
        assert_eq!((callers.begin("ann"), callers.begin("ann")), (1, 2));
        callers.end("ann");
        callers.end("ann");
        assert!(callers.inner().callers.is_empty());
    }
}
