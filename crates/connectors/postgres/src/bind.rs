//! Sends a value in the form the database wants: binary for plain numbers and text, else text that the server reads.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use postgres_types::{Field, Format, IsNull, Kind, ToSql, Type, to_sql_checked};
use trunkline_sql::Value;

use crate::types::{base, display_name, is_extension};

/// A value on its way into a statement. Its `Debug` hides it, because the driver writes parameters to its log.
pub(crate) struct Bound<'a>(pub(crate) &'a Value);

impl fmt::Debug for Bound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

/// Why a value cannot be sent as that type.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// Bytes travel as base64.
    #[error("the text is neither base64 nor `\\x` and hexadecimal digits, as a bytea is written")]
    NotBase64,
    /// A list for what is no array.
    #[error("a list was given for a parameter of type `{0}`, which is no array")]
    NoArray(String),
    /// An object for what has no members.
    #[error("an object was given for a parameter of type `{0}`, which has no members")]
    NoObject(String),
    /// A zero byte cannot be in any text of PostgreSQL.
    #[error("the text has a zero byte, which PostgreSQL cannot store")]
    ZeroByte,
}

/// How a value travels.
enum Way {
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Oid(u32),
    Float8(f64),
    /// Text whose binary form is the text itself.
    Bytes,
    /// Base64 text, decoded here.
    Base64,
    /// The type's own notation, read by the server.
    Notation,
}

fn way(value: &Value, ty: &Type) -> Way {
    match (value, base(ty)) {
        (Value::Null, _) => Way::Null,
        (Value::Boolean(value), &Type::BOOL) => Way::Bool(*value),
        (Value::Integer(value), &Type::INT8) => Way::Int8(*value),
        // What does not fit goes as text, and the server says so in its words.
        (Value::Integer(value), &Type::INT4) => i32::try_from(*value).map_or(Way::Notation, Way::Int4),
        (Value::Integer(value), &Type::INT2) => i16::try_from(*value).map_or(Way::Notation, Way::Int2),
        (Value::Integer(value), &Type::OID) => u32::try_from(*value).map_or(Way::Notation, Way::Oid),
        (Value::Float(value), &Type::FLOAT8) => Way::Float8(*value),
        (
            Value::Text(_),
            &(Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON),
        )
        | (Value::Json(_), &(Type::JSON | Type::TEXT | Type::VARCHAR)) => Way::Bytes,
        (Value::Text(text), &Type::BYTEA) if !text.starts_with("\\x") => Way::Base64,
        _ => Way::Notation,
    }
}

impl ToSql for Bound<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match way(self.0, ty) {
            Way::Null => return Ok(IsNull::Yes),
            Way::Bool(value) => out.put_u8(value.into()),
            Way::Int2(value) => out.put_i16(value),
            Way::Int4(value) => out.put_i32(value),
            Way::Int8(value) => out.put_i64(value),
            Way::Oid(value) => out.put_u32(value),
            Way::Float8(value) => out.put_f64(value),
            Way::Base64 => out.extend_from_slice(&bytes_of(self.0)?),
            Way::Bytes | Way::Notation => write_notation(self.0, base(ty), out)?,
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, ty: &Type) -> Format {
        match way(self.0, ty) {
            Way::Notation => Format::Text,
            _ => Format::Binary,
        }
    }

    to_sql_checked!();
}

fn bytes_of(value: &Value) -> Result<Vec<u8>, BindError> {
    let Value::Text(text) = value else { return Err(BindError::NotBase64) };
    STANDARD.decode(text).map_err(|_| BindError::NotBase64)
}

/// Appends a value in the type's own notation.
fn write_notation(value: &Value, ty: &Type, out: &mut BytesMut) -> Result<(), BindError> {
    match value {
        Value::Null => {}
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Integer(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
        Value::Float(value) => out.extend_from_slice(format!("{value:?}").as_bytes()),
        Value::Text(text) if *ty == Type::BYTEA && !text.starts_with("\\x") => {
            write_hex(&bytes_of(value)?, out);
        }
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => {
            // A text parameter would end at the zero byte.
            if text.as_bytes().contains(&0) {
                return Err(BindError::ZeroByte);
            }
            out.extend_from_slice(text.as_bytes());
        }
        Value::List(values) => write_list(values, ty, out)?,
        Value::Object(members) => write_object(members, ty, out)?,
    }
    Ok(())
}

/// Appends a list as the type writes one.
fn write_list(values: &[Value], ty: &Type, out: &mut BytesMut) -> Result<(), BindError> {
    match ty.kind() {
        // These two are arrays by kind and are written without braces.
        _ if matches!(*ty, Type::INT2_VECTOR | Type::OID_VECTOR) => write_plain(values, ["", " ", ""], out),
        Kind::Array(element) => write_array(values, element, out),
        _ if is_extension(ty, "vector") => write_plain(values, ["[", ",", "]"], out),
        _ => Err(BindError::NoArray(display_name(ty))),
    }
}

/// Appends numbers with something before, between and after.
fn write_plain(
    values: &[Value],
    [before, between, after]: [&str; 3],
    out: &mut BytesMut,
) -> Result<(), BindError> {
    out.extend_from_slice(before.as_bytes());
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(between.as_bytes());
        }
        write_notation(value, &Type::NUMERIC, out)?;
    }
    out.extend_from_slice(after.as_bytes());
    Ok(())
}

