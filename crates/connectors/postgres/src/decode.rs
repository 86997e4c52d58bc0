//! Writes a row from PostgreSQL's binary form straight into [`Rows`].

mod notation;
mod numeric;
mod time;

use std::error::Error;

use postgres_types::{FromSql, Type};
use tokio_postgres::Row;
use trunkline_sql::{DatabaseError, Rows};

use crate::statement::columns_changed;
use crate::types::{Decoder, Member};

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
            Ok(Raw(Some(bytes))) => match write_cell(bytes, &column.decoder, scratch, rows) {
                None if is_altered(bytes, &column.decoder) => return Err(columns_changed()),
                written => written,
            },
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

/// Whether a composite type has more or fewer columns than it had when the statement was prepared.
fn is_altered(raw: &[u8], decoder: &Decoder) -> bool {
    match decoder {
        Decoder::Composite(members) => {
            Reader(raw).i32().and_then(|count| usize::try_from(count).ok()) != Some(members.len())
        }
        _ => false,
    }
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
        Decoder::Composite(members) => write_composite(raw, members, scratch, rows)?,
        Decoder::HStore => write_hstore(raw, rows)?,
        Decoder::Vector => write_vector(raw, rows)?,
        Decoder::Versioned => rows.text(notation::versioned(raw)?),
        Decoder::Char | Decoder::TsVector | Decoder::Range(_) | Decoder::Multirange(_) => {
            notation::write(raw, decoder, scratch)?;
            rows.text(scratch);
        }
        Decoder::Numeric => match numeric::write(raw, scratch)? {
            numeric::Kind::Finite => rows.decimal(scratch),
            numeric::Kind::Special => rows.plain(scratch),
        },
        Decoder::Uuid
        | Decoder::Network
        | Decoder::Mac
        | Decoder::Bits
        | Decoder::Xid
        | Decoder::Xid8
        | Decoder::Tid
        | Decoder::Lsn
        | Decoder::Geometry(_) => {
            notation::write(raw, decoder, scratch)?;
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

/// A row of a composite type: how many columns, then for each its type and value. Dropped columns are not sent.
fn write_composite<W: Rows>(
    raw: &[u8],
    members: &[Member],
    scratch: &mut String,
    rows: &mut W,
) -> Option<()> {
    let mut reader = Reader(raw);
    if usize::try_from(reader.i32()?).ok()? != members.len() {
        return None;
    }
    rows.begin_object();
    for member in members {
        rows.key(&member.name);
        reader.i32()?;
        match reader.sized()? {
            None => rows.null(),
            Some(raw) => write_cell(raw, &member.decoder, scratch, rows)?,
        }
    }
    rows.end_object();
    Some(())
}

/// An hstore: how many pairs, then each key and its value, which may be null.
fn write_hstore<W: Rows>(raw: &[u8], rows: &mut W) -> Option<()> {
    let mut reader = Reader(raw);
    let count = reader.i32()?;
    rows.begin_object();
    for _ in 0..count {
        rows.key(std::str::from_utf8(reader.sized()??).ok()?);
        match reader.sized()? {
            None => rows.null(),
            Some(value) => rows.text(std::str::from_utf8(value).ok()?),
        }
    }
    rows.end_object();
    Some(())
}

/// A vector of pgvector: its dimension, two bytes of no meaning, its numbers.
fn write_vector<W: Rows>(raw: &[u8], rows: &mut W) -> Option<()> {
    let mut reader = Reader(raw);
    let count = usize::from(reader.u16()?);
    reader.u16()?;
    let (numbers, rest) = reader.0.as_chunks::<4>();
    if numbers.len() != count || !rest.is_empty() {
        return None;
    }
    rows.begin_list();
    for number in numbers {
        rows.float4(f32::from_be_bytes(*number));
    }
    rows.end_list();
    Some(())
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
        match reader.sized()? {
            None => rows.null(),
            Some(raw) => write_cell(raw, element, scratch, rows)?,
        }
    }
    rows.end_list();
    Some(())
}

/// Appends a number with leading zeros, its first digit counting so many; without the formatting machinery, since dates and numerics are all digits.
fn digits(number: i64, mut first: i64, out: &mut String) {
    while first > 0 {
        // One decimal digit fits.
        out.push(u8::try_from(number / first % 10).map_or('0', |digit| char::from(b'0' + digit)));
        first /= 10;
    }
}

/// Takes big-endian numbers from the front of some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes a length and so many bytes; `Some(None)` for the length of null.
    fn sized(&mut self) -> Option<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Some(None),
            size => self.take(usize::try_from(size).ok()?).map(Some),
        }
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
mod tests;
