//! What each PostgreSQL type looks like in JSON: which decoder reads a column, which schema tells it, what a parameter takes.

use postgres_types::{Kind, Type};
use serde_json::{Value as Json, json};
use trunkline_sql::{JsonKind, ParameterType};

/// How the binary form of a column is read. Chosen once, when the statement is prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decoder {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    /// Whatever travels as its own text: text, varchar, names, enum labels.
    Text,
    /// `"char"`: one byte.
    Char,
    Uuid,
    Bytea,
    Json,
    Jsonb,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    /// inet and cidr. A cast to text would add `/32` that the server itself does not write.
    Network,
    Array(Box<Decoder>),
}

/// How a column's type is told: read from its binary form, or sent by the server as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// It arrives as it is.
    Native(Decoder),
    /// It is cast to text by the server.
    CastToText,
    /// It is cast to an array of texts by the server.
    CastToTexts,
}

impl Form {
    /// Returns the form of a type. No type is without one.
    pub(crate) fn of(ty: &Type) -> Self {
        match (decoder(ty), base(ty).kind()) {
            (Some(decoder), _) => Self::Native(decoder),
            (None, Kind::Array(element)) if !matches!(element.kind(), Kind::Pseudo) => Self::CastToTexts,
            (None, _) => Self::CastToText,
        }
    }

    /// Returns the decoder of what then arrives.
    pub(crate) fn decoder(&self) -> Decoder {
        match self {
            Self::Native(decoder) => decoder.clone(),
            Self::CastToText => Decoder::Text,
            Self::CastToTexts => Decoder::Array(Box::new(Decoder::Text)),
        }
    }

    /// Returns what to write behind the column to have it in this form.
    pub(crate) fn cast(&self) -> &'static str {
        match self {
            Self::Native(_) => "",
            Self::CastToText => "::text",
            Self::CastToTexts => "::text[]",
        }
    }
}

fn decoder(ty: &Type) -> Option<Decoder> {
    match ty.kind() {
        Kind::Domain(inner) => return decoder(inner),
        Kind::Enum(_) => return Some(Decoder::Text),
        Kind::Array(element) => return decoder(element).map(|element| Decoder::Array(Box::new(element))),
        _ => {}
    }
    Some(match *ty {
        Type::BOOL => Decoder::Bool,
        Type::INT2 => Decoder::Int2,
        Type::INT4 => Decoder::Int4,
        Type::INT8 => Decoder::Int8,
        Type::OID => Decoder::Oid,
        Type::FLOAT4 => Decoder::Float4,
        Type::FLOAT8 => Decoder::Float8,
        Type::NUMERIC => Decoder::Numeric,
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::UNKNOWN
        | Type::CSTRING
        | Type::VOID => Decoder::Text,
        Type::CHAR => Decoder::Char,
        Type::UUID => Decoder::Uuid,
        Type::BYTEA => Decoder::Bytea,
        Type::JSON => Decoder::Json,
        Type::JSONB => Decoder::Jsonb,
        Type::DATE => Decoder::Date,
        Type::TIME => Decoder::Time,
        Type::TIMETZ => Decoder::TimeTz,
        Type::TIMESTAMP => Decoder::Timestamp,
        Type::TIMESTAMPTZ => Decoder::TimestampTz,
        Type::INTERVAL => Decoder::Interval,
        Type::INET | Type::CIDR => Decoder::Network,
        _ if ty.name() == "citext" => Decoder::Text,
        _ => return None,
    })
}

/// Returns the schema of a non-null cell, or `None` where any JSON can come.
///
/// Dates and times have no `format`: `infinity` and years BC are no RFC 3339, and a client that checks formats would then
/// refuse the whole answer.
pub(crate) fn cell_schema(ty: &Type) -> Option<Json> {
    if let Kind::Enum(labels) = base(ty).kind() {
        return Some(json!({ "type": "string", "enum": labels }));
    }
    match Form::of(ty).decoder() {
        Decoder::Json | Decoder::Jsonb => None,
        Decoder::Uuid => Some(json!({ "type": "string", "format": "uuid" })),
        Decoder::Array(element) => Some(array_schema(&element)),
        decoder => {
            let kinds = json_types(&decoder);
            Some(if let [only] = kinds { json!({ "type": only }) } else { json!({ "type": kinds }) })
        }
    }
}

/// A column does not say how many dimensions its arrays have, so an element may again be an array.
fn array_schema(element: &Decoder) -> Json {
    let mut kinds = json_types(element).to_vec();
    if kinds.is_empty() {
        return json!({ "type": "array", "items": {} });
    }
    kinds.extend(["array", "null"]);
    json!({ "type": "array", "items": { "type": kinds } })
}

