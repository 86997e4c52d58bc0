//! Turns the schema of a Rust type into the restricted one of a form.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::form::is_format;

type Object = Map<String, Value>;

/// Returns the form schema of `T`.
///
/// # Errors
/// Which field is in the way, and why.
pub(crate) fn flatten<T: JsonSchema>() -> Result<Value, String> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    let properties = schema.get("properties").and_then(Value::as_object);
    if schema.get("type").and_then(Value::as_str) != Some("object") || schema.get("$defs").is_some() {
        return Err(format!("`{}` is no struct with named fields", T::schema_name()));
    }
    if has_any(&schema, &["oneOf", "anyOf", "allOf", "if", "not", "patternProperties"])
        || schema.get("additionalProperties").is_some_and(Value::is_object)
    {
        return Err(format!(
            "`{}` has alternatives or fields of any name; a form has fixed fields",
            T::schema_name()
        ));
    }
    let mut form = Object::new();
    for (name, schema) in properties.into_iter().flatten() {
        let schema = field(schema).map_err(|reason| format!("the field `{name}` {reason}"))?;
        form.insert(name.clone(), Value::Object(schema));
    }
    let mut root = json!({ "type": "object", "properties": form });
    if let (Some(root), Some(required)) = (root.as_object_mut(), schema.get("required")) {
        root.insert("required".to_owned(), required.clone());
    }
    Ok(root)
}

fn has_any(schema: &Value, keys: &[&str]) -> bool {
    keys.iter().any(|key| schema.get(*key).is_some())
}

/// Turns the schema of one field into a primitive one.
fn field(schema: &Value) -> Result<Object, String> {
    let schema = without_null(schema.as_object().ok_or("accepts anything; give it a type")?);
    for keyword in ["pattern", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"] {
        if schema.contains_key(keyword) {
            return Err(format!(
                "has `{keyword}`, which a form cannot show; check the value in the function and ask again"
            ));
        }
    }
    let mut out = Object::new();
    let copy = |out: &mut Object, keys: &[&str]| {
        for key in keys {
            if let Some(value) = schema.get(*key).filter(|value| !value.is_null()) {
                out.insert((*key).to_owned(), value.clone());
            }
        }
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => copy(&mut out, &["type", "title", "description", "default"]),
        Some("integer" | "number") if !schema.contains_key("enum") && !schema.contains_key("const") => {
            copy(&mut out, &["type", "title", "description", "minimum", "maximum", "default"]);
        }
        Some("array") => {
            let items = schema.get("items").and_then(Value::as_object);
            let chosen = items.map(choices).transpose()?.flatten();
            let chosen = chosen.ok_or("is a list of something else than an enum of plain names")?;
            copy(&mut out, &["type", "title", "description", "minItems", "maxItems", "default"]);
            out.insert("items".to_owned(), Value::Object(chosen.items()));
        }
        Some("string") | None => match choices(&schema)? {
            Some(chosen) => {
                out.insert("type".to_owned(), "string".into());
                copy(&mut out, &["title", "description", "default"]);
                out.extend(chosen.single());
            }
            None if schema.contains_key("type") => {
                copy(&mut out, &["type", "title", "description", "minLength", "maxLength", "default"]);
                let format = schema.get("format").filter(|format| format.as_str().is_some_and(is_format));
                out.extend(format.map(|format| ("format".to_owned(), format.clone())));
            }
            None => return Err(NOT_FLAT.to_owned()),
        },
        Some(_) => return Err(NOT_FLAT.to_owned()),
    }
    Ok(out)
}

const NOT_FLAT: &str = "is nested or has alternatives; a form has text, numbers, booleans, enums of plain names and lists of these";

