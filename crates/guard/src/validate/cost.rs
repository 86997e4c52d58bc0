//! How often the parts of a schema may look at one value: combinators multiply, and references make that cheap to write.
//!
//! The crate remembers what it found out about references that come back to themselves, so that those cost no more than the value is
//! long; others it follows each time. While it explains a refusal it remembers nothing, so that there the depth of the value counts.

use std::collections::HashMap;

use serde_json::Value;

/// Where a look goes from a value.
#[derive(Debug, Clone, Copy)]
enum Part<'s> {
    Member(&'s str),
    /// Any member or element.
    Each,
}

/// The references and names of one schema.
#[derive(Debug)]
pub(super) struct Cost<'s> {
    root: &'s Value,
    /// The schemas with a name of their own, `$id` or an anchor.
    named: Vec<(&'s str, &'s Value)>,
    known: HashMap<(usize, usize), u64>,
    under_way: Vec<(usize, usize)>,
    steps: u64,
    most: u64,
    has_loops: bool,
}

/// The looks of one schema at one value, and where they go on.
#[derive(Debug, Default)]
struct Looks<'s> {
    count: u64,
    parts: Vec<(Part<'s>, &'s Value)>,
}

/// References that stand for no depth of the value: those that come back are cut.
const CUT: usize = usize::MAX;

impl<'s> Cost<'s> {
    /// Looks for the names in a schema. `most` is where counting ends.
    pub(super) fn new(root: &'s Value, most: u64) -> Self {
        let mut named = Vec::new();
        names(root, &mut named);
        Self { root, named, known: HashMap::new(), under_way: Vec::new(), steps: 0, most, has_loops: false }
    }

    /// Returns how many looks one way into a value may take at most, references that come back followed once; and whether there are
    /// such.
    pub(super) fn of_looks(mut self) -> (u64, bool) {
        let looks = self.below(self.root, CUT);
        (looks, self.has_loops)
    }

    /// Returns how many looks one way into a value of that depth may take at most.
    pub(super) fn at_depth(mut self, depth: usize) -> u64 {
        self.below(self.root, depth)
    }

    fn below(&mut self, schema: &'s Value, depth: usize) -> u64 {
        let key = (std::ptr::from_ref(schema).addr(), depth);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        if self.under_way.contains(&key) {
            self.has_loops = true;
            return 1;
        }
        self.under_way.push(key);
        let mut looks = Looks::default();
        self.look(schema, &mut Vec::new(), &mut looks);
        let mut each = 0_u64;
        let mut members: HashMap<&str, u64> = HashMap::new();
        if depth > 0 {
            let deeper = if depth == CUT { CUT } else { depth - 1 };
            for (part, schema) in std::mem::take(&mut looks.parts) {
                let looks = self.below(schema, deeper);
                let sum = match part {
                    Part::Member(name) => members.entry(name).or_default(),
                    Part::Each => &mut each,
                };
                *sum = sum.saturating_add(looks);
            }
        }
        self.under_way.pop();
        let most = members.into_values().max().unwrap_or(0);
        let sum = looks.count.saturating_add(each).saturating_add(most);
        self.known.insert(key, sum);
        sum
    }

    /// Adds the looks at the same value.
    fn look(&mut self, schema: &'s Value, on: &mut Vec<usize>, looks: &mut Looks<'s>) {
        let address = std::ptr::from_ref(schema).addr();
        self.steps += 1;
        if on.contains(&address) {
            self.has_loops = true;
            return;
        }
        if self.steps > self.most * 20 || looks.count > self.most {
            // Beyond the bound, however far.
            looks.count = looks.count.max(self.most + 1);
            return;
        }
        looks.count += 1;
        let Value::Object(keywords) = schema else { return };
        on.push(address);
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "$ref" | "$dynamicRef" | "$recursiveRef" => {
                    for target in self.targets(value.as_str().unwrap_or_default(), keyword) {
                        self.look(target, on, looks);
                    }
                }
                "allOf" | "anyOf" | "oneOf" => {
                    value.as_array().into_iter().flatten().for_each(|branch| self.look(branch, on, looks));
                }
                "not" | "if" | "then" | "else" => self.look(value, on, looks),
                "dependentSchemas" | "dependencies" => {
                    let schemas = value.as_object().into_iter().flatten();
                    schemas.for_each(|(_, schema)| self.look(schema, on, looks));
                }
                "properties" => {
                    let members = value.as_object().into_iter().flatten();
                    looks.parts.extend(members.map(|(name, schema)| (Part::Member(name.as_str()), schema)));
                }
                "patternProperties" => {
                    let members = value.as_object().into_iter().flatten();
                    looks.parts.extend(members.map(|(_, schema)| (Part::Each, schema)));
                }
                "items" | "prefixItems" if value.is_array() => {
                    let places = value.as_array().into_iter().flatten();
                    looks.parts.extend(places.map(|schema| (Part::Each, schema)));
                }
                "items"
                | "contains"
                | "additionalItems"
                | "additionalProperties"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties" => looks.parts.push((Part::Each, value)),
                _ => {}
            }
        }
        on.pop();
    }

    /// What a reference may mean: where that is not plain, all it could.
    fn targets(&self, reference: &str, keyword: &str) -> Vec<&'s Value> {
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if keyword == "$recursiveRef" {
            let anchored = self.named.iter().filter(|(name, _)| name.is_empty());
            return std::iter::once(self.root).chain(anchored.map(|(_, schema)| *schema)).collect();
        }
        let last =
            |id: &str| id.trim_end_matches('#').rsplit(['/', ':']).next().unwrap_or_default().to_owned();
        let bases: Vec<&'s Value> = match document {
            "" => vec![self.root],
            _ => {
                let same = self.named.iter().filter(|(name, _)| last(name) == last(document));
                same.map(|(_, schema)| *schema).collect()
            }
        };
        if fragment.is_empty() {
            return bases;
        }
        let pointed = |base: &'s Value| {
            let pointer = percent_decoded(fragment);
            base.pointer(&pointer)
        };
        if fragment.starts_with('/') {
            let mut found: Vec<&Value> = bases.into_iter().filter_map(pointed).collect();
            if found.is_empty() || document.is_empty() {
                // The document may be one that stands within this one.
                found.extend(self.named.iter().filter_map(|(_, schema)| pointed(schema)));
            }
            return found;
        }
        self.named.iter().filter(|(name, _)| *name == fragment).map(|(_, schema)| *schema).collect()
    }
}

