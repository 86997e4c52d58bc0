//! How much longer things may take than on a machine that has nothing else to do: one number for all bounds of tests.
//!
//! A bound that only has to tell "at once" from "never" is better written far from both and needs none of this.

use std::time::Duration;

/// Returns by how much the bounds of tests are stretched now: what `TRUNKLINE_TEST_SLACK` says, else by how many times more
/// work there is than processors, at least 1 and at most 8.
///
/// A quiet machine gets 1, so that a bound that is passed there is passed for a reason.
#[must_use]
pub fn slack() -> u32 {
    let set = std::env::var("TRUNKLINE_TEST_SLACK").ok().and_then(|text| text.trim().parse().ok());
    set.unwrap_or_else(|| {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        of_load(&load, processors)
    })
}

/// Returns the bound for something that takes that long at most on a quiet machine.
#[must_use]
pub fn within(bound: Duration) -> Duration {
    bound * slack()
}

/// More than this no load excuses.
const MOST: u32 = 8;

/// Reads `0.50 0.40 0.30 3/128 4711`: the load of the last minute, and how many want to run at this very moment.
fn of_load(load: &str, processors: usize) -> u32 {
    let mut fields = load.split_whitespace();
    let minute: f64 = fields.next().and_then(|text| text.parse().ok()).unwrap_or_default();
    let now: f64 = fields.nth(2).and_then(|text| text.split('/').next()?.parse().ok()).unwrap_or_default();
    let processors = u32::try_from(processors).unwrap_or(u32::MAX);
    let shares = minute.max(now) / f64::from(processors);
    (1..MOST).find(|factor| f64::from(*factor) >= shares).unwrap_or(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_machine_has_no_slack_and_a_loaded_one_has_as_much_as_it_is_loaded() {
        for (load, processors, slack) in [
            ("0.20 0.10 0.10 1/128 4711", 2, 1),
            ("1.90 0.10 0.10 2/128 4711", 2, 1),
            ("0.20 0.10 0.10 5/128 4711", 2, 3),
            ("5.10 0.10 0.10 1/128 4711", 2, 3),
            ("90.0 0.10 0.10 1/128 4711", 2, 8),
            ("", 2, 1),
        ] {
            assert_eq!(of_load(load, processors), slack, "{load}");
        }
    }
}
