//! Sends a value in the form the database wants: binary for plain numbers and text, else text that the server reads.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use postgres_types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};
use trunkline_sql::Value;

use crate::types::{base, display_name};

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
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => {
            // A text parameter would end at the zero byte.
            if text.as_bytes().contains(&0) {
                return Err(BindError::ZeroByte);
            }
            out.extend_from_slice(text.as_bytes());
        }
        Value::List(values) => {
            let Kind::Array(element) = ty.kind() else { return Err(BindError::NoArray(display_name(ty))) };
            write_list(values, element, out)?;
        }
    }
    Ok(())
}

/// Appends `{1,NULL,"a"}`.
fn write_list(values: &[Value], element: &Type, out: &mut BytesMut) -> Result<(), BindError> {
    // The one type whose arrays are not split by commas.
    let delimiter = if *element == Type::BOX { b';' } else { b',' };
    out.put_u8(b'{');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.put_u8(delimiter);
        }
        match value {
            Value::Null => out.extend_from_slice(b"NULL"),
            Value::List(inner) => write_list(inner, element, out)?,
            Value::Text(text) if *base(element) == Type::BYTEA && !text.starts_with("\\x") => {
                write_hex(&bytes_of(value)?, out);
            }
            Value::Decimal(text) | Value::Text(text) | Value::Json(text) => write_quoted(text, out)?,
            Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => write_notation(value, element, out)?,
        }
    }
    out.put_u8(b'}');
    Ok(())
}

fn write_quoted(text: &str, out: &mut BytesMut) -> Result<(), BindError> {
    out.put_u8(b'"');
    for byte in text.bytes() {
        match byte {
            0 => return Err(BindError::ZeroByte),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => out.put_u8(byte),
        }
    }
    out.put_u8(b'"');
    Ok(())
}

/// A backslash within the quotes of an array is written twice.
fn write_hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\"\\\\x");
    for byte in bytes {
        out.extend(
            [byte >> 4, byte & 15].iter().filter_map(|digit| DIGITS.get(usize::from(*digit))).copied(),
        );
    }
    out.put_u8(b'"');
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
