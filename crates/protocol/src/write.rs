//! Writing JSON text into a growing buffer: strings with their escapes, and whole messages around raw members.

use crate::code::Code;
use crate::json::plain_end;

/// Appends `text` as a JSON string, quotes included.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text.as_bytes());
    out.push(b'"');
}

/// Appends `text` with the escapes a JSON string needs, without quotes. `text` is UTF-8.
///
/// Line and paragraph separators (U+2028, U+2029) stay as they are: JSON allows them, and no edge splits lines on them.
pub fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut from = 0;
    loop {
        let at = plain_end(text, from);
        out.extend_from_slice(text.get(from..at).unwrap_or_default());
        let Some(byte) = text.get(at) else { return };
        from = at + 1;
        match escape_of(*byte) {
            Some(b'u') => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            Some(short) => out.extend_from_slice(&[b'\\', short]),
            None => out.push(*byte),
        }
    }
}

/// Tells whether a JSON string has to escape something in `text`.
#[must_use]
pub fn needs_escape(text: &[u8]) -> bool {
    plain_end(text, 0) < text.len()
}

/// Returns the letter after the backslash, `u` for a numeric escape, `None` where none is needed.
const fn escape_of(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        8 => Some(b'b'),
        9 => Some(b't'),
        10 => Some(b'n'),
        12 => Some(b'f'),
        13 => Some(b'r'),
        0..=31 => Some(b'u'),
        _ => None,
    }
}

/// Appends a JSON-RPC error message. `id` is the id's raw JSON, `None` when it could not be read; `data` is raw JSON.
pub fn error(out: &mut Vec<u8>, id: Option<&[u8]>, code: Code, message: &str, data: Option<&[u8]>) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","#);
    if let Some(id) = id {
        out.extend_from_slice(br#""id":"#);
        out.extend_from_slice(id);
        out.push(b',');
    }
    out.extend_from_slice(br#""error":{"code":"#);
    out.extend_from_slice(code.0.to_string().as_bytes());
    out.extend_from_slice(br#","message":"#);
    string(out, message);
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(data);
    }
    out.extend_from_slice(b"}}");
}

/// Tells whether JSON text holds a line break, which can only stand outside strings.
#[must_use]
pub fn has_line_break(text: &[u8]) -> bool {
    memchr::memchr2(b'\n', b'\r', text).is_some()
}

/// Drops line breaks outside strings, where raw bytes enter a line of stdio or an event of a stream. Inside strings JSON
/// has none. Other bytes are kept exactly.
pub fn without_line_breaks(text: &mut Vec<u8>) {
    if has_line_break(text) {
        text.retain(|byte| *byte != b'\n' && *byte != b'\r');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_error_without_an_id_has_no_id_member() {
        let mut out = Vec::new();
        error(&mut out, None, Code::PARSE_ERROR, "a \"b\"", None);
        assert_eq!(out, br#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"a \"b\""}}"#);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn strings_read_back(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
