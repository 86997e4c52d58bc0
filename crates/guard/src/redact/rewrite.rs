//! Hides and seals within JSON, by field and by what values look like: one walk that notes what changes, and one copy when
//! something does.
//!
//! A value that is hidden becomes a string whatever it was, and null stays null; of an object or a list that is hidden, all its
//! values do. A string that holds JSON is walked as JSON. Names of members are looked at as values are, since some data has
//! addresses for names.

use std::borrow::Cow;
use std::ops::Range;

use trunkline_protocol::json::{Key, Kind, Scanner, SyntaxError, Token};
use trunkline_protocol::write;

use super::age::{Recipient, Sealing};
use super::detect::{Detector, Detectors, Tally, is_secret_name};
use super::log::hide_named;
use super::path::{Mark, Paths, Reach};

/// What stands in the place of a field that is hidden.
pub(super) const HIDDEN: &str = "[redacted]";

/// What is hidden and sealed of the results of one tool.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// What is looked for in every value.
    pub(super) detectors: Detectors,
    /// The fields that are hidden or sealed.
    pub(super) paths: Paths,
    /// For whom fields are sealed.
    pub(super) recipients: Vec<Recipient>,
    /// Whatever has the name of a secret is hidden, as in logs.
    pub(super) hides_names: bool,
}

impl Rules {
    /// Tells whether nothing is hidden.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.detectors.is_empty() && self.paths.is_empty()
    }
}

/// Why a text was not walked to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is no JSON; the last value that was begun stands there.
    NotJson { last: usize },
    /// It is nested deeper than is walked.
    TooDeep,
}

/// One reply's worth of hiding.
pub(super) struct Rewriter<'r> {
    pub(super) rules: &'r Rules,
    pub(super) tally: Tally,
    /// Values of fields that were hidden, as text, to be taken out of prose.
    pub(super) values: Vec<String>,
    /// The cursor of the reply, in its structured content, is sealed: whoever changes it ends the result.
    pub(super) keeps_cursor: bool,
    /// Made for the first field that is sealed; `None` inside when the system gave no randomness.
    sealing: Option<Option<Sealing>>,
}

/// A stretch of a text and what comes in its place.
pub(super) type Edit = (Range<usize>, String);

/// A text being walked, and what changes in it.
struct Walk {
    edits: Vec<Edit>,
    /// How many strings within strings are entered.
    nesting: usize,
    /// How many objects and lists are open.
    depth: usize,
    last: usize,
}

/// JSON in a string in JSON in a string is as far as anybody goes.
const MOST_NESTING: usize = 3;

