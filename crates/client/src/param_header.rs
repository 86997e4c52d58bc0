//! Arguments that a tool wants mirrored as `Mcp-Param-*` headers: which they are, and what is sent for a call.
//!
//! Spec: 2026-07-28 server/tools#x-mcp-header.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use trunkline_protocol::header;

/// The annotation's key in a property's schema.
const ANNOTATION: &str = "x-mcp-header";

/// Keys whose values are data, not schemas, so that nothing inside them is an annotation.
const DATA: [&str; 6] = ["const", "default", "enum", "examples", "required", ANNOTATION];

/// Keys whose members are named by the schema's author, each a schema of its own.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// One argument to mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParamHeader {
    header: HeaderName,
    /// The names of the properties from the root down.
    path: Vec<String>,
}

/// Finds the arguments that `schema` wants mirrored, or says why the tool's definition is not valid.
pub(crate) fn find(schema: &Value) -> Result<Vec<ParamHeader>, String> {
    let mut found = Vec::new();
    walk(schema, Some(&Vec::new()), &mut found)?;
    let mut names = BTreeSet::new();
    // `HeaderName` is in lower case, so equal names in different case meet here.
    match found.iter().find(|one| !names.insert(one.header.as_str())) {
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
    let header = HeaderName::from_bytes(format!("mcp-param-{name}").as_bytes())
        .map_err(|_| format!("`{ANNOTATION}` is `{}`, which is no header name", name.escape_debug()))?;
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

/// Returns the headers for a call with `arguments`; an absent or `null` argument has none.
pub(crate) fn headers(wanted: &[ParamHeader], arguments: &Value) -> Vec<(HeaderName, HeaderValue)> {
    let value_of = |one: &ParamHeader| {
        let argument = one.path.iter().try_fold(arguments, |value, name| value.get(name))?;
        let text = match argument {
            Value::String(text) => header::encode(text).into_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            // `null` is not sent; anything else the server refuses for its type.
            _ => return None,
        };
        Some((one.header.clone(), HeaderValue::from_str(&text).ok()?))
    };
    wanted.iter().filter_map(value_of).collect()
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
        let sent = headers(
            &wanted,
            &json!({"region": " é", "dry": null, "where": {"shard": 42}, "x-mcp-header": "no"}),
        );
        let sent: Vec<_> =
            sent.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        assert_eq!(sent, ["mcp-param-region: =?base64?IMOp?=", "mcp-param-shard: 42"]);
        assert!(headers(&wanted, &json!({"where": 5})).is_empty());
        assert_eq!(headers(&wanted, &json!({"region": ""})).len(), 1);
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
