//! What the crate reports, in the words of the own form.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;
use trunkline_service::nearest;

use crate::validate::own::{Faults, Path, cut, list_names, list_of};

/// So many errors are looked at: some of them say the same.
const MOST_LOOKED_AT: usize = 100;
/// So many allowed values are listed.
const MOST_LISTED: usize = 20;

/// Adds errors to the faults.
pub(super) fn tell<'e>(
    schema: &Value,
    errors: impl Iterator<Item = ValidationError<'e>>,
    path: &Path<'_>,
    faults: &mut Faults,
) {
    for error in errors.take(MOST_LOOKED_AT) {
        add(schema, &error, path, faults);
    }
}

fn add(schema: &Value, error: &ValidationError<'_>, root: &Path<'_>, faults: &mut Faults) {
    let steps: Vec<String> = steps(error.instance_path().as_str()).collect();
    at_place(schema, &steps, root, &mut |place| add_at(schema, error, place, root, faults));
}

/// Goes down to the place of an error.
fn at_place(schema: &Value, steps: &[String], path: &Path<'_>, then: &mut dyn FnMut(&Path<'_>)) {
    match steps.split_first() {
        None => then(path),
        Some((step, rest)) => {
            let item = step.parse().ok();
            // An object may have a number for a name, and is told as if it were a list: its reader knows which it is.
            let next = match item {
                Some(item) => path.item(item),
                None if is_declared(schema, step) => path.key(step),
                None => path.member(step),
            };
            at_place(schema, rest, &next, then);
        }
    }
}

fn add_at(
    schema: &Value,
    error: &ValidationError<'_>,
    place: &Path<'_>,
    root: &Path<'_>,
    faults: &mut Faults,
) {
    let found = || found(error.instance(), place.is_secret());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let kind =
                holder(schema, error).and_then(|holder| holder.get("properties")?.get(name)?.get("type"));
            let kind =
                kind.and_then(Value::as_str).map_or_else(String::new, |kind| format!(": {}", article(kind)));
            faults.add_once(format!("{} is required{kind}", place.key(name)));
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let known: Vec<&str> = holder(schema, error)
                .and_then(|holder| holder.get("properties")?.as_object())
                .map(|known| known.keys().map(String::as_str).collect())
                .unwrap_or_default();
            for name in unexpected {
                let names = || list_names(known.iter().copied(), known.len());
                faults.not_taken(place, name, known.iter().copied(), names);
            }
        }
        ValidationErrorKind::Type { kind } => {
            faults.add_once(format!("{place}: found {}, allowed is {}", found(), types(kind)));
        }
        ValidationErrorKind::Enum { options } => {
            let meant = meant(error.instance(), options, place.is_secret());
            faults.add_once(format!(
                "{place}: found {}, allowed is one of {}{meant}",
                label(error, options, place),
                listed(options)
            ));
        }
        ValidationErrorKind::Constant { expected_value } => {
            let only = Value::Array(vec![(**expected_value).clone()]);
            faults.add_once(format!(
                "{place}: found {}, allowed is only {}",
                label(error, &only, place),
                listed(&only)
            ));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            nearest_form(schema, error, context, place, root, faults);
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            faults.add_once(format!(
                "{place}: found {} that fits several of the forms, allowed is exactly one",
                found()
            ));
        }
        kind => faults.add_once(format!("{place}: found {}, allowed is {}", found(), bound(kind))),
    }
}

/// Of several forms the one that was probably meant: without a mismatch in its own type or label, else all of them by their types.
fn nearest_form(
    schema: &Value,
    error: &ValidationError<'_>,
    forms: &[Vec<ValidationError<'static>>],
    place: &Path<'_>,
    root: &Path<'_>,
    faults: &mut Faults,
) {
    let own_place = error.instance_path().as_str();
    let is_foreign = |error: &ValidationError<'_>| match error.kind() {
        ValidationErrorKind::Type { .. } => error.instance_path().as_str() == own_place,
        ValidationErrorKind::Constant { .. } => true,
        ValidationErrorKind::Enum { .. } => error.instance_path().as_str() != own_place,
        _ => false,
    };
    let fitting = forms.iter().filter(|errors| !errors.iter().any(is_foreign));
    if let Some(errors) = fitting.min_by_key(|errors| errors.len()) {
        for error in errors.iter().take(MOST_LOOKED_AT) {
            add(schema, error, root, faults);
        }
        return;
    }
    let mut allowed: Vec<String> = Vec::new();
    for error in forms.iter().flatten().take(MOST_LOOKED_AT) {
        let here = error.instance_path().as_str() == own_place;
        let word = match error.kind() {
            ValidationErrorKind::Type { kind } if here => types(kind),
            ValidationErrorKind::Enum { options } if here => format!("one of {}", listed(options)),
            ValidationErrorKind::Constant { expected_value } => {
                let only = listed(&Value::Array(vec![(**expected_value).clone()]));
                let within = error.instance_path().as_str().strip_prefix(own_place).unwrap_or_default();
                let within: Vec<String> = steps(within).collect();
                if within.is_empty() {
                    only
                } else {
                    format!("an object whose `{}` is {only}", within.join("."))
                }
            }
            _ => continue,
        };
        if !allowed.contains(&word) && allowed.len() < MOST_LISTED {
            allowed.push(word);
        }
    }
    let found = found(error.instance(), place.is_secret());
    if allowed.is_empty() {
        faults.add_once(format!("{place}: found {found} that fits none of the allowed forms"));
    } else {
        faults.add_once(format!("{place}: found {found}, allowed is {}", allowed.join(" or ")));
    }
}

