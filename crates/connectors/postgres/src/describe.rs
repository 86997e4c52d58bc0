//! What each PostgreSQL type looks like in JSON: the schema of a column's cells, and what a parameter takes.

use std::collections::BTreeMap;

use postgres_types::{Kind, Oid, Type};
use serde_json::{Map, Value as Json, json};
use trunkline_sql::{JsonKind, ParameterType};

use crate::domain::Rules;
use crate::types::{Decoder, Form, base, display_name, is_extension};

/// The rules of domains, by the number of the type.
pub(crate) type Domains = BTreeMap<Oid, Rules>;

/// Returns the schema of a non-null cell that comes in this form, or `None` where any JSON can come. `domain` is the domain of
/// the table's column behind it: the server tells columns of results by the type below.
///
/// Dates and times have no `format`: `infinity` and years BC are no RFC 3339, and a client that checks formats would then
/// refuse the whole answer.
pub(crate) fn cell_schema(
    ty: &Type,
    form: &Form,
    modifier: i32,
    domain: Option<&Rules>,
    domains: &Domains,
) -> Option<Json> {
    let schema = match form {
        // The text of a label is the label.
        _ if matches!(element_type(ty).kind(), Kind::Enum(_)) => value(ty, modifier, domains),
        Form::Native(_) => {
            let mut schema = value(ty, modifier, domains);
            if let Some(rules) = domain {
                rules.narrow(&mut schema, ty);
            }
            schema
        }
        // What the server turned into text.
        form => words(&form.decoder()),
    };
    (!schema.is_empty()).then_some(Json::Object(schema))
}

/// Returns the schema of a value of a type that is read from its binary form.
fn value(ty: &Type, modifier: i32, domains: &Domains) -> Map<String, Json> {
    match ty.kind() {
        Kind::Domain(inner) => {
            let rules = domains.get(&ty.oid());
            let modifier = rules.map_or(modifier, |rules| rules.modifier);
            let mut schema = value(inner, modifier, domains);
            if let Some(rules) = rules {
                rules.narrow(&mut schema, base(inner));
            }
            schema
        }
        Kind::Enum(labels) => object(json!({ "type": "string", "enum": labels })),
        Kind::Array(inner) => {
            let mut schema = object(json!({ "type": "array" }));
            schema.insert("items".into(), element(value(inner, modifier, domains)).into());
            schema
        }
        Kind::Composite(fields) => {
            let members = fields.iter().map(|field| {
                let schema = or_null(value(field.type_(), NO_MODIFIER, domains));
                (field.name().to_owned(), Json::Object(schema))
            });
            let names: Vec<&str> = fields.iter().map(postgres_types::Field::name).collect();
            let members: Map<String, Json> = members.collect();
            object(json!({
                "type": "object", "properties": members, "required": names, "additionalProperties": false,
            }))
        }
        _ => simple(ty, modifier),
    }
}

fn simple(ty: &Type, modifier: i32) -> Map<String, Json> {
    let mut schema = words(&Form::of(ty).decoder());
    let length = |less: i32| modifier.checked_sub(less).filter(|length| *length >= 0);
    // The modifier of a text counts a length word of four bytes.
    let (least, most) = match *ty {
        Type::VARCHAR | Type::BPCHAR => (None, length(4)),
        Type::BIT => (length(0), length(0)),
        Type::VARBIT => (None, length(0)),
        _ => (None, None),
    };
    schema.extend(least.map(|length| ("minLength".to_owned(), length.into())));
    schema.extend(most.map(|length| ("maxLength".to_owned(), length.into())));
    schema
}

/// Returns what a decoder says of its values.
fn words(decoder: &Decoder) -> Map<String, Json> {
    object(match decoder {
        Decoder::Json | Decoder::Jsonb => json!({}),
        Decoder::Bool => json!({ "type": "boolean" }),
        Decoder::Int2 | Decoder::Int4 | Decoder::Oid => json!({ "type": "integer" }),
        Decoder::Int8 => json!({ "type": ["integer", "string"] }),
        Decoder::Float4 | Decoder::Float8 => json!({ "type": ["number", "string"] }),
        Decoder::Uuid => json!({ "type": "string", "format": "uuid" }),
        Decoder::Bytea => json!({ "type": "string", "contentEncoding": "base64" }),
        Decoder::HStore => {
            json!({ "type": "object", "additionalProperties": { "type": ["string", "null"] } })
        }
        Decoder::Vector => json!({ "type": "array", "items": { "type": "number" } }),
        Decoder::Array(inner) => json!({ "type": "array", "items": element(words(inner)) }),
        _ => json!({ "type": "string" }),
    })
}

/// Makes the schema of an element: a column does not say how many dimensions its arrays have, so an element may again be
/// an array, and it may be null.
fn element(schema: Map<String, Json>) -> Map<String, Json> {
    let mut schema = or_null(schema);
    if schema.contains_key("enum") {
        // An enumeration admits no lists, whatever the types say.
        return object(json!({ "anyOf": [schema, { "type": "array" }] }));
    }
    if let Some(Json::Array(types)) = schema.get_mut("type")
        && !types.contains(&json!("array"))
    {
        let before_null = types.len() - 1;
        types.insert(before_null, json!("array"));
        // What is said of the elements of a list does not go for this one.
        schema.remove("items");
    }
    schema
}

/// Admits null beside what the schema admits.
fn or_null(mut schema: Map<String, Json>) -> Map<String, Json> {
    match schema.get_mut("type") {
        Some(Json::Array(types)) => types.push(json!("null")),
        Some(one) => *one = json!([one.take(), "null"]),
        None => {}
    }
    if let Some(Json::Array(values)) = schema.get_mut("enum") {
        values.push(Json::Null);
    }
    schema
}

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(object) => object,
        _ => Map::new(),
    }
}

