//! How often something may be asked: so many in a unit of time, and how many of them at once.

use std::fmt;
use std::time::Duration;

/// A unit of time in which requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// `s`, `sec`, `second`.
    Second,
    /// `min`, `minute`.
    Minute,
    /// `h`, `hour`.
    Hour,
    /// `day`.
    Day,
}

/// A limit: at most `count` in each unit and `burst` at once, so that any stretch of time sees at most rate x time + burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    unit: Unit,
    burst: u32,
}

/// Why there is no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRate {
    /// Nothing would ever be let through.
    #[error("a limit of 0 lets nothing through; it is 1 or more")]
    Nothing,
    /// More than can be told apart.
    #[error("a limit is at most {MOST_A_SECOND} a second; leave it out where there is to be none")]
    TooMuch,
    /// Nothing would ever be let through.
    #[error("a burst of 0 lets nothing through; it is 1 or more")]
    NoBurst,
    /// A burst that nobody would wait for.
    #[error("a burst of {0} takes more than a year to come back at this rate; it is at most {1}")]
    TooLongABurst(u32, u64),
}

/// Most requests of a second: intervals are whole nanoseconds, and rounded up they are then right to a thousandth.
pub const MOST_A_SECOND: u32 = 1_000_000;
/// A burst comes back within a year, in nanoseconds.
const LONGEST_ROOM: u64 = 366 * 86_400 * 1_000_000_000;

impl Unit {
    /// Reads a unit as it stands behind the `/`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "s" | "sec" | "second" => Self::Second,
            "min" | "minute" => Self::Minute,
            "h" | "hour" => Self::Hour,
            "day" => Self::Day,
            _ => return None,
        })
    }

    /// Returns its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// Returns its name in a sentence.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

impl Rate {
    /// Makes a limit; `burst` is `count` unless given.
    ///
    /// # Errors
    /// [`BadRate`] where a number is 0 or larger than anyone means.
    pub fn new(count: u32, unit: Unit, burst: Option<u32>) -> Result<Self, BadRate> {
        if count == 0 {
            return Err(BadRate::Nothing);
        }
        if u64::from(count) > u64::from(MOST_A_SECOND) * u64::from(unit.seconds()) {
            return Err(BadRate::TooMuch);
        }
        let rate = Self { count, unit, burst: burst.unwrap_or(count) };
        match (rate.burst, LONGEST_ROOM / rate.interval()) {
            (0, _) => Err(BadRate::NoBurst),
            (burst, most) if u64::from(burst) > most => Err(BadRate::TooLongABurst(burst, most)),
            _ => Ok(rate),
        }
    }

    /// Reads `100/min`, without looking at what it says.
    pub(super) fn split(text: &str) -> Option<(u32, Unit)> {
        let (count, unit) = text.split_once('/')?;
        let digits = count.trim();
        // `parse` would take a sign.
        let count =
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()?;
        Some((count, Unit::parse(unit.trim())?))
    }

    /// Returns how many are let through in each unit.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Returns the unit.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// Returns how many are let through at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Returns how many come back in a second, rounded down.
    pub(super) const fn a_second(&self) -> u32 {
        self.count / self.unit.seconds()
    }

    /// Returns the nanoseconds after which one more is let through, rounded up.
    pub(super) fn interval(&self) -> u64 {
        (u64::from(self.unit.seconds()) * 1_000_000_000).div_ceil(u64::from(self.count))
    }

    pub(super) fn pace(&self) -> Pace {
        Pace { interval: self.interval(), room: self.interval() * u64::from(self.burst) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "s" };
        write!(
            f,
            "{} request{plural} a{} {}",
            self.count,
            if self.unit == Unit::Hour { "n" } else { "" },
            self.unit.as_str()
        )
    }
}

/// A rate in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// What one costs.
    pub(super) interval: u64,
    /// How much may be owed: the burst.
    pub(super) room: u64,
}

impl Pace {
    /// What so many cost. More than the burst costs all of it, so that it can be paid at all.
    pub(super) fn cost(self, units: u32) -> u64 {
        self.interval.saturating_mul(u64::from(units)).min(self.room)
    }
}

/// Shows a wait as people say it, rounded up: `12 s`, `3 min`, `5 h`.
pub(super) struct Wait(pub(super) Duration);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0);
        match seconds {
            0..=1 => f.write_str("1 s"),
            2..=119 => write!(f, "{seconds} s"),
            120..=7199 => write!(f, "{} min", seconds.div_ceil(60)),
            _ => write!(f, "{} h", seconds.div_ceil(3600)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_every_name_of_a_unit() {
        for (text, expected) in [
            ("5/s", Some((5, Unit::Second))),
            ("5/sec", Some((5, Unit::Second))),
            ("5 / second", Some((5, Unit::Second))),
            ("100/min", Some((100, Unit::Minute))),
            ("100/minute", Some((100, Unit::Minute))),
            ("7/h", Some((7, Unit::Hour))),
            ("7/hour", Some((7, Unit::Hour))),
            ("9/day", Some((9, Unit::Day))),
            ("5", None),
            ("/s", None),
            ("+5/s", None),
            ("-5/s", None),
            ("1.5/s", None),
            ("5/m", None),
            ("5/S", None),
            ("5/s/s", None),
            ("99999999999/s", None),
        ] {
            assert_eq!(Rate::split(text), expected, "{text}");
        }
    }

    #[test]
    fn a_limit_that_means_nothing_is_refused() {
        assert_eq!(Rate::new(0, Unit::Second, None), Err(BadRate::Nothing));
        assert_eq!(Rate::new(1, Unit::Second, Some(0)), Err(BadRate::NoBurst));
        assert_eq!(Rate::new(1_000_001, Unit::Second, None), Err(BadRate::TooMuch));
        assert_eq!(Rate::new(1, Unit::Day, Some(367)), Err(BadRate::TooLongABurst(367, 366)));
        assert!(Rate::new(1_000_001, Unit::Minute, None).is_ok());
        assert!(Rate::new(u32::MAX, Unit::Day, None).is_ok());
    }

    #[test]
    fn an_interval_is_rounded_up_so_that_never_more_is_let_through() {
        let pace = Rate::new(3, Unit::Second, Some(2)).unwrap().pace();
        assert_eq!((pace.interval, pace.room, pace.cost(5)), (333_333_334, 666_666_668, 666_666_668));
    }

    #[test]
    fn waits_are_shown_rounded_up() {
        for (millis, text) in [
            (0, "1 s"),
            (200, "1 s"),
            (1001, "2 s"),
            (119_000, "119 s"),
            (119_001, "2 min"),
            (7_300_000, "3 h"),
        ] {
            assert_eq!(Wait(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
