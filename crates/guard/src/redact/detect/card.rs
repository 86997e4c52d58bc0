//! Numbers of payment cards: 13 to 19 digits with a prefix and length that a network issues, and the check digit of ISO/IEC 7812-1
//! (Luhn).
//!
//! Digits may be grouped by spaces, dashes or dots as cards are printed (4-4-4-4, 4-6-5, 6-13 and the like, or each alone). Not
//! counted: part of a longer number, a fraction, part of a hexadecimal digest.

use std::ops::Range;

use super::before;

const FEWEST: usize = 13;
const MOST: usize = 19;

/// A group of digits: where it stands.
type Group = Range<usize>;

pub(super) fn find(bytes: &[u8], each: &mut dyn FnMut(Range<usize>)) {
    let mut at = 0;
    let mut groups: Vec<Group> = Vec::with_capacity(8);
    while let Some(start) = next_digit(bytes, at) {
        at = run(bytes, start, &mut groups);
        let mut first = 0;
        while first < groups.len() {
            match card(bytes, &groups, first) {
                Some((range, after)) => {
                    each(range);
                    first = after;
                }
                None => first += 1,
            }
        }
    }
}

fn next_digit(bytes: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.iter().position(u8::is_ascii_digit).map(|at| from + at)
}

/// Gathers the groups of digits from `start` on that little stands between, and returns where to go on.
fn run(bytes: &[u8], start: usize, groups: &mut Vec<Group>) -> usize {
    groups.clear();
    let mut at = start;
    loop {
        let digits =
            bytes.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return at;
        }
        groups.push(at..at + digits);
        at += digits;
        let rest = bytes.get(at..).unwrap_or_default();
        let between = rest.iter().take(3).take_while(|byte| matches!(byte, b' ' | b'-' | b'.')).count();
        if between == 0 || !rest.get(between).is_some_and(u8::is_ascii_digit) {
            return at;
        }
        at += between;
    }
}

/// Returns the card that begins with a group, and the group after it.
fn card(bytes: &[u8], groups: &[Group], first: usize) -> Option<(Range<usize>, usize)> {
    let head = groups.get(first)?;
    let is_fraction = before(bytes, head.start) == Some(&b'.')
        && head.start.checked_sub(2).and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let mut digits = [0; MOST];
    let mut count = 0;
    for (number, group) in groups.iter().enumerate().skip(first) {
        let text = bytes.get(group.clone())?;
        digits.get_mut(count..count + text.len())?.copy_from_slice(text);
        count += text.len();
        let taken = groups.get(first..=number)?;
        let range = head.start..group.end;
        if count < FEWEST || !is_printed(taken) || (is_fraction && taken.len() < 4) {
            continue;
        }
        // A dot between few groups is that of a number with a fraction.
        if taken.len() < 4 && bytes.get(range.clone())?.contains(&b'.') {
            continue;
        }
        let digits = digits.get(..count)?;
        if is_issued(digits) && luhn(digits) && !is_hexadecimal(bytes, &range) {
            return Some((range, number + 1));
        }
    }
    None
}

/// Tells whether the groups are those of a printed card: one, or four to eight digits each but for the last, or single ones.
fn is_printed(groups: &[Group]) -> bool {
    let (last, others) = match groups.split_last() {
        Some(parts) => parts,
        None => return false,
    };
    others.iter().all(|group| (4..=8).contains(&group.len()))
        || groups.iter().all(|group| group.len() == 1) && last.len() == 1
}

/// Tells whether a network issues numbers of that prefix and length.
fn is_issued(digits: &[u8]) -> bool {
    let prefix = |length: usize| {
        digits.iter().take(length).fold(0_u32, |sum, digit| sum * 10 + u32::from(digit.wrapping_sub(b'0')))
    };
    let (two, three, four) = (prefix(2), prefix(3), prefix(4));
    let count = digits.len();
    match (two, count) {
        // Visa.
        (40..=49, 13 | 16 | 19) => true,
        // Mastercard.
        (51..=55, 16) => true,
        (22..=27, 16) if (2221..=2720).contains(&four) => true,
        // Mir.
        (22, 16..=19) if (2200..=2204).contains(&four) => true,
        // American Express.
        (34 | 37, 15) => true,
        // Diners Club.
        (36 | 38 | 39, 14..=19) => true,
        (30, 14..=19) => (300..=305).contains(&three) || four == 3095,
        // JCB.
        (35, 16..=19) => (3528..=3589).contains(&four),
        // Maestro, Discover, UnionPay, RuPay, Troy.
        (50 | 56..=58 | 60..=69, 13..=19) => true,
        (81 | 82, 16..=19) => true,
        (97, 16) => four == 9792,
        _ => false,
    }
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit.wrapping_sub(b'0'));
            if at % 2 == 0 { digit } else { digit * 2 - if digit > 4 { 9 } else { 0 } }
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != b'0')
}

/// Tells whether a number stands inside a long word of hexadecimal digits with letters, as digests and ids are.
fn is_hexadecimal(bytes: &[u8], range: &Range<usize>) -> bool {
    const LONG: usize = 24;
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit();
    let left =
        bytes.get(..range.start).unwrap_or_default().iter().rev().take(LONG).take_while(is_part).count();
    let right = bytes.get(range.end..).unwrap_or_default().iter().take(LONG).take_while(is_part).count();
    left + right > 0 && left + right + range.len() >= LONG
}
