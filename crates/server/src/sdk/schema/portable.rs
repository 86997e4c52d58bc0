//! The profile of a schema that every known host takes.
//!
//! One type for each property, no references, combinators, null unions and boolean schemas, lists with items, enums of
//! strings only, no format but `date-time`. What the profile has no word for is said in the description.

use serde_json::{Map, Value, json};

use super::resolve;

/// How deep references are followed; what lies deeper is an open object.
const MAX_DEPTH: usize = 6;

/// Keywords that are shown as they are.
const KEPT: [&str; 8] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "default",
];

/// Returns the portable form of a full schema of arguments.
pub(crate) fn portable(full: &Value) -> Value {
    let profile = Profile { root: full };
    let mut root = profile.one(full, 0);
    root.shift_remove("description");
    let mut ordered = Map::new();
    ordered.insert("type".into(), "object".into());
    ordered.insert("properties".into(), root.shift_remove("properties").unwrap_or_else(|| json!({})));
    for key in ["required", "additionalProperties"] {
        ordered.extend(root.shift_remove(key).map(|value| (key.to_owned(), value)));
    }
    Value::Object(ordered)
}

struct Profile<'a> {
    root: &'a Value,
}

/// A schema in the making, and what of it only words can say.
#[derive(Default)]
struct One {
    members: Map<String, Value>,
    notes: Vec<String>,
}

