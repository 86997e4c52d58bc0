//! What clients send beside or instead of what was asked for, where it can mean one thing only.
//!
//! Some hosts add members of their own to arguments, and models write numbers and lists as strings.

use serde_json::{Number, Value};

use crate::sdk::schema::resolve;

/// Members that hosts add to arguments.
const ADDED_BY_HOSTS: [&str; 2] = ["toolCallId", "sessionId"];

/// Values nested deeper are left as they are.
const MAX_DEPTH: usize = 16;

/// Changes what has exactly one reading that fits, and tells whether anything was.
pub(super) fn repair(schema: &Value, value: &mut Value) -> bool {
    let mut changed = false;
    if let Value::Object(members) = value {
        let known = schema.get("properties").and_then(Value::as_object);
        for name in ADDED_BY_HOSTS {
            if !known.is_some_and(|known| known.contains_key(name)) {
                changed |= members.shift_remove(name).is_some();
            }
        }
    }
    one(schema, schema, value, 0, &mut changed);
    changed
}

fn one(root: &Value, schema: &Value, value: &mut Value, depth: usize, changed: &mut bool) {
    if depth > MAX_DEPTH {
        return;
    }
    let Some(schema) = only_form(root, schema) else { return };
    if let Some(read) = another_reading(schema, value) {
        *value = read;
        *changed = true;
    }
    match value {
        Value::Object(members) => {
            let named = schema.get("properties").and_then(Value::as_object);
            let others = schema.get("additionalProperties");
            for (name, member) in members.iter_mut() {
                if let Some(schema) = named.and_then(|named| named.get(name)).or(others) {
                    one(root, schema, member, depth + 1, changed);
                }
            }
        }
        Value::Array(items) => {
            let places = schema.get("prefixItems").and_then(Value::as_array);
            for (at, item) in items.iter_mut().enumerate() {
                if let Some(schema) = places.and_then(|places| places.get(at)).or(schema.get("items")) {
                    one(root, schema, item, depth + 1, changed);
                }
            }
        }
        _ => {}
    }
}

/// The schema behind references and a union with null; `None` where there is a choice.
fn only_form<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    let schema = resolve(root, schema);
    let branches = match (schema.get("anyOf"), schema.get("oneOf")) {
        (Some(Value::Array(branches)), None) | (None, Some(Value::Array(branches))) => branches,
        (None, None) => return Some(schema),
        _ => return None,
    };
    let mut forms = branches.iter().map(|branch| resolve(root, branch));
    let mut forms = forms.by_ref().filter(|form| form.get("type").is_none_or(|kind| kind != "null"));
    match (forms.next(), forms.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// The one other way to read a value of the wrong type.
fn another_reading(schema: &Value, value: &Value) -> Option<Value> {
    let kind = only_type(schema)?;
    match (kind, value) {
        // A whole number is an integer in JSON Schema, however it is written; decoders see a fraction.
        ("integer", Value::Number(number)) => whole(number),
        ("integer", Value::String(text)) => match number_in(text)? {
            number if number.is_f64() => whole(&number),
            number => Some(number.into()),
        },
        ("number", Value::String(text)) => number_in(text).map(Value::Number),
        ("array", Value::String(text)) => serde_json::from_str::<Value>(text).ok().filter(Value::is_array),
        _ => None,
    }
}

/// The type of a schema that names one, be it beside null.
fn only_type(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            match (kinds.next(), kinds.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            }
        }
        _ => None,
    }
}

fn number_in(text: &str) -> Option<Number> {
    // What JSON calls a number, without white space around it.
    let number = serde_json::from_str::<Number>(text).ok()?;
    (!text.starts_with(char::is_whitespace) && !text.ends_with(char::is_whitespace)).then_some(number)
}

/// The integer that a number with a fraction of zero is.
fn whole(number: &Number) -> Option<Value> {
    if !number.is_f64() {
        return None;
    }
    let float = number.as_f64()?;
    // Within the range where a double is exact, so that the cast is.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if float.fract() != 0.0 || float.abs() > EXACT {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    let integer = float as i64;
    Some(integer.into())
}
