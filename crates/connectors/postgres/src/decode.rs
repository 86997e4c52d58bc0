//! Writes a row from PostgreSQL's binary form straight into [`Rows`].

mod numeric;
mod time;

use std::error::Error;
use std::fmt::Write as _;
use std::net::IpAddr;

use postgres_types::{FromSql, Type};
use tokio_postgres::Row;
use trunkline_sql::{DatabaseError, Rows};

use crate::types::Decoder;

/// A result column: its name and how it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnPlan {
    pub(crate) name: String,
    pub(crate) decoder: Decoder,
}

/// Writes one row. `number` counts from 1 and `scratch` is reused from cell to cell.
///
/// # Errors
/// [`DatabaseError::Encoding`] naming row and column.
pub(crate) fn write_row<W: Rows>(
    row: &Row,
    number: usize,
    columns: &[ColumnPlan],
    scratch: &mut String,
    rows: &mut W,
) -> Result<std::ops::ControlFlow<()>, DatabaseError> {
    rows.begin_row();
    for (at, column) in columns.iter().enumerate() {
        let written = match row.try_get::<_, Raw<'_>>(at) {
            Ok(Raw(None)) => {
                rows.null();
                Some(())
            }
            Ok(Raw(Some(bytes))) => write_cell(bytes, &column.decoder, scratch, rows),
            Err(_) => None,
        };
        if written.is_none() {
            let message = format!(
                "row {number}, column `{}`: the database sent bytes that are no such value",
                column.name
            );
            return Err(DatabaseError::Encoding { message });
        }
    }
    Ok(rows.end_row())
}

/// Hands out the bytes of a cell as they came.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Writes one value; `None` when the bytes are not one of that type.
fn write_cell<W: Rows>(raw: &[u8], decoder: &Decoder, scratch: &mut String, rows: &mut W) -> Option<()> {
    scratch.clear();
    match decoder {
        Decoder::Bool => rows.boolean(*raw.first()? != 0),
        Decoder::Int2 => rows.integer(i16::from_be_bytes(raw.try_into().ok()?).into()),
        Decoder::Int4 => rows.integer(i32::from_be_bytes(raw.try_into().ok()?).into()),
        Decoder::Int8 => rows.integer(i64::from_be_bytes(raw.try_into().ok()?)),
        Decoder::Oid => rows.integer(u32::from_be_bytes(raw.try_into().ok()?).into()),
        Decoder::Float4 => rows.float4(f32::from_be_bytes(raw.try_into().ok()?)),
        Decoder::Float8 => rows.float(f64::from_be_bytes(raw.try_into().ok()?)),
        Decoder::Text => rows.text(std::str::from_utf8(raw).ok()?),
        Decoder::Bytea => rows.binary(raw),
        Decoder::Json => rows.json(std::str::from_utf8(raw).ok()?),
        Decoder::Jsonb => match raw.split_first()? {
            (1, json) => rows.json(std::str::from_utf8(json).ok()?),
            _ => return None,
        },
        Decoder::Array(element) => write_array(raw, element, scratch, rows)?,
        Decoder::Char => {
            write_char(*raw.first()?, scratch)?;
            rows.text(scratch);
        }
        Decoder::Numeric => match numeric::write(raw, scratch)? {
            numeric::Kind::Finite => rows.decimal(scratch),
            numeric::Kind::Special => rows.plain(scratch),
        },
        Decoder::Uuid => {
            write_uuid(raw.try_into().ok()?, scratch)?;
            rows.plain(scratch);
        }
        Decoder::Network => {
            write_network(raw, scratch)?;
            rows.plain(scratch);
        }
        Decoder::Date
        | Decoder::Time
        | Decoder::TimeTz
        | Decoder::Timestamp
        | Decoder::TimestampTz
        | Decoder::Interval => {
            time::write(raw, decoder, scratch)?;
            rows.plain(scratch);
        }
    }
    Some(())
}

fn write_uuid(bytes: [u8; 16], out: &mut String) -> Option<()> {
    let value = u128::from_be_bytes(bytes);
    let group = |shift: u32, digits: u32| (value >> shift) & ((1_u128 << (digits * 4)) - 1);
    write!(
        out,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        group(96, 8),
        group(80, 4),
        group(64, 4),
        group(48, 4),
        group(0, 12)
    )
    .ok()
}

/// Family, bits of the mask, whether it is a cidr, length, address. An inet without a mask is written without one.
fn write_network(raw: &[u8], out: &mut String) -> Option<()> {
    let [_, bits, is_cidr, _, address @ ..] = raw else { return None };
    let (address, most): (IpAddr, u8) = match <[u8; 4]>::try_from(address) {
        Ok(address) => (address.into(), 32),
        Err(_) => (<[u8; 16]>::try_from(address).ok()?.into(), 128),
    };
    write!(out, "{address}").ok()?;
    if *is_cidr != 0 || *bits != most {
        write!(out, "/{bits}").ok()?;
    }
    Some(())
}

/// As PostgreSQL 16 writes `"char"`: nothing for zero, octal for what is no ASCII.
fn write_char(byte: u8, out: &mut String) -> Option<()> {
    match byte {
        0 => Some(()),
        1..=0x7f => {
            out.push(char::from(byte));
            Some(())
        }
        _ => write!(out, "\\{byte:03o}").ok(),
    }
}

/// An array's header: dimensions, whether it has nulls, element type; then length and lower bound of each dimension.
fn write_array<W: Rows>(raw: &[u8], element: &Decoder, scratch: &mut String, rows: &mut W) -> Option<()> {
    let mut reader = Reader(raw);
    let count = usize::try_from(reader.i32()?).ok()?;
    reader.i32()?;
    reader.i32()?;
    if count == 0 {
        rows.begin_list();
        rows.end_list();
        return Some(());
    }
    // PostgreSQL itself allows six.
    let mut lengths = [0_usize; MAX_DIMENSIONS];
    let lengths = lengths.get_mut(..count)?;
    for length in lengths.iter_mut() {
        *length = usize::try_from(reader.i32()?).ok()?;
        reader.i32()?;
    }
    write_dimension(&mut reader, lengths, element, scratch, rows)
}

fn write_dimension<W: Rows>(
    reader: &mut Reader<'_>,
    lengths: &[usize],
    element: &Decoder,
    scratch: &mut String,
    rows: &mut W,
) -> Option<()> {
    let (length, inner) = lengths.split_first()?;
    rows.begin_list();
    for _ in 0..*length {
        if !inner.is_empty() {
            write_dimension(reader, inner, element, scratch, rows)?;
            continue;
        }
        match reader.i32()? {
            -1 => rows.null(),
            size => write_cell(reader.take(usize::try_from(size).ok()?)?, element, scratch, rows)?,
        }
    }
    rows.end_list();
    Some(())
}

/// Takes big-endian numbers from the front of some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take(8)?.try_into().ok().map(i64::from_be_bytes)
    }
}

/// PostgreSQL's own `MAXDIM`.
const MAX_DIMENSIONS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_written_in_groups() {
        let mut out = String::new();
        write_uuid(0x7f9c24e5_2a31_4d0b_9c8e_5b6a7d8e9f01_u128.to_be_bytes(), &mut out).unwrap();
        assert_eq!(out, "7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f01");
    }
}
