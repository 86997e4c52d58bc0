//! Finds the `:name` parameters of a statement and puts the database's own placeholders in their place.

use std::borrow::Cow;

use crate::database::Dialect;
use crate::lex::{Kind, Lexeme, Lexer};

/// Most parameters of one statement.
pub const MAX_PARAMETERS: usize = 128;

/// A statement whose parameters are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// The parameters' names in the order of their first use, which is the order of the placeholders.
    pub names: Vec<String>,
    rendered: String,
    uses: Vec<Use>,
}

/// One place where a parameter is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    /// Which parameter.
    name: usize,
    /// Where `:name` stands in the source.
    source: (usize, usize),
    /// Where the placeholder stands in the rendered text.
    rendered: (usize, usize),
}

/// What is wrong with the parameters of a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScanError {
    /// The byte in the source.
    pub offset: usize,
    /// What was found.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Scanned {
    /// Finds the parameters of `sql`.
    ///
    /// Strings, quoted names, comments, dollar quotes, casts (`::`), array slices and `:=` hold none. A name used twice
    /// is one parameter.
    ///
    /// # Errors
    /// [`ScanError`]: a string, name or comment without its end; a placeholder of the database's own form; a name that is
    /// not `[A-Za-z_][A-Za-z0-9_]{0,63}`; more than [`MAX_PARAMETERS`] names.
    pub fn parse(sql: &str, dialect: Dialect) -> Result<Self, ScanError> {
        let mut scanned =
            Self { names: Vec::new(), rendered: String::with_capacity(sql.len() + 8), uses: Vec::new() };
        let mut lexer = Lexer::new(sql, dialect);
        while let Some(lexeme) = lexer.next().map_err(|error| ScanError {
            offset: error.at,
            message: format!("this {} has no end", error.what),
            help: Some(format!(
                "close it with {}",
                if error.end.len() > 2 { error.end.to_owned() } else { format!("`{}`", error.end) }
            )),
        })? {
            let text = sql.get(lexeme.start..lexeme.end).unwrap_or_default();
            match lexeme.kind {
                Kind::Parameter => scanned.parameter(lexeme, text, dialect)?,
                Kind::Positional => return Err(positional(lexeme, text)),
                _ => scanned.rendered.push_str(text),
            }
        }
        Ok(scanned)
    }

    fn parameter(&mut self, lexeme: Lexeme, text: &str, dialect: Dialect) -> Result<(), ScanError> {
        let name = text.get(1..).unwrap_or_default();
        let error = |message: String, help: &str| ScanError {
            offset: lexeme.start,
            message,
            help: Some(help.to_owned()),
        };
        if !is_parameter_name(name) {
            let message = format!("`:{name}` is no parameter name");
            return Err(error(
                message,
                "begin with a letter or `_` and use at most 64 of A-Z, a-z, 0-9 and `_`",
            ));
        }
        let known = self.names.iter().position(|known| known == name);
        let index = known.unwrap_or(self.names.len());
        if known.is_none() {
            if self.names.len() == MAX_PARAMETERS {
                let message = format!("more than {MAX_PARAMETERS} parameters");
                return Err(error(message, "pass a list or a JSON document instead"));
            }
            self.names.push(name.to_owned());
        }
        // A dollar belongs to a word before it: `limit:n` must not become `limit$1`.
        if self
            .rendered
            .bytes()
            .last()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80)
        {
            self.rendered.push(' ');
        }
        let start = self.rendered.len();
        self.rendered.push(if dialect == Dialect::Postgres { '$' } else { '?' });
        self.rendered.push_str(&(index + 1).to_string());
        self.uses.push(Use {
            name: index,
            source: (lexeme.start, lexeme.end),
            rendered: (start, self.rendered.len()),
        });
        Ok(())
    }

    /// Returns the statement with `$1`.. or `?1`.. in place of the names.
    #[must_use]
    pub fn render(&self) -> String {
        self.rendered.clone()
    }

    /// Returns where a byte of the rendered text stands in the source; a byte of a placeholder stands at its colon.
    #[must_use]
    pub fn source_offset(&self, rendered_offset: usize) -> usize {
        let before = self.uses.partition_point(|used| used.rendered.0 <= rendered_offset);
        match before.checked_sub(1).and_then(|index| self.uses.get(index)) {
            None => match self.uses.first() {
                // The space put before a placeholder has no place of its own.
                Some(first) => rendered_offset.min(first.source.0),
                None => rendered_offset,
            },
            Some(used) if rendered_offset < used.rendered.1 => used.source.0,
            Some(used) => {
                let offset = used.source.1 + (rendered_offset - used.rendered.1);
                self.uses.get(before).map_or(offset, |next| offset.min(next.source.0))
            }
        }
    }

    /// Returns where a parameter is first used in the source; `None` for a name that does not occur.
    #[must_use]
    pub fn first_use(&self, name: &str) -> Option<usize> {
        let index = self.names.iter().position(|known| known == name)?;
        self.uses.iter().find(|used| used.name == index).map(|used| used.source.0)
    }
}

