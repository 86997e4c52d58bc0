//! From a JSON Schema to the compiled form, where it is one of the common shape.

use serde_json::{Map, Value};

use super::{
    Bound, Format, Judge, ListRules, Node, NumberRules, ObjectRules, Others, Pattern, Property, Scalar,
    TextRules, Types,
};
use crate::validate::pattern;
use crate::validate::schema::{Dialect, Options};

/// Compiles a schema; `None` when it has a keyword that this form has no word for, or one that is wrong: what is wrong is told by
/// the crate.
pub(in crate::validate) fn compile(schema: &Value, options: &Options) -> Option<Node> {
    let keywords = match schema {
        Value::Bool(true) => return Some(Node::of_types(Types::ANY)),
        Value::Bool(false) => return Some(Node::of_types(Types::NONE)),
        Value::Object(keywords) => keywords,
        _ => return None,
    };
    if keywords.iter().any(|(keyword, value)| is_foreign(keyword, value, options.dialect)) {
        return None;
    }
    let mut node = Node::of_types(types(keywords.get("type"))?);
    node.allowed = allowed(keywords)?;
    node.number = numbers(keywords)?.map(Box::new);
    node.text = texts(keywords, options)?.map(Box::new);
    node.list = lists(keywords, options)?.map(Box::new);
    node.object = objects(keywords, options)?.map(Box::new);
    Some(node)
}

/// Compiles no more of a schema than where the defaults of an object are: what the crate checks has them too.
pub(in crate::validate) fn skeleton(schema: &Value, options: &Options) -> Node {
    let mut node = Node::of_types(Types::ANY);
    let Some(Value::Object(properties)) = schema.get("properties") else { return node };
    let mut rules = ObjectRules::default();
    let is_counted = ["minProperties", "maxProperties"].iter().any(|keyword| schema.get(*keyword).is_some());
    for (name, schema) in properties {
        let takes_null = |kinds: &Value| match kinds {
            Value::String(kind) => kind == "null",
            Value::Array(kinds) => kinds.iter().any(|kind| kind == "null"),
            _ => true,
        };
        let default = schema.get("default").filter(|_| !is_counted);
        // Some generators write a null where they mean that there is no default.
        let default = default.filter(|value| !value.is_null() || schema.get("type").is_none_or(takes_null));
        let node = skeleton(schema, options);
        let default = default.and_then(|default| written(name, default, &node, options));
        rules.properties.push(Property { name: name.as_str().into(), node, required: false, default });
    }
    rules.index();
    node.object = Some(Box::new(rules));
    node
}

/// Tells whether a keyword says something that this form has no word for. Keywords that say nothing of values are passed over, as
/// are those that nobody knows.
fn is_foreign(keyword: &str, value: &Value, dialect: Dialect) -> bool {
    match keyword {
        "$ref"
        | "$dynamicRef"
        | "$recursiveRef"
        | "$vocabulary"
        | "allOf"
        | "anyOf"
        | "oneOf"
        | "not"
        | "if"
        | "then"
        | "else"
        | "dependentSchemas"
        | "dependentRequired"
        | "dependencies"
        | "patternProperties"
        | "propertyNames"
        | "unevaluatedProperties"
        | "unevaluatedItems"
        | "contains"
        | "minContains"
        | "maxContains"
        | "prefixItems"
        | "additionalItems" => true,
        // What these hold has to be sound although nothing refers to it.
        "$defs" | "definitions" => value.as_object().is_none_or(|schemas| !schemas.is_empty()),
        "$id" | "id" | "$anchor" | "$dynamicAnchor" | "$recursiveAnchor" => true,
        // Before 2019-09 these were checked.
        "contentEncoding" | "contentMediaType" => dialect == Dialect::Draft7 || !value.is_string(),
        "contentSchema" => true,
        "title" | "description" | "$comment" | "$schema" => !value.is_string(),
        "deprecated" | "readOnly" | "writeOnly" => !value.is_boolean(),
        "examples" => !value.is_array(),
        _ => false,
    }
}

