//! The text forms of something sealed: PEM with lines of 64 characters (RFC 7468, strict), and base64 on one line.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::OpenError;

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";
const COLUMNS: usize = 64;

/// Base64 of what every file begins with.
const LINE: &[u8] = b"YWdlLWVuY3J5cHRpb24ub3Jn";

pub(super) fn line(sealed: &[u8]) -> String {
    STANDARD.encode(sealed)
}

pub(super) fn write(sealed: &[u8]) -> String {
    let text = STANDARD.encode(sealed);
    let mut out = String::with_capacity(text.len() + text.len() / COLUMNS + 80);
    out.push_str(BEGIN);
    out.push('\n');
    let mut rest = text.as_str();
    while let Some((line, after)) =
        rest.split_at_checked(COLUMNS.min(rest.len())).filter(|(line, _)| !line.is_empty())
    {
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(END);
    out.push('\n');
    out
}

/// Returns the binary form of whichever form it is.
pub(super) fn read(sealed: &[u8]) -> Result<Cow<'_, [u8]>, OpenError> {
    if sealed.starts_with(LINE) {
        return STANDARD.decode(sealed.trim_ascii_end()).map(Cow::Owned).map_err(|_| OpenError::Malformed);
    }
    match sealed.trim_ascii_start().starts_with(BEGIN.as_bytes()) {
        true => armored(sealed).map(Cow::Owned).ok_or(OpenError::Malformed),
        false => Ok(Cow::Borrowed(sealed)),
    }
}

fn armored(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    (lines.next()? == BEGIN).then_some(())?;
    let mut inner = String::with_capacity(text.len());
    let mut is_last = false;
    for line in lines {
        if line == END {
            // All that is left would have been trimmed, unless it is no space.
            let decoded = STANDARD.decode(&inner).ok();
            return decoded.filter(|_| text.ends_with(END) && text.matches(END).count() == 1);
        }
        if is_last || line.is_empty() || line.len() > COLUMNS {
            return None;
        }
        is_last = line.len() < COLUMNS;
        inner.push_str(line);
    }
    None
}
