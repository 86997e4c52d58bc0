//! A derived schema in the words of JSON Schema, and what of it the decoder does not see to.

use serde_json::{Map, Value};

use super::walk::each_child;

/// How far arguments have to be checked against their schema because decoding them is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Decoding refuses all that the schema refuses.
    Never,
    /// Only arguments with a list or an object in them: the decoder takes a list for a struct, and an object for a name.
    WhenNested,
    /// The author demands more than a type can.
    Always,
}

/// Formats that validators know. Spec: JSON Schema 2020-12 validation, section 7.3.
const FORMATS: [&str; 19] = [
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "iri",
    "iri-reference",
    "uuid",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
    "regex",
];

/// Keywords that say more than a Rust type can.
const DEMANDS: [&str; 20] = [
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "patternProperties",
    "dependentRequired",
    "dependentSchemas",
    "not",
    "if",
    "unevaluatedProperties",
    "unevaluatedItems",
];

/// Puts a derived schema into the words of JSON Schema: no formats that only its generator knows (their bounds are written
/// out), no name of a Rust type at its root.
pub(super) fn clean(schema: &mut Value) -> Need {
    if let Value::Bool(true) | Value::Null = schema {
        *schema = Value::Object(Map::new());
    }
    if let Value::Object(root) = schema {
        root.remove("$schema");
        root.remove("title");
        root.remove("description");
    }
    let mut need = Need::Never;
    clean_one(schema, true, &mut need);
    need
}

fn clean_one(schema: &mut Value, is_root: bool, need: &mut Need) {
    let Value::Object(members) = schema else { return };
    members.remove("nullable");
    let natural = natural_bounds(members.get("format"));
    let demands = demands(members, natural.clone());
    *need = (*need).max(if demands {
        Need::Always
    } else if !is_root && is_ambiguous(members) {
        Need::WhenNested
    } else {
        Need::Never
    });
    if let Some((low, high)) = natural {
        members.entry("minimum").or_insert(low);
        members.entry("maximum").or_insert(high);
    }
    if members.get("format").is_some_and(|format| !is_standard(format)) {
        members.remove("format");
    }
    if members.contains_key("prefixItems") {
        // Some hosts refuse a list that does not say of what.
        members.entry("items").or_insert_with(|| Value::Object(Map::new()));
    }
    each_child(members, |_, child| clean_one(child, false, need));
}

fn is_standard(format: &Value) -> bool {
    format.as_str().is_some_and(|name| FORMATS.contains(&name))
}

fn demands(members: &Map<String, Value>, natural: Option<(Value, Value)>) -> bool {
    let (low, high) = natural.unzip();
    let differs = |key: &str, natural: Option<Value>| {
        members.get(key).is_some_and(|bound| Some(bound) != natural.as_ref())
    };
    // The length of a tuple is its own.
    let tuple = members.get("prefixItems").and_then(Value::as_array).map(|items| Value::from(items.len()));
    let zero_based = members.get("minimum").is_some_and(|low| low == &Value::from(0_u64))
        && members.get("format").and_then(Value::as_str).is_some_and(|name| name.starts_with('u'));
    (differs("minimum", low) && !zero_based)
        || differs("maximum", high)
        || differs("minItems", tuple.clone())
        || differs("maxItems", tuple)
        || DEMANDS.iter().any(|key| members.contains_key(*key))
        || members.get("format").is_some_and(is_standard)
}

/// Tells whether the decoder takes something for such a value that the schema does not.
fn is_ambiguous(members: &Map<String, Value>) -> bool {
    ["properties", "enum", "const", "oneOf", "prefixItems"].iter().any(|key| members.contains_key(*key))
}

/// The bounds of the integer type that a generator's format names.
fn natural_bounds(format: Option<&Value>) -> Option<(Value, Value)> {
    Some(match format?.as_str()? {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" | "int" => (i64::MIN.into(), i64::MAX.into()),
        "uint8" => (0_u64.into(), u8::MAX.into()),
        "uint16" => (0_u64.into(), u16::MAX.into()),
        "uint32" => (0_u64.into(), u32::MAX.into()),
        "uint64" | "uint" => (0_u64.into(), u64::MAX.into()),
        _ => return None,
    })
}

/// Makes the root refuse unknown members where nothing says that it takes them, and tells whether it was open before.
pub(super) fn close_root(schema: &mut Value) -> bool {
    const OPEN_OR_SAID: [&str; 7] = [
        "additionalProperties",
        "unevaluatedProperties",
        "patternProperties",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
    ];
    let Value::Object(root) = schema else { return false };
    if root.is_empty() {
        // A type that takes any value; arguments are an object all the same.
        root.insert("type".into(), "object".into());
        return false;
    }
    let is_object = root.get("type").is_some_and(|kind| kind == "object");
    if !is_object {
        return false;
    }
    root.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    if OPEN_OR_SAID.iter().any(|key| root.contains_key(*key)) {
        return false;
    }
    root.insert("additionalProperties".into(), false.into());
    true
}
