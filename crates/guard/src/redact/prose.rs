//! Hides within texts: JSON, lines of JSON, tables as CSV or Markdown, and prose, in which the values that were hidden elsewhere
//! are looked for.

use std::borrow::Cow;
use std::collections::HashMap;

use super::path::Reach;
use super::rewrite::{HIDDEN, Rewriter, SHORTEST_VALUE, Stop, looks_like_json};
use super::table;

impl Rewriter<'_> {
    /// Returns what comes in the place of a text; `None` for the same.
    pub(super) fn text(&mut self, text: &str) -> Option<String> {
        let top = self.rules.paths.top();
        if looks_like_json(text) {
            match self.json(text, top, 0) {
                Ok(other) => return other,
                Err(stop) => {
                    if let Some(other) = self.lines(text) {
                        return other;
                    }
                    match stop {
                        Stop::TooDeep if !self.rules.paths.is_empty() => return Some(self.too_deep()),
                        Stop::NotJson { last } if !self.rules.paths.is_empty() && begins_as_data(text) => {
                            let cut = self.broken_json(text, top, last);
                            return Some(self.prose(&cut).unwrap_or(cut));
                        }
                        _ => {}
                    }
                }
            }
        }
        match table::rewritten(self, text) {
            Some(other) => Some(self.prose(&other).unwrap_or(other)),
            None => self.prose(text),
        }
    }

    /// What is written of rows is written of the rows of a table, and of lines that are rows.
    pub(super) fn row(&self) -> Reach {
        let paths = &self.rules.paths;
        let top = paths.top();
        top | paths.element(paths.member(top, "rows")) | paths.member(top, "row")
    }

    /// Walks a text of which every line is JSON; `None` when one is not, an inner `None` when nothing changes.
    fn lines(&mut self, text: &str) -> Option<Option<String>> {
        let (reach, tally) = (self.row(), self.tally);
        let mut out = String::with_capacity(text.len());
        let mut changed = false;
        for line in text.split_inclusive('\n') {
            if line.trim_ascii().is_empty() {
                out.push_str(line);
                continue;
            }
            let Ok(other) = self.json(line, reach, 0) else {
                self.tally = tally;
                return None;
            };
            changed |= other.is_some();
            out.push_str(other.as_deref().unwrap_or(line));
        }
        Some(changed.then_some(out))
    }

    /// Hides in what has no form: what the detectors find, and values that were hidden elsewhere in the reply.
    pub(super) fn prose(&mut self, text: &str) -> Option<String> {
        let found = self.rules.detectors.clean(text, "", &mut self.tally);
        let swept = sweep(&found, &self.values);
        if let Some(swept) = swept {
            self.tally.fields += 1;
            return Some(swept);
        }
        match found {
            Cow::Owned(cleaned) => Some(cleaned),
            Cow::Borrowed(_) => None,
        }
    }
}

/// Tells whether a text that is no JSON began as if it were.
fn begins_as_data(text: &str) -> bool {
    let mut signs = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    matches!((signs.next(), signs.next()), (Some(b'{'), Some(b'"')) | (Some(b'['), Some(b'{')))
}

/// Puts a mark in the place of every value; the longest goes first where one begins another. Values are found by their first
/// bytes, so that it takes one pass however many there are.
fn sweep(text: &str, values: &[String]) -> Option<String> {
    if values.is_empty() || text.len() < SHORTEST_VALUE {
        return None;
    }
    let mut known: HashMap<&[u8], Vec<&str>> = HashMap::with_capacity(values.len());
    for value in values {
        let head = value.as_bytes().get(..SHORTEST_VALUE)?;
        let same = known.entry(head).or_default();
        if same.len() < MOST_ALIKE && !same.contains(&value.as_str()) {
            same.push(value);
        }
    }
    known.values_mut().for_each(|same| same.sort_by_key(|value| std::cmp::Reverse(value.len())));
    let bytes = text.as_bytes();
    let mut out: Option<String> = None;
    let (mut at, mut copied) = (0, 0);
    while let Some(head) = bytes.get(at..at + SHORTEST_VALUE) {
        let rest = bytes.get(at..).unwrap_or_default();
        let found =
            known.get(head).and_then(|same| same.iter().find(|value| rest.starts_with(value.as_bytes())));
        match found {
            Some(value) => {
                let out = out.get_or_insert_default();
                out.push_str(text.get(copied..at).unwrap_or_default());
                out.push_str(HIDDEN);
                at += value.len();
                copied = at;
            }
            None => at += 1,
        }
    }
    let mut out = out?;
    out.push_str(text.get(copied..).unwrap_or_default());
    Some(out)
}

/// Values that begin alike and are told apart; more of one beginning are not looked for.
const MOST_ALIKE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_out_wherever_they_stand() {
        let values: Vec<String> = ["Ann Smith", "Ann S", "5000.00", "élan", "abc"].map(str::to_owned).into();
        assert_eq!(
            sweep("Ann Smith earns 5000.00 with élan; Ann Sxx", &values[..4]).unwrap(),
            "[redacted] earns [redacted] with [redacted]; [redacted]xx"
        );
        assert_eq!(sweep("nothing of it", &values[..4]), None);
    }
}
