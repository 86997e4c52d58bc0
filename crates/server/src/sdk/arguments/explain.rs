//! Tells a model what of its arguments does not fit: where, what was found there and what is allowed; never the value itself.

use std::fmt::Write as _;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;
use trunkline_service::nearest;

use crate::sdk::ToolError;
use crate::sdk::schema::resolve;

/// Problems that are told at a time.
const MAX_PROBLEMS: usize = 5;
/// Allowed values and names that are listed at a time.
const MAX_LISTED: usize = 20;

/// A text for the model.
#[derive(Debug)]
pub(crate) struct Explained(pub(crate) String);

/// Says what is wrong with `value`. `whole` is what the value as a whole is called.
pub(crate) fn explain(schema: &Value, validator: &Validator, value: &Value, whole: &str) -> Explained {
    let teller = Teller { schema, whole };
    let mut problems: Vec<String> = Vec::new();
    let mut more = 0_usize;
    for error in validator.iter_errors(value) {
        for problem in teller.problems(&error) {
            if problems.contains(&problem) {
                continue;
            }
            if problems.len() < MAX_PROBLEMS { problems.push(problem) } else { more += 1 }
        }
    }
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    Explained(problems.join("; "))
}

/// Says why arguments could not be decoded, where no schema tells.
pub(crate) fn undecodable(error: &serde_json::Error) -> ToolError {
    let text = error.to_string();
    // The place is one in the raw text, which a model does not count in.
    let text = text.split(" at line ").next().unwrap_or_default();
    ToolError::new(format!("the arguments do not fit: {}", without_values(text)))
}

/// Takes the values out of a decoder's words: `invalid type: string "x", expected u8` says what kind it was, and that is
/// enough.
fn without_values(text: &str) -> String {
    let Some((head, tail)) = text.split_once(": string \"") else { return text.to_owned() };
    match tail.rsplit_once("\", expected") {
        Some((_, expected)) => format!("{head}: a string, expected{expected}"),
        None => head.to_owned(),
    }
}

struct Teller<'a> {
    schema: &'a Value,
    whole: &'a str,
}

