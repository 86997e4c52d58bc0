//! The `inputSchema` of a tool: in the profile that every known host takes, or in full.
//!
//! Portable: one `type` for each property, no references or combinators, lists with `items`, enums of strings only; what
//! the profile has no word for is said in the description. [`full`] has words for more. The plan in [`crate::param`]
//! checks the same in both.

mod full;

use serde_json::{Map, Value as Json, json};

use crate::accept::{Accept, Allowed, name_of};
use crate::database::Dialect;
use crate::options::SchemaProfile;
use crate::param::{Arg, Plan};
use crate::spec::Spec;
use crate::value::JsonKind;

/// Returns the schema of a tool's arguments. Without a plan the database was never asked, and what the file does not say
/// may be anything.
pub(crate) fn input(specs: &[Spec], plan: Option<&Plan>, profile: SchemaProfile, dialect: Dialect) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for at in order(specs) {
        let Some(spec) = specs.get(at) else { continue };
        let arg = plan.and_then(|plan| plan.args().get(at));
        let property = match profile {
            SchemaProfile::Portable => property(spec, arg),
            SchemaProfile::Full => full::property(spec, arg, dialect),
        };
        properties.insert(spec.name.clone(), property);
        if spec.required {
            required.push(Json::from(spec.name.as_str()));
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties });
    if let Some(object) = schema.as_object_mut() {
        if !required.is_empty() {
            object.insert("required".into(), required.into());
        }
        object.insert("additionalProperties".into(), false.into());
    }
    schema
}

/// The order of first use: an argument that a computed parameter reads stands where that parameter does.
fn order(specs: &[Spec]) -> Vec<usize> {
    let mut order = Vec::with_capacity(specs.len());
    for (at, spec) in specs.iter().enumerate() {
        let found: Vec<usize> = match &spec.computed {
            None => vec![at],
            Some(expression) => {
                let names: Vec<&str> = expression.uses_args().collect();
                let all = specs.iter().enumerate();
                all.filter(|(_, other)| names.contains(&other.name.as_str())).map(|(at, _)| at).collect()
            }
        };
        for at in found {
            if !order.contains(&at) {
                order.push(at);
            }
        }
    }
    order
}

fn property(spec: &Spec, arg: Option<&Arg>) -> Json {
    let kind = arg.map(|arg| &arg.accept.kind).or(spec.kind.as_ref());
    // Hosts refuse a property without a type. Until the database is asked a string is the best there is to say: numbers
    // and lists are taken from strings too.
    let mut property = type_of(kind.unwrap_or(&JsonKind::String));
    property.insert("description".into(), with_details(text(spec, kind), &details(spec, arg, kind)).into());
    if let Some(default) = spec.default.as_ref().filter(|default| !spec.secret && !default.is_null()) {
        property.insert("default".into(), default.clone());
    }
    // The bounds that come from a database type alone are left out: they cost tokens and tell a model nothing.
    let numbers = [("minimum", &spec.rules.minimum), ("maximum", &spec.rules.maximum)];
    for (key, bound) in numbers {
        property.extend(bound.as_ref().map(|bound| (key.to_owned(), Json::Number(bound.clone()))));
    }
    let lengths = [("minLength", spec.rules.min_length), ("maxLength", spec.rules.max_length)];
    for (key, length) in lengths {
        property.extend(length.map(|length| (key.to_owned(), length.into())));
    }
    if kind == Some(&JsonKind::String) {
        strings(&mut property, spec, arg.map(|arg| &arg.accept));
    }
    if let (Some(items), Some(Json::Object(property))) =
        (arg.and_then(|arg| arg.accept.items()), property.get_mut("items"))
    {
        property.extend(labels(items).map(|labels| ("enum".to_owned(), labels)));
    }
    Json::Object(property)
}

fn strings(property: &mut Map<String, Json>, spec: &Spec, accept: Option<&Accept>) {
    let written = || spec.rules.allowed.as_ref().map(|values| Json::from(values.clone()));
    property.extend(accept.and_then(labels).or_else(written).map(|labels| ("enum".to_owned(), labels)));
    if format(spec, accept) == Some("date-time") {
        property.insert("format".into(), "date-time".into());
    }
}

fn labels(accept: &Accept) -> Option<Json> {
    let labels: Vec<Json> = accept
        .allowed
        .iter()
        .filter_map(|allowed| match allowed {
            Allowed::Text(text) => Some(Json::from(&**text)),
            Allowed::Number(_) | Allowed::Boolean(_) => None,
        })
        .collect();
    (!labels.is_empty()).then(|| labels.into())
}

fn format<'a>(spec: &'a Spec, accept: Option<&'a Accept>) -> Option<&'a str> {
    accept.and_then(|accept| accept.format.as_deref()).or(spec.rules.format.as_deref())
}

/// Every property has one type. JSON of any kind is mostly an object, and a host that knows no other word sends that.
fn type_of(kind: &JsonKind) -> Map<String, Json> {
    let word = match kind {
        JsonKind::String => "string",
        JsonKind::Integer => "integer",
        JsonKind::Number => "number",
        JsonKind::Boolean => "boolean",
        JsonKind::Json | JsonKind::Object(_) | JsonKind::Map(_) => "object",
        JsonKind::Array(_) => "array",
    };
    let mut schema = Map::from_iter([("type".to_owned(), Json::from(word))]);
    if let JsonKind::Array(items) = kind {
        schema.insert("items".into(), type_of(items).into());
    }
    if let JsonKind::Object(members) = kind {
        let members = members.iter().map(|(name, kind)| (name.clone(), Json::Object(type_of(kind))));
        schema.insert("properties".into(), members.collect::<Map<_, _>>().into());
    }
    schema
}

/// What the profile has no word for.
fn details(spec: &Spec, arg: Option<&Arg>, kind: Option<&JsonKind>) -> Vec<String> {
    let mut details = Vec::new();
    if kind == Some(&JsonKind::Json) {
        details.push("any JSON value".to_owned());
    }
    if let Some(accept) = arg
        .map(|arg| &arg.accept)
        .filter(|accept| accept.kind != JsonKind::String && !accept.allowed.is_empty())
    {
        details.push(format!("one of {}", accept.describe_allowed()));
    }
    if let Some(pattern) = &spec.rules.pattern {
        details.push(format!("must match `{pattern}`"));
    }
    if let Some(format) = format(spec, arg.map(|arg| &arg.accept)).filter(|format| *format != "date-time") {
        details.push(format!("in the form {format}"));
    }
    if spec.nullable {
        details.push("may be null".to_owned());
    }
    details
}

/// What is written of it, or its name and kind.
fn text(spec: &Spec, kind: Option<&JsonKind>) -> String {
    spec.description.clone().unwrap_or_else(|| {
        let name = spec.name.replace('_', " ");
        match kind.filter(|kind| **kind != JsonKind::Json) {
            Some(kind) => format!("{}, {}", name.trim(), name_of(kind)),
            None => name.trim().to_owned(),
        }
    })
}

fn with_details(text: String, details: &[String]) -> String {
    if details.is_empty() { text } else { format!("{text} ({})", details.join(", ")) }
}
