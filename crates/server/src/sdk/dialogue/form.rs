//! The restricted schema of a form, and the check of what a client filled in.

use serde_json::{Map, Number, Value};

/// A form, read from a `requestedSchema`. Spec: 2026-07-28 schema#elicitrequestformparams
#[derive(Debug, Clone)]
pub(crate) struct Form {
    fields: Vec<Field>,
    /// What is sent.
    pub(crate) schema: Value,
}

#[derive(Debug, Clone)]
struct Field {
    name: String,
    required: bool,
    kind: Kind,
    default: Option<Value>,
}

#[derive(Debug, Clone)]
enum Kind {
    Text { min: u64, max: u64, format: Option<Format> },
    Number { integer: bool, min: f64, max: f64 },
    Bool,
    One(Vec<String>),
    Many { of: Vec<String>, min: u64, max: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Email,
    Uri,
    Date,
    DateTime,
}

impl Form {
    /// Reads a schema as it would be sent.
    ///
    /// # Errors
    /// Where and why it is none that clients can show.
    pub(crate) fn parse(schema: Value) -> Result<Self, String> {
        let root = schema.as_object().ok_or("a form needs a schema that is an object")?;
        if root.get("type").and_then(Value::as_str) != Some("object") {
            return Err("a form needs a schema with `\"type\": \"object\"`".to_owned());
        }
        let properties = root
            .get("properties")
            .and_then(Value::as_object)
            .ok_or("a form needs a schema with `properties`")?;
        let required: Vec<&str> = match root.get("required") {
            None => Vec::new(),
            Some(names) => strings(names).ok_or("`required` must be a list of names")?,
        };
        if let Some(name) = required.iter().find(|name| !properties.contains_key(**name)) {
            return Err(format!("the form requires `{name}`, which is not among its `properties`"));
        }
        let fields = properties
            .iter()
            .map(|(name, field)| {
                let kind =
                    kind(field).map_err(|reason| format!("the field `{name}` of the form {reason}"))?;
                let required = required.contains(&name.as_str());
                Ok(Field { name: name.clone(), required, kind, default: field.get("default").cloned() })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { fields, schema })
    }

    /// Takes from what was filled in the members the form asks for, in its order; missing ones take their default. `None` when
    /// something required is missing or a value does not fit.
    pub(crate) fn read(&self, mut content: Map<String, Value>) -> Option<Map<String, Value>> {
        let mut read = Map::with_capacity(self.fields.len());
        for field in &self.fields {
            let given = content.remove(&field.name).filter(|value| !value.is_null());
            let value = match given {
                Some(value) => Some(field.kind.read(value)?),
                None => field.default.clone(),
            };
            match value {
                Some(value) => {
                    read.insert(field.name.clone(), value);
                }
                None if field.required => return None,
                None => {}
            }
        }
        Some(read)
    }
}

impl Kind {
    /// Checks one value; a whole number that came with a fraction of zero becomes an integer.
    fn read(&self, value: Value) -> Option<Value> {
        let fits = match self {
            Self::Bool => value.is_boolean(),
            Self::Text { min, max, format } => {
                let text = value.as_str()?;
                (*min..=*max).contains(&(text.chars().count() as u64))
                    && format.is_none_or(|format| format.fits(text))
            }
            Self::One(of) => of.iter().any(|one| Some(one.as_str()) == value.as_str()),
            Self::Many { of, min, max } => {
                let chosen = value.as_array()?;
                let known = |value: &Value| of.iter().any(|one| Some(one.as_str()) == value.as_str());
                (*min..=*max).contains(&(chosen.len() as u64)) && chosen.iter().all(known)
            }
            Self::Number { integer, min, max } => {
                let number = value.as_f64()?;
                if !(*min..=*max).contains(&number) {
                    return None;
                }
                return if *integer { whole(&value) } else { Some(value) };
            }
        };
        fits.then_some(value)
    }
}

fn whole(value: &Value) -> Option<Value> {
    if value.is_i64() || value.is_u64() {
        return Some(value.clone());
    }
    let number =
        value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0)?;
    // Every whole number of that size is written without fraction or exponent.
    number.to_string().parse::<Number>().ok().map(Value::Number)
}

impl Format {
    /// Tells whether a text may be what the format names. Generous on purpose: the client's own form is the first check.
    fn fits(self, text: &str) -> bool {
        let digits =
            |part: Option<&str>| part.is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        let date = |text: &str| {
            text.len() == 10
                && digits(text.get(..4))
                && text.get(4..5) == Some("-")
                && text
                    .get(5..7)
                    .and_then(|month| month.parse().ok())
                    .is_some_and(|month: u8| (1..=12).contains(&month))
                && text.get(7..8) == Some("-")
                && text
                    .get(8..)
                    .and_then(|day| day.parse().ok())
                    .is_some_and(|day: u8| (1..=31).contains(&day))
        };
        match self {
            Self::Email => text.split_once('@').is_some_and(|(name, host)| {
                !name.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace)
            }),
            Self::Uri => text.split_once(':').is_some_and(|(scheme, rest)| {
                let mut bytes = scheme.bytes();
                bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
                    && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
                    && !rest.is_empty()
                    && !text.contains(char::is_whitespace)
            }),
            Self::Date => date(text),
            Self::DateTime => {
                text.get(..10).is_some_and(date)
                    && matches!(text.get(10..11), Some("T" | "t" | " "))
                    && text.len() >= 16
            }
        }
    }

