//! Where a value stands in a text and of which kind it is, and how a string is read from there.

use std::borrow::Cow;

/// A stretch of the scanned text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// Returns the bytes the span covers; empty when it does not fit `bytes`.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Returns how many bytes it covers.
    #[must_use]
    pub fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Tells whether it covers nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns the text the span covers; empty when it does not fit `text`.
    #[must_use]
    pub fn of_str(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// What kind of value stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names are JSON's own")]
pub enum Kind {
    /// The member does not occur.
    #[default]
    Absent,
    Null,
    Bool,
    /// A number without fraction and exponent, of any size.
    Integer,
    /// A number with a fraction or an exponent.
    Float,
    /// A string without any backslash.
    String,
    /// A string that has to be unescaped to be read.
    EscapedString,
    Array,
    Object,
}

impl Kind {
    /// Returns the kind in the words of a sentence about what was found: `a string`.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Integer | Self::Float => "a number",
            Self::String | Self::EscapedString => "a string",
            Self::Array => "a list",
            Self::Object => "an object",
        }
    }
}

/// A value: where it stands (quotes and brackets included) and of which kind it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Token {
    /// Where it stands.
    pub span: Span,
    /// Of which kind it is.
    pub kind: Kind,
}

impl Token {
    /// Tells whether the member occurs, be it as `null`.
    #[must_use]
    pub fn is_present(self) -> bool {
        self.kind != Kind::Absent
    }

    /// Tells whether the member is absent or `null`.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        matches!(self.kind, Kind::Absent | Kind::Null)
    }

    /// Tells whether it is a string.
    #[must_use]
    pub fn is_string(self) -> bool {
        matches!(self.kind, Kind::String | Kind::EscapedString)
    }

    /// Returns the value's bytes as they stand in `bytes`.
    #[must_use]
    pub fn raw(self, bytes: &[u8]) -> &[u8] {
        self.span.of(bytes)
    }

    /// Returns the unescaped bytes of a string value, `None` for any other kind. They are UTF-8, as the text was.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self.kind {
            Kind::String => {
                let raw = self.raw(bytes);
                raw.get(1..raw.len().checked_sub(1)?).map(Cow::Borrowed)
            }
            _ => self.text(bytes).map(|text| Cow::Owned(text.into_owned().into_bytes())),
        }
    }

    /// Returns the unescaped text of a string value, `None` for any other kind.
    #[must_use]
    pub fn text(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        let raw = self.raw(bytes);
        let inner = std::str::from_utf8(raw.get(1..raw.len().checked_sub(1)?)?).ok()?;
        match self.kind {
            Kind::String => Some(Cow::Borrowed(inner)),
            Kind::EscapedString => Some(Cow::Owned(unescape(inner))),
            _ => None,
        }
    }
}

/// Unescapes the inside of a JSON string that [`Scanner`](crate::json::Scanner) accepted.
#[must_use]
pub fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let (character, used) = unescape_unicode(after);
                out.push(character);
                rest = after.get(used..).unwrap_or_default();
                continue;
            }
            Some(other) => out.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

/// Reads `uXXXX` or `uXXXX\uXXXX` and returns the character and how many bytes it took.
fn unescape_unicode(text: &str) -> (char, usize) {
    let unit = |from: usize| {
        text.get(from..from + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0xFFFD)
    };
    let high = unit(1);
    if !(0xD800..=0xDBFF).contains(&high) {
        return (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 5);
    }
    let low = unit(7);
    let code = 0x10000 + ((high - 0xD800) << 10) + low.saturating_sub(0xDC00);
    (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 11)
}
