//! Tells a model what does not fit: where, what was found there and what is allowed; and what was probably meant.
//!
//! Values that may be secret are told by their kind alone. Of others a number is told as it came, a string by its length, unless
//! labels are wanted: a label is told, cut short, since that is what the model has to correct.

use std::fmt;

use trunkline_protocol::Token;
use trunkline_protocol::json::{Kind, Scanner};
use trunkline_service::nearest;

use super::{Node, ObjectRules, Scalar};

/// Faults beyond this number are counted, not told.
const MOST_FAULTS: usize = 10;
/// So many names are listed.
const MOST_NAMES: usize = 20;
/// So much of a value or a name that came is told.
const SHORT: usize = 32;

/// Where a value stands: `args.items[3].name`.
#[derive(Debug, Clone, Copy)]
pub(in crate::validate) struct Path<'p> {
    up: Option<&'p Path<'p>>,
    step: Step<'p>,
    /// Nothing of the values there is told.
    secret: bool,
    /// The members of the root whose values are secret.
    secrets: &'p [Box<str>],
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Name(&'p str),
    Item(usize),
}

impl<'p> Path<'p> {
    /// The value as a whole.
    pub(in crate::validate) fn root(name: &'p str, secret: bool) -> Self {
        Self { up: None, step: Step::Name(name), secret, secrets: &[] }
    }

    /// Says which members of the root are secret.
    pub(in crate::validate) fn with_secrets(self, secrets: &'p [Box<str>]) -> Self {
        Self { secrets, ..self }
    }

    pub(in crate::validate) fn key<'q>(&'q self, name: &'q str) -> Path<'q> {
        let secret = self.secret || (self.up.is_none() && self.secrets.iter().any(|known| **known == *name));
        Path { up: Some(self), step: Step::Name(name), secret, secrets: &[] }
    }

    /// A member whose name came with the value, and may be as secret.
    pub(in crate::validate) fn member<'q>(&'q self, name: &'q str) -> Path<'q> {
        self.key(if self.secret { "*" } else { name })
    }

    pub(in crate::validate) fn item(&self, at: usize) -> Path<'_> {
        Path { up: Some(self), step: Step::Item(at), secret: self.secret, secrets: &[] }
    }

    pub(in crate::validate) fn is_root(&self) -> bool {
        self.up.is_none()
    }

    pub(in crate::validate) fn is_secret(&self) -> bool {
        self.secret
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(up) = self.up {
            up.write(f)?;
        }
        match self.step {
            Step::Name(name) if self.up.is_none() => f.write_str(name),
            Step::Name(name) => write!(f, ".{}", cut(name, 2 * SHORT)),
            Step::Item(at) => write!(f, "[{at}]"),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        self.write(f)?;
        f.write_str("`")
    }
}

/// How a text about faults begins, and how it calls who takes the value.
#[derive(Debug, Clone, Copy)]
pub(in crate::validate) struct Wording {
    /// As `the arguments were not accepted`.
    pub(in crate::validate) refused: &'static str,
    /// As `this tool`.
    pub(in crate::validate) taker: &'static str,
}

/// What is wrong with one value.
#[derive(Debug, Default)]
pub(in crate::validate) struct Faults {
    texts: Vec<String>,
    more: usize,
    /// What is taken, where something is not and nothing near it is known.
    taken: Option<String>,
}

impl Faults {
    pub(in crate::validate) fn add(&mut self, text: impl FnOnce() -> String) {
        if self.texts.len() < MOST_FAULTS { self.texts.push(text()) } else { self.more += 1 }
    }

    /// Adds a fault unless it was told before.
    pub(in crate::validate) fn add_once(&mut self, text: String) {
        if !self.texts.contains(&text) {
            self.add(|| text);
        }
    }

    /// A value is not what is allowed.
    pub(super) fn unfit(&mut self, path: &Path<'_>, node: &Node, token: Token, source: &str) {
        self.add(|| {
            let labels = node.allowed.iter().flatten().filter_map(|known| match known {
                Scalar::Text(known) => Some(&**known),
                _ => None,
            });
            let labels: Vec<&str> = labels.collect();
            let found =
                if path.secret { token.kind.in_words().to_owned() } else { found(token, source, &labels) };
            let meant = token
                .text(source.as_bytes())
                .filter(|_| !path.secret)
                .and_then(|text| nearest(cut(&text, 2 * SHORT), labels.iter().copied()))
                .map_or_else(String::new, |meant| format!(" (did you mean `{meant}`?)"));
            format!("{path}: found {found}, allowed is {}{meant}", node.describe())
        });
    }

