//! SQL text cut into lexemes as the lexers of PostgreSQL and SQLite cut it, as far as finding parameters needs it.

use crate::database::Dialect;

/// What a stretch of SQL text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// White space or a comment.
    Space,
    /// A keyword or an unquoted name.
    Word,
    /// A quoted name, quotes included.
    Name,
    /// A string of any form, quotes included.
    String,
    /// A number.
    Number,
    /// A parameter's colon with the word after it.
    Parameter,
    /// `$1`, `?1`, and in SQLite `?`, `@a` and `$a`.
    Positional,
    /// Anything else: one character, or `::` and `:=`.
    Punctuation,
}

/// A stretch of SQL text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lexeme {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A string, name or comment without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unterminated {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
    pub(crate) end: &'static str,
}

/// Walks the text; every byte belongs to exactly one lexeme.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    dialect: Dialect,
    /// The kind of the last lexeme that is no space.
    last: Option<Kind>,
    /// Where the last lexeme that is no space ended.
    last_end: usize,
    /// The last byte of that lexeme.
    last_byte: u8,
    /// The brackets and parentheses that are open, innermost last.
    open: Vec<u8>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str, dialect: Dialect) -> Self {
        Self { text, at: 0, dialect, last: None, last_end: 0, last_byte: 0, open: Vec::new() }
    }

    /// Returns the next lexeme, `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Lexeme>, Unterminated> {
        let start = self.at;
        let Some(first) = self.byte(0) else { return Ok(None) };
        let kind = self.lexeme(first)?;
        if kind != Kind::Space {
            self.last = Some(kind);
            self.last_end = self.at;
            self.last_byte = self.text.as_bytes().get(self.at.saturating_sub(1)).copied().unwrap_or(0);
        }
        Ok(Some(Lexeme { kind, start, end: self.at }))
    }

    fn lexeme(&mut self, first: u8) -> Result<Kind, Unterminated> {
        match first {
            _ if first.is_ascii_whitespace() || first == 0x0b => Ok(self.take_while(Kind::Space, is_space)),
            b'-' if self.byte(1) == Some(b'-') => {
                // PostgreSQL ends a comment at a carriage return too.
                let goes_on = if self.is_sqlite() {
                    |byte| byte != b'\n'
                } else {
                    |byte| !matches!(byte, b'\n' | b'\r')
                };
                Ok(self.take_while(Kind::Space, goes_on))
            }
            b'/' if self.byte(1) == Some(b'*') => self.comment(),
            b'\'' => self.quoted(b'\'', Kind::String, "string", "'"),
            b'"' => self.quoted(b'"', Kind::Name, "quoted name", "\""),
            b'`' if self.is_sqlite() => self.quoted(b'`', Kind::Name, "quoted name", "`"),
            b'[' if self.is_sqlite() => self.bracketed(),
            b'$' => self.dollar(),
            b'?' => Ok(self.question()),
            b'@' if self.is_sqlite() && self.byte(1).is_some_and(is_word) => {
                self.at += 1;
                Ok(self.take_while(Kind::Positional, is_word))
            }
            b':' => Ok(self.colon()),
            b'0'..=b'9' => Ok(self.number()),
            b'.' if self.byte(1).is_some_and(|byte| byte.is_ascii_digit()) && self.last_byte != b'.' => {
                Ok(self.number())
            }
            _ if is_word_start(first) => self.word(),
            _ => Ok(self.punctuation(first)),
        }
    }

    fn word(&mut self) -> Result<Kind, Unterminated> {
        let start = self.at;
        self.take_while(Kind::Word, is_word);
        let word = self.text.get(start..self.at).unwrap_or_default();
        match (self.byte(0), word) {
            (Some(b'\''), "e" | "E") if !self.is_sqlite() => self.escape_string(),
            (Some(b'\''), "b" | "B" | "x" | "X" | "n" | "N") => {
                self.quoted(b'\'', Kind::String, "string", "'")
            }
            (Some(b'&'), "u" | "U") if !self.is_sqlite() => match self.byte(1) {
                Some(b'\'') => {
                    self.at += 1;
                    self.quoted(b'\'', Kind::String, "string", "'")
                }
                Some(b'"') => {
                    self.at += 1;
                    self.quoted(b'"', Kind::Name, "quoted name", "\"")
                }
                _ => Ok(Kind::Word),
            },
            _ => Ok(Kind::Word),
        }
    }

    /// A string or name in which the quote is doubled to stand for itself.
    fn quoted(
        &mut self,
        quote: u8,
        kind: Kind,
        what: &'static str,
        end: &'static str,
    ) -> Result<Kind, Unterminated> {
        let at = self.at;
        self.at += 1;
        loop {
            match self.byte(0) {
                None => return Err(Unterminated { at, what, end }),
                Some(byte) if byte == quote => {
                    self.at += 1;
                    if self.byte(0) != Some(quote) {
                        return Ok(kind);
                    }
                    self.at += 1;
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// `E'...'`, where a backslash takes the next character along; also in what goes on behind a line break.
    fn escape_string(&mut self) -> Result<Kind, Unterminated> {
        let at = self.at;
        self.at += 1;
        loop {
            match self.byte(0) {
                None => return Err(Unterminated { at, what: "string", end: "'" }),
                Some(b'\\') => self.at = (self.at + 2).min(self.text.len()),
                Some(b'\'') => {
                    self.at += 1;
                    if self.byte(0) == Some(b'\'') {
                        self.at += 1;
                    } else if let Some(next) = self.continuation() {
                        self.at = next;
                    } else {
                        return Ok(Kind::String);
                    }
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// Returns the byte behind the quote with which a string goes on: PostgreSQL joins strings that only white space with a
    /// line break stands between.
    fn continuation(&self) -> Option<usize> {
        let mut at = self.at;
        let mut breaks = false;
        loop {
            let rest = self.text.as_bytes().get(at..)?;
            match rest {
                [b'\'', ..] if breaks => return Some(at + 1),
                [b'-', b'-', ..] => {
                    at += rest.iter().take_while(|byte| !matches!(byte, b'\n' | b'\r')).count()
                }
                [byte, ..] if is_space(*byte) => {
                    breaks |= matches!(byte, b'\n' | b'\r');
                    at += 1;
                }
                _ => return None,
            }
        }
    }

    /// `[x]` of SQLite, which has no escape for `]`.
    fn bracketed(&mut self) -> Result<Kind, Unterminated> {
        let at = self.at;
        while let Some(byte) = self.byte(0) {
            self.at += 1;
            if byte == b']' {
                return Ok(Kind::Name);
            }
        }
        Err(Unterminated { at, what: "quoted name", end: "]" })
    }

    fn comment(&mut self) -> Result<Kind, Unterminated> {
        let at = self.at;
        self.at += 2;
        let mut depth = 1_u32;
        loop {
            match (self.byte(0), self.byte(1)) {
                // SQLite takes the end of the text as the end of the comment; a file that relies on it is more likely wrong.
                (None, _) => {
                    return Err(Unterminated { at, what: "comment", end: "*/" });
                }
                (Some(b'*'), Some(b'/')) => {
                    self.at += 2;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(Kind::Space);
                    }
                }
                (Some(b'/'), Some(b'*')) if !self.is_sqlite() => {
                    self.at += 2;
                    depth += 1;
                }
                _ => self.at += 1,
            }
        }
    }

    /// `$1`, `$tag$...$tag$`, `$name` of SQLite, or a lone `$`.
    fn dollar(&mut self) -> Result<Kind, Unterminated> {
        let at = self.at;
        if self.is_sqlite() {
            self.at += 1;
            let named = self.byte(0).is_some_and(is_word);
            return Ok(self.take_while(if named { Kind::Positional } else { Kind::Punctuation }, is_word));
        }
        if self.byte(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            return Ok(self.take_while(Kind::Positional, |byte| byte.is_ascii_digit()));
        }
        let rest = self.text.get(at + 1..).unwrap_or_default();
        let tag = rest.bytes().take_while(|byte| is_word(*byte) && *byte != b'$').count();
        if rest.as_bytes().get(tag) != Some(&b'$') {
            self.at += 1;
            return Ok(Kind::Punctuation);
        }
        let delimiter = self.text.get(at..at + tag + 2).unwrap_or_default();
        let body = at + delimiter.len();
        match self.text.get(body..).and_then(|body| body.find(delimiter)) {
            Some(length) => {
                self.at = body + length + delimiter.len();
                Ok(Kind::String)
            }
            None => Err(Unterminated { at, what: "dollar-quoted string", end: "the same dollar quote" }),
        }
    }

    /// A placeholder everywhere in SQLite; in PostgreSQL also the operators `?`, `?|` and `?&`, which have a right side.
    fn question(&mut self) -> Kind {
        self.at += 1;
        if self.byte(0).is_some_and(|byte| byte.is_ascii_digit()) {
            return self.take_while(Kind::Positional, |byte| byte.is_ascii_digit());
        }
        let rest = self.text.get(self.at..).unwrap_or_default().trim_start();
        let ends = matches!(rest.as_bytes().first(), None | Some(b',' | b')' | b';'));
        if self.is_sqlite() || ends { Kind::Positional } else { Kind::Punctuation }
    }

    /// `::`, `:=`, a parameter, or the colon of a slice or of a JSON constructor.
    fn colon(&mut self) -> Kind {
        let attached = self.last_end == self.at;
        self.at += 1;
        match self.byte(0) {
            // SQLite knows neither, and its own words for that are better than a parameter named `text`.
            Some(b':' | b'=') => {
                self.at += 1;
                Kind::Punctuation
            }
            Some(byte) if is_word_start(byte) || (self.is_sqlite() && is_word(byte)) => {
                if attached && self.ends_operand() && !self.is_sqlite() {
                    return Kind::Punctuation;
                }
                self.take_while(Kind::Parameter, is_word)
            }
            _ => Kind::Punctuation,
        }
    }

    /// Tells whether a colon right behind the last lexeme belongs to it: `a[1:n]`, `a[lo:hi]`, `json_object('k':v)`.
    fn ends_operand(&self) -> bool {
        match self.last {
            Some(Kind::String | Kind::Name | Kind::Number | Kind::Parameter) => true,
            Some(Kind::Word) => self.open.last() == Some(&b'['),
            Some(Kind::Punctuation) => matches!(self.last_byte, b')' | b']'),
            _ => false,
        }
    }

    fn number(&mut self) -> Kind {
        let hexadecimal = self.byte(0) == Some(b'0') && matches!(self.byte(1), Some(b'x' | b'X'));
        loop {
            match self.byte(0) {
                Some(b'e' | b'E') if !hexadecimal && matches!(self.byte(1), Some(b'+' | b'-')) => {
                    self.at += 2
                }
                // `1..2` of PL/pgSQL is not one number.
                Some(b'.') if self.byte(1) == Some(b'.') => return Kind::Number,
                Some(byte) if byte == b'.' || byte == b'_' || byte.is_ascii_alphanumeric() => self.at += 1,
                _ => return Kind::Number,
            }
        }
    }

    fn punctuation(&mut self, first: u8) -> Kind {
        match first {
            b'(' | b'[' => self.open.push(first),
            b')' | b']' => {
                self.open.pop();
            }
            _ => {}
        }
        self.at += 1;
        Kind::Punctuation
    }

    fn take_while(&mut self, kind: Kind, fits: fn(u8) -> bool) -> Kind {
        while self.byte(0).is_some_and(fits) {
            self.at += 1;
        }
        kind
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn is_sqlite(&self) -> bool {
        self.dialect == Dialect::Sqlite
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}