fn types(word: Option<&Value>) -> Option<Types> {
    match word {
        None => Some(Types::ANY),
        Some(Value::String(word)) => Types::of_word(word),
        Some(Value::Array(words)) if !words.is_empty() => {
            let mut types = Types::NONE;
            for word in words {
                let more = Types::of_word(word.as_str()?)?;
                if types.meets(more) {
                    return None;
                }
                types = types.or(more);
            }
            Some(types)
        }
        Some(_) => None,
    }
}

#[expect(
    clippy::option_option,
    reason = "outside: whether this form has a word for it; inside: whether it is there"
)]
fn allowed(keywords: &Map<String, Value>) -> Option<Option<Box<[Scalar]>>> {
    let listed = match keywords.get("enum") {
        Some(Value::Array(values)) if !values.is_empty() => {
            Some(values.iter().map(scalar).collect::<Option<Box<[Scalar]>>>()?)
        }
        Some(_) => return None,
        None => None,
    };
    match (listed, keywords.get("const")) {
        (Some(_), Some(_)) => None,
        (None, Some(value)) => Some(Some(Box::new([scalar(value)?]))),
        (listed, None) => Some(listed),
    }
}

fn scalar(value: &Value) -> Option<Scalar> {
    Some(match value {
        Value::Null => Scalar::Null,
        Value::Bool(value) => Scalar::Boolean(*value),
        Value::Number(number) => Scalar::Number(number.to_string().into()),
        Value::String(text) => Scalar::Text(text.as_str().into()),
        Value::Array(_) | Value::Object(_) => return None,
    })
}

#[expect(
    clippy::option_option,
    reason = "outside: whether this form has a word for it; inside: whether it is there"
)]
fn numbers(keywords: &Map<String, Value>) -> Option<Option<NumberRules>> {
    let bound = |keyword: &str| match keywords.get(keyword) {
        None => Some(None),
        Some(Value::Number(number)) => Bound::new(number.to_string()).map(Some),
        Some(_) => None,
    };
    let rules = NumberRules {
        least: bound("minimum")?,
        most: bound("maximum")?,
        above: bound("exclusiveMinimum")?,
        below: bound("exclusiveMaximum")?,
        multiple_of: match keywords.get("multipleOf") {
            None => None,
            Some(value) => Some(value.as_u64().filter(|of| *of > 0)?),
        },
    };
    let any = rules.is_bounded() || rules.multiple_of.is_some();
    Some(any.then_some(rules))
}

#[expect(
    clippy::option_option,
    reason = "outside: whether this form has a word for it; inside: whether it is there"
)]
fn texts(keywords: &Map<String, Value>, options: &Options) -> Option<Option<TextRules>> {
    let pattern = match keywords.get("pattern") {
        None => None,
        Some(Value::String(written)) => Some(Pattern {
            written: written.as_str().into(),
            regex: pattern::compile(written, options.loose)?,
        }),
        Some(_) => return None,
    };
    let format = match keywords.get("format") {
        None => None,
        Some(Value::String(name)) if options.forms.is_some() || options.formats => Some(Format {
            name: name.as_str().into(),
            judge: match options.forms {
                Some(forms) => Judge::Service(forms),
                None => Judge::Crate(crate::validate::broad::format(name, options)?),
            },
        }),
        Some(Value::String(_)) => None,
        Some(_) => return None,
    };
    let rules = TextRules {
        least: count(keywords, "minLength")?,
        most: count(keywords, "maxLength")?,
        pattern,
        format,
    };
    let any =
        rules.least.is_some() || rules.most.is_some() || rules.pattern.is_some() || rules.format.is_some();
    Some(any.then_some(rules))
}

