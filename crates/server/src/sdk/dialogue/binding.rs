//! What a sealed `requestState` is bound to: the caller, and the request in a form that survives being written anew.
//!
//! A client may write the same arguments with other spaces, another order of keys or another spelling of a number when it
//! sends the request again; a different request must never open the state.

use trunkline_protocol::json::{Scanner, SyntaxError};
use trunkline_protocol::{Kind, write};
use trunkline_service::{Failure, FailureKind, Request};

/// Returns the bytes to which the state of this request is bound: equal for equal requests of one caller, and for no others.
///
/// # Errors
/// [`FailureKind::InvalidParams`] when the arguments are no JSON, which the edge has ruled out.
pub(super) fn binding(request: &Request) -> Result<Vec<u8>, Failure> {
    let identity = request.caller().identity();
    let mut out = Vec::with_capacity(identity.len() + request.arguments().len() + 64);
    out.extend_from_slice(&(identity.len() as u64).to_be_bytes());
    out.extend_from_slice(&identity);
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(0);
    // Exactly one of both names what is asked for; as JSON strings they cannot run into what follows.
    write::string(&mut out, request.name().as_deref().unwrap_or_default());
    write::string(&mut out, request.uri().as_deref().unwrap_or_default());
    canonical(&mut out, request.arguments())
        .map_err(|_| Failure::new(FailureKind::InvalidParams, "`arguments` is not valid JSON"))?;
    Ok(out)
}

/// Appends `json` without spaces, keys in order, each number and string in one spelling.
fn canonical(out: &mut Vec<u8>, json: &[u8]) -> Result<(), SyntaxError> {
    let text = std::str::from_utf8(json).map_err(|_| SyntaxError { at: 0, what: "not UTF-8" })?;
    let mut scanner = Scanner::new(text)?;
    value(&mut scanner, out)?;
    scanner.end()
}

fn value(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
    match scanner.next_byte() {
        b'{' => object(scanner, out),
        b'[' => {
            out.push(b'[');
            scanner.elements(|scanner| {
                value(scanner, out)?;
                out.push(b',');
                Ok(true)
            })?;
            out.push(b']');
            Ok(())
        }
        _ => {
            let source = scanner.source().as_bytes();
            let token = scanner.value()?;
            match token.kind {
                Kind::EscapedString => write::string(out, &token.text(source).unwrap_or_default()),
                Kind::Float => number(out, token.raw(source)),
                _ => out.extend_from_slice(token.raw(source)),
            }
            Ok(())
        }
    }
}

fn object(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
    let mut members: Vec<(Box<[u8]>, Vec<u8>)> = Vec::new();
    scanner.members(|scanner, key| {
        let name = scanner.key_bytes(key).into();
        let mut text = Vec::new();
        value(scanner, &mut text)?;
        members.push((name, text));
        Ok(true)
    })?;
    members.sort_unstable();
    out.push(b'{');
    for (name, text) in &members {
        out.push(b'"');
        write::escaped(out, name);
        out.extend_from_slice(b"\":");
        out.extend_from_slice(text);
        out.push(b',');
    }
    out.push(b'}');
    Ok(())
}

/// Appends a number with a fraction or an exponent. Up to fifteen digits survive a reader that keeps numbers as doubles, so
/// `1.0`, `1e0` and `1` are one; more digits stay as they stand, lest two numbers become one.
fn number(out: &mut Vec<u8>, raw: &[u8]) {
    let digits =
        raw.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).filter(|byte| byte.is_ascii_digit());
    let parsed = std::str::from_utf8(raw).ok().and_then(|text| text.parse::<f64>().ok());
    match parsed.filter(|number| number.is_finite()) {
        Some(number) if digits.count() <= 15 => {
            let number = if number == 0.0 { 0.0 } else { number };
            out.extend_from_slice(number.to_string().as_bytes());
        }
        _ => out.extend_from_slice(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn text(json: &str) -> String {
        let mut out = Vec::new();
        canonical(&mut out, json.as_bytes()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_value_has_one_form_however_it_is_written() {
        assert_eq!(text(r#"{ "b" : [1, 2.50], "a":"x\u0041" }"#), text(r#"{"a":"xA","b":[1.0,2.5]}"#));
        assert_eq!(text("1e2"), text("100"));
        assert_eq!(text("-0.0"), text("0"));
        assert_eq!(text(r#"{"\u0061":1}"#), text(r#"{"a":1}"#));
    }

    /// Writes a value with other spaces, its keys in another order, and characters as escapes.
    fn rewritten(value: &Value) -> String {
        match value {
            Value::Object(members) => {
                let member =
                    |(key, value): (&String, &Value)| format!("\n{} :\t{}", escaped(key), rewritten(value));
                format!("{{ {} }}", members.iter().rev().map(member).collect::<Vec<_>>().join(" , "))
            }
            Value::Array(elements) => {
                format!("[ {} ]", elements.iter().map(rewritten).collect::<Vec<_>>().join(" ,"))
            }
            Value::String(text) => escaped(text),
            Value::Number(number) if number.is_i64() && number.as_i64().unwrap().abs() < 100_000 => {
                format!("{number}.0e0")
            }
            other => other.to_string(),
        }
    }

    fn escaped(text: &str) -> String {
        let unit = |unit: u16| format!("\\u{unit:04x}");
        format!("\"{}\"", text.encode_utf16().map(unit).collect::<String>())
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1000_i64..1000).prop_map(Value::from),
            any::<f64>()
                .prop_filter_map("finite", |number| serde_json::Number::from_f64(number).map(Value::Number)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn rewriting_changes_nothing(value in any_value()) {
            prop_assert_eq!(text(&value.to_string()), text(&rewritten(&value)));
        }

        #[test]
        fn other_values_have_other_forms(one in any_value(), other in any_value()) {
            prop_assert_eq!(one == other, text(&one.to_string()) == text(&other.to_string()));
        }
    }

    #[test]
    fn different_values_have_different_forms() {
        let values = [
            "1",
            "\"1\"",
            "[1]",
            "[[1]]",
            "{}",
            "[]",
            "null",
            "12",
            "[1,2]",
            "[12]",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            "9007199254740993",
            "9007199254740992",
            "9007199254740993.0",
            "9007199254740992.0",
            "true",
            "\"\"",
        ];
        for (at, one) in values.iter().enumerate() {
            for other in &values[at + 1..] {
                assert_ne!(text(one), text(other));
            }
        }
    }
}
