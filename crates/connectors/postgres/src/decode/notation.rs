//! Writes the types that have no form in JSON in PostgreSQL's own notation, from their binary forms.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::{Reader, numeric, time};
use crate::types::{Decoder, Geometry};

/// Appends a value in the notation of its type; `None` when the bytes are none, or of a type that is written otherwise.
pub(super) fn write(raw: &[u8], decoder: &Decoder, out: &mut String) -> Option<()> {
    match decoder {
        Decoder::Bool => out.push(if *raw.first()? == 0 { 'f' } else { 't' }),
        Decoder::Int2 => return whole(i16::from_be_bytes(raw.try_into().ok()?), out),
        Decoder::Int4 => return whole(i32::from_be_bytes(raw.try_into().ok()?), out),
        Decoder::Int8 => return whole(i64::from_be_bytes(raw.try_into().ok()?), out),
        Decoder::Oid | Decoder::Xid => return whole(u32::from_be_bytes(raw.try_into().ok()?), out),
        Decoder::Xid8 => return whole(u64::from_be_bytes(raw.try_into().ok()?), out),
        Decoder::Float4 => {
            let value = f32::from_be_bytes(raw.try_into().ok()?);
            return float(value.into(), &format!("{value:e}"), 6, out);
        }
        Decoder::Float8 => return double(f64::from_be_bytes(raw.try_into().ok()?), out),
        Decoder::Numeric => {
            numeric::write(raw, out)?;
        }
        Decoder::Text => out.push_str(std::str::from_utf8(raw).ok()?),
        Decoder::Versioned => out.push_str(versioned(raw)?),
        Decoder::Char => return char(*raw.first()?, out),
        Decoder::Uuid => return uuid(raw.try_into().ok()?, out),
        Decoder::Network => return network(raw, out),
        Decoder::Mac => return mac(raw, out),
        Decoder::Bits => return bits(raw, out),
        Decoder::Tid => {
            let mut reader = Reader(raw);
            let block = u32::from_be_bytes(reader.take(4)?.try_into().ok()?);
            return write!(out, "({block},{})", reader.u16()?).ok();
        }
        Decoder::Lsn => {
            let place = u64::from_be_bytes(raw.try_into().ok()?);
            return write!(out, "{:X}/{:X}", place >> 32, place & 0xffff_ffff).ok();
        }
        Decoder::TsVector => return lexemes(raw, out),
        Decoder::Geometry(shape) => return geometry(raw, *shape, out),
        Decoder::Range(bound) => return range(raw, bound, out),
        Decoder::Multirange(bound) => return multirange(raw, bound, out),
        _ => return time::write(raw, decoder, out),
    }
    Some(())
}

fn whole(number: impl itoa::Integer, out: &mut String) -> Option<()> {
    out.push_str(itoa::Buffer::new().format(number));
    Some(())
}

/// Returns the text behind the byte that tells the version of its form. There is one version so far.
pub(super) fn versioned(raw: &[u8]) -> Option<&str> {
    match raw.split_first()? {
        (1, text) => std::str::from_utf8(text).ok(),
        _ => None,
    }
}

/// As PostgreSQL 16 writes `"char"`: nothing for zero, octal for what is no ASCII.
fn char(byte: u8, out: &mut String) -> Option<()> {
    match byte {
        0 => Some(()),
        1..=0x7f => {
            out.push(char::from(byte));
            Some(())
        }
        _ => write!(out, "\\{byte:03o}").ok(),
    }
}