    /// A value is not what is allowed, and what was found is known.
    pub(super) fn misses(&mut self, path: &Path<'_>, node: &Node, found: &str) {
        self.add(|| format!("{path}: found {found}, allowed is {}", node.describe()));
    }

    pub(super) fn required(&mut self, path: &Path<'_>, node: Option<&Node>) {
        self.add(|| match node {
            Some(node) => format!("{path} is required: {}", node.describe()),
            None => format!("{path} is required"),
        });
    }

    pub(super) fn unknown(&mut self, path: &Path<'_>, name: &str, rules: &ObjectRules) {
        self.not_taken(path, name, rules.properties.iter().map(|property| &*property.name), || names(rules));
    }

    /// There is no such member.
    pub(in crate::validate) fn not_taken<'k>(
        &mut self,
        path: &Path<'_>,
        name: &str,
        known: impl Iterator<Item = &'k str>,
        names: impl FnOnce() -> String,
    ) {
        // Among names of one or two letters every other is near.
        let written = cut(name, 2 * SHORT);
        let meant = if path.secret || name.chars().count() < 3 { None } else { nearest(written, known) };
        let place = path.member(name);
        match meant {
            Some(meant) => self.add(|| format!("{place} is unknown, did you mean `{meant}`?")),
            None if path.is_root() => {
                self.add(|| format!("{place} is unknown"));
                self.taken.get_or_insert_with(names);
            }
            None => self.add(|| format!("{place} is unknown, known are {}", names())),
        }
    }

    /// Puts all of it in one text.
    pub(in crate::validate) fn into_text(self, wording: Wording) -> String {
        let Wording { refused, taker } = wording;
        if self.texts.is_empty() {
            return refused.to_owned();
        }
        let mut text = format!("{refused}: {}", self.texts.join("; "));
        if self.more > 0 {
            text.push_str(&format!("; and {} more", self.more));
        }
        match self.taken.as_deref() {
            None => {}
            Some("") => text.push_str(&format!("; {taker} takes none")),
            Some(taken) => text.push_str(&format!("; {taker} takes {taken}")),
        }
        text
    }
}

/// Lists the names of an object's properties; empty when it has none.
pub(super) fn names(rules: &ObjectRules) -> String {
    list_names(rules.properties.iter().map(|property| &*property.name), rules.properties.len())
}

/// Lists names.
pub(in crate::validate) fn list_names<'k>(names: impl Iterator<Item = &'k str>, count: usize) -> String {
    let mut listed: Vec<String> =
        names.take(MOST_NAMES).map(|name| format!("`{}`", cut(name, 2 * SHORT))).collect();
    if count > MOST_NAMES {
        listed.push(format!("{} more", count - MOST_NAMES));
    }
    listed.join(", ")
}

/// Says what was found.
fn found(token: Token, source: &str, labels: &[&str]) -> String {
    let raw = token.span.of_str(source);
    match token.kind {
        Kind::String | Kind::EscapedString => {
            let text = token.text(source.as_bytes()).unwrap_or_default();
            match text.chars().count() {
                0 => "an empty string".to_owned(),
                1..=SHORT if !labels.is_empty() => format!("the string `{text}`"),
                _ if !labels.is_empty() => format!("the string `{}...`", cut(&text, SHORT)),
                1 => "a string of 1 character".to_owned(),
                length => format!("a string of {length} characters"),
            }
        }
        Kind::Integer | Kind::Float if raw.len() <= SHORT => format!("the number {raw}"),
        Kind::Integer | Kind::Float => format!("a number of {} digits", raw.len()),
        Kind::Bool => format!("`{raw}`"),
        Kind::Array => {
            let mut count = 0_usize;
            let counted = Scanner::new(raw).and_then(|mut scanner| {
                scanner.elements(|_| {
                    count += 1;
                    Ok(false)
                })
            });
            if counted.is_ok() { list_of(count) } else { "a list".to_owned() }
        }
        kind => kind.in_words().to_owned(),
    }
}

/// A list by its length.
pub(in crate::validate) fn list_of(count: usize) -> String {
    match count {
        0 => "an empty list".to_owned(),
        1 => "a list of 1 element".to_owned(),
        count => format!("a list of {count} elements"),
    }
}

/// The first characters of a text.
pub(in crate::validate) fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}
