//! The forms of strings that are checked: those with one plain reading.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trunkline_service::catalog::Forms;

use crate::database::Dialect;

/// Tells whether a text has the form; every text has a form that is not known here.
pub(crate) fn is(format: &str, text: &str) -> bool {
    match format {
        "date" => is_date(text),
        "time" => is_time(text),
        "date-time" => is_date_time(text),
        "uuid" => is_uuid(text),
        "base64" => STANDARD.decode(text).is_ok(),
        _ => true,
    }
}

/// Returns what tells whether a text is taken for one of a form: of a database that takes more, all that it may take.
pub(crate) fn forms(dialect: Dialect) -> Forms {
    match dialect {
        Dialect::Postgres => |format, text| is(format, text) || is_taken(format, text),
        Dialect::Sqlite => is,
    }
}

/// Tells whether PostgreSQL takes a text of another form for one: a date is a time at midnight, time has its ends and years
/// that four digits cannot tell, offsets have seconds, and bytes have a notation of their own.
pub(crate) fn is_taken(format: &str, text: &str) -> bool {
    match format {
        "date" | "date-time" => {
            matches!(text, "infinity" | "-infinity") || is_date(text) || is_date_time(text) || is_far(text)
        }
        "time" => text.rsplit_once(':').is_some_and(|(rest, seconds)| {
            rest.contains(['+', '-'])
                && is_time(rest)
                && digits(seconds, 2).is_some_and(|seconds| seconds <= 59)
        }),
        "base64" => {
            text.strip_prefix("\\x").is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
        }
        _ => false,
    }
}

/// `2026-02-28`, in years 0000 to 9999.
fn is_date(text: &str) -> bool {
    let parts = (text.get(..4), text.get(4..5), text.get(5..7), text.get(7..8), text.get(8..));
    let (Some(year), Some("-"), Some(month), Some("-"), Some(day)) = parts else { return false };
    let (Some(year), Some(month), Some(day)) = (digits(year, 4), digits(month, 2), digits(day, 2)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// `09:30`, `09:30:00`, `09:30:00.5`, with or without an offset: databases take a time of day without one.
fn is_time(text: &str) -> bool {
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut parts = clock.splitn(3, ':');
    let part =
        |text: Option<&str>, most| text.and_then(|text| digits(text, 2)).is_some_and(|value| value <= most);
    let hours_and_minutes = part(parts.next(), 24) && part(parts.next(), 59);
    let seconds = parts.next().is_none_or(|seconds| {
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
        part(Some(whole), 60) && !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit())
    });
    hours_and_minutes && seconds && is_offset(offset)
}

fn is_offset(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['+', '-']) else { return matches!(text, "" | "Z" | "z") };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "00"));
    digits(hours, 2).is_some_and(|hours| hours <= 23)
        && digits(minutes, 2).is_some_and(|minutes| minutes <= 59)
}

/// A date and a time with `T` or a space between them.
fn is_date_time(text: &str) -> bool {
    let (Some(date), Some(between), Some(time)) = (text.get(..10), text.get(10..11), text.get(11..)) else {
        return false;
    };
    is_date(date) && matches!(between, "T" | "t" | " ") && is_time(time)
}

/// A date, or a date and a time, before year 1 or after 9999: `0044-03-15 BC`. The days of its February are the server's to
/// count.
fn is_far(text: &str) -> bool {
    let text = text.strip_suffix(" BC").unwrap_or(text);
    let year = text.bytes().take_while(u8::is_ascii_digit).count();
    let Some(rest) = text.get(year..).filter(|_| (4..=7).contains(&year)) else { return false };
    let near = format!("2000{rest}");
    is_date(&near) || is_date_time(&near)
}

/// 32 hexadecimal digits in any of the groupings that databases take.
fn is_uuid(text: &str) -> bool {
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    let count = inner.bytes().filter(u8::is_ascii_hexdigit).count();
    count == 32 && inner.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        for (format, good, bad) in [
            (
                "date",
                &["2026-02-28", "2024-02-29"][..],
                &["2026-02-29", "2026-13-01", "2026-1-1", "20260101", "é026-01-01"][..],
            ),
            (
                "time",
                &["09:30", "09:30:00", "09:30:00.5+02:00", "23:59:60Z"],
                &["25:00", "9:30", "09:30:", "09:30:00."],
            ),
            (
                "date-time",
                &["2026-02-28T09:30:00Z", "2026-02-28 09:30:00"],
                &["2026-02-28", "2026-02-28T", "today"],
            ),
            (
                "uuid",
                &["7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f01"],
                &["7f9c24e5", "7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f0g"],
            ),
        ] {
            assert!(good.iter().all(|text| is(format, text)), "{format}");
            assert!(bad.iter().all(|text| !is(format, text)), "{format}");
        }
        assert!(is("email", "anything") && is("base64", "AP8Q") && !is("base64", "\\x00ff"));
    }
}
