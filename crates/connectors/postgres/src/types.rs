//! How each PostgreSQL type travels: which decoder reads a column, what a JSON kind is sent as. [`crate::describe`] has its
//! schema.

use postgres_types::{Kind, Type};
use trunkline_sql::JsonKind;

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
    /// macaddr and macaddr8.
    Mac,
    /// bit and varbit.
    Bits,
    /// xid and cid: no numbers to calculate with.
    Xid,
    Xid8,
    Tid,
    Lsn,
    TsVector,
    Geometry(Geometry),
    /// A byte that tells the version, then text: jsonpath, and ltree with its queries.
    Versioned,
    /// An object of texts.
    HStore,
    /// pgvector's `vector`, a list of numbers.
    Vector,
    Range(Box<Decoder>),
    Multirange(Box<Decoder>),
    Array(Box<Decoder>),
    /// A row of a composite type: an object.
    Composite(Box<[Member]>),
}

/// The shapes that are made of floating-point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Geometry {
    Point,
    Line,
    Segment,
    Box,
    Path,
    Polygon,
    Circle,
}

/// A column of a composite type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: Box<str>,
    pub(crate) decoder: Decoder,
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

    /// Returns the form of a type where the driver cannot ask the catalogue what a number stands for: nothing is read from
    /// its binary form but the types that come with every server.
    pub(crate) fn of_pooled(ty: &Type) -> Self {
        if Type::from_oid(ty.oid()).is_some() {
            return Self::of(ty);
        }
        match base(ty).kind() {
            Kind::Array(element) if !matches!(element.kind(), Kind::Pseudo) => Self::CastToTexts,
            _ => Self::CastToText,
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
        Kind::Range(bound) => return bound_decoder(bound).map(|bound| Decoder::Range(Box::new(bound))),
        Kind::Multirange(bound) => {
            return bound_decoder(bound).map(|bound| Decoder::Multirange(Box::new(bound)));
        }
        Kind::Composite(fields) => {
            let members = fields.iter().map(|field| {
                let decoder = decoder(field.type_())?;
                Some(Member { name: field.name().into(), decoder })
            });
            return members.collect::<Option<_>>().map(Decoder::Composite);
        }
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
        | Type::REFCURSOR
        | Type::XML
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
        Type::MACADDR | Type::MACADDR8 => Decoder::Mac,
        Type::BIT | Type::VARBIT => Decoder::Bits,
        Type::XID | Type::CID => Decoder::Xid,
        Type::XID8 => Decoder::Xid8,
        Type::TID => Decoder::Tid,
        Type::PG_LSN => Decoder::Lsn,
        Type::TS_VECTOR => Decoder::TsVector,
        Type::JSONPATH => Decoder::Versioned,
        Type::POINT => Decoder::Geometry(Geometry::Point),
        Type::LINE => Decoder::Geometry(Geometry::Line),
        Type::LSEG => Decoder::Geometry(Geometry::Segment),
        Type::BOX => Decoder::Geometry(Geometry::Box),
        Type::PATH => Decoder::Geometry(Geometry::Path),
        Type::POLYGON => Decoder::Geometry(Geometry::Polygon),
        Type::CIRCLE => Decoder::Geometry(Geometry::Circle),
        _ => return extension(ty),
    })
}

/// Reads the types of extensions by their names, which are not to be had by number.
fn extension(ty: &Type) -> Option<Decoder> {
    if *ty.kind() != Kind::Simple || Type::from_oid(ty.oid()).is_some() {
        return None;
    }
    match ty.name() {
        "citext" => Some(Decoder::Text),
        "hstore" => Some(Decoder::HStore),
        "ltree" | "lquery" | "ltxtquery" => Some(Decoder::Versioned),
        "vector" => Some(Decoder::Vector),
        _ => None,
    }
}

/// Returns how the ends of a range are read, when their text is to be had from the bytes.
fn bound_decoder(ty: &Type) -> Option<Decoder> {
    let structured = |decoder: &Decoder| {
        matches!(
            decoder,
            Decoder::Json
                | Decoder::Jsonb
                | Decoder::Bytea
                | Decoder::HStore
                | Decoder::Vector
                | Decoder::Array(_)
                | Decoder::Composite(_)
        )
    };
    decoder(ty).filter(|decoder| !structured(decoder))
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
            JsonKind::Object(_) | JsonKind::Map(_) => Type::JSONB_ARRAY,
            nested @ JsonKind::Array(_) => type_of_kind(nested),
        },
        JsonKind::Object(_) | JsonKind::Map(_) => Type::JSONB,
    }
}

/// Returns a domain's type, any other as it is.
pub(crate) fn base(ty: &Type) -> &Type {
    match ty.kind() {
        Kind::Domain(inner) => base(inner),
        _ => ty,
    }
}

/// Whether it is a type of an extension with this name.
pub(crate) fn is_extension(ty: &Type, name: &str) -> bool {
    *ty.kind() == Kind::Simple && Type::from_oid(ty.oid()).is_none() && ty.name() == name
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
        assert_eq!(Form::of(&Type::MONEY).cast(), "::text");
        assert_eq!(Form::of(&Type::MONEY_ARRAY).cast(), "::text[]");
        assert_eq!(Form::of(&Type::RECORD_ARRAY).cast(), "::text");
        assert_eq!(Form::of(&Type::INT8_ARRAY), Form::Native(Decoder::Array(Box::new(Decoder::Int8))));
        let domain = Type::new("d".into(), 90_000, Kind::Domain(Type::INT4), "public".into());
        assert_eq!(Form::of(&domain), Form::Native(Decoder::Int4));
        assert_eq!(Form::of_pooled(&domain), Form::CastToText);
        assert_eq!(Form::of_pooled(&Type::INT4), Form::of(&Type::INT4));
    }
}
