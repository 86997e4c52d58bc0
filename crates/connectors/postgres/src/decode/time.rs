//! Writes dates, times and intervals from their binary forms, microseconds kept.
//!
//! RFC 3339 where it can say the value, else PostgreSQL's own words: `infinity`, `0044-03-15 BC`.

use std::fmt::Write as _;

use super::{Reader, digits};
use crate::types::Decoder;

/// Appends a date, time or interval; `None` when the bytes are none.
pub(super) fn write(raw: &[u8], decoder: &Decoder, out: &mut String) -> Option<()> {
    let mut reader = Reader(raw);
    match decoder {
        Decoder::Date => date(reader.i32()?, out),
        Decoder::Time => clock(reader.i64()?, out),
        Decoder::TimeTz => {
            clock(reader.i64()?, out)?;
            offset(reader.i32()?, out)
        }
        Decoder::Timestamp => timestamp(reader.i64()?, "", "", out),
        Decoder::TimestampTz => timestamp(reader.i64()?, "Z", "+00", out),
        Decoder::Interval => interval(reader.i64()?, reader.i32()?, reader.i32()?, out),
        _ => None,
    }
}

fn date(days: i32, out: &mut String) -> Option<()> {
    match days {
        i32::MAX => out.push_str("infinity"),
        i32::MIN => out.push_str("-infinity"),
        _ => {
            if day(days.into(), out)? == Era::BeforeChrist {
                out.push_str(" BC");
            }
        }
    }
    Some(())
}

/// `zone` follows a time RFC 3339 can say, `zone_bc` one before year 1 in PostgreSQL's form.
fn timestamp(microseconds: i64, zone: &str, zone_bc: &str, out: &mut String) -> Option<()> {
    match microseconds {
        i64::MAX => out.push_str("infinity"),
        i64::MIN => out.push_str("-infinity"),
        _ => {
            let from = out.len();
            let era = day(microseconds.div_euclid(DAY), out)?;
            let at = out.len();
            out.push('T');
            clock(microseconds.rem_euclid(DAY), out)?;
            if era == Era::BeforeChrist {
                out.replace_range(at..=at, " ");
                out.push_str(zone_bc);
                out.push_str(" BC");
            } else {
                out.push_str(zone);
            }
            debug_assert!(out.len() > from, "something was written");
        }
    }
    Some(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Era {
    Common,
    BeforeChrist,
}

/// Appends the day that many days after 2000-01-01, in the Gregorian calendar extended to both sides.
fn day(since_2000: i64, out: &mut String) -> Option<Era> {
    // Counted in eras of 400 years that begin on a 1 March, so that a leap day ends its year.
    let days = since_2000 + 730_425;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    // There is no year 0: it is 1 BC.
    let (year, era) = if year > 0 { (year, Era::Common) } else { (1 - year, Era::BeforeChrist) };
    if year < 10_000 {
        digits(year, 1000, out);
    } else {
        write!(out, "{year}").ok()?;
    }
    out.push('-');
    digits(month, 10, out);
    out.push('-');
    digits(day, 10, out);
    Some(era)
}

/// Appends a time of day; `24:00:00` is one.
fn clock(microseconds: i64, out: &mut String) -> Option<()> {
    let seconds = microseconds / SECOND;
    digits(seconds / 3600, 10, out);
    out.push(':');
    digits(seconds / 60 % 60, 10, out);
    out.push(':');
    digits(seconds % 60, 10, out);
    fraction(microseconds % SECOND, out);
    Some(())
}

fn fraction(microseconds: i64, out: &mut String) {
    if microseconds != 0 {
        out.push('.');
        digits(microseconds.abs(), 100_000, out);
        out.truncate(out.trim_end_matches('0').len());
    }
}

/// The binary form counts seconds west of Greenwich, everything else east.
fn offset(west: i32, out: &mut String) -> Option<()> {
    let seconds = west.unsigned_abs();
    let sign = if west > 0 { '-' } else { '+' };
    write!(out, "{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60).ok()?;
    if !seconds.is_multiple_of(60) {
        write!(out, ":{:02}", seconds % 60).ok()?;
    }
    Some(())
}

/// ISO 8601 as PostgreSQL writes it: each part with its own sign, none that is zero.
fn interval(microseconds: i64, days: i32, months: i32, out: &mut String) -> Option<()> {
    match (microseconds, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => out.push_str("infinity"),
        (i64::MIN, i32::MIN, i32::MIN) => out.push_str("-infinity"),
        (0, 0, 0) => out.push_str("PT0S"),
        _ => {
            out.push('P');
            for (count, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
                part(count.into(), unit, out)?;
            }
            if microseconds != 0 {
                out.push('T');
                interval_clock(microseconds, out)?;
            }
        }
    }
    Some(())
}

fn interval_clock(microseconds: i64, out: &mut String) -> Option<()> {
    let seconds = microseconds / SECOND;
    part(seconds / 3600, 'H', out)?;
    part(seconds / 60 % 60, 'M', out)?;
    let rest = microseconds % (60 * SECOND);
    if rest != 0 {
        let sign = if rest < 0 { "-" } else { "" };
        write!(out, "{sign}{}", (rest / SECOND).abs()).ok()?;
        fraction(rest % SECOND, out);
        out.push('S');
    }
    Some(())
}

fn part(count: i64, unit: char, out: &mut String) -> Option<()> {
    if count == 0 { Some(()) } else { write!(out, "{count}{unit}").ok() }
}

const SECOND: i64 = 1_000_000;

const DAY: i64 = 86_400 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut String) -> Option<()>) -> String {
        let mut out = String::new();
        write(&mut out).unwrap();
        out
    }

    #[test]
    fn dates_before_year_one_and_after_9999_are_said_in_words_of_postgresql() {
        assert_eq!(text(|out| date(0, out)), "2000-01-01");
        assert_eq!(text(|out| date(59, out)), "2000-02-29");
        assert_eq!(text(|out| date(-730_119, out)), "0001-01-01");
        assert_eq!(text(|out| date(-730_120, out)), "0001-12-31 BC");
        assert_eq!(text(|out| timestamp(0, "Z", "+00", out)), "2000-01-01T00:00:00Z");
        assert_eq!(text(|out| timestamp(i64::MIN, "Z", "+00", out)), "-infinity");
    }

    #[test]
    fn intervals_keep_the_sign_of_each_part() {
        assert_eq!(text(|out| interval(0, -1, 1, out)), "P1M-1D");
        assert_eq!(text(|out| interval(-3_723_500_000, 0, -13, out)), "P-1Y-1MT-1H-2M-3.5S");
        assert_eq!(text(|out| interval(-500_000, 0, 0, out)), "PT-0.5S");
    }

    #[test]
    fn offsets_count_east() {
        assert_eq!(text(|out| offset(-19_800, out)), "+05:30");
        assert_eq!(text(|out| offset(3600, out)), "-01:00");
    }
}
