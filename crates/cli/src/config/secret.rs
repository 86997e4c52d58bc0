//! Which parts of the file are secret, and keeping them out of what is shown.

use std::ops::Range;

/// Tells whether the string at a path may hold a secret.
pub(crate) fn is_secret(path: &[&str]) -> bool {
    matches!(path, ["connectors", _, "url"] | ["admin", "token"] | ["server", "seal-keys", ..])
}

/// Returns which bytes of a secret string literal to hide: the password of an address, else everything between the
/// quotes. References like `${NAME}` name a secret without telling it and stay.
pub(crate) fn credentials(raw: &str) -> Vec<Range<usize>> {
    let address = raw.find("://").map(|at| at + 3);
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

/// The values that came from references, so that no message shows one.
#[derive(Default)]
pub(crate) struct Hidden(Vec<(String, String)>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hidden({})", self.0.len())
    }
}

/// Shorter values are no secrets, and would be found in any text.
const SHORTEST: usize = 4;

impl Hidden {
    /// Notes that `value` stands where the file says `written`.
    pub(crate) fn add(&mut self, value: &str, written: &str) {
        if value.len() >= SHORTEST {
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
        self.0.iter().fold(text, |text, (value, written)| {
            if text.contains(value.as_str()) { text.replace(value.as_str(), written) } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hide(raw: &str) -> String {
        let mut bytes = raw.as_bytes().to_vec();
        credentials(raw).into_iter().for_each(|range| bytes[range].fill(b'*'));
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
}
