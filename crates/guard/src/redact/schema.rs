//! Makes the schema that a tool promises true of what leaves: what is hidden or sealed is a string, whatever it was.

use serde_json::{Map, Value, json};

use super::detect::Detector;
use super::path::Reach;
use super::rewrite::Rules;

/// Schemas nest no deeper than results do.
const DEEPEST: usize = 64;

/// Widens the schema of structured content.
pub(super) fn widen(rules: &Rules, schema: &mut Value) {
    let numbers = rules.detectors.has(Detector::Card) || rules.detectors.has(Detector::Phone);
    let walk = Walk { rules, numbers };
    walk.at(schema, rules.paths.top(), DEEPEST);
}

struct Walk<'r> {
    rules: &'r Rules,
    /// Whole numbers may be cards or telephones.
    numbers: bool,
}

impl Walk<'_> {
    fn at(&self, schema: &mut Value, reach: Reach, deepest: usize) {
        let paths = &self.rules.paths;
        if paths.mark(reach).is_some() {
            return hidden(schema, deepest);
        }
        let Some(object) = schema.as_object_mut() else { return };
        // What stands elsewhere is not followed: where a field below may be hidden, nothing is promised of it.
        if object.keys().any(|key| ELSEWHERE.contains(&key.as_str()))
            && (self.numbers || paths.leads_on(reach))
        {
            let described = object.remove("description");
            *object = described.into_iter().map(|text| ("description".to_owned(), text)).collect();
            return;
        }
        let Some(deeper) = deepest.checked_sub(1) else { return };
        if self.numbers {
            admit_string(object);
        }
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            for (name, property) in properties {
                self.at(property, paths.member(reach, name), deeper);
            }
        }
        let element = paths.element(reach);
        for key in ["items", "additionalProperties"] {
            if let Some(inner @ Value::Object(_)) = object.get_mut(key) {
                self.at(inner, element, deeper);
            }
        }
        if let Some(Value::Array(items)) = object.get_mut("prefixItems") {
            items.iter_mut().for_each(|item| self.at(item, element, deeper));
        }
    }
}

/// Keywords that put a schema together from others.
const ELSEWHERE: [&str; 11] = [
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "not",
    "patternProperties",
    "dependentSchemas",
    "unevaluatedProperties",
    "unevaluatedItems",
];

/// Admits a string where a whole number is.
fn admit_string(object: &mut Map<String, Value>) {
    match object.get_mut("type") {
        Some(kind @ Value::String(_)) if *kind == "integer" => *kind = json!(["integer", "string"]),
        Some(Value::Array(kinds))
            if kinds.contains(&json!("integer")) && !kinds.contains(&json!("string")) =>
        {
            kinds.push(json!("string"));
        }
        _ => {}
    }
}

/// The schema of what is hidden: strings, beside what it was. Forms and bounds of the value do not hold of its mark.
fn hidden(schema: &mut Value, deepest: usize) {
    let mut out = Map::new();
    let deeper = deepest.saturating_sub(1);
    if let Some(object) = schema.as_object_mut() {
        let kinds = match object.get("type") {
            Some(Value::Array(kinds)) => kinds.clone(),
            Some(kind) => vec![kind.clone()],
            None => Vec::new(),
        };
        if !kinds.is_empty() && !object.keys().any(|key| ELSEWHERE.contains(&key.as_str())) {
            let mut kinds = kinds;
            if !kinds.contains(&json!("string")) {
                kinds.push(json!("string"));
            }
            out.insert("type".to_owned(), json!(kinds));
        }
        for key in ["title", "description", "required"] {
            out.extend(object.remove(key).map(|value| (key.to_owned(), value)));
        }
        if let Some(Value::Object(mut properties)) = object.remove("properties").filter(|_| deeper > 0) {
            properties.iter_mut().for_each(|(_, property)| hidden(property, deeper));
            out.insert("properties".to_owned(), Value::Object(properties));
        }
        if let Some(mut items) = object.remove("items").filter(|items| items.is_object() && deeper > 0) {
            hidden(&mut items, deeper);
            out.insert("items".to_owned(), items);
        }
    }
    *schema = Value::Object(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::path::{Mark, Path};

    #[test]
    fn what_is_hidden_may_be_a_string_and_the_rest_is_as_it_was() {
        let mut rules = Rules::default();
        for path in ["rows.*.ssn", "rows.*.home", "salary"] {
            rules.paths.add(&Path::parse(path).unwrap(), Mark::Hide).unwrap();
        }
        let mut schema = json!({
            "type": "object",
            "properties": { "rows": { "type": "array", "items": { "type": "object", "properties": {
                "id": { "type": "integer", "minimum": 1 },
                "ssn": { "type": "integer", "minimum": 1, "description": "Number" },
                "home": { "type": ["object", "null"], "properties": { "zip": { "type": "number" } }, "additionalProperties": false },
                "pay": { "type": "object", "properties": { "salary": { "type": "number" }, "level": { "enum": [1, 2] } } },
                "any": { "anyOf": [{ "type": "string" }], "description": "Any" },
            } } } },
        });
        widen(&rules, &mut schema);
        assert_eq!(
            schema["properties"]["rows"]["items"]["properties"],
            json!({
                "id": { "type": "integer", "minimum": 1 },
                "ssn": { "type": ["integer", "string"], "description": "Number" },
                "home": { "type": ["object", "null", "string"], "properties": { "zip": { "type": ["number", "string"] } } },
                "pay": { "type": "object", "properties": { "salary": { "type": ["number", "string"] }, "level": { "enum": [1, 2] } } },
                // A field `salary` may be in it, at any depth.
                "any": { "description": "Any" },
            })
        );
        let mut rules = Rules::default();
        rules.detectors = rules.detectors.with(Detector::Card);
        let mut schema = json!({ "properties": { "id": { "type": "integer" }, "n": { "type": "number" } } });
        widen(&rules, &mut schema);
        assert_eq!(
            schema,
            json!({ "properties": { "id": { "type": ["integer", "string"] }, "n": { "type": "number" } } })
        );
    }
}
