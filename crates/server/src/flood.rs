//! How many lines of one kind the log gets in a second: what anybody can cause as often as they like is counted beyond that.

use std::sync::{Mutex, PoisonError};

use trunkline_service::seal::now;

/// Most lines of one second; more are counted.
const LOGGED: u64 = 50;

/// Bounds the lines about one kind of refusal.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    /// The second of the last one, and how many there were in it.
    now: Mutex<(u64, u64)>,
}

impl Flood {
    pub(crate) const fn new() -> Self {
        Self { now: Mutex::new((0, 0)) }
    }

    /// Counts one and tells whether it has a line. The first of a second tells how many had none in the one before.
    pub(crate) fn has_line(&self) -> bool {
        let (count, before) = self.count(now());
        if before > LOGGED {
            tracing::warn!(refused = before - LOGGED, "more requests were refused than are logged each");
        }
        count <= LOGGED
    }

    /// Counts one, and returns how many there are in this second, and in the one before if it is over now.
    fn count(&self, second: u64) -> (u64, u64) {
        let mut seen = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if seen.0 == second { 0 } else { std::mem::replace(&mut *seen, (second, 0)).1 };
        seen.1 += 1;
        (seen.1, before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_begins_anew_and_knows_of_the_one_before() {
        let flood = Flood::new();
        assert_eq!((0..3).map(|_| flood.count(7)).last(), Some((3, 0)));
        assert_eq!([8, 8, 20].map(|second| flood.count(second)), [(1, 3), (2, 0), (1, 2)]);
    }
}
