//! Telephone numbers in the forms people write, told from ids and dates.
//!
//! Counted: `+` and 8 to 15 digits (E.164), grouped in any way; `00` and the same, grouped; the North American form with its rules
//! for area and exchange (`(555) 234-5678`, `1-555-234-5678`); a national number that begins with `0`, has 9 to 11 digits and is
//! grouped (`030 1234567`, `06 12 34 56 78`). Digits that nothing groups are an id unless a word like `tel` or `phone` stands
//! before them, or names what holds them. Not counted: dates, decimal numbers, parts of longer words like `ORD-555-234-5678`.

use std::ops::Range;

use super::before;

pub(super) fn find(bytes: &[u8], key: &str, each: &mut dyn FnMut(Range<usize>)) {
    let is_named = names_phone(key.as_bytes());
    let mut at = 0;
    while let Some(start) = next(bytes, at) {
        let number = Number::read(bytes, start);
        at = number.end.max(start + 1);
        let (from, to) = (number.start(bytes), number.end);
        if stands_alone(bytes, from, to) && number.is_phone(bytes, is_named || says_phone(bytes, from)) {
            each(from..to);
        }
    }
}

/// Returns where the next number may begin: at a plus, an opening bracket before a digit, or a digit.
fn next(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let at = rest.iter().enumerate().position(|(at, byte)| match byte {
        b'0'..=b'9' => true,
        b'+' | b'(' => rest
            .get(at + 1)
            .is_some_and(|next| next.is_ascii_digit() || (*byte == b'+' && matches!(next, b'(' | b' '))),
        _ => false,
    })?;
    Some(from + at)
}

/// Digits with what groups them, as far as one number may go.
struct Number {
    first: usize,
    end: usize,
    plus: bool,
    digits: [u8; MOST],
    count: usize,
    /// The lengths of the groups.
    groups: [usize; GROUPS],
    grouped: usize,
    /// What groups them: only dots, and only one of them, is a decimal number.
    dots: usize,
    others: usize,
}

const MOST: usize = 15;
const GROUPS: usize = 8;

impl Number {
    fn read(bytes: &[u8], start: usize) -> Self {
        let mut number = Self {
            first: start,
            end: start,
            plus: bytes.get(start) == Some(&b'+'),
            digits: [0; MOST],
            count: 0,
            groups: [0; GROUPS],
            grouped: 0,
            dots: 0,
            others: 0,
        };
        let mut at = start + usize::from(number.plus);
        let mut too_long = false;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits > 0 {
                too_long |= !number.add(rest.get(..digits).unwrap_or_default());
                at += digits;
                number.end = at;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let between = rest.iter().take(4).take_while(|byte| b" -.()/\t".contains(byte)).count();
            let goes_on = rest.get(between).is_some_and(u8::is_ascii_digit);
            if (between == 0 && digits == 0) || !goes_on {
                break;
            }
            if number.count > 0 {
                let dots =
                    rest.get(..between).unwrap_or_default().iter().filter(|byte| **byte == b'.').count();
                number.dots += dots;
                number.others += between - dots;
            }
            at += between;
        }
        if too_long {
            number.count = 0;
        }
        number
    }

    /// Adds a group; `false` when there are more digits or groups than a number has.
    fn add(&mut self, group: &[u8]) -> bool {
        let (Some(slot), Some(digits)) =
            (self.groups.get_mut(self.grouped), self.digits.get_mut(self.count..self.count + group.len()))
        else {
            return false;
        };
        *slot = group.len();
        digits.copy_from_slice(group);
        self.grouped += 1;
        self.count += group.len();
        true
    }

    /// Where it begins with its opening bracket.
    fn start(&self, bytes: &[u8]) -> usize {
        if before(bytes, self.first) == Some(&b'(') { self.first - 1 } else { self.first }
    }

