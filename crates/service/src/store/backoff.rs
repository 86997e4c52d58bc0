//! How long to wait between attempts to reach the store: longer each time, and not the same on every node.

use std::time::Duration;

use crate::seal::random;

/// The first wait.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(2);

/// The waits of one who tries.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// Returns how long to wait now: between half and all of a time that doubles, from 50 ms to 2 s.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST);
        let mut byte = [255];
        // Without randomness all wait the whole time, which is still right.
        let _ = random(&mut byte);
        now / 2 + now / 2 * u32::from(byte[0]) / 255
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        for most in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            let wait = backoff.next();
            let most = Duration::from_millis(most);
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