/// What the server tells where a type has no length or precision.
const NO_MODIFIER: i32 = -1;

// ---- parameters ----

/// Returns what a parameter of this type takes; of an array, what its elements take.
pub(crate) fn parameter(ty: &Type, domains: &Domains) -> ParameterType {
    let kind = json_kind(ty);
    let inner = if matches!(kind, JsonKind::Array(_)) { element_type(ty) } else { ty };
    let base = base(inner);
    let labels = match base.kind() {
        Kind::Enum(labels) => Some(labels.clone()),
        _ => None,
    };
    let format = match *base {
        Type::UUID => Some("uuid"),
        Type::DATE => Some("date"),
        Type::TIMESTAMPTZ => Some("date-time"),
        Type::TIMETZ => Some("time"),
        Type::BYTEA => Some("base64"),
        _ => None,
    };
    let range = match *base {
        Type::INT2 => Some((i64::from(i16::MIN), i64::from(i16::MAX))),
        Type::INT4 => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        Type::OID => Some((0, i64::from(u32::MAX))),
        _ => None,
    };
    let mut parameter = ParameterType { kind, labels, format, range, name: Some(display_name(ty)) };
    let mut at = inner;
    while let Kind::Domain(below) = at.kind() {
        if let Some(rules) = domains.get(&at.oid()) {
            rules.narrow_parameter(&mut parameter, base);
        }
        at = below;
    }
    parameter
}

/// Returns the type of the innermost elements: a domain as such.
fn element_type(ty: &Type) -> &Type {
    match base(ty).kind() {
        Kind::Array(inner) => element_type(inner),
        _ => ty,
    }
}

fn json_kind(ty: &Type) -> JsonKind {
    match (base(ty), base(ty).kind()) {
        (&Type::BOOL, _) => JsonKind::Boolean,
        (&(Type::INT2 | Type::INT4 | Type::INT8 | Type::OID), _) => JsonKind::Integer,
        (&(Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC), _) => JsonKind::Number,
        (&(Type::JSON | Type::JSONB), _) => JsonKind::Json,
        (_, Kind::Array(element)) => JsonKind::Array(Box::new(json_kind(element))),
        (_, Kind::Composite(fields)) => {
            let members = fields.iter().map(|field| (field.name().to_owned(), json_kind(field.type_())));
            JsonKind::Object(members.collect())
        }
        (ty, _) if is_extension(ty, "hstore") => JsonKind::Map(Box::new(JsonKind::String)),
        (ty, _) if is_extension(ty, "vector") => JsonKind::Array(Box::new(JsonKind::Number)),
        _ => JsonKind::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_types::Field;

    fn schema(ty: &Type, modifier: i32) -> Json {
        cell_schema(ty, &Form::of(ty), modifier, None, &Domains::new()).unwrap()
    }

    fn made(name: &str, kind: Kind) -> Type {
        Type::new(name.into(), 90_000, kind, "public".into())
    }

    #[test]
    fn a_schema_says_length_labels_and_members() {
        assert_eq!(schema(&Type::VARCHAR, 14), json!({ "type": "string", "maxLength": 10 }));
        assert_eq!(schema(&Type::VARCHAR, -1), json!({ "type": "string" }));
        assert_eq!(schema(&Type::BIT, 3), json!({ "type": "string", "minLength": 3, "maxLength": 3 }));
        assert_eq!(
            schema(&Type::VARCHAR_ARRAY, 14),
            json!({ "type": "array", "items": { "type": ["string", "array", "null"], "maxLength": 10 } })
        );
        let mood = made("mood", Kind::Enum(vec!["ok".into()]));
        let moods = made("_mood", Kind::Array(mood.clone()));
        assert_eq!(
            schema(&moods, -1),
            json!({ "type": "array", "items":
                { "anyOf": [{ "type": ["string", "null"], "enum": ["ok", null] }, { "type": "array" }] } })
        );
        let pair = Kind::Composite(vec![Field::new("a".into(), Type::INT8), Field::new("m".into(), mood)]);
        assert_eq!(
            schema(&made("pair", pair), -1),
            json!({
                "type": "object",
                "properties": {
                    "a": { "type": ["integer", "string", "null"] },
                    "m": { "type": ["string", "null"], "enum": ["ok", null] },
                },
                "required": ["a", "m"],
                "additionalProperties": false,
            })
        );
        assert_eq!(cell_schema(&Type::JSONB, &Form::of(&Type::JSONB), -1, None, &Domains::new()), None);
        assert_eq!(schema(&Type::JSONB_ARRAY, -1), json!({ "type": "array", "items": {} }));
        assert_eq!(schema(&Type::MONEY, -1), json!({ "type": "string" }));
    }

    #[test]
    fn parameters_tell_kind_range_and_name() {
        let taken = |ty: &Type| parameter(ty, &Domains::new());
        assert_eq!(taken(&Type::INT4_ARRAY).kind, JsonKind::Array(Box::new(JsonKind::Integer)));
        assert_eq!(taken(&Type::INT4_ARRAY).name.as_deref(), Some("int4[]"));
        assert_eq!(taken(&Type::INT2).range, Some((-32768, 32767)));
        assert_eq!(taken(&Type::TIMESTAMPTZ).format, Some("date-time"));
        let vector = made("vector", Kind::Simple);
        assert_eq!(taken(&vector).kind, JsonKind::Array(Box::new(JsonKind::Number)));
    }
}