    fn parse(name: &str) -> Option<Self> {
        match name {
            "email" => Some(Self::Email),
            "uri" => Some(Self::Uri),
            "date" => Some(Self::Date),
            "date-time" => Some(Self::DateTime),
            _ => None,
        }
    }
}

/// Tells whether a client's form knows the format of that name.
pub(super) fn is_format(name: &str) -> bool {
    Format::parse(name).is_some()
}

fn kind(field: &Value) -> Result<Kind, String> {
    let bound = |name: &str, otherwise: u64| match field.get(name) {
        None => Ok(otherwise),
        Some(value) => value.as_u64().ok_or_else(|| format!("has a `{name}` that is no whole number")),
    };
    let limit = |name: &str, otherwise: f64| match field.get(name) {
        None => Ok(otherwise),
        Some(value) => value.as_f64().ok_or_else(|| format!("has a `{name}` that is no number")),
    };
    match field.get("type").and_then(Value::as_str) {
        Some("boolean") => Ok(Kind::Bool),
        Some(name @ ("integer" | "number")) => Ok(Kind::Number {
            integer: name == "integer",
            min: limit("minimum", f64::NEG_INFINITY)?,
            max: limit("maximum", f64::INFINITY)?,
        }),
        Some("string") => match choices(field, "oneOf")? {
            Some(of) => Ok(Kind::One(of)),
            None => Ok(Kind::Text {
                min: bound("minLength", 0)?,
                max: bound("maxLength", u64::MAX)?,
                format: format(field)?,
            }),
        },
        Some("array") => {
            let items = field.get("items").unwrap_or(&Value::Null);
            let of = choices(items, "anyOf")?
                .ok_or("is a list of something else than choices; a form has lists of an `enum` only")?;
            Ok(Kind::Many { of, min: bound("minItems", 0)?, max: bound("maxItems", u64::MAX)? })
        }
        Some(other) => Err(format!(
            "is of type `{other}`; a form has text, numbers, booleans, choices and lists of choices, and nothing nested"
        )),
        None => Err("has no single `type`; a form has text, numbers, booleans, choices and lists of choices"
            .to_owned()),
    }
}

fn format(field: &Value) -> Result<Option<Format>, String> {
    let Some(name) = field.get("format") else { return Ok(None) };
    let known = name.as_str().and_then(Format::parse);
    known
        .map(Some)
        .ok_or_else(|| format!("has the format {name}; forms know `email`, `uri`, `date` and `date-time`"))
}

