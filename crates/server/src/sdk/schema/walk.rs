//! Where schemas stand within a schema.

use serde_json::{Map, Value};

/// Keywords that hold schemas by name.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// Keywords that hold a list of schemas.
const LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
/// Keywords that hold one schema.
const SINGLE: [&str; 10] = [
    "items",
    "additionalProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
    "propertyNames",
    "contains",
    "not",
    "if",
    "then",
    "else",
];

/// Visits each schema directly within `schema`.
pub(super) fn each_child(schema: &mut Map<String, Value>, mut visit: impl FnMut(&str, &mut Value)) {
    for (key, value) in schema.iter_mut() {
        match value {
            Value::Object(named) if NAMED.contains(&key.as_str()) => {
                named.values_mut().for_each(|sub| visit(key, sub));
            }
            Value::Array(list) if LISTS.contains(&key.as_str()) => {
                list.iter_mut().for_each(|sub| visit(key, sub))
            }
            value if SINGLE.contains(&key.as_str()) => visit(key, value),
            _ => {}
        }
    }
}

/// Follows the references of `schema` within `root`, a few steps; returns what is there.
pub(crate) fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..8 {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema };
        let Some(target) = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) else {
            return schema;
        };
        schema = target;
    }
    schema
}
