//! Times as the command reads and shows them.

use std::time::Duration;

use serde::Deserialize as _;
use serde::de::value::{Error, StrDeserializer};
use trunkline_service::file::DurationText;

/// Reads a length of time as the config file has it: `90d`, `12h`.
///
/// # Errors
/// What it should be.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let read = DurationText::deserialize(StrDeserializer::<Error>::new(text));
    read.map(|text| text.0).map_err(|_| "it is a length of time like `90d`, `24h` or `30m`".to_owned())
}

/// Reads one that may be none at all: `0`.
///
/// # Errors
/// What it should be.
pub(super) fn duration_or_none(text: &str) -> Result<Duration, String> {
    if text.trim_end_matches(['s', 'm', 'h', 'd']) == "0" { Ok(Duration::ZERO) } else { duration(text) }
}

/// Writes a time as people read it: `2026-11-26 05:20`, in UTC.
pub(super) fn shown(seconds: u64) -> String {
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// Writes a time as programs read it, RFC 3339: `2026-11-26T05:20:07Z`.
pub(super) fn rfc3339(seconds: u64) -> String {
    format!("{}:{:02}Z", shown(seconds).replace(' ', "T"), seconds % 60)
}

/// Turns days since 1970 into year, month and day. Years begin with March here, so that a leap day comes last.
fn date(days: u64) -> (u64, u64, u64) {
    // Days since the first of March of the year 0, in periods of 400 years.
    let (era, day) = ((days + 719_468) / 146_097, (days + 719_468) % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (era * 400 + year + u64::from(is_next_year), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people_and_for_programs() {
        assert_eq!(shown(0), "1970-01-01 00:00");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_782_864_000), "2026-07-01T00:00:00Z");
        assert_eq!(rfc3339(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn lengths_are_read_as_in_the_file() {
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert!(duration("90").is_err() && duration("0d").is_err());
        assert_eq!(duration_or_none("0"), Ok(Duration::ZERO));
        assert_eq!(duration_or_none("0h"), Ok(Duration::ZERO));
        assert!(duration_or_none("10").is_err());
        assert_eq!(duration_or_none("24h"), Ok(Duration::from_secs(86_400)));
    }
}