fn json_types(decoder: &Decoder) -> &'static [&'static str] {
    match decoder {
        Decoder::Bool => &["boolean"],
        Decoder::Int2 | Decoder::Int4 | Decoder::Oid => &["integer"],
        Decoder::Int8 => &["integer", "string"],
        Decoder::Float4 | Decoder::Float8 => &["number", "string"],
        Decoder::Json | Decoder::Jsonb | Decoder::Array(_) => &[],
        _ => &["string"],
    }
}

/// Returns what a parameter of this type takes; of an array, what its elements take.
pub(crate) fn parameter(ty: &Type) -> ParameterType {
    let kind = json_kind(ty);
    let base = if matches!(kind, JsonKind::Array(_)) { element(ty) } else { base(ty) };
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
    ParameterType { kind, labels, format, range, name: Some(display_name(ty)) }
}

/// Returns the type at the bottom of arrays and domains.
fn element(ty: &Type) -> &Type {
    match base(ty).kind() {
        Kind::Array(inner) => element(inner),
        _ => base(ty),
    }
}

fn json_kind(ty: &Type) -> JsonKind {
    match (base(ty), base(ty).kind()) {
        (&Type::BOOL, _) => JsonKind::Boolean,
        (&(Type::INT2 | Type::INT4 | Type::INT8 | Type::OID), _) => JsonKind::Integer,
        (&(Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC), _) => JsonKind::Number,
        (&(Type::JSON | Type::JSONB), _) => JsonKind::Json,
        // These two are arrays by kind but are written without braces.
        (&(Type::INT2_VECTOR | Type::OID_VECTOR), _) => JsonKind::String,
        (_, Kind::Array(element)) => JsonKind::Array(Box::new(json_kind(element))),
        _ => JsonKind::String,
    }
}

/// Returns the type that is sent where the database cannot infer a parameter declared with a JSON kind.
pub(crate) fn type_of_kind(kind: &JsonKind) -> Type {
    match kind {
        JsonKind::String => Type::TEXT,
        JsonKind::Integer => Type::INT8,
        JsonKind::Number => Type::NUMERIC,
        JsonKind::Boolean => Type::BOOL,
        JsonKind::Json => Type::JSONB,
        JsonKind::Array(element) => match element.as_ref() {
            JsonKind::Integer => Type::INT8_ARRAY,
            JsonKind::Number => Type::NUMERIC_ARRAY,
            JsonKind::Boolean => Type::BOOL_ARRAY,
            JsonKind::Json => Type::JSONB_ARRAY,
            JsonKind::String => Type::TEXT_ARRAY,
            nested @ JsonKind::Array(_) => type_of_kind(nested),
        },
    }
}

/// Returns a domain's type, any other as it is.
pub(crate) fn base(ty: &Type) -> &Type {
    match ty.kind() {
        Kind::Domain(inner) => base(inner),
        _ => ty,
    }
}

/// Returns the name people write: `int4[]` where the catalogue has `_int4`.
pub(crate) fn display_name(ty: &Type) -> String {
    match ty.kind() {
        Kind::Array(element) if ty.name().starts_with('_') => format!("{}[]", display_name(element)),
        _ => ty.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfamiliar_types_come_as_text_and_their_arrays_as_texts() {
        assert_eq!(Form::of(&Type::MACADDR).cast(), "::text");
        assert_eq!(Form::of(&Type::MACADDR_ARRAY).cast(), "::text[]");
        assert_eq!(Form::of(&Type::RECORD_ARRAY).cast(), "::text");
        assert_eq!(Form::of(&Type::INT8_ARRAY), Form::Native(Decoder::Array(Box::new(Decoder::Int8))));
        let domain = Type::new("d".into(), 90_000, Kind::Domain(Type::INT4), "public".into());
        assert_eq!(Form::of(&domain), Form::Native(Decoder::Int4));
    }

    #[test]
    fn parameters_tell_kind_range_and_name() {
        let parameter = parameter(&Type::INT4_ARRAY);
        assert_eq!(parameter.kind, JsonKind::Array(Box::new(JsonKind::Integer)));
        assert_eq!(parameter.name.as_deref(), Some("int4[]"));
        assert_eq!(super::parameter(&Type::INT2).range, Some((-32768, 32767)));
        assert_eq!(super::parameter(&Type::TIMESTAMPTZ).format, Some("date-time"));
    }
}