/// Takes the `null` of an `Option` out: a field that may be missing says so by not being required.
fn without_null(schema: &Object) -> Object {
    let mut schema = schema.clone();
    let is_null = |branch: &Value| branch.get("type").and_then(Value::as_str) == Some("null");
    for key in ["anyOf", "oneOf"] {
        let Some(branches) = schema.get(key).and_then(Value::as_array) else { continue };
        let mut others = branches.iter().filter(|branch| !is_null(branch));
        if let (Some(Value::Object(only)), None) = (others.next(), others.next())
            && only.get("const").is_none()
        {
            let only = only.clone();
            schema.remove(key);
            // What is said of the field goes before what is said of its type.
            for (key, value) in only {
                schema.entry(key).or_insert(value);
            }
        }
    }
    if let Some(types) = schema.get("type").and_then(Value::as_array) {
        let mut others = types.iter().filter(|name| name.as_str() != Some("null"));
        if let (Some(only), None) = (others.next(), others.next()) {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
    schema
}

/// The choices of an enum, in order.
struct Choices(Vec<(String, Option<String>)>);

impl Choices {
    fn is_titled(&self) -> bool {
        self.0.iter().any(|(_, title)| title.is_some())
    }

    fn titled(&self) -> Value {
        let choice = |(name, title): &(String, Option<String>)| json!({ "const": name, "title": title.as_ref().unwrap_or(name) });
        self.0.iter().map(choice).collect()
    }

    fn names(&self) -> Value {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The members of a single choice.
    fn single(&self) -> Object {
        let (key, value) = if self.is_titled() { ("oneOf", self.titled()) } else { ("enum", self.names()) };
        Object::from_iter([(key.to_owned(), value)])
    }

    /// The `items` of a choice of several.
    fn items(&self) -> Object {
        if self.is_titled() {
            Object::from_iter([("anyOf".to_owned(), self.titled())])
        } else {
            Object::from_iter([("type".to_owned(), "string".into()), ("enum".to_owned(), self.names())])
        }
    }
}

/// Reads the plain names of an enum; `None` when the schema is none.
fn choices(schema: &Object) -> Result<Option<Choices>, String> {
    let branches = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(*key));
    let branches: Vec<&Object> = match branches {
        Some(branches) => branches.as_array().into_iter().flatten().filter_map(Value::as_object).collect(),
        None if schema.contains_key("enum") || schema.contains_key("const") => vec![schema],
        None => return Ok(None),
    };
    let is_branch = branches.len() > 1;
    let mut choices = Vec::new();
    for branch in branches {
        let title = ["title", "description"].iter().find_map(|key| branch.get(*key)).and_then(Value::as_str);
        let title = title.filter(|_| is_branch).map(str::to_owned);
        match (branch.get("const"), branch.get("enum").and_then(Value::as_array)) {
            (Some(Value::String(name)), _) => choices.push((name.clone(), title)),
            (None, Some(names)) if names.iter().all(Value::is_string) => {
                choices.extend(names.iter().filter_map(Value::as_str).map(|name| (name.to_owned(), None)));
            }
            _ => return Err(NOT_FLAT.to_owned()),
        }
    }
    Ok(Some(Choices(choices)))
}

#[cfg(test)]
#[expect(dead_code, reason = "the types are looked at, not filled")]
mod tests {
    use super::*;
    use crate::sdk::dialogue::form::Form;
    use std::collections::{BTreeSet, HashMap};

    #[derive(JsonSchema)]
    enum Color {
        Red,
        #[schemars(rename = "deep-blue")]
        Blue,
    }

    #[derive(JsonSchema)]
    enum Size {
        /// Fits most.
        Small,
        /// For giants.
        Large,
    }

    /// Everything a form can show.
    #[derive(JsonSchema)]
    struct Everything {
        /// Who you are.
        #[schemars(length(min = 1, max = 80))]
        name: String,
        #[schemars(extend("format" = "email"))]
        mail: Option<String>,
        #[schemars(range(min = 0, max = 150))]
        age: u8,
        weight: Option<f64>,
        agreed: bool,
        #[schemars(default = "ten")]
        count: i64,
        color: Color,
        maybe: Option<Color>,
        size: Size,
        /// Any of them.
        colors: Vec<Color>,
        sizes: Option<BTreeSet<Size>>,
    }

    fn ten() -> i64 {
        10
    }

    #[test]
    fn a_struct_of_plain_fields_is_a_form() {
        let schema = flatten::<Everything>().unwrap();
        assert_eq!(
            schema,
            json!({
                "type": "object",
                "properties": {
                    "name": { "type": "string", "description": "Who you are.", "minLength": 1, "maxLength": 80 },
                    "mail": { "type": "string", "format": "email" },
                    "age": { "type": "integer", "minimum": 0, "maximum": 150 },
                    "weight": { "type": "number" },
                    "agreed": { "type": "boolean" },
                    "count": { "type": "integer", "default": 10 },
                    "color": { "type": "string", "enum": ["Red", "deep-blue"] },
                    "maybe": { "type": "string", "enum": ["Red", "deep-blue"] },
                    "size": { "type": "string", "oneOf": [{ "const": "Small", "title": "Fits most." }, { "const": "Large", "title": "For giants." }] },
                    "colors": { "type": "array", "description": "Any of them.", "items": { "type": "string", "enum": ["Red", "deep-blue"] } },
                    "sizes": { "type": "array", "items": { "anyOf": [{ "const": "Small", "title": "Fits most." }, { "const": "Large", "title": "For giants." }] } },
                },
                "required": ["name", "age", "agreed", "color", "size", "colors"],
            })
        );
        Form::parse(schema).unwrap();
    }

    #[derive(JsonSchema)]
    enum WithData {
        A(String),
        B,
    }

    #[derive(JsonSchema)]
    struct Nested {
        inner: Box<Everything>,
    }

    #[derive(JsonSchema)]
    struct Texts {
        list: Vec<String>,
    }

    #[derive(JsonSchema)]
    struct Data {
        choice: WithData,
    }

    #[derive(JsonSchema)]
    struct Pattern {
        #[schemars(regex(pattern = "^a$"))]
        text: String,
    }

    #[derive(JsonSchema)]
    struct Anything {
        value: Value,
    }

    #[derive(JsonSchema)]
    struct Recursive {
        next: Option<Box<Recursive>>,
    }

    #[test]
    fn a_shape_that_is_no_form_is_told_with_the_field_in_the_way() {
        for (problem, field) in [
            (flatten::<Nested>(), "`inner`"),
            (flatten::<Texts>(), "`list`"),
            (flatten::<Data>(), "`choice`"),
            (flatten::<Pattern>(), "`pattern`"),
            (flatten::<Anything>(), "`value`"),
            (flatten::<String>(), "no struct"),
            (flatten::<Vec<Everything>>(), "no struct"),
            (flatten::<HashMap<String, String>>(), "any name"),
            (flatten::<WithData>(), "no struct"),
            (flatten::<Recursive>(), ""),
        ] {
            let problem = problem.unwrap_err();
            assert!(problem.contains(field), "{problem}");
        }
    }
}
