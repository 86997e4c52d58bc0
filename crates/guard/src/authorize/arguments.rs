//! The arguments of a call as conditions read them: each in the one reading that whoever answers the call has of it too, or
//! none at all.
//!
//! A condition that reads an argument otherwise than the tool does is no condition. So a value of another kind than the schema
//! says is refused here already, and so is a number that conditions could only compare roughly.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use trunkline_protocol::{Kind, Method, Token, each, member};
use trunkline_service::PromptDefinition;
use trunkline_service::expression::ArgType;
use trunkline_service::request::Request;

/// Most significant digits of a number that is no 64-bit integer: so many survive the way to a double and back.
const MAX_DIGITS: usize = 15;

/// What a thing takes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Taken(BTreeMap<String, Argument>);

#[derive(Debug, Clone, PartialEq)]
struct Argument {
    form: Form,
    /// `null` is a value of its own, not the same as leaving it out.
    nullable: bool,
    default: Option<Value>,
}

/// What an argument is.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    String,
    Integer,
    Number,
    Boolean,
    List(Box<Form>),
    /// With the members that the schema names.
    Object(BTreeMap<String, Form>),
    Any,
}

/// The arguments of one call.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Read {
    /// Those that could be read, with the defaults of those that were left out.
    pub(crate) args: Map<String, Value>,
    /// Those that are not what the schema says, or that conditions could not compare exactly: nothing is judged by them.
    pub(crate) misfits: Vec<String>,
}

impl Form {
    /// Reads what a schema says, as far as it says it plainly.
    fn of(schema: &Value) -> (Self, bool) {
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let nullable = kinds.contains(&"null");
        let kinds: Vec<&str> = kinds.into_iter().filter(|kind| *kind != "null").collect();
        let form = match kinds[..] {
            ["string"] => Self::String,
            ["integer"] => Self::Integer,
            ["number"] => Self::Number,
            ["boolean"] => Self::Boolean,
            ["object"] => {
                let members = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
                Self::Object(members.map(|(name, schema)| (name.clone(), Self::of(schema).0)).collect())
            }
            ["array"] => {
                let items = schema.get("items").map_or(Self::Any, |items| match Self::of(items) {
                    (_, true) => Self::Any,
                    (form, false) => form,
                });
                Self::List(Box::new(items))
            }
            _ => Self::Any,
        };
        (form, nullable)
    }

    fn arg_type(&self) -> ArgType {
        match self {
            Self::String => ArgType::String,
            Self::Integer => ArgType::Integer,
            Self::Number => ArgType::Number,
            Self::Boolean => ArgType::Boolean,
            Self::List(items) => ArgType::List(Box::new(items.arg_type())),
            Self::Object(_) | Self::Any => ArgType::Any,
        }
    }

    /// Reads a value that stands in `source`; `None` when it is of another form, or cannot be read exactly.
    fn read(&self, raw: &str) -> Option<Value> {
        let value: Value = serde_json::from_str(raw).ok()?;
        match (self, &value) {
            (Self::String, Value::String(_)) | (Self::Boolean, Value::Bool(_)) => Some(value),
            (Self::Integer, Value::Number(_)) => integer(raw.trim()),
            // A decimal string is taken for the number it spells.
            (Self::Integer, Value::String(text)) => integer(text),
            (Self::Number, Value::Number(_)) => number(raw.trim()),
            (Self::Number, Value::String(text)) => number(text),
            (Self::List(items), Value::Array(_)) => list(items, raw),
            // A list is taken from a string that holds it. One of objects could repeat a key there, and have two readings.
            (Self::List(items), Value::String(text)) if items.is_plain() && text.trim().starts_with('[') => {
                list(items, text)
            }
            // From a string it would be an object for one reader, and a JSON string for another.
            (Self::Object(members), Value::Object(_)) => object(members, raw),
            (Self::Any, _) => all_exact(raw).then_some(value),
            _ => None,
        }
    }
}

impl Form {
    /// Tells whether a value of it has no members.
    fn is_plain(&self) -> bool {
        matches!(self, Self::String | Self::Integer | Self::Number | Self::Boolean)
    }