    fn is_phone(&self, bytes: &[u8], is_named: bool) -> bool {
        let digits = self.digits.get(..self.count).unwrap_or_default();
        let groups = self.groups.get(..self.grouped).unwrap_or_default();
        if digits.len() < 7 || is_date(groups, digits) {
            return false;
        }
        let is_grouped = groups.len() > 1 && !(self.dots == 1 && self.others == 0);
        if self.plus {
            return digits.len() >= 8 && digits.first() != Some(&b'0');
        }
        if is_named {
            return true;
        }
        if !is_grouped {
            return false;
        }
        match digits {
            [b'0', b'0', b'1'..=b'9', ..] => (10..=15).contains(&digits.len()),
            [b'0', b'1'..=b'9', ..] => {
                (9..=11).contains(&digits.len()) && groups.first().is_some_and(|first| *first >= 2)
            }
            [b'1', rest @ ..] if rest.len() == 10 => is_american(rest) && groups == [1, 3, 3, 4],
            _ => digits.len() == 10 && is_american(digits) && groups == [3, 3, 4] && self.is_even(bytes),
        }
    }

    /// Tells whether one sign groups all, as `555-234-5678` has it, or the area stands in brackets.
    fn is_even(&self, bytes: &[u8]) -> bool {
        let text = bytes.get(self.start(bytes)..self.end).unwrap_or_default();
        let has = |sign: u8| text.contains(&sign);
        text.first() == Some(&b'(')
            || [b' ', b'-', b'.', b'/'].into_iter().filter(|sign| has(*sign)).count() == 1
    }
}

/// North American Numbering Plan: area and exchange begin with 2 to 9, and neither is a service like 911.
fn is_american(digits: &[u8]) -> bool {
    let is_code = |at: usize| match digits.get(at..at + 3) {
        Some([first, second, third]) => (b'2'..=b'9').contains(first) && !(*second == b'1' && *third == b'1'),
        _ => false,
    };
    is_code(0) && is_code(3)
}

/// `2026-11-26`, `26.11.2026`, `26/11/2026`, and a time behind.
fn is_date(groups: &[usize], digits: &[u8]) -> bool {
    let number = |from: usize, length: usize| {
        digits
            .get(from..from + length)
            .unwrap_or_default()
            .iter()
            .fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'))
    };
    let is_year = |year: u32| (1800..=2200).contains(&year);
    match groups {
        [4, 2, 2, ..] => {
            is_year(number(0, 4)) && (1..=12).contains(&number(4, 2)) && (1..=31).contains(&number(6, 2))
        }
        [2, 2, 4, ..] => is_year(number(4, 4)) && number(0, 2) <= 31 && number(2, 2) <= 31,
        _ => false,
    }
}

/// Tells whether nothing around makes it part of something longer.
fn stands_alone(bytes: &[u8], start: usize, end: usize) -> bool {
    let joins = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80 || b"_#@".contains(byte))
    };
    let left = before(bytes, start);
    let right = bytes.get(end);
    if joins(left) || joins(right) || matches!(left, Some(b'-' | b'.' | b'/' | b'$')) {
        return false;
    }
    // `1,555.20` and `12:30` are no numbers to call.
    let goes_on = |sign: Option<&u8>, next: Option<&u8>| {
        matches!(sign, Some(b',' | b':' | b'.' | b'-')) && next.is_some_and(u8::is_ascii_digit)
    };
    !goes_on(right, bytes.get(end + 1))
        && !goes_on(left.filter(|_| start > 1), start.checked_sub(2).and_then(|at| bytes.get(at)))
}

/// Tells whether a word for a telephone stands right before.
fn says_phone(bytes: &[u8], at: usize) -> bool {
    let from = at.saturating_sub(24);
    let text = bytes.get(from..at).unwrap_or_default();
    let text = text.trim_ascii_end();
    let word = text
        .iter()
        .rev()
        .skip_while(|byte| b" :=.\"'#".contains(byte))
        .take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'_');
    let mut word: Vec<u8> = word.copied().collect();
    word.reverse();
    names_phone(&word)
}

/// Tells whether a name is that of a telephone number: `phone`, `work_phone`, `mobileNumber`, `fax`.
fn names_phone(name: &[u8]) -> bool {
    const WORDS: [&[u8]; 9] =
        [b"phone", b"tel", b"mobile", b"fax", b"cell", b"msisdn", b"handy", b"whatsapp", b"telefon"];
    if name.is_empty() || name.len() > 64 {
        return false;
    }
    let mut words = super::name::words(name);
    words.any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
        || [&b"phone"[..], b"telefon"].iter().any(|part| contains(name, part))
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    name.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}