impl Profile<'_> {
    fn one(&self, schema: &Value, depth: usize) -> Map<String, Value> {
        let mut one = One::default();
        self.fill(&mut one, schema, depth);
        one.finish()
    }

    fn fill(&self, one: &mut One, schema: &Value, depth: usize) {
        let Value::Object(given) = schema else { return };
        // What stands beside a reference goes before what it refers to.
        one.describe(given);
        one.keep(given);
        if given.contains_key("$ref") {
            if depth >= MAX_DEPTH {
                one.members.entry("type").or_insert("object".into());
                return;
            }
            let target = resolve(self.root, schema);
            if !std::ptr::eq(target, schema) {
                self.fill(one, target, depth + 1);
            }
            return;
        }
        for part in list(given, "allOf") {
            self.fill(one, part, depth);
        }
        let branches: Vec<&Value> =
            list(given, "anyOf").chain(list(given, "oneOf")).filter(|branch| !is_null(branch)).collect();
        match branches.as_slice() {
            [] => {}
            [only] => self.fill(one, only, depth),
            several => self.choice(one, several, depth),
        }
        self.kind(one, given);
        self.object(one, given, depth);
        self.array(one, given, depth);
        one.values(given);
        one.forms(given);
    }

    fn kind(&self, one: &mut One, given: &Map<String, Value>) {
        let kinds: Vec<&str> = match given.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => return,
        };
        let mut kinds = kinds.into_iter().filter(|kind| *kind != "null");
        let Some(first) = kinds.next() else { return };
        let others: Vec<&str> = kinds.collect();
        let chosen = others.iter().find(|kind| **kind == "string").copied().unwrap_or(first);
        if !one.members.contains_key("type") {
            one.members.insert("type".into(), chosen.into());
            let rest: Vec<&str> =
                std::iter::once(first).chain(others).filter(|kind| *kind != chosen).collect();
            if !rest.is_empty() {
                one.notes.push(format!("or {}", rest.join(" or ")));
            }
        }
    }

    fn object(&self, one: &mut One, given: &Map<String, Value>, depth: usize) {
        if let Some(Value::Object(properties)) = given.get("properties") {
            one.members.entry("type").or_insert("object".into());
            let mut shown = Map::new();
            for (name, property) in properties {
                shown.insert(name.clone(), Value::Object(self.property(name, property, depth)));
            }
            one.merge_properties(shown);
        }
        if let Some(Value::Array(required)) = given.get("required") {
            one.require(required);
        }
        match given.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                one.members.insert("additionalProperties".into(), false.into());
            }
            Some(values @ Value::Object(members)) if !members.is_empty() => {
                let values = self.one(values, depth + 1);
                one.members.insert("additionalProperties".into(), values.into());
            }
            _ => {}
        }
    }

    fn property(&self, name: &str, property: &Value, depth: usize) -> Map<String, Value> {
        let mut shown = if depth >= MAX_DEPTH { open_object() } else { self.one(property, depth + 1) };
        if shown.get("description").and_then(Value::as_str).is_none_or(|text| text.trim().is_empty()) {
            let kind = shown.get("type").and_then(Value::as_str).unwrap_or("any JSON value");
            let text = format!("{}, {kind}", name.replace('_', " ").trim());
            shown.insert("description".into(), text.into());
        }
        shown
    }

    fn array(&self, one: &mut One, given: &Map<String, Value>, depth: usize) {
        for key in ["minItems", "maxItems"] {
            one.members.extend(given.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        if given.get("uniqueItems") == Some(&true.into()) {
            one.notes.push("no two items the same".to_owned());
        }
        let items = match (given.get("items"), given.get("prefixItems")) {
            (Some(items @ Value::Object(_)), None) => self.one(items, depth + 1),
            (_, Some(Value::Array(places))) => {
                let shown: Vec<_> = places.iter().map(|place| self.one(place, depth + 1)).collect();
                let kinds: Vec<&str> =
                    shown.iter().filter_map(|place| place.get("type")).filter_map(Value::as_str).collect();
                one.notes.push(format!("a list of {}", kinds.join(", ")));
                shown.into_iter().next().unwrap_or_default()
            }
            _ => return,
        };
        one.members.entry("type").or_insert("array".into());
        one.members.entry("items").or_insert(items.into());
    }

    /// Several forms a value may have: names, objects of different kinds, or different types.
    fn choice(&self, one: &mut One, branches: &[&Value], depth: usize) {
        let resolved: Vec<&Value> = branches.iter().map(|branch| resolve(self.root, branch)).collect();
        if resolved.iter().all(|branch| is_of_strings(branch)) {
            return one.names(&resolved);
        }
        if resolved.iter().all(|branch| branch.get("properties").is_some()) {
            return self.alternatives(one, &resolved, depth);
        }
        let shown: Vec<Map<String, Value>> =
            resolved.iter().map(|branch| self.one(branch, depth + 1)).collect();
        let kind = |shown: &Map<String, Value>| {
            shown.get("type").and_then(Value::as_str).unwrap_or("object").to_owned()
        };
        let kinds: Vec<String> = shown.iter().map(kind).collect();
        let chosen = kinds.iter().position(|kind| kind == "string").unwrap_or(0);
        let mut rest: Vec<&str> = Vec::new();
        for kind in &kinds {
            if kinds.get(chosen) != Some(kind) && !rest.contains(&kind.as_str()) {
                rest.push(kind);
            }
        }
        if !rest.is_empty() {
            one.notes.push(format!("or {}", rest.join(" or ")));
        }
        for (key, value) in shown.into_iter().nth(chosen).unwrap_or_default() {
            // Of several texts the one of the whole says most.
            one.members.entry(key).or_insert(value);
        }
    }

    /// Objects of different kinds in one: every property of any, required what all require.
    fn alternatives(&self, one: &mut One, branches: &[&Value], depth: usize) {
        let mut common: Option<Vec<Value>> = None;
        for branch in branches {
            let shown = self.one(branch, depth + 1);
            if let Some(Value::Object(properties)) = shown.get("properties") {
                one.members.entry("type").or_insert("object".into());
                one.merge_properties(properties.clone());
            }
            let required = shown.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            common = Some(match common {
                None => required,
                Some(common) => common.into_iter().filter(|name| required.contains(name)).collect(),
            });
            one.notes.extend(describe_branch(branch));
        }
        one.require(&common.unwrap_or_default());
    }
}

impl One {
    fn describe(&mut self, given: &Map<String, Value>) {
        if let Some(text) = given.get("description").and_then(Value::as_str) {
            self.members.entry("description").or_insert(text.into());
        }
    }

    fn keep(&mut self, given: &Map<String, Value>) {
        for (key, value) in given {
            let wanted = KEPT.contains(&key.as_str()) || key.starts_with("x-");
            if wanted && !value.is_null() && !is_bound_of_type(key, value) {
                self.members.entry(key.as_str()).or_insert_with(|| value.clone());
            }
        }
    }

    fn merge_properties(&mut self, new: Map<String, Value>) {
        let Value::Object(properties) = self.members.entry("properties").or_insert_with(|| json!({})) else {
            return;
        };
        for (name, property) in new {
            match properties.get_mut(&name) {
                None => {
                    properties.insert(name, property);
                }
                // The tag of an enum: the names of all its kinds.
                Some(Value::Object(known)) => {
                    if let (Some(Value::Array(known)), Some(Value::Array(more))) =
                        (known.get_mut("enum"), property.get("enum"))
                    {
                        let new: Vec<Value> =
                            more.iter().filter(|value| !known.contains(value)).cloned().collect();
                        known.extend(new);
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn require(&mut self, names: &[Value]) {
        if names.is_empty() {
            return;
        }
        let Value::Array(required) = self.members.entry("required").or_insert_with(|| json!([])) else {
            return;
        };
        let new: Vec<Value> = names.iter().filter(|name| !required.contains(name)).cloned().collect();
        required.extend(new);
    }

    /// The values of `enum` and `const`: shown where they are strings, told where they are not.
    fn values(&mut self, given: &Map<String, Value>) {
        let values: Vec<&Value> = match (given.get("enum"), given.get("const")) {
            (Some(Value::Array(values)), _) => values.iter().filter(|value| !value.is_null()).collect(),
            (_, Some(value)) if !value.is_null() => vec![value],
            _ => return,
        };
        if values.iter().all(|value| value.is_string()) {
            self.members.entry("type").or_insert("string".into());
            let names: Vec<Value> = values.into_iter().cloned().collect();
            self.members.entry("enum").or_insert(names.into());
        } else {
            let kind = if values.iter().all(|value| value.is_i64() || value.is_u64()) {
                Some("integer")
            } else if values.iter().all(|value| value.is_number()) {
                Some("number")
            } else {
                values.iter().all(|value| value.is_boolean()).then_some("boolean")
            };
            if let Some(kind) = kind {
                self.members.entry("type").or_insert(kind.into());
            }
            let words: Vec<String> = values.iter().map(ToString::to_string).collect();
            self.notes.push(format!("one of {}", words.join(", ")));
        }
    }

    fn forms(&mut self, given: &Map<String, Value>) {
        if let Some(pattern) = given.get("pattern").and_then(Value::as_str) {
            self.notes.push(format!("must match `{pattern}`"));
        }
        match given.get("format").and_then(Value::as_str) {
            Some("date-time") => {
                self.members.insert("format".into(), "date-time".into());
            }
            Some(format) => self.notes.push(format!("in the form {format}")),
            None => {}
        }
    }

    /// A choice of names, each with what it means.
    fn names(&mut self, branches: &[&Value]) {
        let mut names: Vec<Value> = Vec::new();
        for branch in branches {
            let own: Vec<Value> = match (branch.get("enum"), branch.get("const")) {
                (Some(Value::Array(values)), _) => values.clone(),
                (_, Some(value)) => vec![value.clone()],
                _ => Vec::new(),
            };
            if let ([Value::String(name)], Some(text)) =
                (own.as_slice(), branch.get("description").and_then(Value::as_str))
            {
                self.notes.push(format!("{name}: {}", text.trim().trim_end_matches('.')));
            }
            names.extend(own);
        }
        self.members.entry("type").or_insert("string".into());
        self.members.entry("enum").or_insert(names.into());
    }

    fn finish(mut self) -> Map<String, Value> {
        match self.members.get("type").and_then(Value::as_str) {
            Some("array") => {
                self.members.entry("items").or_insert_with(|| open_object().into());
            }
            Some("object") => {
                self.members.entry("properties").or_insert_with(|| json!({}));
            }
            Some(_) => {}
            None => {
                self.members.extend(open_object());
                self.notes.push("any JSON value".to_owned());
            }
        }
        if !self.notes.is_empty() {
            let notes = self.notes.join("; ");
            let text = match self.members.get("description").and_then(Value::as_str) {
                Some(text) => format!("{text} ({notes})"),
                None => notes,
            };
            self.members.insert("description".into(), text.into());
        }
        self.members
    }
}

fn list<'a>(given: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    given.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null") || schema.get("const").is_some_and(Value::is_null)
}

fn is_of_strings(schema: &Value) -> bool {
    match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(values)), _) => values.iter().all(Value::is_string),
        (_, Some(value)) => value.is_string(),
        _ => false,
    }
}

/// What one kind of object is, in words: `circle` with `radius`.
fn describe_branch(branch: &Value) -> Option<String> {
    let properties = branch.get("properties")?.as_object()?;
    let tag = properties.values().find_map(|property| property.get("const")).and_then(Value::as_str);
    let others: Vec<String> = properties
        .iter()
        .filter(|(_, property)| property.get("const").is_none())
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    match (tag, others.is_empty()) {
        (Some(tag), true) => Some(format!("`{tag}` alone")),
        (Some(tag), false) => Some(format!("`{tag}` with {}", others.join(", "))),
        (None, _) => Some(format!("either {}", others.join(", "))),
    }
}

/// Bounds that come from an integer type alone, and tell a model nothing.
fn is_bound_of_type(key: &str, value: &Value) -> bool {
    let low = [i32::MIN.into(), i64::MIN.into()];
    let high = [i32::MAX.into(), u32::MAX.into(), i64::MAX.into(), u64::MAX.into()];
    match key {
        "minimum" => low.contains(value),
        "maximum" => high.contains(value),
        _ => false,
    }
}

fn open_object() -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), "object".into()), ("properties".to_owned(), json!({}))])
}