    /// Reads a member of an object, whose type conditions are not checked against: whole numbers stay whole.
    fn read_member(&self, raw: &str) -> Option<Value> {
        match self.read(raw)? {
            Value::Number(number) if *self == Self::Number => {
                let whole = raw.trim().trim_matches('"').parse::<i64>();
                Some(whole.map_or(Value::Number(number), Value::from))
            }
            value => Some(value),
        }
    }
}

fn object(members: &BTreeMap<String, Form>, raw: &str) -> Option<Value> {
    let sent: BTreeMap<String, &serde_json::value::RawValue> = serde_json::from_str(raw).ok()?;
    let read = sent.into_iter().map(|(name, raw)| {
        let value = match members.get(&name) {
            Some(_) if raw.get() == "null" => Some(Value::Null),
            Some(form) => form.read_member(raw.get()),
            None => Form::Any.read(raw.get()),
        };
        Some((name, value?))
    });
    read.collect::<Option<Map<_, _>>>().map(Value::Object)
}

fn list(items: &Form, raw: &str) -> Option<Value> {
    let elements: Vec<&serde_json::value::RawValue> = serde_json::from_str(raw).ok()?;
    elements
        .into_iter()
        .map(|element| items.read(element.get()))
        .collect::<Option<Vec<_>>>()
        .map(Value::Array)
}

/// A whole number however it is written, as a 64-bit integer.
fn integer(text: &str) -> Option<Value> {
    let spelled = spelled_number(text)?;
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    // `1e3` and `5.0` are whole numbers too.
    let double = exact_double(spelled, text)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within 15 digits")]
    let integer = (double.fract() == 0.0 && double.abs() < 1e15).then_some(double as i64)?;
    Some(integer.into())
}

/// A number as a double that compares as it does.
fn number(text: &str) -> Option<Value> {
    let double = exact_double(spelled_number(text)?, text)?;
    serde_json::Number::from_f64(double).map(Value::Number)
}

