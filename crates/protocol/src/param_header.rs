//! Arguments that a tool wants mirrored as `Mcp-Param-*` headers: which they are, what is sent for a call, and whether what
//! came is what the body says.
//!
//! Spec: 2026-07-28 server/tools#x-mcp-header.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::header;
use crate::json::{Kind, Token};
use crate::member::member_at;

/// The annotation's key in a property's schema.
const ANNOTATION: &str = "x-mcp-header";

/// Keys whose values are data, not schemas, so that nothing inside them is an annotation.
const DATA: [&str; 6] = ["const", "default", "enum", "examples", "required", ANNOTATION];

/// Keys whose members are named by the schema's author, each a schema of its own.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// One argument to mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamHeader {
    /// The whole header name, in lower case: `mcp-param-region`.
    pub header: Box<str>,
    /// The names of the properties from the root down, at least one.
    pub path: Vec<String>,
}

/// What is wrong with a mirrored header of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The argument is there, its header is not.
    #[error("is missing, although the argument it mirrors is there")]
    Missing,
    /// Two lines of it.
    #[error("occurs more than once")]
    Repeated,
    /// It is no acceptable value.
    #[error("cannot be read: `=?base64?...?=` must hold base64 of UTF-8")]
    Unreadable,
    /// It says something else than the body.
    #[error("differs from the body")]
    Differs,
}

