//! A strict one-pass JSON walker: checks the whole grammar, remembers where values stand, builds nothing.
//!
//! It refuses what `serde_json` refuses (the fuzz target compares both) and reports two things more that a server must
//! know before any guard reads the body: a repeated key anywhere, compared after unescaping, and nesting deeper than
//! [`MAX_DEPTH`]. Both are remembered rather than raised, so that the request's id can still be found and echoed.

pub use crate::token::{Kind, Span, Token, unescape};

/// The deepest nesting of objects and arrays that is accepted; the outermost object is level one.
pub const MAX_DEPTH: usize = 64;

/// Keys of one object up to this number are compared as they come; larger objects are sorted once at their end.
const COMPARED_AT_ONCE: usize = 24;

/// Where and why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct SyntaxError {
    /// The offset in bytes.
    pub at: usize,
    /// What was wrong there.
    pub what: &'static str,
}

/// A key met while walking an object.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The text between the quotes, as it stands.
    inner: Span,
    /// One past the index in the walker's list of unescaped keys; zero for a key without a backslash.
    unescaped: u32,
    /// Length, first and last byte of the text: keys that differ here differ, and nearly all do.
    sign: u32,
}

/// The walker over one text.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// The keys of all objects that are still open, innermost last.
    keys: Vec<Key>,
    unescaped: Vec<Box<str>>,
    repeated: Option<Span>,
    too_deep: bool,
}

impl<'a> Scanner<'a> {
    /// Starts at the beginning of `text`.
    ///
    /// # Errors
    /// [`SyntaxError`] when the text is longer than a span can tell (4 GiB).
    pub fn new(text: &'a str) -> Result<Self, SyntaxError> {
        if u32::try_from(text.len()).is_err() {
            return Err(SyntaxError { at: 0, what: "text of 4 GiB or more" });
        }
        Ok(Self {
            text,
            at: 0,
            depth: 0,
            keys: Vec::with_capacity(16),
            unescaped: Vec::new(),
            repeated: None,
            too_deep: false,
        })
    }

    /// Returns where the first repeated key stands, if one was met.
    #[must_use]
    pub fn repeated_key(&self) -> Option<Span> {
        self.repeated
    }

