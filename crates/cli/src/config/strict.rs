//! Reading one table of the file into its strict type, telling every problem in it and not only the first.
//!
//! After a problem the key it is about is taken out and the rest is read again.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use trunkline_service::nearest;
use trunkline_sql::Severity;

use super::diagnostic::{Diagnostic, key_of};
use super::secret::Hidden;

/// More problems than this in one table are not looked for.
const MOST_PROBLEMS: usize = 50;

/// Reads `table`, which stands at `path`, into `T`; adds what is wrong to `problems`.
///
/// `also` are keys of the same table that are read elsewhere: offered where a key is not known.
///
/// What comes back lacks the keys that were wrong, so that what the others say can still be checked. `None` when a key that
/// must be there is missing or wrong.
pub(crate) fn read<T: DeserializeOwned>(
    mut table: DeTable<'_>,
    span: &Range<usize>,
    path: &[&str],
    also: &[&str],
    hidden: &Hidden,
    problems: &mut Vec<Diagnostic>,
) -> Option<T> {
    let mut removed: Vec<String> = Vec::new();
    let before = problems.len();
    while problems.len() - before < MOST_PROBLEMS {
        let node = Spanned::new(span.clone(), DeValue::Table(table.clone()));
        let error = match T::deserialize(ValueDeserializer::from(node)) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let at = error.span().unwrap_or_else(|| span.clone());
        let missing = quoted(error.message()).filter(|_| error.message().starts_with("missing field"));
        if missing.is_some_and(|missing| removed.iter().any(|key| key == missing)) {
            return None;
        }
        let found = take_out(&mut table, &at);
        let mut keys: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        keys.extend(found.iter().flatten().cloned());
        let also = if keys.len() == path.len() + 1 { also } else { &[] };
        let (message, help) = explain(error.message(), keys.last().map(String::as_str), also);
        problems.push(Diagnostic {
            key: key_of(&keys),
            span: at,
            message: hidden.clean(message),
            help,
            severity: Severity::Wrong,
        });
        match found {
            Some(found) => removed.extend(found.into_iter().next_back()),
            None => return None,
        }
    }
    None
}

/// Takes the innermost entry that `span` is about out of the table, and returns its path.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let mut inner = None;
    for (key, value) in table.iter_mut() {
        let found = match value.get_mut() {
            DeValue::Table(child) => take_out(child, span),
            _ => None,
        };
        if let Some(mut found) = found {
            found.insert(0, key.get_ref().to_string());
            return Some(found);
        }
        if holds(key.span()) || holds(value.span()) {
            inner = Some(key.get_ref().to_string());
        }
    }
    let key = inner?;
    table.remove(key.as_str());
    Some(vec![key])
}

/// Says in our words what the reader of the table found, and what to do.
fn explain(message: &str, key: Option<&str>, also: &[&str]) -> (String, Option<String>) {
    let Some(subject) = quoted(message) else { return (in_words(message), None) };
    let mut known: Vec<&str> = message
        .split_once(", expected")
        .map_or("", |(_, known)| known)
        .split('`')
        .skip(1)
        .step_by(2)
        .collect();
    if message.starts_with("unknown field") {
        known.extend(also);
        return (format!("unknown key `{subject}`"), Some(suggestion(subject, &known)));
    }
    if message.starts_with("unknown variant") {
        let key = key.unwrap_or_default();
        return (format!("`{subject}` is no value of `{key}`"), Some(suggestion(subject, &known)));
    }
    if message.starts_with("missing field") {
        return (format!("the key `{subject}` is missing"), None);
    }
    (in_words(message), None)
}

/// Offers the nearest known word, else all of them.
pub(crate) fn suggestion(written: &str, known: &[&str]) -> String {
    let all = || known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match nearest(written, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None if known.is_empty() => "no key is allowed here".to_owned(),
        None => format!("allowed here: {}", all()),
    }
}

/// Returns the first text between backquotes.
fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// Replaces the names of Rust types by what they mean.
fn in_words(message: &str) -> String {
    if message == "wanted string or table" {
        return "expected a string in quotes".to_owned();
    }
    let message = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .map_or_else(|| message.to_owned(), |rest| format!("found {rest}"));
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message };
    let expected = match expected {
        "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "a nonzero u16" | "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => "a whole number from 1 up",
        "a string" => "a string in quotes",
        "a boolean" => "`true` or `false`",
        "a map" => "a table",
        "a sequence" => "a list in brackets",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    format!("{found}, expected {expected}")
}
