//! Lengths of time and sizes as people write them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A length of time as text: `"250ms"`, `"5s"`, `"2m"`, `"1h"`. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationText(pub Duration);

/// A number of bytes as text: `"40KB"` is 40,000, `"4MiB"` is 4 x 1,024 x 1,024, `"512"` is 512. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeText(pub usize);

fn read_duration(text: &str) -> Option<DurationText> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "ms" => number,
        "s" => number.checked_mul(1000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        "d" => number.checked_mul(86_400_000)?,
        _ => return None,
    };
    // A hundred years is more than anyone means, and adding it to a clock cannot overflow.
    (1..=3_155_760_000_000).contains(&milliseconds).then(|| DurationText(Duration::from_millis(milliseconds)))
}

fn read_size(text: &str) -> Option<SizeText> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let bytes = usize::try_from(number.checked_mul(factor)?).ok()?;
    (bytes > 0).then_some(SizeText(bytes))
}

/// Splits `250ms` into its whole number and its unit.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

struct Text<T> {
    read: fn(&str) -> Option<T>,
    expected: &'static str,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

const DURATION: &str = "a length of time like \"250ms\", \"5s\", \"2m\" or \"1h\"";
const SIZE: &str = "a size like \"512\", \"40KB\" (40,000 bytes) or \"4MiB\" (4 x 1,024 x 1,024 bytes)";

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text { read: read_duration, expected: DURATION })
    }
}

impl<'de> Deserialize<'de> for SizeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text { read: read_size, expected: SIZE })
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h|d)$", "description": DURATION })
    }
}

impl JsonSchema for SizeText {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ *(B|KB|MB|GB|KiB|MiB|GiB)?$", "description": SIZE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_units() {
        let duration = |text| read_duration(text).map(|duration| duration.0.as_millis());
        assert_eq!(duration("250ms"), Some(250));
        assert_eq!(duration("5s"), Some(5000));
        assert_eq!(duration("2m"), Some(120_000));
        assert_eq!(duration("1h"), Some(3_600_000));
        for bad in ["", "5", "s", "-5s", "0s", "1.5s", "5 sec", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        let size = |text| read_size(text).map(|size| size.0);
        assert_eq!(size("40KB"), Some(40_000));
        assert_eq!(size("4MiB"), Some(4 * 1024 * 1024));
        assert_eq!(size("512"), Some(512));
        for bad in ["", "KB", "0", "4mb", "-1", "1e3"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
