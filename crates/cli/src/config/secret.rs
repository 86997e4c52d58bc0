//! Which parts of the file are secret, and keeping them out of what is shown.

use std::ops::Range;

use trunkline_service::nearest;

/// What of a value is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The password of an address; all of it where it is none.
    Password,
    /// All of it.
    Whole,
}

/// Tells what of the value at a path is secret; `declared` says that of a parameter with `secret = true`.
pub(crate) fn secret_at(path: &[&str], declared: bool) -> Option<Secret> {
    match path {
        ["connectors", _, "url"] | ["connectors", _, "replicas", ..] => Some(Secret::Password),
        ["admin", "token"] | ["server", "seal-keys", ..] | ["audit", "key"] => Some(Secret::Whole),
        ["auth", "introspection", _, "client-secret"] => Some(Secret::Whole),
        ["tools", _, "params", _, "default" | "enum", ..] if declared => Some(Secret::Whole),
        _ => None,
    }
}

/// Returns which bytes of a literal to hide. References like `${NAME}` name a secret without telling it and stay.
pub(crate) fn hidden(raw: &str, secret: Secret) -> Vec<Range<usize>> {
    let address = raw.find("://").map(|at| at + 3).filter(|_| secret == Secret::Password);
    let range = match address {
        Some(start) => {
            let rest = raw.get(start..).unwrap_or_default();
            match (rest.find(':'), rest.rfind('@')) {
                (Some(colon), Some(at)) if colon < at => start + colon + 1..start + at,
                _ => raw.find("password=").map_or(0..0, |at| at + 9..raw.trim_end_matches(['"', '\'']).len()),
            }
        }
        None => {
            let quotes = |c| c == '"' || c == '\'';
            let start = raw.len() - raw.trim_start_matches(quotes).len();
            start..raw.trim_end_matches(quotes).len().max(start)
        }
    };
    without_references(raw, range)
}

fn without_references(raw: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let rest = raw.get(at..range.end).unwrap_or_default();
        let (plain, reference) = match rest.find("${") {
            Some(start) => {
                let length = rest
                    .get(start..)
                    .and_then(|rest| rest.find('}'))
                    .map_or(rest.len() - start, |end| end + 1);
                (start, length)
            }
            None => (rest.len(), 0),
        };
        if plain > 0 {
            hidden.push(at..at + plain);
        }
        at += (plain + reference).max(1);
    }
    hidden
}

/// Names of keys whose values are secret wherever they stand.
const NAMES: [&str; 6] = ["token", "seal-keys", "password", "secret", "client-secret", "key"];

/// Returns which bytes of a text look secret to someone who knows nothing of its structure: passwords in addresses, and
/// strings on a line whose key is, or nearly is, the name of a secret.
pub(crate) fn suspects(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (scheme, _) in text.match_indices("://") {
        let rest = text.get(scheme..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || QUOTES.contains(&c)).unwrap_or(rest.len());
        let password = hidden(rest.get(..end).unwrap_or_default(), Secret::Password);
        found.extend(password.into_iter().map(|range| scheme + range.start..scheme + range.end));
    }
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some((key, value)) = line.split_once('=') {
            let name = key.rsplit('.').next().unwrap_or_default().trim_matches([' ', '\t', '"', '\'']);
            // A table of that name is about a secret, and is none itself.
            if nearest(name, NAMES).is_some() && !value.trim_start().starts_with('{') {
                found.extend(
                    strings(line, key.len() + 1).into_iter().map(|hide| at + hide.start..at + hide.end),
                );
            }
        }
        at += line.len();
    }
    found
}

/// Returns what to hide of each string of a line from `at` on, the last of which may have no end.
fn strings(line: &str, mut at: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    while let Some(open) = line.get(at..).and_then(|rest| rest.find(['"', '\''])) {
        let start = at + open + 1;
        let rest = line.get(start..).unwrap_or_default();
        let quote = line.get(start - 1..start).unwrap_or_default();
        let end = start + rest.find(quote).unwrap_or(rest.len());
        found.extend(without_references(line, start..end));
        at = end + 1;
    }
    found
}

/// The values that came from references, so that no message shows one.
#[derive(Default)]
pub(crate) struct Hidden(Vec<(String, String)>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hidden({})", self.0.len())
    }
}

/// Shorter values would be found in any text: they are looked for between quotes only, where messages put what they found.
const SHORT: usize = 4;
/// The quotes that messages use.
const QUOTES: [char; 3] = ['`', '"', '\''];

impl Hidden {
    /// Notes that `value` stands where the file says `written`.
    pub(crate) fn add(&mut self, value: &str, written: &str) {
        if !value.is_empty() {
            let escaped = value.escape_debug().to_string();
            self.0.push((value.to_owned(), written.to_owned()));
            if escaped != value {
                self.0.push((escaped, written.to_owned()));
            }
            // The longest first, so that a value inside another does not spoil it.
            self.0.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        }
    }

    /// Puts what the file says in place of every value that came from a reference.
    pub(crate) fn clean(&self, text: String) -> String {
        self.0.iter().fold(text, |text, (value, written)| match value {
            value if !text.contains(value.as_str()) => text,
            value if value.len() >= SHORT => text.replace(value.as_str(), written),
            value => QUOTES.iter().fold(text, |text, quote| {
                text.replace(&format!("{quote}{value}{quote}"), &format!("{quote}{written}{quote}"))
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hide(raw: &str) -> String {
        let mut bytes = raw.as_bytes().to_vec();
        hidden(raw, Secret::Password).into_iter().for_each(|range| bytes[range].fill(b'*'));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn passwords_are_hidden_and_references_stay() {
        assert_eq!(hide("\"postgres://u:p@ss@h/db\""), "\"postgres://u:****@h/db\"");
        assert_eq!(hide("\"postgres://u:${PW}@h/db\""), "\"postgres://u:${PW}@h/db\"");
        assert_eq!(hide("\"postgres://h:5432/db\""), "\"postgres://h:5432/db\"");
        assert_eq!(hide("'token'"), "'*****'");
        assert_eq!(hide("\"host=h password=x\""), "\"*****************\"");
        assert_eq!(hide("\"${URL}\""), "\"${URL}\"");
        let ranges = hidden("'a://b'", Secret::Whole);
        assert!(matches!(ranges.as_slice(), [Range { start: 1, end: 6 }]), "{ranges:?}");
    }

    #[test]
    fn values_of_references_are_taken_out_of_messages() {
        let mut hidden = Hidden::default();
        hidden.add("hunter22", "${PW}");
        hidden.add("a\"bcd", "${Q}");
        assert_eq!(
            hidden.clean("found \"hunter22\" and \"a\\\"bcd\"".into()),
            "found \"${PW}\" and \"${Q}\""
        );
    }

    #[test]
    fn short_values_are_taken_out_where_they_are_quoted() {
        let mut hidden = Hidden::default();
        hidden.add("a", "${PW}");
        hidden.add("", "${EMPTY}");
        assert_eq!(
            hidden.clean("found \"a\", `a` and 'a', a name".into()),
            "found \"${PW}\", `${PW}` and '${PW}', a name"
        );
    }
}
