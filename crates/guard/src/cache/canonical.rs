//! One spelling of arguments, so that equal questions have equal keys: members sorted by key, no white space, every string escaped one
//! way, defaults of the schema put in.
//!
//! Digits stay as they were sent, since the scale of a number can show in an answer; only where the schema says `integer` is `1.0`
//! written as `1`. The service behind is given the canonical form, so that arguments with one key are one text for it.

use serde_json::Value;
use trunkline_protocol::json::{Kind, Scanner, SyntaxError};
use trunkline_protocol::write;

/// What of a tool's schema has a say in the canonical form.
#[derive(Debug, Default)]
pub(crate) struct Canonical {
    /// Sorted by key.
    properties: Box<[Property]>,
}

#[derive(Debug)]
struct Property {
    /// As it is written: with quotes and escapes.
    key: Box<[u8]>,
    is_integer: bool,
    /// In its canonical form.
    default: Option<Box<[u8]>>,
}

/// What was noticed while the canonical form was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Whether they have the argument `cursor`, which may be sealed for one caller.
    pub(crate) has_cursor: bool,
    /// Whether the text was in its canonical form already.
    pub(crate) as_it_was: bool,
}

/// A member within the text that is written.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    key_end: usize,
    end: usize,
}

const CURSOR: &[u8] = b"\"cursor\"";
/// The longest whole number that is taken out of a notation with a fraction or an exponent, in digits: more may not be exact.
const MOST_DIGITS: usize = 18;

impl Canonical {
    /// Takes from an object schema what it says of its properties. What stands deeper, or behind `$ref` and combinators, has no say.
    pub(crate) fn of(schema: &Value) -> Self {
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut properties: Vec<Property> = properties
            .into_iter()
            .flatten()
            .map(|(name, schema)| Property::of(name, schema))
            .filter(|property| property.is_integer || property.default.is_some())
            .collect();
        properties.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        Self { properties: properties.into() }
    }

    /// Appends the canonical form of `arguments`, an object; `None` when it is none, which leaves `out` with a part of it.
    pub(crate) fn write(&self, arguments: &[u8], out: &mut Vec<u8>) -> Option<Written> {
        let text = std::str::from_utf8(arguments).ok()?;
        let mut scanner = Scanner::new(text).ok()?;
        if scanner.next_byte() != b'{' {
            return None;
        }
        let start = out.len();
        let mut has_cursor = false;
        let mut members = Vec::with_capacity(8);
        out.push(b'{');
        scanner
            .members(|scanner, key| {
                let at = begin(out, scanner.key(key));
                let key_end = out.len();
                let key = out.get(at..key_end).unwrap_or_default();
                has_cursor |= key == CURSOR;
                let is_integer = self.property(key).is_some_and(|property| property.is_integer);
                out.push(b':');
                value(scanner, out, is_integer)?;
                members.push(Member { start: at, key_end, end: out.len() });
                Ok(true)
            })
            .and_then(|_| scanner.end())
            .ok()?;
        self.add_defaults(out, &mut members);
        sort(out, start, &mut members);
        out.push(b'}');
        Some(Written { has_cursor, as_it_was: out.get(start..) == Some(arguments) })
    }

    fn property(&self, key: &[u8]) -> Option<&Property> {
        let at = self.properties.binary_search_by(|property| (*property.key).cmp(key)).ok()?;
        self.properties.get(at)
    }

    fn add_defaults(&self, out: &mut Vec<u8>, members: &mut Vec<Member>) {
        let sent = members.len();
        for property in &self.properties {
            let Some(default) = &property.default else { continue };
            let is_sent = |member: &Member| out.get(member.start..member.key_end) == Some(&*property.key);
            if members.get(..sent).unwrap_or_default().iter().any(is_sent) {
                continue;
            }
            if !members.is_empty() {
                out.push(b',');
            }
            let start = out.len();
            out.extend_from_slice(&property.key);
            let key_end = out.len();
            out.push(b':');
            out.extend_from_slice(default);
            members.push(Member { start, key_end, end: out.len() });
        }
    }
}

impl Property {
    fn of(name: &str, schema: &Value) -> Self {
        let is_integer = is_integer(schema);
        let mut key = Vec::with_capacity(name.len() + 2);
        write::string(&mut key, name);
        let default = schema.get("default").and_then(|default| {
            let text = default.to_string();
            let mut out = Vec::with_capacity(text.len());
            value(&mut Scanner::new(&text).ok()?, &mut out, is_integer).ok()?;
            Some(out.into())
        });
        Self { key: key.into(), is_integer, default }
    }
}

/// Tells whether a number has to be an integer to fit: `integer` is allowed and `number` is not.
fn is_integer(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == "integer",
        Some(Value::Array(many)) => {
            let has = |name| many.iter().any(|one| one == name);
            has("integer") && !has("number")
        }
        _ => false,
    }
}

/// Writes a comma where one is due, and the key; returns where the key begins.
fn begin(out: &mut Vec<u8>, key: &str) -> usize {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    let start = out.len();
    write::string(out, key);
    start
}