/// The schema that holds the keyword of an error, where it stands in the schema as a plain path.
fn holder<'s>(schema: &'s Value, error: &ValidationError<'_>) -> Option<&'s Value> {
    let path = error.schema_path().as_str();
    schema.pointer(path.rsplit_once('/')?.0)
}

/// Tells whether a name is that of a property, so that it came from the schema and not with the value.
fn is_declared(schema: &Value, name: &str) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| {
            (key == "properties" && value.get(name).is_some()) || is_declared(value, name)
        }),
        Value::Array(values) => values.iter().any(|value| is_declared(value, name)),
        _ => false,
    }
}

/// The steps of a JSON pointer.
fn steps(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"))
}

/// What was found, where labels are wanted.
fn label(error: &ValidationError<'_>, options: &Value, place: &Path<'_>) -> String {
    let has_labels = options.as_array().is_some_and(|options| options.iter().any(Value::is_string));
    match &**error.instance() {
        Value::String(text) if has_labels && !place.is_secret() => match cut(text, 32) {
            "" => "an empty string".to_owned(),
            short if short.len() < text.len() => format!("the string `{short}...`"),
            short => format!("the string `{short}`"),
        },
        value => found(value, place.is_secret()),
    }
}

fn meant(value: &Value, options: &Value, is_secret: bool) -> String {
    let (Value::String(text), Value::Array(options), false) = (value, options, is_secret) else {
        return String::new();
    };
    nearest(cut(text, 64), options.iter().filter_map(Value::as_str))
        .map_or_else(String::new, |meant| format!(" (did you mean `{meant}`?)"))
}

fn found(value: &Value, is_secret: bool) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) if !is_secret => format!("`{value}`"),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(number) if !is_secret => format!("the number {number}"),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) if !is_secret => match text.chars().count() {
            0 => "an empty string".to_owned(),
            1 => "a string of 1 character".to_owned(),
            length => format!("a string of {length} characters"),
        },
        Value::String(_) => "a string".to_owned(),
        Value::Array(items) if !is_secret => list_of(items.len()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        "object" => "an object",
        _ => "null",
    }
}

pub(super) fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => article(&kind.to_string()).to_owned(),
        TypeKind::Multiple(kinds) => {
            let words: Vec<&str> = kinds.iter().map(|kind| article(&kind.to_string())).collect();
            words.join(" or ")
        }
    }
}

fn listed(options: &Value) -> String {
    let Value::Array(options) = options else { return String::new() };
    let word = |option: &Value| match option {
        Value::String(text) => format!("`{}`", cut(text, 64)),
        Value::Null => "null".to_owned(),
        Value::Array(_) | Value::Object(_) => format!("`{}`", cut(&option.to_string(), 64)),
        other => format!("`{other}`"),
    };
    let mut words: Vec<String> = options.iter().take(MOST_LISTED).map(word).collect();
    if options.len() > MOST_LISTED {
        words.push(format!("{} more", options.len() - MOST_LISTED));
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
        ValidationErrorKind::MinLength { limit } => format!("a string of at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("a string of at most {limit} characters"),
        ValidationErrorKind::Pattern { pattern } => format!("a string matching `{}`", cut(pattern, 200)),
        ValidationErrorKind::Format { format } => format!("a string in the form {}", cut(format, 64)),
        ValidationErrorKind::MinItems { limit } => format!("a list of at least {limit} elements"),
        ValidationErrorKind::MaxItems { limit } => format!("a list of at most {limit} elements"),
        ValidationErrorKind::AdditionalItems { limit } => format!("a list of at most {limit} elements"),
        ValidationErrorKind::UniqueItems => "a list with no element twice".to_owned(),
        ValidationErrorKind::Contains => "a list with an element of the form under `contains`".to_owned(),
        ValidationErrorKind::MinProperties { limit } => format!("an object of at least {limit} members"),
        ValidationErrorKind::MaxProperties { limit } => format!("an object of at most {limit} members"),
        ValidationErrorKind::PropertyNames { .. } => "an object with other names of members".to_owned(),
        ValidationErrorKind::FalseSchema => "nothing".to_owned(),
        kind => format!("what the schema says under `{}`", kind.keyword()),
    }
}
