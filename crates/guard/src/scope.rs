//! What a scope may look like, wherever one is written. RFC 6749 section 3.3.

/// Tells whether a text is one scope of at most `most` bytes: printable ASCII without space, `"` and `\`.
pub(crate) fn is_scope(text: &str, most: usize) -> bool {
    let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    (1..=most).contains(&text.len()) && text.bytes().all(fits)
}
