//! Writes `numeric` from its binary form: groups of four digits, every digit and the scale kept.

use std::fmt::Write as _;

use super::{Reader, digits};

/// What kind of number it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Digits.
    Finite,
    /// `NaN`, `Infinity` or `-Infinity`.
    Special,
}

/// Appends a number's digits; `None` when the bytes are no `numeric`.
pub(super) fn write(raw: &[u8], out: &mut String) -> Option<Kind> {
    let mut reader = Reader(raw);
    let count = i32::from(reader.u16()?);
    // How many groups before the decimal point, less one; negative for small fractions. The cast keeps the bits.
    let weight = i32::from(i16::from_be_bytes(reader.u16()?.to_be_bytes()));
    let sign = reader.u16()?;
    let scale = usize::from(reader.u16()?);
    match sign {
        POSITIVE => {}
        NEGATIVE => out.push('-'),
        NAN => out.push_str("NaN"),
        INFINITY => out.push_str("Infinity"),
        NEGATIVE_INFINITY => out.push_str("-Infinity"),
        _ => return None,
    }
    if !matches!(sign, POSITIVE | NEGATIVE) {
        return Some(Kind::Special);
    }
    let mut groups = Groups { reader, left: count };
    if weight < 0 {
        out.push('0');
    } else {
        write!(out, "{}", groups.next()?).ok()?;
        for _ in 0..weight {
            digits(groups.next()?.into(), 1000, out);
        }
    }
    if scale == 0 {
        return Some(Kind::Finite);
    }
    out.push('.');
    let from = out.len();
    // A weight of -2 has one group of zeros between the point and the first digit.
    for _ in weight..-1 {
        out.push_str("0000");
    }
    while out.len() - from < scale {
        digits(groups.next()?.into(), 1000, out);
    }
    out.truncate(from + scale);
    Some(Kind::Finite)
}

/// The groups that are there, then zeros: trailing groups of zeros are not sent.
struct Groups<'a> {
    reader: Reader<'a>,
    left: i32,
}

impl Groups<'_> {
    fn next(&mut self) -> Option<u16> {
        if self.left <= 0 {
            return Some(0);
        }
        self.left -= 1;
        self.reader.u16()
    }
}

const POSITIVE: u16 = 0;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &[u16]) -> String {
        let raw: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let mut out = String::new();
        write(&raw, &mut out).unwrap();
        out
    }

    #[test]
    fn digits_and_scale_are_kept() {
        assert_eq!(text(&[1, 0xffff, 0, 2, 1000]), "0.10");
        assert_eq!(text(&[1, 1, NEGATIVE, 0, 12]), "-120000");
        assert_eq!(text(&[1, 0xfffe, 0, 8, 5]), "0.00000005");
        assert_eq!(text(&[0, 0, 0, 3]), "0.000");
        assert_eq!(text(&[2, 0, 0, 1, 1, 5000]), "1.5");
        assert_eq!(text(&[0, 0, NAN, 0]), "NaN");
    }
}