/// Writes the value that the scanner stands before.
fn value(scanner: &mut Scanner<'_>, out: &mut Vec<u8>, is_integer: bool) -> Result<(), SyntaxError> {
    match scanner.next_byte() {
        b'{' => object(scanner, out),
        b'[' => array(scanner, out),
        _ => {
            let token = scanner.value()?;
            let source = scanner.source();
            let raw = token.span.of_str(source);
            match token.kind {
                Kind::EscapedString => {
                    let text = token.text(source.as_bytes()).unwrap_or_default();
                    write::string(out, &text);
                }
                Kind::Float if is_integer => match whole(raw) {
                    Some(digits) => out.extend_from_slice(digits.as_bytes()),
                    None => out.extend_from_slice(raw.as_bytes()),
                },
                // What has no backslash is escaped the one way there is.
                _ => out.extend_from_slice(raw.as_bytes()),
            }
            Ok(())
        }
    }
}

fn object(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
    let start = out.len();
    let mut members = Vec::new();
    out.push(b'{');
    scanner.members(|scanner, key| {
        let at = begin(out, scanner.key(key));
        let key_end = out.len();
        out.push(b':');
        value(scanner, out, false)?;
        members.push(Member { start: at, key_end, end: out.len() });
        Ok(true)
    })?;
    sort(out, start, &mut members);
    out.push(b'}');
    Ok(())
}

fn array(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
    out.push(b'[');
    let mut is_first = true;
    scanner.elements(|scanner| {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        value(scanner, out, false)?;
        Ok(true)
    })?;
    out.push(b']');
    Ok(())
}

/// Puts the members of the object that begins at `start` in order of their keys. Arguments in order are not touched.
fn sort(out: &mut Vec<u8>, start: usize, members: &mut [Member]) {
    let key = |member: &Member| out.get(member.start..member.key_end).unwrap_or_default();
    if members.is_sorted_by(|left, right| key(left) <= key(right)) {
        return;
    }
    members.sort_by(|left, right| key(left).cmp(key(right)));
    let mut sorted = Vec::with_capacity(out.len() - start);
    for member in members.iter() {
        sorted.push(if sorted.is_empty() { b'{' } else { b',' });
        sorted.extend_from_slice(out.get(member.start..member.end).unwrap_or_default());
    }
    out.truncate(start);
    out.extend_from_slice(&sorted);
}

/// Returns the digits of a whole number written with a fraction or an exponent; `None` when it is not whole, too long, or zero with a
/// sign.
fn whole(text: &str) -> Option<String> {
    let (sign, size) = text.strip_prefix('-').map_or(("", text), |size| ("-", size));
    let (mantissa, exponent) = size.split_once(['e', 'E']).unwrap_or((size, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i64 = exponent.parse().ok()?;
    let mut digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0').len();
    let mut places = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    places = places.checked_add(i64::try_from(digits.len() - kept).ok()?)?;
    digits.truncate(kept);
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return sign.is_empty().then(|| "0".to_owned());
    }
    let zeros =
        usize::try_from(places).ok().filter(|zeros| digits.len().saturating_add(*zeros) <= MOST_DIGITS)?;
    Some(format!("{sign}{digits}{}", "0".repeat(zeros)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn canonical(schema: &Value, arguments: &str) -> String {
        let mut out = Vec::new();
        Canonical::of(schema).write(arguments.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_question_has_one_spelling() {
        let schema = json!({ "properties": {
            "limit": { "type": "integer", "default": 10 },
            "q": { "type": "string" },
            "z": { "type": "string", "default": "é" },
        } });
        let expected = r#"{"limit":10,"q":"a/b\n","z":"é"}"#;
        for arguments in [
            r#"{"q":"a/b\n"}"#,
            r#" { "q" : "\u0061\/b\u000a" , "limit" : 1.0e1 } "#,
            r#"{"z":"\u00e9","\u0071":"a/b\n","limit":10.0}"#,
        ] {
            assert_eq!(canonical(&schema, arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn digits_stay_where_the_schema_does_not_say_integer() {
        let schema = json!({ "properties": {
            "n": { "type": "number" }, "i": { "type": ["integer", "null"] }, "o": { "type": "object" },
        } });
        let arguments = r#"{"n":1.0,"i":-0.0,"o":{"b":[1.0, {"y":1e0,"x":-0}],"a":{}}}"#;
        assert_eq!(
            canonical(&schema, arguments),
            r#"{"i":-0.0,"n":1.0,"o":{"a":{},"b":[1.0,{"x":-0,"y":1e0}]}}"#
        );
    }

    #[test]
    fn whole_numbers_are_found_in_any_notation() {
        for (text, expected) in [
            ("1.0", Some("1")),
            ("1e0", Some("1")),
            ("-1.50e1", Some("-15")),
            ("0.00e7", Some("0")),
            ("100e-2", Some("1")),
            ("1.2e3", Some("1200")),
            ("1.5", None),
            ("1e-1", None),
            ("-0.0", None),
            ("1e18", None),
            ("1e17", Some("100000000000000000")),
            ("1e99999999999999999999", None),
            ("0e99999999999999999999", None),
        ] {
            assert_eq!(whole(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_cursor_and_a_form_that_was_canonical_are_noticed() {
        let written = |arguments: &str| Canonical::default().write(arguments.as_bytes(), &mut Vec::new());
        assert_eq!(written(r#"{"a":1}"#), Some(Written { has_cursor: false, as_it_was: true }));
        assert_eq!(written(r#"{"curs\u006fr":1}"#), Some(Written { has_cursor: true, as_it_was: false }));
        assert_eq!(written("[1]"), None);
        assert_eq!(written("{\"a\":}"), None);
    }
}