fn positional(lexeme: Lexeme, text: &str) -> ScanError {
    ScanError {
        offset: lexeme.start,
        message: format!("`{text}` is a placeholder of the database's own form"),
        help: Some("write parameters as `:name`; each has a name here".to_owned()),
    }
}

/// Tells whether a parameter may be called that in every host.
#[must_use]
pub fn is_parameter_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name.len() <= 64
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A part of a statement, for whoever looks for words in it. Space and comments are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'a> {
    /// A keyword or an unquoted name, as written.
    Word {
        /// The word.
        text: &'a str,
        /// Whether `(` comes next: a function's name, among other things.
        called: bool,
        /// Its first byte.
        at: usize,
    },
    /// A quoted name.
    Name {
        /// The name without quotes, doubled quotes made single. `U&"..."` keeps its escapes.
        text: Cow<'a, str>,
        /// Whether `(` comes next.
        called: bool,
        /// Its first byte.
        at: usize,
    },
    /// A string or a number.
    Literal {
        /// Its text as written.
        text: &'a str,
        /// Its first byte.
        at: usize,
    },
    /// `:name`, or a placeholder of the database's own form.
    Parameter {
        /// Its text as written.
        text: &'a str,
        /// Its first byte.
        at: usize,
    },
    /// A character of any other kind, or `::` and `:=`.
    Punctuation {
        /// The character.
        text: &'a str,
        /// Its first byte.
        at: usize,
    },
}

impl Token<'_> {
    /// Tells whether it is that keyword, in any case.
    #[must_use]
    pub fn is_word(&self, keyword: &str) -> bool {
        matches!(self, Self::Word { text, .. } if text.eq_ignore_ascii_case(keyword))
    }

    /// Returns the byte it begins at.
    #[must_use]
    pub fn at(&self) -> usize {
        match self {
            Self::Word { at, .. }
            | Self::Name { at, .. }
            | Self::Literal { at, .. }
            | Self::Parameter { at, .. }
            | Self::Punctuation { at, .. } => *at,
        }
    }

    /// Tells whether it is that punctuation.
    #[must_use]
    pub fn is_punctuation(&self, mark: &str) -> bool {
        matches!(self, Self::Punctuation { text, .. } if *text == mark)
    }
}

/// The tokens of a statement in order. Ends early at a string, name or comment that has no end.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    sql: &'a str,
    lexer: Lexer<'a>,
}

/// Returns the tokens of a statement, rendered or not.
#[must_use]
pub fn tokens(sql: &str, dialect: Dialect) -> Tokens<'_> {
    Tokens { sql, lexer: Lexer::new(sql, dialect) }
}

/// Returns where a string, name or comment begins that has no end; the tokens end there.
#[must_use]
pub fn unterminated(sql: &str, dialect: Dialect) -> Option<usize> {
    let mut lexer = Lexer::new(sql, dialect);
    loop {
        match lexer.next() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error.at),
        }
    }
}

impl Tokens<'_> {
    fn next_lexeme(lexer: &mut Lexer<'_>) -> Option<Lexeme> {
        loop {
            match lexer.next() {
                Ok(Some(lexeme)) if lexeme.kind == Kind::Space => {}
                Ok(lexeme) => return lexeme,
                Err(_) => return None,
            }
        }
    }

    fn is_called(&self) -> bool {
        let mut ahead = self.lexer.clone();
        Self::next_lexeme(&mut ahead).is_some_and(|next| self.sql.get(next.start..next.end) == Some("("))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let lexeme = Self::next_lexeme(&mut self.lexer)?;
        let (text, at) = (self.sql.get(lexeme.start..lexeme.end).unwrap_or_default(), lexeme.start);
        Some(match lexeme.kind {
            Kind::Word => Token::Word { text, called: self.is_called(), at },
            Kind::Name => Token::Name { text: unquoted(text), called: self.is_called(), at },
            Kind::String | Kind::Number => Token::Literal { text, at },
            Kind::Parameter | Kind::Positional => Token::Parameter { text, at },
            Kind::Punctuation | Kind::Space => Token::Punctuation { text, at },
        })
    }
}

fn unquoted(text: &str) -> Cow<'_, str> {
    let quoted = text.trim_start_matches(|character| !matches!(character, '"' | '`' | '['));
    let mut inner = quoted.chars();
    let quote = inner.next().unwrap_or('"');
    inner.next_back();
    let inner = inner.as_str();
    if quote != '[' && inner.contains(quote) {
        Cow::Owned(inner.replace(&format!("{quote}{quote}"), &quote.to_string()))
    } else {
        Cow::Borrowed(inner)
    }
}

#[cfg(test)]
mod tests;