/// Gathers the schemas with names; those of `$recursiveAnchor` have an empty one.
fn names<'s>(schema: &'s Value, named: &mut Vec<(&'s str, &'s Value)>) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    ("$id" | "id" | "$anchor" | "$dynamicAnchor", Value::String(name)) => {
                        // Before 2019-09 an anchor is an `$id` of a fragment.
                        named.push((name.strip_prefix('#').unwrap_or(name), schema));
                    }
                    ("$recursiveAnchor", Value::Bool(true)) => named.push(("", schema)),
                    _ => {}
                }
                names(value, named);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| names(value, named)),
        _ => {}
    }
}

fn percent_decoded(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Returns how deep a value is nested; 0 for one without parts.
pub(super) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chain(length: usize, link: impl Fn(Value) -> Value) -> Value {
        let mut schemas = serde_json::Map::new();
        for at in 0..length {
            schemas.insert(format!("n{at}"), link(json!({ "$ref": format!("#/$defs/n{}", at + 1) })));
        }
        schemas.insert(format!("n{length}"), json!({ "type": "string" }));
        json!({ "$ref": "#/$defs/n0", "$defs": schemas })
    }

    fn looks(schema: &Value) -> (u64, bool) {
        Cost::new(schema, 100_000).of_looks()
    }

    #[test]
    fn looks_multiply_through_references() {
        let same = |length| chain(length, |next| json!({ "anyOf": [next, next] }));
        assert_eq!(looks(&same(2)).0, 14);
        assert!(looks(&same(60)).0 > 100_000);
        let within = |length| {
            chain(
                length,
                |next| json!({ "anyOf": [{ "properties": { "a": next } }, { "properties": { "a": next } }] }),
            )
        };
        assert!(looks(&within(5)).0 < 1_000);
        assert!(looks(&within(50)).0 > 100_000);
        // No value takes both ways.
        let apart = chain(
            50,
            |next| json!({ "anyOf": [{ "properties": { "a": next } }, { "properties": { "b": next } }] }),
        );
        assert!(looks(&apart).0 < 1_000);
    }

    #[test]
    fn what_comes_back_is_followed_once_and_by_the_depth_when_told() {
        let tree = json!({ "$ref": "#/$defs/n", "$defs": { "n": { "anyOf": [
            { "properties": { "a": { "$ref": "#/$defs/n" } } },
            { "properties": { "a": { "$ref": "#/$defs/n" } } },
        ] } } });
        let (count, has_loops) = looks(&tree);
        assert!(count < 100 && has_loops, "{count}");
        assert!(Cost::new(&tree, 2_000).at_depth(3) < 200);
        assert!(Cost::new(&tree, 2_000).at_depth(30) > 2_000);
        let (_, has_loops) = looks(&json!({ "$ref": "#/$defs/a%25b", "$defs": { "a%b": {} } }));
        assert!(!has_loops);
        for circle in [
            json!({ "allOf": [{ "$ref": "#" }] }),
            json!({ "$id": "http://x.example/root", "properties": { "a": { "$ref": "root" } } }),
            json!({ "$anchor": "top", "properties": { "a": { "$ref": "#top" } } }),
            json!({ "$recursiveAnchor": true, "properties": { "a": { "$recursiveRef": "#" } } }),
        ] {
            assert!(looks(&circle).1, "{circle}");
        }
    }
}
