//! Keeps refusals that come in numbers from filling the log: so many lines a second, and the first of a second says how many had none
//! in the last one that had any.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How many lines of one kind the log gets in a second.
#[derive(Debug)]
pub(crate) struct Flood {
    most: u64,
    /// The second of the process in which the last one came, and how many came in it.
    came: AtomicU64,
}

/// The bits of the number; the second stands above.
const COUNT: u32 = 32;

impl Flood {
    pub(crate) const fn new(most: u64) -> Self {
        Self { most, came: AtomicU64::new(0) }
    }

    /// Tells whether a line is to be written now, and how many were left out before it.
    pub(crate) fn line(&self) -> Option<u64> {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.line_at(START.elapsed().as_secs())
    }

    fn line_at(&self, second: u64) -> Option<u64> {
        let step = |came: u64| if came >> COUNT == second { came + 1 } else { (second << COUNT) + 1 };
        let before = self
            .came
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |came| Some(step(came)))
            .unwrap_or_else(|came| came);
        let count = before & ((1 << COUNT) - 1);
        if before >> COUNT != second {
            return Some(count.saturating_sub(self.most));
        }
        (count < self.most).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_a_second_and_then_how_many_had_none() {
        let flood = Flood::new(2);
        assert_eq!([1, 1, 1, 1].map(|second| flood.line_at(second)), [Some(0), Some(0), None, None]);
        assert_eq!([2, 7, 7].map(|second| flood.line_at(second)), [Some(2), Some(0), Some(0)]);
        assert!(flood.line().is_some());
    }
}