impl ParamHeader {
    /// Returns what to send for a call with `arguments`; `None` when the argument is absent, `null` or of no mirrored kind.
    #[must_use]
    pub fn value(&self, arguments: &Value) -> Option<String> {
        match self.path.iter().try_fold(arguments, |value, name| value.get(name))? {
            Value::String(text) => Some(header::encode(text).into_owned()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            // `null` is not sent; anything else the server refuses for its type.
            _ => None,
        }
    }

    /// Compares what came with the argument it mirrors. `values` are the lines of this header, trimmed; `arguments` is where
    /// the arguments stand in `body`.
    ///
    /// # Errors
    /// [`Mismatch`]. A header without its argument differs. Integers are compared as numbers.
    pub fn check(&self, values: &[&[u8]], body: &[u8], arguments: Token) -> Result<(), Mismatch> {
        let argument = self.path.iter().fold(arguments, |object, name| member_at(body, object, name));
        let value = match (values, argument.is_nothing()) {
            ([], true) => return Ok(()),
            ([], false) => return Err(Mismatch::Missing),
            ([value], _) => header::decode(value).map_err(|_| Mismatch::Unreadable)?,
            _ => return Err(Mismatch::Repeated),
        };
        let raw = argument.raw(body);
        let same = match argument.kind {
            Kind::String | Kind::EscapedString => argument.text(body).as_deref() == Some(&*value),
            Kind::Integer | Kind::Float => value.as_bytes() == raw || same_number(&value, raw),
            Kind::Bool => value.as_bytes() == raw,
            // What has no header form cannot be mirrored; the tool itself says what is wrong with it.
            Kind::Array | Kind::Object => return Ok(()),
            Kind::Absent | Kind::Null => false,
        };
        if same { Ok(()) } else { Err(Mismatch::Differs) }
    }
}

/// Tells whether both are the same number within the range where a double is exact.
fn same_number(value: &str, raw: &[u8]) -> bool {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    let read = |text: &str| text.parse::<f64>().ok().filter(|number| number.abs() <= EXACT);
    let raw = std::str::from_utf8(raw).ok().and_then(read);
    raw.is_some() && read(value) == raw
}

/// Finds the arguments that `schema` wants mirrored.
///
/// # Errors
/// A sentence that says why the tool's definition is not valid.
pub fn find(schema: &Value) -> Result<Vec<ParamHeader>, String> {
    let mut found = Vec::new();
    walk(schema, Some(&Vec::new()), &mut found)?;
    let mut names = BTreeSet::new();
    // Names are in lower case, so equal ones in different case meet here.
    match found.iter().find(|one| !names.insert(&one.header)) {
        Some(twice) => Err(format!("`{ANNOTATION}` names `{}` twice", twice.header)),
        None => Ok(found),
    }
}

/// Walks every subschema; `path` is `None` where no argument has a fixed place.
fn walk(schema: &Value, path: Option<&Vec<String>>, found: &mut Vec<ParamHeader>) -> Result<(), String> {
    match schema {
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, None, found)),
        Value::Object(members) => {
            if let Some(name) = members.get(ANNOTATION) {
                found.push(annotation(name, members, path)?);
            }
            for (key, value) in members {
                match (key.as_str(), value) {
                    (key, _) if DATA.contains(&key) => {}
                    (key, Value::Object(named)) if NAMED.contains(&key) => {
                        for (name, sub) in named {
                            let mut deeper = path.filter(|_| key == "properties").cloned();
                            if let Some(deeper) = &mut deeper {
                                deeper.push(name.clone());
                            }
                            walk(sub, deeper.as_ref(), found)?;
                        }
                    }
                    _ => walk(value, None, found)?,
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn annotation(
    name: &Value,
    schema: &Map<String, Value>,
    path: Option<&Vec<String>>,
) -> Result<ParamHeader, String> {
    let Some(name) = name.as_str().filter(|name| !name.is_empty()) else {
        return Err(format!("`{ANNOTATION}` is no text"));
    };
    if !name.bytes().all(is_token) {
        return Err(format!("`{ANNOTATION}` is `{}`, which is no header name", name.escape_debug()));
    }
    let header = format!("mcp-param-{}", name.to_ascii_lowercase()).into();
    let path = path.filter(|path| !path.is_empty());
    let Some(path) = path else { return Err(format!("`{ANNOTATION}` `{name}` is not on a property")) };
    let plain = |kind: &Value, nullable: bool| {
        matches!(kind.as_str(), Some("string" | "integer" | "boolean"))
            || nullable && kind.as_str() == Some("null")
    };
    let type_ok = match schema.get("type") {
        Some(Value::Array(kinds)) => !kinds.is_empty() && kinds.iter().all(|kind| plain(kind, true)),
        Some(kind) => plain(kind, false),
        None => false,
    };
    if !type_ok {
        return Err(format!(
            "`{ANNOTATION}` `{name}` is on `{}`, which is no string, integer or boolean",
            path.join(".")
        ));
    }
    Ok(ParamHeader { header, path: path.clone() })
}

/// A character of a token. Spec: RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotated_arguments_become_headers() {
        let schema = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "dry": {"type": ["boolean", "null"], "x-mcp-header": "dry-run"},
            "where": {"type": "object", "properties": {"shard": {"type": "integer", "x-mcp-header": "Shard"}}},
            "x-mcp-header": {"type": "string", "default": {"x-mcp-header": 5}},
        }});
        let wanted = find(&schema).unwrap();
        let headers = |arguments: Value| -> Vec<String> {
            let one = |one: &ParamHeader| Some(format!("{}: {}", one.header, one.value(&arguments)?));
            wanted.iter().filter_map(one).collect()
        };
        let sent =
            headers(json!({"region": " é", "dry": null, "where": {"shard": 42}, "x-mcp-header": "no"}));
        assert_eq!(sent, ["mcp-param-region: =?base64?IMOp?=", "mcp-param-shard: 42"]);
        assert!(headers(json!({"where": 5})).is_empty());
        assert_eq!(headers(json!({"region": ""})).len(), 1);
    }

    #[test]
    fn a_header_has_to_say_what_the_body_says() {
        let schema =
            json!({"properties": {"a": {"properties": {"v": {"type": "string", "x-mcp-header": "V"}}}}});
        let wanted = find(&schema).unwrap();
        let check = |values: &[&str], arguments: &str| {
            let body = format!(r#"{{"arguments":{arguments}}}"#);
            let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            let place = crate::member(body.as_bytes(), "arguments");
            wanted[0].check(&values, body.as_bytes(), place)
        };
        assert_eq!(check(&["x"], r#"{"a":{"v":"x"}}"#), Ok(()));
        assert_eq!(check(&["=?base64?w6k=?="], r#"{"a":{"v":"\u00e9"}}"#), Ok(()));
        assert_eq!(
            check(&["=?base64?w6k"], r#"{"a":{"v":"=?base64?w6k"}}"#),
            Ok(()),
            "half wrapped is literal"
        );
        assert_eq!(check(&["=?base64?w6k?="], r#"{"a":{"v":"\u00e9"}}"#), Err(Mismatch::Unreadable));
        assert_eq!(check(&["42.0"], r#"{"a":{"v":42}}"#), Ok(()));
        assert_eq!(check(&["43"], r#"{"a":{"v":42}}"#), Err(Mismatch::Differs));
        assert_eq!(check(&[], r#"{"a":{"v":null}}"#), Ok(()));
        assert_eq!(check(&[], "null"), Ok(()));
        assert_eq!(check(&[], r#"{"a":{"v":""}}"#), Err(Mismatch::Missing));
        assert_eq!(check(&["x"], r#"{"a":{}}"#), Err(Mismatch::Differs));
        assert_eq!(check(&["x", "x"], r#"{"a":{"v":"x"}}"#), Err(Mismatch::Repeated));
    }

    #[test]
    fn what_is_not_a_plain_property_with_a_unique_name_is_refused() {
        let with = |property: Value| find(&json!({"type": "object", "properties": {"a": property}}));
        assert!(with(json!({"type": "number", "x-mcp-header": "A"})).is_err());
        assert!(with(json!({"x-mcp-header": "A"})).is_err());
        assert!(with(json!({"type": "string", "x-mcp-header": ""})).is_err());
        assert!(with(json!({"type": "string", "x-mcp-header": "a b"})).is_err());
        assert!(with(json!({"type": "string", "x-mcp-header": 7})).is_err());
        assert!(with(json!({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}})).is_err());
        assert!(with(json!({"anyOf": [{"type": "string", "x-mcp-header": "A"}]})).is_err());
        assert!(find(&json!({"type": "string", "x-mcp-header": "A"})).is_err());
        assert!(find(&json!({"$defs": {"d": {"type": "string", "x-mcp-header": "A"}}})).is_err());
        let twice = json!({"properties": {
            "a": {"type": "string", "x-mcp-header": "Same"}, "b": {"type": "string", "x-mcp-header": "same"},
        }});
        assert!(find(&twice).unwrap_err().contains("twice"));
    }
}