/// Reads the choices of an `enum`, or of titled ones under `titled`; `None` when it has neither.
fn choices(field: &Value, titled: &str) -> Result<Option<Vec<String>>, String> {
    if let Some(names) = field.get("enum") {
        let names = strings(names).ok_or("has choices that are no text")?;
        return Ok(Some(names.into_iter().map(str::to_owned).collect()));
    }
    let Some(titled) = field.get(titled) else { return Ok(None) };
    let constant = |choice: &Value| choice.get("const").and_then(Value::as_str).map(str::to_owned);
    let of: Option<Vec<String>> = titled.as_array().and_then(|all| all.iter().map(constant).collect());
    of.map(Some).ok_or_else(|| "has choices without a `const` text".to_owned())
}

fn strings(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn form(properties: Value, required: Value) -> Form {
        Form::parse(json!({ "type": "object", "properties": properties, "required": required })).unwrap()
    }

    fn read(form: &Form, content: Value) -> Option<Value> {
        form.read(content.as_object().unwrap().clone()).map(Value::Object)
    }

    #[test]
    fn what_was_filled_in_is_checked_field_by_field() {
        let form = form(
            json!({
                "name": { "type": "string", "minLength": 1, "maxLength": 3 },
                "mail": { "type": "string", "format": "email" },
                "day": { "type": "string", "format": "date" },
                "age": { "type": "integer", "minimum": 0, "maximum": 150 },
                "size": { "type": "string", "enum": ["s", "m"] },
                "tags": { "type": "array", "items": { "anyOf": [{ "const": "a", "title": "A" }, { "const": "b", "title": "B" }] }, "maxItems": 1 },
                "ok": { "type": "boolean", "default": true },
            }),
            json!(["name"]),
        );
        assert_eq!(
            read(&form, json!({ "name": "äöü", "age": 3.0, "other": 1 })),
            Some(json!({ "name": "äöü", "age": 3, "ok": true }))
        );
        assert_eq!(
            read(&form, json!({ "name": "x", "age": null, "tags": ["b"] })),
            Some(json!({ "name": "x", "tags": ["b"], "ok": true }))
        );
        for wrong in [
            json!({}),
            json!({ "name": "" }),
            json!({ "name": "four" }),
            json!({ "name": 1 }),
            json!({ "name": "x", "mail": "nobody" }),
            json!({ "name": "x", "day": "2026-13-01" }),
            json!({ "name": "x", "age": 1.5 }),
            json!({ "name": "x", "age": 151 }),
            json!({ "name": "x", "age": "3" }),
            json!({ "name": "x", "size": "l" }),
            json!({ "name": "x", "tags": ["a", "b"] }),
            json!({ "name": "x", "tags": ["c"] }),
            json!({ "name": "x", "ok": "yes" }),
        ] {
            assert_eq!(read(&form, wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn formats_are_looked_at_generously() {
        assert!(Format::Uri.fits("https://example.com/a?b") && Format::Uri.fits("mailto:a@b"));
        assert!(!Format::Uri.fits("example.com") && !Format::Uri.fits("1a:b") && !Format::Uri.fits("a: b"));
        assert!(Format::DateTime.fits("2026-07-28T10:00:00Z") && !Format::DateTime.fits("2026-07-28"));
        assert!(Format::Email.fits("a@b") && !Format::Email.fits("@b") && !Format::Email.fits("a b@c"));
    }

    #[test]
    fn a_schema_that_clients_cannot_show_is_refused_with_the_field() {
        let problem = |field: Value| {
            Form::parse(json!({ "type": "object", "properties": { "f": field } })).unwrap_err()
        };
        for field in [
            json!({ "type": "object", "properties": {} }),
            json!({ "type": "array", "items": { "type": "string" } }),
            json!({ "type": "string", "format": "uuid" }),
            json!({ "type": ["string", "null"] }),
            json!({ "type": "string", "minLength": "1" }),
            json!({ "type": "string", "enum": [1] }),
            json!(true),
        ] {
            assert!(problem(field.clone()).contains("`f`"), "{field}");
        }
        assert!(Form::parse(json!({ "type": "string" })).is_err());
        assert!(Form::parse(json!({ "type": "object", "properties": {}, "required": ["a"] })).is_err());
    }
}