#[expect(
    clippy::option_option,
    reason = "outside: whether this form has a word for it; inside: whether it is there"
)]
fn lists(keywords: &Map<String, Value>, options: &Options) -> Option<Option<ListRules>> {
    let items = match keywords.get("items") {
        None => None,
        Some(schema) => Some(compile(schema, options)?),
    };
    let unique = match keywords.get("uniqueItems") {
        None => false,
        Some(value) => value.as_bool()?,
    };
    let parted = Types::ARRAY.or(Types::OBJECT);
    if unique && items.as_ref().is_none_or(|items| items.types.meets(parted)) {
        return None;
    }
    let rules =
        ListRules { items, least: count(keywords, "minItems")?, most: count(keywords, "maxItems")?, unique };
    let any = rules.items.is_some() || rules.least.is_some() || rules.most.is_some();
    Some(any.then_some(rules))
}

#[expect(
    clippy::option_option,
    reason = "outside: whether this form has a word for it; inside: whether it is there"
)]
fn objects(keywords: &Map<String, Value>, options: &Options) -> Option<Option<ObjectRules>> {
    const WORDS: [&str; 5] =
        ["properties", "required", "additionalProperties", "minProperties", "maxProperties"];
    if !WORDS.iter().any(|word| keywords.contains_key(*word)) {
        return Some(None);
    }
    let mut rules = ObjectRules {
        least: count(keywords, "minProperties")?,
        most: count(keywords, "maxProperties")?,
        others: match keywords.get("additionalProperties") {
            None | Some(Value::Bool(true)) => Others::Any,
            Some(Value::Bool(false)) => Others::None,
            Some(schema) => Others::Each(compile(schema, options)?),
        },
        ..ObjectRules::default()
    };
    match keywords.get("properties") {
        None => {}
        Some(Value::Object(properties)) => {
            for (name, schema) in properties {
                rules.properties.push(property(name, schema, options)?);
            }
        }
        Some(_) => return None,
    }
    match keywords.get("required") {
        None => {}
        Some(Value::Array(names)) => {
            for name in names {
                rules.demand(name.as_str()?)?;
            }
        }
        Some(_) => return None,
    }
    if rules.is_counted() {
        // With what is put in or left out there might be too many, or too few.
        rules.properties.iter_mut().for_each(|property| property.default = None);
    }
    rules.index();
    Some(Some(rules))
}

fn property(name: &str, schema: &Value, options: &Options) -> Option<Property> {
    let node = compile(schema, options)?;
    let default = schema.get("default").filter(|_| options.completes);
    let default = default.and_then(|default| written(name, default, &node, options));
    Some(Property { name: name.into(), node, required: false, default })
}

/// Writes a default as a member, with the defaults that it lacks itself. One that does not fit helps nobody: some generators write a
/// null where they mean that there is none.
fn written(name: &str, default: &Value, node: &Node, options: &Options) -> Option<Box<str>> {
    let value = super::walk::completed(node, &default.to_string(), options)?;
    Some(format!("{}:{value}", Value::String(name.to_owned())).into())
}

/// Reads a count. It may be written as `2.0`.
#[expect(
    clippy::option_option,
    reason = "outside: whether this form has a word for it; inside: whether it is there"
)]
fn count(keywords: &Map<String, Value>, keyword: &str) -> Option<Option<u64>> {
    match keywords.get(keyword) {
        None => Some(None),
        Some(value) => value.as_u64().map(Some),
    }
}

impl ObjectRules {
    /// Has a member required; `None` when it is named twice, which is wrong.
    fn demand(&mut self, name: &str) -> Option<()> {
        match self.properties.iter_mut().find(|property| *property.name == *name) {
            Some(property) if property.required => return None,
            Some(property) => property.required = true,
            None if self.demanded.iter().any(|known| **known == *name) => return None,
            None => self.demanded.push(name.into()),
        }
        Some(())
    }

    /// Tells whether the number of members is bounded.
    pub(super) fn is_counted(&self) -> bool {
        self.least.is_some() || self.most.is_some()
    }

    fn index(&mut self) {
        if self.properties.len() > Self::FEW {
            let names = self.properties.iter().enumerate();
            self.places = Some(names.map(|(at, property)| (property.name.as_bytes().into(), at)).collect());
        }
    }
}