fn uuid(bytes: [u8; 16], out: &mut String) -> Option<()> {
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
fn network(raw: &[u8], out: &mut String) -> Option<()> {
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

fn mac(raw: &[u8], out: &mut String) -> Option<()> {
    for (at, byte) in raw.iter().enumerate() {
        write!(out, "{}{byte:02x}", if at == 0 { "" } else { ":" }).ok()?;
    }
    matches!(raw.len(), 6 | 8).then_some(())
}

/// How many bits, then the bits from the highest of each byte down.
fn bits(raw: &[u8], out: &mut String) -> Option<()> {
    let mut reader = Reader(raw);
    let mut left = usize::try_from(reader.i32()?).ok()?;
    if reader.0.len() != left.div_ceil(8) {
        return None;
    }
    out.reserve(left);
    for byte in reader.0 {
        let count = left.min(8);
        out.extend((0..count).map(|at| if byte << at & 0x80 == 0 { '0' } else { '1' }));
        left -= count;
    }
    Some(())
}

/// How many lexemes; then for each its text, a zero, how many places it stands at, and these with their weights.
fn lexemes(raw: &[u8], out: &mut String) -> Option<()> {
    let mut reader = Reader(raw);
    for at in 0..reader.i32()? {
        let end = reader.0.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(reader.take(end)?).ok()?;
        reader.take(1)?;
        out.push_str(if at == 0 { "'" } else { " '" });
        for letter in text.chars() {
            if matches!(letter, '\'' | '\\') {
                out.push(letter);
            }
            out.push(letter);
        }
        out.push('\'');
        for at in 0..reader.u16()? {
            let place = reader.u16()?;
            let weight = match place >> 14 {
                3 => "A",
                2 => "B",
                1 => "C",
                _ => "",
            };
            let before = if at == 0 { ':' } else { ',' };
            write!(out, "{before}{}{weight}", place & 0x3fff).ok()?;
        }
    }
    Some(())
}

// ---- numbers and shapes ----

fn double(value: f64, out: &mut String) -> Option<()> {
    float(value, &format!("{value:e}"), 15, out)
}

/// Appends the shortest digits that read back, with an exponent from `large` on. `scientific` has the same digits.
fn float(value: f64, scientific: &str, large: i32, out: &mut String) -> Option<()> {
    if !value.is_finite() {
        out.push_str(match (value.is_nan(), value > 0.0) {
            (true, _) => "NaN",
            (_, true) => "Infinity",
            _ => "-Infinity",
        });
        return Some(());
    }
    let (digits, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    if exponent < -4 || exponent >= large {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs()).ok();
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits: String = digits.chars().filter(|digit| *digit != '.').collect();
    out.push_str(sign);
    let Ok(whole) = usize::try_from(exponent) else {
        let zeros = usize::try_from(-exponent - 1).ok()?;
        return write!(out, "0.{:0<zeros$}{digits}", "").ok();
    };
    match digits.split_at_checked(whole + 1) {
        Some((whole, "")) => out.push_str(whole),
        Some((whole, fraction)) => write!(out, "{whole}.{fraction}").ok()?,
        None => write!(out, "{digits:0<width$}", width = whole + 1).ok()?,
    }
    Some(())
}

fn geometry(raw: &[u8], shape: Geometry, out: &mut String) -> Option<()> {
    let mut reader = Reader(raw);
    match shape {
        Geometry::Point => points(&mut reader, 1, out),
        Geometry::Box => points(&mut reader, 2, out),
        Geometry::Segment => surrounded('[', ']', out, |out| points(&mut reader, 2, out)),
        Geometry::Line => surrounded('{', '}', out, |out| numbers(&mut reader, 3, out)),
        Geometry::Circle => surrounded('<', '>', out, |out| {
            points(&mut reader, 1, out)?;
            out.push(',');
            numbers(&mut reader, 1, out)
        }),
        Geometry::Path => {
            let (open, close) = if reader.take(1)? == [0] { ('[', ']') } else { ('(', ')') };
            let count = reader.i32()?;
            surrounded(open, close, out, |out| points(&mut reader, count, out))
        }
        Geometry::Polygon => {
            let count = reader.i32()?;
            surrounded('(', ')', out, |out| points(&mut reader, count, out))
        }
    }
}

fn surrounded(
    open: char,
    close: char,
    out: &mut String,
    write: impl FnOnce(&mut String) -> Option<()>,
) -> Option<()> {
    out.push(open);
    write(out)?;
    out.push(close);
    Some(())
}

fn points(reader: &mut Reader<'_>, count: i32, out: &mut String) -> Option<()> {
    for at in 0..count {
        out.push_str(if at == 0 { "(" } else { ",(" });
        numbers(reader, 2, out)?;
        out.push(')');
    }
    Some(())
}

fn numbers(reader: &mut Reader<'_>, count: i32, out: &mut String) -> Option<()> {
    for at in 0..count {
        if at > 0 {
            out.push(',');
        }
        double(f64::from_be_bytes(reader.take(8)?.try_into().ok()?), out)?;
    }
    Some(())
}

// ---- ranges ----

const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// What kind of ends it has, then the length and the bytes of each end that is not infinite.
fn range(raw: &[u8], bound: &Decoder, out: &mut String) -> Option<()> {
    let mut reader = Reader(raw);
    let flags = *reader.take(1)?.first()?;
    if flags & EMPTY != 0 {
        out.push_str("empty");
        return Some(());
    }
    out.push(if flags & LOWER_INCLUSIVE != 0 { '[' } else { '(' });
    if flags & LOWER_INFINITE == 0 {
        end_of_range(&mut reader, bound, out)?;
    }
    out.push(',');
    if flags & UPPER_INFINITE == 0 {
        end_of_range(&mut reader, bound, out)?;
    }
    out.push(if flags & UPPER_INCLUSIVE != 0 { ']' } else { ')' });
    Some(())
}

fn end_of_range(reader: &mut Reader<'_>, bound: &Decoder, out: &mut String) -> Option<()> {
    let size = usize::try_from(reader.i32()?).ok()?;
    let from = out.len();
    write(reader.take(size)?, bound, out)?;
    if matches!(bound, Decoder::Timestamp | Decoder::TimestampTz) {
        as_in_postgresql(from, out);
    }
    quote_from(from, out);
    Some(())
}

/// Turns a time in RFC 3339 into PostgreSQL's own notation.
fn as_in_postgresql(from: usize, out: &mut String) {
    if let Some(at) = out.get(from..).and_then(|text| text.find('T')) {
        out.replace_range(from + at..=from + at, " ");
    }
    if out.ends_with('Z') {
        out.pop();
        out.push_str("+00");
    }
}

/// Puts what was written from there on into quotes where the notation of ranges asks for it.
fn quote_from(from: usize, out: &mut String) {
    let text = out.get(from..).unwrap_or_default();
    let special = |byte: u8| {
        matches!(byte, b'"' | b'\\' | b'(' | b')' | b'[' | b']' | b',')
            || byte.is_ascii_whitespace()
            || byte == 0x0b
    };
    if !text.is_empty() && !text.bytes().any(special) {
        return;
    }
    if text.contains(['"', '\\']) {
        let doubled = text.replace('\\', "\\\\").replace('"', "\"\"");
        out.replace_range(from.., &doubled);
    }
    out.insert(from, '"');
    out.push('"');
}

fn multirange(raw: &[u8], bound: &Decoder, out: &mut String) -> Option<()> {
    let mut reader = Reader(raw);
    let count = reader.i32()?;
    surrounded('{', '}', out, |out| {
        for at in 0..count {
            if at > 0 {
                out.push(',');
            }
            let size = usize::try_from(reader.i32()?).ok()?;
            range(reader.take(size)?, bound, out)?;
        }
        Some(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(raw: &[u8], decoder: &Decoder) -> String {
        let mut out = String::new();
        write(raw, decoder, &mut out).unwrap();
        out
    }

    #[test]
    fn a_uuid_is_written_in_groups() {
        let raw = 0x7f9c24e5_2a31_4d0b_9c8e_5b6a7d8e9f01_u128.to_be_bytes();
        assert_eq!(text(&raw, &Decoder::Uuid), "7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f01");
    }

    #[test]
    fn floats_have_exponents_where_postgresql_writes_them() {
        for (value, expected) in [
            (1.5, "1.5"),
            (-0.0, "-0"),
            (100.0, "100"),
            (123_456.75, "123456.75"),
            (0.000_123, "0.000123"),
            (0.000_012_3, "1.23e-05"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (-1.25e300, "-1.25e+300"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(&f64::to_be_bytes(value), &Decoder::Float8), expected);
        }
        assert_eq!(text(&1e6_f32.to_be_bytes(), &Decoder::Float4), "1e+06");
    }

    #[test]
    fn ends_of_ranges_are_quoted_where_they_must_be() {
        let mut raw = vec![LOWER_INCLUSIVE];
        for end in ["a\"b", ""] {
            raw.extend(u32::try_from(end.len()).unwrap().to_be_bytes());
            raw.extend(end.as_bytes());
        }
        assert_eq!(text(&raw, &Decoder::Range(Box::new(Decoder::Text))), r#"["a""b","")"#);
        assert_eq!(text(&[EMPTY], &Decoder::Range(Box::new(Decoder::Int4))), "empty");
        let open = [LOWER_INFINITE | UPPER_INFINITE];
        assert_eq!(text(&open, &Decoder::Range(Box::new(Decoder::Int4))), "(,)");
        let mut out = "2024-01-01T00:00:00Z".to_owned();
        as_in_postgresql(0, &mut out);
        assert_eq!(out, "2024-01-01 00:00:00+00");
    }

    #[test]
    fn cut_bytes_are_no_value() {
        for decoder in [
            Decoder::Bits,
            Decoder::Tid,
            Decoder::Lsn,
            Decoder::Mac,
            Decoder::TsVector,
            Decoder::Geometry(Geometry::Path),
            Decoder::Range(Box::new(Decoder::Int4)),
            Decoder::Multirange(Box::new(Decoder::Int4)),
        ] {
            assert_eq!(write(&[0, 0, 0, 9, 1], &decoder, &mut String::new()), None, "{decoder:?}");
            assert_eq!(write(&[], &decoder, &mut String::new()), None, "{decoder:?}");
        }
    }
}