    /// Tells whether nesting deeper than [`MAX_DEPTH`] was met; what lies deeper was skipped, not checked.
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        self.too_deep
    }

    /// Returns the key's text, unescaped.
    #[must_use]
    pub fn key(&self, key: Key) -> &str {
        match key.unescaped {
            0 => key.inner.of_str(self.text),
            index => self.unescaped.get(index as usize - 1).map_or("", |text| text),
        }
    }

    /// Returns the key's text, unescaped, as bytes: cheaper to compare than [`key`](Self::key).
    #[must_use]
    pub fn key_bytes(&self, key: Key) -> &[u8] {
        match key.unescaped {
            0 => key.inner.of(self.text.as_bytes()),
            _ => self.key(key).as_bytes(),
        }
    }

    /// Returns where the text of the key stands, between its quotes and as it was written.
    #[must_use]
    pub fn key_span(&self, key: Key) -> Span {
        key.inner
    }

    /// Returns the text being walked.
    #[must_use]
    pub fn source(&self) -> &'a str {
        self.text
    }

    /// Walks one value of any kind and returns where it stands.
    ///
    /// # Errors
    /// [`SyntaxError`] where the text is not JSON.
    pub fn value(&mut self) -> Result<Token, SyntaxError> {
        self.space();
        let start = self.at;
        let kind = match self.peek() {
            b'"' => self.string()?,
            b'{' => self.members(|_, _| Ok(false))?,
            b'[' => self.elements(|_| Ok(false))?,
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.literal(b"true", Kind::Bool)?,
            b'f' => self.literal(b"false", Kind::Bool)?,
            b'n' => self.literal(b"null", Kind::Null)?,
            _ => return self.fail("expected a value"),
        };
        Ok(Token { span: span(start, self.at), kind })
    }

    /// Returns the first byte of the next value without moving past it; zero at the end.
    pub fn next_byte(&mut self) -> u8 {
        self.space();
        self.peek()
    }

    /// Returns the byte the walker stands at, which is the first of the value when a member is visited; zero at the end.
    #[must_use]
    pub fn ahead(&self) -> u8 {
        self.peek()
    }

    /// Returns the offset the walker stands at.
    #[must_use]
    pub fn position(&self) -> u32 {
        u32::try_from(self.at).unwrap_or(u32::MAX)
    }

    /// Walks an object, offering each key to `visit`, which walks the value itself and says `true`, or says `false` to
    /// have it walked.
    ///
    /// # Errors
    /// [`SyntaxError`] where the text is not JSON, and whatever `visit` raises.
    pub fn members<F>(&mut self, mut visit: F) -> Result<Kind, SyntaxError>
    where
        F: FnMut(&mut Self, Key) -> Result<bool, SyntaxError>,
    {
        if self.depth == MAX_DEPTH {
            return self.skip_container(Kind::Object);
        }
        self.expect(b'{', "expected `{`")?;
        self.depth += 1;
        let first = self.keys.len();
        self.space();
        if self.peek() == b'}' {
            self.at += 1;
        } else {
            loop {
                let key = self.member_key(first)?;
                if !visit(self, key)? {
                    self.value()?;
                }
                if self.ends(b'}', "expected `,` or `}`")? {
                    break;
                }
            }
        }
        if self.keys.len() - first > COMPARED_AT_ONCE {
            self.compare_sorted(first);
        }
        self.keys.truncate(first);
        self.depth -= 1;
        Ok(Kind::Object)
    }

    /// Walks an array; `visit` walks the element itself and says `true`, or says `false` to have it walked.
    ///
    /// # Errors
    /// [`SyntaxError`] where the text is not JSON, and whatever `visit` raises.
    pub fn elements<F>(&mut self, mut visit: F) -> Result<Kind, SyntaxError>
    where
        F: FnMut(&mut Self) -> Result<bool, SyntaxError>,
    {
        if self.depth == MAX_DEPTH {
            return self.skip_container(Kind::Array);
        }
        self.expect(b'[', "expected `[`")?;
        self.depth += 1;
        self.space();
        if self.peek() == b']' {
            self.at += 1;
        } else {
            loop {
                if !visit(self)? {
                    self.value()?;
                }
                if self.ends(b']', "expected `,` or `]`")? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(Kind::Array)
    }

    /// Makes sure that nothing but white space follows.
    ///
    /// # Errors
    /// [`SyntaxError`] when something does.
    pub fn end(&mut self) -> Result<(), SyntaxError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.fail("unexpected text after the value") }
    }

    fn member_key(&mut self, first: usize) -> Result<Key, SyntaxError> {
        self.space();
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        if self.peek() != b'"' {
            return self.fail("expected a key in double quotes");
        }
        let end = plain_end(bytes, start);
        let mut key = Key { inner: span(start, end), unescaped: 0, sign: sign(bytes, start, end) };
        if bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
        } else {
            self.escaped_key(&mut key)?;
        }
        let known = self.keys.get(first..).unwrap_or_default();
        if known.len() < COMPARED_AT_ONCE && known.iter().any(|other| other.sign == key.sign) {
            self.compare(first, key);
        }
        self.keys.push(key);
        self.space();
        self.expect(b':', "expected `:`")?;
        self.space();
        Ok(key)
    }

    /// Walks the rest of a key with a backslash in it, and keeps its text.
    #[cold]
    fn escaped_key(&mut self, key: &mut Key) -> Result<(), SyntaxError> {
        self.string()?;
        key.inner.end = u32::try_from(self.at - 1).unwrap_or(u32::MAX);
        let text = unescape(key.inner.of_str(self.text)).into_boxed_str();
        key.sign = sign(text.as_bytes(), 0, text.len());
        self.unescaped.push(text);
        key.unescaped = u32::try_from(self.unescaped.len()).unwrap_or(u32::MAX);
        Ok(())
    }

    /// Compares a key with those before it that look like it.
    #[cold]
    fn compare(&mut self, first: usize, key: Key) {
        let known = self.keys.get(first..).unwrap_or_default();
        let same = |other: &Key| other.sign == key.sign && self.key_bytes(*other) == self.key_bytes(key);
        if known.iter().any(same) {
            self.repeated.get_or_insert(key.inner);
        }
    }

    /// Finds a repeated key in a large object in `n log n`, so that a hostile one costs no more than its length.
    fn compare_sorted(&mut self, first: usize) {
        let mut sorted: Vec<(&str, Span)> = self
            .keys
            .get(first..)
            .unwrap_or_default()
            .iter()
            .map(|key| (self.key(*key), key.inner))
            .collect();
        sorted.sort_unstable_by_key(|(text, _)| *text);
        let found = sorted.windows(2).find_map(|pair| match pair {
            [(left, _), (right, span)] if left == right => Some(*span),
            _ => None,
        });
        if let Some(span) = found {
            self.repeated.get_or_insert(span);
        }
    }

    fn ends(&mut self, close: u8, what: &'static str) -> Result<bool, SyntaxError> {
        self.space();
        let byte = self.peek();
        if byte == b',' || byte == close {
            self.at += 1;
            return Ok(byte == close);
        }
        self.fail(what)
    }

    /// Passes over a container that is nested too deep, by counting brackets outside strings and without recursion.
    fn skip_container(&mut self, kind: Kind) -> Result<Kind, SyntaxError> {
        self.too_deep = true;
        let mut open = 0_usize;
        loop {
            match self.peek() {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                0 if self.at >= self.text.len() => return self.fail("unexpected end"),
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Ok(kind);
            }
        }
    }

    /// Walks a string, eight bytes at a time while nothing in it needs a look.
    fn string(&mut self) -> Result<Kind, SyntaxError> {
        self.at += 1;
        let mut kind = Kind::String;
        loop {
            self.at = plain_end(self.text.as_bytes(), self.at);
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(kind);
                }
                b'\\' => {
                    kind = Kind::EscapedString;
                    self.escape()?;
                }
                _ if self.at >= self.text.len() => return self.fail("unexpected end of a string"),
                _ => return self.fail("control character in a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Ok(())
            }
            b'u' => match self.unit()? {
                0xD800..=0xDBFF => {
                    if self.peek() != b'\\' {
                        return self.fail("unpaired surrogate");
                    }
                    self.at += 1;
                    if self.peek() != b'u' || !(0xDC00..=0xDFFF).contains(&self.unit()?) {
                        return self.fail("unpaired surrogate");
                    }
                    Ok(())
                }
                0xDC00..=0xDFFF => self.fail("unpaired surrogate"),
                _ => Ok(()),
            },
            _ => self.fail("unknown escape"),
        }
    }

    /// Reads `uXXXX`, standing on the `u`.
    fn unit(&mut self) -> Result<u32, SyntaxError> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5).unwrap_or_default();
        if digits.len() < 4 {
            return self.fail("unexpected end of an escape");
        }
        let mut unit = 0;
        for byte in digits {
            let Some(digit) = char::from(*byte).to_digit(16) else {
                return self.fail("expected four hexadecimal digits");
            };
            unit = unit * 16 + digit;
        }
        self.at += 5;
        Ok(unit)
    }

    fn number(&mut self) -> Result<Kind, SyntaxError> {
        let mut kind = Kind::Integer;
        if self.peek() == b'-' {
            self.at += 1;
        }
        match self.peek() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return self.fail("expected a digit"),
        }
        if self.peek() == b'.' {
            kind = Kind::Float;
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            kind = Kind::Float;
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(kind)
    }

    fn some_digits(&mut self) -> Result<(), SyntaxError> {
        if !self.peek().is_ascii_digit() {
            return self.fail("expected a digit");
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Result<Kind, SyntaxError> {
        if self.text.as_bytes().get(self.at..self.at + word.len()) == Some(word) {
            self.at += word.len();
            return Ok(kind);
        }
        self.fail("expected a value")
    }

    #[inline]
    fn space(&mut self) {
        // White space sorts below everything else that may come: one comparison where there is none.
        if self.peek() <= b' ' {
            self.skip_space();
        }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), SyntaxError> {
        if self.peek() == byte {
            self.at += 1;
            return Ok(());
        }
        self.fail(what)
    }

    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn fail<T>(&self, what: &'static str) -> Result<T, SyntaxError> {
        Err(SyntaxError { at: self.at, what })
    }
}

/// Returns the first place from `at` on where a string needs a look: its end, a backslash, a control character, or the
/// end of the text. Eight bytes at a time.
pub(crate) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (chunks, _) = bytes.get(at..).unwrap_or_default().as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let back = word ^ (ONES * b'\\' as u64);
        let found = ((quote.wrapping_sub(ONES) & !quote)
            | (back.wrapping_sub(ONES) & !back)
            | (word.wrapping_sub(ONES * 0x20) & !word))
            & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| *byte != b'"' && *byte != b'\\' && *byte >= 0x20) {
        at += 1;
    }
    at
}

/// Length, first and last byte of the text from `start` to `end`: keys that differ here differ, and nearly all do.
fn sign(bytes: &[u8], start: usize, end: usize) -> u32 {
    let at = |place: usize| u32::from(bytes.get(place).copied().unwrap_or(0));
    let length = u32::try_from((end - start) & 0xFFFF).unwrap_or(0);
    // An empty key is its length alone.
    if length == 0 && end == start { 0 } else { length << 16 | at(start) << 8 | at(end - 1) }
}

fn span(start: usize, end: usize) -> Span {
    // `Scanner::new` made sure that every offset fits.
    Span { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests;
