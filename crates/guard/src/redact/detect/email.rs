//! Addresses of electronic mail: a local part, `@` or `%40`, and a domain with a dot whose last label is no number.
//!
//! Not counted: names without a dot (`root@localhost`), and `package@1.2.3`. RFC 5321 4.1.2 and 4.5.3.1; letters of other scripts
//! are taken as RFC 6531 has them.

use std::ops::Range;

use super::before;

const MOST_LOCAL: usize = 64;
const MOST_DOMAIN: usize = 253;

pub(super) fn find(bytes: &[u8], each: &mut dyn FnMut(Range<usize>)) {
    let mut end = 0;
    let mut from = 0;
    while let Some((at, width)) = sign(bytes, from) {
        from = at + width;
        // What an address before took is not looked at again, so that the whole is linear.
        let Some(start) = local(bytes, at, end) else { continue };
        let Some(stop) = domain(bytes, at + width) else { continue };
        each(start..stop);
        end = stop;
    }
}

/// Returns the next `@` or `%40`, and its width.
fn sign(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let rest = bytes.get(from..)?;
    let at = rest.iter().enumerate().position(|(at, byte)| match byte {
        b'@' => true,
        b'%' => rest.get(at + 1..at + 3) == Some(b"40"),
        _ => false,
    })?;
    Some((from + at, if rest.get(at) == Some(&b'@') { 1 } else { 3 }))
}

fn local(bytes: &[u8], at: usize, floor: usize) -> Option<usize> {
    let floor = floor.max(at.saturating_sub(MOST_LOCAL));
    if before(bytes, at) == Some(&b'"') {
        let quoted = bytes.get(floor..at - 1)?;
        return quoted.iter().rposition(|byte| *byte == b'"').map(|quote| floor + quote);
    }
    let mut start = at;
    while start > floor && before(bytes, start).is_some_and(|byte| is_local(*byte)) {
        start -= 1;
    }
    // What may stand in a local part seldom begins one: `(`, a quote or a slash is of the text around.
    let first =
        bytes.get(start..at)?.iter().position(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)?;
    Some(start + first)
}

/// `atext` of RFC 5322 3.2.3 and the dot.
fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b".!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// Returns where the domain ends that begins at `from`.
fn domain(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let rest = rest.get(..MOST_DOMAIN).unwrap_or(rest);
    let is_label = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte >= 0x80;
    let mut end = None;
    let mut at = 0;
    let mut labels = 0;
    loop {
        let label = rest.get(at..)?;
        let length = label.iter().take_while(|byte| is_label(byte)).count();
        let label = label.get(..length)?;
        if length == 0 || label.first() == Some(&b'-') {
            break;
        }
        labels += 1;
        at += length;
        // A sentence may end in a dash or a dot; a domain does not.
        let trimmed = label.iter().rev().take_while(|byte| **byte == b'-').count();
        if labels > 1 && length - trimmed >= 2 && !label.iter().all(u8::is_ascii_digit) {
            end = Some(at - trimmed);
        }
        if trimmed > 0 || rest.get(at) != Some(&b'.') {
            break;
        }
        at += 1;
    }
    end.map(|end| from + end)
}
