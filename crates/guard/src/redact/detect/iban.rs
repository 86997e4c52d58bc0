//! International bank account numbers: a country of the registry, its length, and the check of ISO 13616 (mod 97).

use std::ops::Range;

use super::{before, is_word};

pub(super) fn find(bytes: &[u8], each: &mut dyn FnMut(Range<usize>)) {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 4) {
        let fits = matches!(head, [a, b, c, d] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit());
        if fits
            && !is_word(before(bytes, at))
            && let Some(end) = account(bytes, at)
        {
            each(at..end);
            at = end;
        } else {
            at += 1;
        }
    }
}

/// Returns where the account that begins at `start` ends.
fn account(bytes: &[u8], start: usize) -> Option<usize> {
    let country = bytes.get(start..start + 2)?.to_ascii_uppercase();
    let (_, length) = LENGTHS.iter().find(|(name, _)| name.as_bytes() == country)?;
    let mut digits = [0; MOST];
    let mut count = 0;
    let mut at = start;
    while count < *length {
        let byte = *bytes.get(at)?;
        if byte.is_ascii_alphanumeric() {
            *digits.get_mut(count)? = byte.to_ascii_uppercase();
            count += 1;
        } else if !(matches!(byte, b' ' | b'-') && before(bytes, at).is_some_and(u8::is_ascii_alphanumeric)) {
            return None;
        }
        at += 1;
    }
    let digits = digits.get(..count)?;
    (!is_word(bytes.get(at)) && is_checked(digits)).then_some(at)
}

/// The first four characters behind the others, letters as 10 to 35: the number leaves 1 when divided by 97.
fn is_checked(account: &[u8]) -> bool {
    let (head, rest) = account.split_at_checked(4).unwrap_or((&[], account));
    let left = rest.iter().chain(head).fold(0_u32, |left, byte| match byte {
        b'0'..=b'9' => (left * 10 + u32::from(byte - b'0')) % 97,
        _ => (left * 100 + u32::from(byte.wrapping_sub(b'A')) + 10) % 97,
    });
    left == 1
}

const MOST: usize = 34;

/// The lengths of the SWIFT IBAN registry, release 99, and of the countries that use the form without being in it.
const LENGTHS: [(&str, usize); 109] = [
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AO", 25),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BF", 28),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BJ", 28),
    ("BR", 29),
    ("BY", 28),
    ("CF", 27),
    ("CG", 27),
    ("CH", 21),
    ("CI", 28),
    ("CM", 27),
    ("CR", 22),
    ("CV", 25),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("DZ", 26),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GA", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GQ", 27),
    ("GR", 27),
    ("GT", 28),
    ("GW", 25),
    ("HN", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IR", 26),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KM", 27),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MA", 28),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MG", 27),
    ("MK", 19),
    ("ML", 28),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("MZ", 25),
    ("NE", 28),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SN", 28),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TD", 27),
    ("TG", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
];