impl<'r> Rewriter<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        Self { rules, tally: Tally::default(), values: Vec::new(), keeps_cursor: false, sealing: None }
    }

    /// Walks a JSON text from that place on; `None` when nothing changes.
    pub(super) fn json(&mut self, text: &str, reach: Reach, nesting: usize) -> Result<Option<String>, Stop> {
        let mut walk = Walk { edits: Vec::new(), nesting, depth: 0, last: 0 };
        let walked = Scanner::new(text).and_then(|mut scanner| {
            self.value(&mut scanner, reach, None, &mut walk)?;
            scanner.end()?;
            Ok(scanner.is_too_deep())
        });
        match walked {
            Ok(false) => Ok(applied(text, walk.edits)),
            Ok(true) => Err(Stop::TooDeep),
            Err(_) => Err(Stop::NotJson { last: walk.last }),
        }
    }

    /// Walks as much of a text as is JSON, and hides the rest from the last value on that was begun.
    pub(super) fn broken_json(&mut self, text: &str, reach: Reach, last: usize) -> String {
        let mut walk = Walk { edits: Vec::new(), nesting: 0, depth: 0, last: 0 };
        // It stops where it stopped before.
        let _ = Scanner::new(text).and_then(|mut scanner| self.value(&mut scanner, reach, None, &mut walk));
        walk.edits.retain(|(range, _)| range.end <= last);
        walk.edits.push((last..text.len(), "[redacted: the text is no JSON from here on]".to_owned()));
        self.tally.fields += 1;
        applied(text, walk.edits).unwrap_or_default()
    }

    fn value(
        &mut self,
        scanner: &mut Scanner<'_>,
        reach: Reach,
        key: Option<Key>,
        walk: &mut Walk,
    ) -> Result<(), SyntaxError> {
        let next = scanner.next_byte();
        walk.last = scanner.position() as usize;
        match self.rules.paths.mark(reach) {
            Some(Mark::Seal) => {
                let token = scanner.value()?;
                self.seal(token, scanner.source(), walk);
            }
            Some(Mark::Hide) => self.hide(scanner, next, walk)?,
            None if next == b'{' => self.object(scanner, reach, walk)?,
            None if next == b'[' => {
                let reach = self.rules.paths.element(reach);
                walk.depth += 1;
                scanner.elements(|scanner| self.value(scanner, reach, key, walk).map(|()| true))?;
                walk.depth -= 1;
            }
            None => {
                let token = scanner.value()?;
                let name = key.map_or("", |key| scanner.key(key));
                self.leaf(token, scanner.source(), reach, name, walk);
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        scanner: &mut Scanner<'_>,
        reach: Reach,
        walk: &mut Walk,
    ) -> Result<(), SyntaxError> {
        let mut renamed: Vec<String> = Vec::new();
        walk.depth += 1;
        scanner.members(|scanner, key| {
            let name = scanner.key(key);
            let next = self.rules.paths.member(reach, name);
            let is_cursor = walk.depth == 1 && walk.nesting == 0 && self.keeps_cursor && name == "nextCursor";
            if is_cursor && scanner.ahead() == b'"' && self.rules.paths.mark(next).is_none() {
                return Ok(false);
            }
            if let Some(other) = self.name(name, &mut renamed) {
                let span = scanner.key_span(key);
                walk.edits.push((span.start as usize..span.end as usize, escaped(&other)));
            }
            if self.rules.hides_names && is_secret_name(scanner.key_bytes(key)) {
                let ahead = scanner.ahead();
                return self.hide(scanner, ahead, walk).map(|()| true);
            }
            self.value(scanner, next, Some(key), walk).map(|()| true)
        })?;
        walk.depth -= 1;
        Ok(())
    }

    /// Returns another name for a member whose name is to be hidden, one that no other has.
    fn name(&mut self, name: &str, renamed: &mut Vec<String>) -> Option<String> {
        let cleaned = match self.rules.detectors.clean(name, "", &mut self.tally) {
            Cow::Borrowed(_) => return None,
            Cow::Owned(cleaned) => cleaned,
        };
        let number = renamed.iter().filter(|other| **other == cleaned).count();
        renamed.push(cleaned.clone());
        Some(if number == 0 { cleaned } else { format!("{cleaned} {}", number + 1) })
    }

    fn leaf(&mut self, token: Token, source: &str, reach: Reach, name: &str, walk: &mut Walk) {
        match token.kind {
            Kind::String | Kind::EscapedString => {
                let Some(text) = token.text(source.as_bytes()) else { return };
                if let Some(other) = self.string(&text, reach, name, walk.nesting) {
                    walk.edits.push((range(token), quoted(&other)));
                }
            }
            // A number of so many digits may be a card, or a telephone where its name says so.
            Kind::Integer => {
                let digits = token.span.of_str(source);
                if let Cow::Owned(mark) = self.numbers().clean(digits, name, &mut self.tally) {
                    walk.edits.push((range(token), quoted(&mark)));
                }
            }
            _ => {}
        }
    }

    /// What can be found in a number.
    fn numbers(&self) -> Detectors {
        let all = [Detector::Card, Detector::Phone];
        all.into_iter().filter(|detector| self.rules.detectors.has(*detector)).collect()
    }

    /// Returns what comes in the place of a string's text; `None` for the same.
    fn string(&mut self, text: &str, reach: Reach, name: &str, nesting: usize) -> Option<String> {
        if looks_like_json(text) && nesting < MOST_NESTING {
            match self.json(text, reach, nesting + 1) {
                Ok(other) => return other,
                Err(Stop::TooDeep) if !self.rules.paths.is_empty() => return Some(self.too_deep()),
                Err(_) => {}
            }
        }
        let named = if self.rules.hides_names { hide_named(text) } else { Cow::Borrowed(text) };
        match (self.rules.detectors.clean(&named, name, &mut self.tally), &named) {
            (Cow::Owned(cleaned), _) => Some(cleaned),
            (Cow::Borrowed(_), Cow::Owned(named)) => Some(named.clone()),
            _ => None,
        }
    }

    /// What stands for JSON in which fields could not be looked for.
    pub(super) fn too_deep(&mut self) -> String {
        self.tally.fields += 1;
        "[redacted: the JSON is nested deeper than 64 levels]".to_owned()
    }

    /// Hides a value; of an object or a list, every value in it.
    fn hide(&mut self, scanner: &mut Scanner<'_>, next: u8, walk: &mut Walk) -> Result<(), SyntaxError> {
        match next {
            b'{' => {
                scanner.members(|scanner, _| {
                    let next = scanner.ahead();
                    self.hide(scanner, next, walk).map(|()| true)
                })?;
            }
            b'[' => {
                scanner.elements(|scanner| {
                    let next = scanner.next_byte();
                    self.hide(scanner, next, walk).map(|()| true)
                })?;
            }
            _ => {
                walk.last = scanner.position() as usize;
                let token = scanner.value()?;
                if token.kind != Kind::Null {
                    self.tally.fields += 1;
                    self.remember(token, scanner.source());
                    walk.edits.push((range(token), quoted(HIDDEN)));
                }
            }
        }
        Ok(())
    }

    fn seal(&mut self, token: Token, source: &str, walk: &mut Walk) {
        if token.kind == Kind::Null {
            return;
        }
        self.remember(token, source);
        let text = token.text(source.as_bytes());
        let text = text.as_deref().unwrap_or_else(|| token.span.of_str(source));
        walk.edits.push((range(token), quoted(&self.sealed(text))));
    }

    /// Seals a text; without randomness it is hidden, for everybody.
    pub(super) fn sealed(&mut self, text: &str) -> String {
        let recipients = &self.rules.recipients;
        let sealing = self.sealing.get_or_insert_with(|| Sealing::new(recipients).ok());
        match sealing.as_ref().and_then(|sealing| sealing.seal_line(text.as_bytes()).ok()) {
            Some(line) => {
                self.tally.sealed += 1;
                line
            }
            None => {
                self.tally.fields += 1;
                HIDDEN.to_owned()
            }
        }
    }

    /// Keeps what a hidden value said, to take it out of prose that repeats it.
    fn remember(&mut self, token: Token, source: &str) {
        const MOST: usize = 10_000;
        if self.values.len() < MOST
            && matches!(token.kind, Kind::String | Kind::EscapedString | Kind::Integer | Kind::Float)
        {
            let text = token.text(source.as_bytes()).unwrap_or_else(|| token.span.of_str(source).into());
            if text.len() >= SHORTEST_VALUE {
                self.values.push(text.into_owned());
            }
        }
    }
}

/// Shorter values would be found in any text.
pub(super) const SHORTEST_VALUE: usize = 4;

/// Tells whether it is worth walking a text as JSON.
pub(super) fn looks_like_json(text: &str) -> bool {
    let trimmed = text.trim_ascii_start();
    text.len() > 2 && matches!(trimmed.as_bytes().first(), Some(b'{' | b'['))
}

/// Writes a text with its edits, which are in order; `None` when there are none.
pub(super) fn applied(text: &str, edits: Vec<Edit>) -> Option<String> {
    if edits.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(text.len() + 64 * edits.len().min(64));
    let mut at = 0;
    for (range, other) in edits {
        out.push_str(text.get(at..range.start).unwrap_or_default());
        out.push_str(&other);
        at = range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    Some(out)
}

pub(super) fn range(token: Token) -> Range<usize> {
    token.span.start as usize..token.span.end as usize
}

/// Writes a text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 8);
    write::escaped(&mut out, text.as_bytes());
    // What is escaped is text as before.
    String::from_utf8(out).unwrap_or_default()
}