impl Teller<'_> {
    fn problems(&self, error: &ValidationError<'_>) -> Vec<String> {
        let path = self.path(error.instance_path().as_str());
        let found = found(error.instance());
        let says = |allowed: String| vec![format!("{path} is {found}; allowed: {allowed}")];
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                vec![self.missing(error, property.as_str().unwrap_or_default())]
            }
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                unexpected.iter().map(|name| self.unknown(error, name)).collect()
            }
            ValidationErrorKind::Type { kind } => says(types(kind)),
            ValidationErrorKind::Enum { options } if is_of_kind_in(error.instance(), options) => {
                vec![format!("{path} is none of what is allowed: {}", listed(options))]
            }
            ValidationErrorKind::Enum { options } => says(listed(options)),
            ValidationErrorKind::Constant { expected_value } => says(expected_value.to_string()),
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                self.nearest_form(&path, found, context)
            }
            ValidationErrorKind::OneOfMultipleValid { .. } => {
                says("exactly one of the forms, it fits several".to_owned())
            }
            kind => says(bound(kind)),
        }
    }

    /// Of several forms the one that was probably meant: without a mismatch in its own type or name, else with fewest faults.
    fn nearest_form(&self, path: &str, found: &str, forms: &[Vec<ValidationError<'_>>]) -> Vec<String> {
        let foreign = |errors: &[ValidationError<'_>]| {
            errors.iter().any(|error| {
                matches!(
                    error.kind(),
                    ValidationErrorKind::Type { .. }
                        | ValidationErrorKind::Constant { .. }
                        | ValidationErrorKind::Enum { .. }
                )
            })
        };
        let meant = forms.iter().filter(|errors| !foreign(errors)).min_by_key(|errors| errors.len());
        if let Some(errors) = meant {
            return errors.iter().flat_map(|error| self.problems(error)).collect();
        }
        let mut allowed: Vec<String> = Vec::new();
        let mut of_kind = false;
        for error in forms.iter().flatten() {
            of_kind |= matches!(error.kind(), ValidationErrorKind::Enum { options } if is_of_kind_in(error.instance(), options));
            let word = match error.kind() {
                ValidationErrorKind::Type { kind } => types(kind),
                ValidationErrorKind::Enum { options } => listed(options),
                ValidationErrorKind::Constant { expected_value } => {
                    let place = self.path(error.instance_path().as_str());
                    if place == path {
                        expected_value.to_string()
                    } else {
                        format!("{place} = {expected_value}")
                    }
                }
                _ => continue,
            };
            // What is also allowed is null, which nobody writes to be understood.
            if word != "null" && !allowed.contains(&word) {
                allowed.push(word);
            }
        }
        let allowed = allowed.join(" or ");
        vec![match of_kind {
            true => format!("{path} is none of what is allowed: {allowed}"),
            false => format!("{path} is {found}; allowed: {allowed}"),
        }]
    }

    fn missing(&self, error: &ValidationError<'_>, name: &str) -> String {
        let path = self.path(&format!("{}/{}", error.instance_path().as_str(), escaped(name)));
        let property = self.holder(error).and_then(|holder| holder.get("properties")?.get(name));
        let kind = property.and_then(|property| resolve(self.schema, property).get("type"));
        match kind {
            Some(Value::String(kind)) => format!("{path} is required: {}", article(kind)),
            _ => format!("{path} is required"),
        }
    }

    fn unknown(&self, error: &ValidationError<'_>, name: &str) -> String {
        let path = self.path(&format!("{}/{}", error.instance_path().as_str(), escaped(&shortened(name))));
        let known: Vec<&str> = self
            .holder(error)
            .and_then(|holder| holder.get("properties")?.as_object())
            .map(|known| known.keys().map(String::as_str).collect())
            .unwrap_or_default();
        // Among names of one or two letters every other is near.
        let offered = if name.chars().count() > 2 { nearest(name, known.iter().copied()) } else { None };
        if let Some(meant) = offered {
            return format!("{path} is unknown; did you mean `{meant}`?");
        }
        if known.is_empty() {
            return format!("{path} is unknown; none are taken");
        }
        let mut names: Vec<String> = known.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
        if known.len() > MAX_LISTED {
            names.push(format!("{} more", known.len() - MAX_LISTED));
        }
        format!("{path} is unknown; known: {}", names.join(", "))
    }

    /// The schema that holds the keyword of an error.
    fn holder(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let path = error.schema_path().as_str().rsplit_once('/')?.0;
        let mut schema = resolve(self.schema, self.schema);
        for step in path.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            schema = match schema {
                // A reference in the path stands for what it refers to.
                Value::Object(members) if step == "$ref" && members.contains_key("$ref") => {
                    resolve(self.schema, schema)
                }
                Value::Object(members) => members.get(&step)?,
                Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(resolve(self.schema, schema))
    }

    /// A JSON pointer as a model writes it: `filters.ids[2]`.
    fn path(&self, pointer: &str) -> String {
        let mut path = String::new();
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            if !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()) {
                let _ = write!(path, "[{step}]");
            } else {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&step);
            }
        }
        if path.is_empty() { format!("the {}", self.whole) } else { format!("`{path}`") }
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A name as it came, cut to what is worth repeating.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Tells whether one of the allowed values is of the same kind: then the kind is not what is wrong.
fn is_of_kind_in(value: &Value, options: &Value) -> bool {
    let kind = std::mem::discriminant(value);
    options
        .as_array()
        .is_some_and(|options| options.iter().any(|option| std::mem::discriminant(option) == kind))
}

fn article(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "an object",
        _ => "null",
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => article(&kind.to_string()).to_owned(),
        TypeKind::Multiple(kinds) => {
            let words: Vec<&str> = kinds.iter().map(|kind| article(&kind.to_string())).collect();
            words.join(" or ")
        }
    }
}

fn listed(options: &Value) -> String {
    let Value::Array(options) = options else { return options.to_string() };
    let options: Vec<&Value> = options.iter().filter(|option| !option.is_null()).collect();
    let mut words: Vec<String> = options.iter().take(MAX_LISTED).map(ToString::to_string).collect();
    if options.len() > MAX_LISTED {
        words.push(format!("{} more", options.len() - MAX_LISTED));
    }
    words.join(", ")
}

/// What a bound allows.
fn bound(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Minimum { limit } => format!("{limit} or more"),
        ValidationErrorKind::Maximum { limit } => format!("{limit} or less"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        ValidationErrorKind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        ValidationErrorKind::MinLength { limit } => format!("at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("at most {limit} characters"),
        ValidationErrorKind::Pattern { pattern } => format!("what matches `{pattern}`"),
        ValidationErrorKind::Format { format } => format!("the form {format}"),
        ValidationErrorKind::MinItems { limit } => format!("at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("at most {limit} items"),
        ValidationErrorKind::AdditionalItems { limit } => format!("at most {limit} items"),
        ValidationErrorKind::UniqueItems => "no two items the same".to_owned(),
        ValidationErrorKind::MinProperties { limit } => format!("at least {limit} members"),
        ValidationErrorKind::MaxProperties { limit } => format!("at most {limit} members"),
        ValidationErrorKind::PropertyNames { .. } => "other names of members".to_owned(),
        ValidationErrorKind::FalseSchema => "nothing".to_owned(),
        kind => format!("what the schema says under `{}`", kind.keyword()),
    }
}
