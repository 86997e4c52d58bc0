//! Keeps refusals that come in numbers from filling the log: one line a second says how many there were.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One kind of line.
#[derive(Debug)]
pub(crate) struct Flood {
    /// In which second of the process the last line was written, plus one; 0 for never.
    told: AtomicU64,
    left_out: AtomicU64,
}

impl Flood {
    pub(crate) const fn new() -> Self {
        Self { told: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Tells whether a line is to be written now, and how many were left out before it.
    pub(crate) fn line(&self) -> Option<u64> {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.line_at(START.elapsed().as_secs() + 1)
    }

    fn line_at(&self, now: u64) -> Option<u64> {
        let told = self.told.load(Ordering::Relaxed);
        let is_due = told != now
            && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !is_due {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_there_were() {
        let flood = Flood::new();
        assert_eq!(flood.line_at(1), Some(0));
        assert_eq!((flood.line_at(1), flood.line_at(1)), (None, None));
        assert_eq!((flood.line_at(2), flood.line_at(7)), (Some(2), Some(0)));
        assert!(flood.line().is_some());
    }
}