/// Appends `{1,NULL,"a"}`.
fn write_array(values: &[Value], element: &Type, out: &mut BytesMut) -> Result<(), BindError> {
    // The one type whose arrays are not split by commas.
    let delimiter = if *base(element) == Type::BOX { b';' } else { b',' };
    let is_nested = matches!(base(element).kind(), Kind::Array(_)) || is_extension(base(element), "vector");
    out.put_u8(b'{');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.put_u8(delimiter);
        }
        match value {
            Value::Null => out.extend_from_slice(b"NULL"),
            Value::List(inner) if !is_nested => write_array(inner, element, out)?,
            _ => write_quoted(value, base(element), Escape::Backslash, out)?,
        }
    }
    out.put_u8(b'}');
    Ok(())
}

/// Appends an object as the type writes one.
fn write_object(members: &[(String, Value)], ty: &Type, out: &mut BytesMut) -> Result<(), BindError> {
    match ty.kind() {
        Kind::Composite(fields) => write_composite(members, fields, out),
        _ if is_extension(ty, "hstore") => write_hstore(members, out),
        _ => Err(BindError::NoObject(display_name(ty))),
    }
}

/// Appends `(1,"a",)`. What is left out is null.
fn write_composite(
    members: &[(String, Value)],
    fields: &[Field],
    out: &mut BytesMut,
) -> Result<(), BindError> {
    out.put_u8(b'(');
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        match members.iter().find(|(name, _)| name == field.name()) {
            None | Some((_, Value::Null)) => {}
            Some((_, value)) => write_quoted(value, base(field.type_()), Escape::Twice, out)?,
        }
    }
    out.put_u8(b')');
    Ok(())
}

/// Appends `"a"=>"1", "b"=>NULL`.
fn write_hstore(members: &[(String, Value)], out: &mut BytesMut) -> Result<(), BindError> {
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        put_quoted(name.as_bytes(), Escape::Backslash, out)?;
        out.extend_from_slice(b"=>");
        match value {
            Value::Null => out.extend_from_slice(b"NULL"),
            value => write_quoted(value, &Type::TEXT, Escape::Backslash, out)?,
        }
    }
    Ok(())
}

/// How a quote or a backslash is written within quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    Backslash,
    Twice,
}

/// Appends a value that stands within another, in quotes where its notation may need them.
fn write_quoted(value: &Value, ty: &Type, escape: Escape, out: &mut BytesMut) -> Result<(), BindError> {
    match value {
        Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => write_notation(value, ty, out),
        Value::Text(text) if *ty != Type::BYTEA => put_quoted(text.as_bytes(), escape, out),
        Value::Decimal(text) | Value::Json(text) => put_quoted(text.as_bytes(), escape, out),
        _ => {
            let mut inner = BytesMut::new();
            write_notation(value, ty, &mut inner)?;
            put_quoted(&inner, escape, out)
        }
    }
}

fn put_quoted(text: &[u8], escape: Escape, out: &mut BytesMut) -> Result<(), BindError> {
    out.put_u8(b'"');
    for byte in text {
        match byte {
            0 => return Err(BindError::ZeroByte),
            b'"' | b'\\' if escape == Escape::Backslash => out.extend_from_slice(&[b'\\', *byte]),
            b'"' | b'\\' => out.extend_from_slice(&[*byte, *byte]),
            _ => out.put_u8(*byte),
        }
    }
    out.put_u8(b'"');
    Ok(())
}

fn write_hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    for byte in bytes {
        out.extend(
            [byte >> 4, byte & 15].iter().filter_map(|digit| DIGITS.get(usize::from(*digit))).copied(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(value: &Value, ty: &Type) -> (Vec<u8>, bool) {
        let mut out = BytesMut::new();
        Bound(value).to_sql(ty, &mut out).unwrap();
        (out.to_vec(), matches!(Bound(value).encode_format(ty), Format::Text))
    }

    #[test]
    fn numbers_that_fit_travel_binary_and_others_as_text() {
        assert_eq!(sent(&Value::Integer(1), &Type::INT4), (vec![0, 0, 0, 1], false));
        assert_eq!(sent(&Value::Integer(1 << 40), &Type::INT4), (b"1099511627776".to_vec(), true));
        assert_eq!(sent(&Value::Decimal("0.10".into()), &Type::NUMERIC), (b"0.10".to_vec(), true));
    }

    #[test]
    fn lists_are_written_with_every_element_quoted() {
        let list = Value::List(vec![Value::Text("a\"\\,{".into()), Value::Null, Value::Integer(2)]);
        assert_eq!(sent(&list, &Type::TEXT_ARRAY).0, br#"{"a\"\\,{",NULL,2}"#);
        let bytes = Value::List(vec![Value::Text("AP8=".into())]);
        assert_eq!(sent(&bytes, &Type::BYTEA_ARRAY).0, br#"{"\\x00ff"}"#);
        let mut out = BytesMut::new();
        assert!(Bound(&list).to_sql(&Type::INT4, &mut out).is_err());
    }

    #[test]
    fn no_value_shows_in_debug_output() {
        assert_eq!(format!("{:?}", Bound(&Value::Text("secret".into()))), "_");
    }
}