/// The significant digits of a number as JSON spells them; `None` for what is no JSON number.
fn spelled_number(text: &str) -> Option<usize> {
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok_and(|raw| raw.get() == text);
    if !is_number {
        return None;
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    Some(if mantissa.contains('.') { digits.trim_end_matches('0').len() } else { digits.len() })
}

fn exact_double(digits: usize, text: &str) -> Option<f64> {
    let double: f64 = text.parse().ok()?;
    // What is too small for a double is not nothing.
    let vanished = double == 0.0 && digits > 0;
    (digits <= MAX_DIGITS && double.is_finite() && !vanished && !double.is_subnormal()).then_some(double)
}

/// Tells whether every number within a JSON text can be compared exactly.
fn all_exact(raw: &str) -> bool {
    let mut rest = raw;
    loop {
        rest = rest
            .trim_start_matches(|letter: char| !(letter == '"' || letter == '-' || letter.is_ascii_digit()));
        if let Some(inside) = rest.strip_prefix('"') {
            let Some(after) = after_string(inside) else { return true };
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return true;
        }
        let end = rest.find(|letter: char| !(letter.is_ascii_digit() || "+-.eE".contains(letter)));
        let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
        let whole = number.parse::<i64>().is_ok();
        if !whole && spelled_number(number).is_none_or(|digits| exact_double(digits, number).is_none()) {
            return false;
        }
        rest = after;
    }
}

fn after_string(inside: &str) -> Option<&str> {
    let mut escaped = false;
    let end = inside.char_indices().find(|(_, letter)| {
        let is_end = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        is_end
    });
    end.and_then(|(at, _)| inside.get(at + 1..))
}

impl Taken {
    /// What a tool takes, by its input schema. What the server sets by itself is not in there.
    pub(crate) fn by_schema(schema: &Value) -> Self {
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let argument = |schema: &Value| {
            let (form, nullable) = Form::of(schema);
            Argument { form, nullable, default: schema.get("default").cloned() }
        };
        Self(properties.map(|(name, schema)| (name.clone(), argument(schema))).collect())
    }

    /// What a prompt takes: texts.
    pub(crate) fn by_prompt(prompt: &PromptDefinition) -> Self {
        let argument = || Argument { form: Form::String, nullable: false, default: None };
        Self(prompt.arguments.iter().map(|one| (one.name.clone(), argument())).collect())
    }

    /// Returns the types by which conditions are checked.
    pub(crate) fn types(&self) -> BTreeMap<String, ArgType> {
        self.0.iter().map(|(name, argument)| (name.clone(), argument.form.arg_type())).collect()
    }

    /// Returns the same for those arguments alone that conditions read.
    pub(crate) fn only(mut self, read: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|name, _| read(name));
        self
    }

    /// Reads the arguments of a request.
    pub(crate) fn read(&self, request: &Request) -> Read {
        if request.method() == Method::CompletionComplete {
            return self.completing(request);
        }
        self.read_raw(request.arguments())
    }

    /// Reads the arguments in a JSON object.
    pub(crate) fn read_raw(&self, object: &[u8]) -> Read {
        let mut read = Read::default();
        each(object, |name, token| self.take(name, token, object, &mut read));
        for (name, argument) in &self.0 {
            let is_left_out = !read.args.contains_key(name) && !read.misfits.contains(name);
            if let Some(default) = argument.default.as_ref().filter(|_| is_left_out) {
                read.args.insert(name.clone(), default.clone());
            }
        }
        read
    }

    fn take(&self, name: &str, token: Token, object: &[u8], read: &mut Read) {
        // One that the schema does not have is none that a condition could name.
        let Some(argument) = self.0.get(name) else { return };
        let value = match token.kind {
            Kind::Null if argument.nullable => Some(Value::Null),
            // Where `null` is no value, it says the same as leaving the argument out. Not every schema tells whether it is one,
            // and then one reader would take the default, another `null`.
            Kind::Null if argument.default.is_none() => return,
            Kind::Null => None,
            _ => std::str::from_utf8(token.raw(object)).ok().and_then(|raw| argument.form.read(raw)),
        };
        match value {
            Some(value) => {
                read.args.insert(name.to_owned(), value);
            }
            None => read.misfits.push(name.to_owned()),
        }
    }

    /// What is known of the arguments while one of them is being completed.
    fn completing(&self, request: &Request) -> Read {
        let body = request.body();
        let context = request.param("context").raw(body);
        let mut read = self.read_raw(member(context, "arguments").raw(context));
        let argument = request.param("argument").raw(body);
        let name = member(argument, "name").text(argument).unwrap_or_default();
        self.take(&name, member(argument, "value"), argument, &mut read);
        read
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken() -> Taken {
        Taken::by_schema(&json!({
            "type": "object",
            "properties": {
                "amount": { "type": "number" },
                "count": { "type": "integer", "default": 10 },
                "name": { "type": "string" },
                "note": { "type": ["string", "null"], "default": "x" },
                "sure": { "type": "boolean" },
                "ids": { "type": "array", "items": { "type": "integer" } },
                "filter": { "type": "object" },
                "row": { "type": "object", "properties": {
                    "n": { "type": "number" }, "i": { "type": ["integer", "null"] }, "in": { "type": "object" } } },
                "rows": { "type": "array", "items": { "type": "object" } },
                "any": {},
            },
        }))
    }

    fn read(object: &str) -> Result<Value, String> {
        let read = taken().read_raw(object.as_bytes());
        match read.misfits.into_iter().next() {
            Some(misfit) => Err(misfit),
            None => Ok(read.args.into_iter().filter(|(name, _)| object.contains(name.as_str())).collect()),
        }
    }

    #[test]
    fn each_argument_has_the_one_reading_that_the_tool_has_too() {
        for (sent, read_as) in [
            (r#"{"amount": 5}"#, json!({ "amount": 5.0 })),
            (r#"{"amount": "5"}"#, json!({ "amount": 5.0 })),
            (r#"{"amount": 1e3}"#, json!({ "amount": 1000.0 })),
            (r#"{"amount": 999.99999999999}"#, json!({ "amount": 999.99999999999_f64 })),
            (r#"{"count": 5}"#, json!({ "count": 5 })),
            (r#"{"count": "5"}"#, json!({ "count": 5 })),
            (r#"{"count": 5.0}"#, json!({ "count": 5 })),
            (r#"{"count": 1e3}"#, json!({ "count": 1000 })),
            (r#"{"count": 9223372036854775807}"#, json!({ "count": i64::MAX })),
            (r#"{"ids": [1, "2", 3.0]}"#, json!({ "ids": [1, 2, 3] })),
            (r#"{"ids": "[1,2]"}"#, json!({ "ids": [1, 2] })),
            (r#"{"filter": {"a":1,"b":"2"}}"#, json!({ "filter": { "a": 1, "b": "2" } })),
            (r#"{"row": {"n":"5000","i":"7","x":"8"}}"#, json!({ "row": { "n": 5000, "i": 7, "x": "8" } })),
            (r#"{"row": {"n":5.5,"i":null}}"#, json!({ "row": { "n": 5.5, "i": null } })),
            (r#"{"rows": [{"a":1}]}"#, json!({ "rows": [{ "a": 1 }] })),
            (r#"{"note": null}"#, json!({ "note": null })),
            (r#"{"any": "5"}"#, json!({ "any": "5" })),
        ] {
            assert_eq!(read(sent), Ok(read_as), "{sent}");
        }
        let escaped = taken().read_raw(br#"{"am\u006funt": 5}"#);
        assert_eq!(escaped.args["amount"], json!(5.0));
    }

    #[test]
    fn what_is_left_out_has_its_default_and_so_has_null_where_it_says_the_same() {
        assert_eq!(Value::Object(taken().read_raw(b"{}").args), json!({ "count": 10, "note": "x" }));
        let null = taken().read_raw(br#"{"name":null,"note":null}"#);
        assert_eq!(Value::Object(null.args), json!({ "note": null, "count": 10 }));
    }

    #[test]
    fn null_is_no_default_where_the_schema_does_not_tell_whether_it_is_a_value() {
        // A parameter of a database that may be null has such a schema, and gets `null`.
        let null = taken().read_raw(br#"{"count":null}"#);
        assert_eq!((null.args.get("count"), null.misfits), (None, vec!["count".to_owned()]));
    }

    #[test]
    fn what_another_reader_could_take_otherwise_is_no_argument() {
        for bad in [
            r#"{"amount": "1,000"}"#,
            r#"{"amount": " 5"}"#,
            r#"{"amount": "5 "}"#,
            r#"{"amount": "+5"}"#,
            r#"{"amount": "0x10"}"#,
            r#"{"amount": "NaN"}"#,
            r#"{"amount": "-Infinity"}"#,
            r#"{"amount": 1e999}"#,
            r#"{"amount": 1e-999}"#,
            r#"{"amount": 1000.0000000000000001}"#,
            r#"{"amount": 9007199254740993}"#,
            r#"{"amount": true}"#,
            r#"{"amount": [5]}"#,
            r#"{"amount": ""}"#,
            r#"{"count": 9223372036854775808}"#,
            r#"{"count": 5.5}"#,
            r#"{"count": "05"}"#,
            r#"{"count": "five"}"#,
            r#"{"name": 5}"#,
            r#"{"name": ["a"]}"#,
            r#"{"sure": "true"}"#,
            r#"{"sure": 1}"#,
            r#"{"ids": 1}"#,
            r#"{"ids": [1, "x"]}"#,
            r#"{"ids": [[1]]}"#,
            r#"{"filter": "x"}"#,
            r#"{"filter": "{\"a\":1}"}"#,
            r#"{"row": {"n":"five"}}"#,
            r#"{"row": {"in":"{\"a\":1}"}}"#,
            r#"{"rows": "[{\"a\":5000,\"a\":1}]"}"#,
            r#"{"rows": ["{\"a\":1}"]}"#,
            r#"{"filter": {"a": 12345678901234567890}}"#,
            r#"{"any": [{"a": 0.12345678901234567}]}"#,
            r#"{"any": {"-1": "9", "b": 1e400}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(r#"{"any": {"x \" 12345678901234567890": "12345678901234567890", "b": -5}}"#).is_ok());
    }
}
