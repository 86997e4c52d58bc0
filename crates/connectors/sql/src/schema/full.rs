//! A property of an input schema with all that is checked of it, for hosts that take the whole of JSON Schema.
//!
//! It tells the plain form of a value. What is let through beside it, a number sent as a string and the like, is not told.

use serde_json::{Map, Value as Json, json};

use super::{format, text, with_details};
use crate::accept::{Accept, Allowed, Members};
use crate::database::Dialect;
use crate::param::Arg;
use crate::spec::Spec;
use crate::value::JsonKind;

/// Returns the schema of one argument. What neither the file nor the database says may be anything.
pub(super) fn property(spec: &Spec, arg: Option<&Arg>, dialect: Dialect) -> Json {
    let by_file = || Accept::new(spec.kind.as_ref()?, &spec.rules, None, dialect).ok();
    let kept;
    let accept = match arg {
        Some(arg) => Some(&arg.accept),
        None => {
            kept = by_file();
            kept.as_ref()
        }
    };
    let mut property = accept.map_or_else(Map::new, |accept| value(accept, spec.nullable));
    let pattern = spec.rules.pattern.as_ref().map(regex::Regex::as_str);
    let details: Vec<String> = pattern
        .filter(|pattern| !is_shared(pattern))
        .map(|pattern| format!("must match `{pattern}`"))
        .into_iter()
        .collect();
    let words = with_details(text(spec, accept.map(|accept| &accept.kind)), &details);
    property.insert("description".into(), words.into());
    if let Some(default) = spec.default.as_ref().filter(|default| !spec.secret && !default.is_null()) {
        property.insert("default".into(), default.clone());
    }
    match format(spec, accept) {
        // The name is ours; JSON Schema has another word for it.
        Some("base64") => property.insert("contentEncoding".into(), "base64".into()),
        Some(format) => property.insert("format".into(), format.into()),
        None => None,
    };
    Json::Object(property)
}

/// Returns the schema of a value, or of null too.
fn value(accept: &Accept, nullable: bool) -> Map<String, Json> {
    let mut schema = Map::new();
    let word = match &accept.kind {
        JsonKind::String => "string",
        JsonKind::Integer => "integer",
        JsonKind::Number => "number",
        JsonKind::Boolean => "boolean",
        JsonKind::Array(_) => "array",
        JsonKind::Object(_) | JsonKind::Map(_) => "object",
        // Null as well.
        JsonKind::Json => return schema,
    };
    schema.insert("type".into(), if nullable { json!([word, "null"]) } else { word.into() });
    if let Some(items) = accept.items() {
        schema.insert("items".into(), element(items).into());
    }
    match accept.members() {
        Some(Members::Known(members)) => {
            let members =
                members.iter().map(|(name, accept)| (name.to_string(), Json::Object(value(accept, true))));
            schema.insert("properties".into(), members.collect::<Map<_, _>>().into());
            schema.insert("additionalProperties".into(), false.into());
        }
        Some(Members::Free(values)) => {
            schema.insert("additionalProperties".into(), value(values, true).into());
        }
        None => {}
    }
    bounds(&mut schema, accept);
    if let Some(pattern) = accept.pattern.as_ref().map(regex::Regex::as_str).filter(|text| is_shared(text)) {
        schema.insert("pattern".into(), pattern.into());
    }
    let mut allowed: Vec<Json> = accept.allowed.iter().filter_map(constant).collect();
    if !allowed.is_empty() {
        allowed.extend(nullable.then_some(Json::Null));
        schema.insert("enum".into(), allowed.into());
    }
    schema
}

/// Returns the schema of an element of a list. A type of PostgreSQL does not say how many dimensions its arrays have, so
/// there an element may again be a list.
fn element(accept: &Accept) -> Map<String, Json> {
    let mut schema = value(accept, true);
    if accept.may_nest()
        && let Some(Json::Array(types)) = schema.get_mut("type")
    {
        types.push("array".into());
        // An enumeration admits no lists, whatever the types say.
        schema.remove("enum");
    }
    schema
}

fn bounds(schema: &mut Map<String, Json>, accept: &Accept) {
    let is_integer = accept.kind == JsonKind::Integer;
    let ends = [("minimum", &accept.minimum, i64::MIN), ("maximum", &accept.maximum, i64::MAX)];
    for (key, bound, most) in ends {
        let written = bound.as_ref().and_then(|bound| serde_json::from_str(&bound.text).ok());
        schema
            .extend(written.or_else(|| is_integer.then(|| most.into())).map(|bound| (key.to_owned(), bound)));
    }
    for (key, length) in [("minLength", accept.min_length), ("maxLength", accept.max_length)] {
        schema.extend(length.map(|length| (key.to_owned(), length.into())));
    }
}

fn constant(allowed: &Allowed) -> Option<Json> {
    match allowed {
        Allowed::Text(text) => Some(Json::from(&**text)),
        Allowed::Number(digits) => serde_json::from_str(digits).ok(),
        Allowed::Boolean(value) => Some(Json::from(*value)),
    }
}

/// Tells whether a regular expression means the same in ECMA-262, which is the language of `pattern`.
fn is_shared(pattern: &str) -> bool {
    // Flags and named groups, the ends of the text, sets within sets, braced code points and Unicode classes.
    let own = ["(?", "\\A", "\\z", "[[", "&&", "~~", "--", "\\x{", "\\u", "\\U", "\\p", "\\P", "\\a"];
    let plain = pattern.replace("(?:", "(");
    !own.iter().any(|word| plain.contains(word))
}

#[cfg(test)]
mod tests;
