//! The text of a config file and where in it each key and value stands, so that every problem can be shown in place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::secret::{Hidden, Secret, hidden, suspects};

/// A config file as it was read.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    text: String,
    root: Node,
    values: Hidden,
}

/// One key with its value.
#[derive(Debug, Default)]
struct Node {
    key: Range<usize>,
    value: Range<usize>,
    children: BTreeMap<String, Node>,
}

impl Document {
    /// Keeps the text and notes where everything in `table`, parsed from that text, stands.
    pub(crate) fn new(path: &Path, text: &str, table: &DeTable<'_>) -> Self {
        let root = Node { key: 0..0, value: 0..text.len(), children: children_of(table) };
        Self { path: path.to_owned(), text: text.to_owned(), root, values: Hidden::default() }
    }

    /// Keeps the values that came from references, so that [`clean`](Self::clean) knows them.
    pub(crate) fn hide(&mut self, values: Hidden) {
        self.values = values;
    }

    /// Returns a message with what the file says in place of every value that came from a reference.
    pub(crate) fn clean(&self, message: String) -> String {
        self.values.clean(message)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the place of a key: its value if that is short, else the key itself; of the nearest parent when the file
    /// has no such key.
    pub(crate) fn span<S: AsRef<str>>(&self, path: &[S]) -> Range<usize> {
        let (node, found) = self.node(path);
        let raw = self.text.get(node.value.clone()).unwrap_or_default();
        let short = found && node.children.is_empty() && !raw.is_empty() && !raw.contains('\n');
        if short { node.value.clone() } else { node.key.clone() }
    }

    /// Returns the place of the key alone.
    pub(crate) fn key_span<S: AsRef<str>>(&self, path: &[S]) -> Range<usize> {
        self.node(path).0.key.clone()
    }

    /// Returns the place of a byte inside a string value, with the word that begins there.
    pub(crate) fn span_within<S: AsRef<str>>(&self, path: &[S], offset: usize) -> Range<usize> {
        let (node, found) = self.node(path);
        let raw = self.text.get(node.value.clone()).unwrap_or_default();
        if !found || raw.is_empty() {
            return self.span(path);
        }
        let mut start = node.value.start + source_offset(raw, offset);
        let mut rest = self.text.get(start..node.value.end).unwrap_or_default();
        // What an expression says of `args.name` stands at the dot.
        if let Some(name) =
            rest.strip_prefix('.').filter(|name| name.starts_with(|c: char| c.is_alphabetic() || c == '_'))
        {
            (start, rest) = (start + 1, name);
        }
        start..start + word_length(rest)
    }

    /// Returns the place of a range of bytes inside a string value.
    pub(crate) fn range_within<S: AsRef<str>>(&self, path: &[S], range: &Range<usize>) -> Range<usize> {
        let (node, _) = self.node(path);
        let raw = self.text.get(node.value.clone()).unwrap_or_default();
        let at = |offset| node.value.start + source_offset(raw, offset);
        at(range.start)..at(range.end)
    }

    /// Returns the line and the column, both from 1, columns in characters.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        (before.matches('\n').count() + 1, column + 1)
    }

    /// Returns the text with what may be secret hidden: its letters become asterisks. `secret` is asked with
    /// the path of each value, and whether a table around it says `secret = true`.
    pub(crate) fn masked(&self, secret: &dyn Fn(&[&str], bool) -> Option<Secret>) -> String {
        let mut bytes = self.text.clone().into_bytes();
        mask(&self.root, &mut Vec::new(), false, secret, &self.text, &mut bytes);
        // Where the file is no TOML, or a key is misspelt, the tree does not know what was meant.
        suspects(&self.text).into_iter().for_each(|range| blot(&mut bytes, range));
        String::from_utf8(bytes).unwrap_or_else(|_| " ".repeat(self.text.len()))
    }

    fn node<S: AsRef<str>>(&self, path: &[S]) -> (&Node, bool) {
        let mut node = &self.root;
        for key in path {
            match node.children.get(key.as_ref()) {
                Some(child) => node = child,
                None => return (node, false),
            }
        }
        (node, true)
    }
}

/// Returns the length of the word that a text begins with, or of a name in quotes; else of its first character.
fn word_length(text: &str) -> usize {
    let word = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let quote = ["\\\"", "\"", "`"].into_iter().find(|quote| text.starts_with(quote));
    let in_quotes = quote.and_then(|quote| {
        let line = text.lines().next().unwrap_or_default();
        let inner = line.get(quote.len()..)?;
        // At the end of a value a quote is that of the file.
        inner.find(quote).filter(|length| *length > 0).map(|length| length + 2 * quote.len())
    });
    in_quotes.unwrap_or(word).max(text.chars().next().map_or(0, char::len_utf8))
}

fn children_of(table: &DeTable<'_>) -> BTreeMap<String, Node> {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), node_of(key.span(), value))).collect()
}

fn node_of(key: Range<usize>, value: &Spanned<DeValue<'_>>) -> Node {
    let children = match value.get_ref() {
        DeValue::Table(table) => children_of(table),
        DeValue::Array(items) => items
            .iter()
            .enumerate()
            .map(|(number, item)| (number.to_string(), node_of(item.span(), item)))
            .collect(),
        _ => BTreeMap::new(),
    };
    Node { key, value: value.span(), children }
}

/// Puts asterisks in place of the credentials in secret strings; references like `${NAME}` stay readable.
fn mask<'a>(
    node: &'a Node,
    path: &mut Vec<&'a str>,
    declared: bool,
    secret: &dyn Fn(&[&str], bool) -> Option<Secret>,
    text: &str,
    bytes: &mut [u8],
) {
    if node.children.is_empty()
        && let Some(secret) = secret(path, declared)
    {
        let raw = text.get(node.value.clone()).unwrap_or_default();
        for range in hidden(raw, secret) {
            blot(bytes, node.value.start + range.start..node.value.start + range.end);
        }
    }
    let says_so =
        node.children.get("secret").is_some_and(|node| text.get(node.value.clone()) == Some("true"));
    for (key, child) in &node.children {
        path.push(key);
        mask(child, path, declared || says_so, secret, text, bytes);
        path.pop();
    }
}

fn blot(bytes: &mut [u8], range: Range<usize>) {
    let hidden = bytes.get_mut(range).into_iter().flatten();
    hidden.filter(|byte| !byte.is_ascii_whitespace()).for_each(|byte| *byte = b'*');
}

/// Returns where in a string literal the byte `offset` of its value was written.
fn source_offset(raw: &str, offset: usize) -> usize {
    let (open, literal) = match raw.as_bytes() {
        [b'"', b'"', b'"', ..] => (3, false),
        [b'\'', b'\'', b'\'', ..] => (3, true),
        [b'\'', ..] => (1, true),
        [b'"', ..] => (1, false),
        _ => return offset.min(raw.len()),
    };
    let mut at = open;
    if open == 3 {
        // The line break right after the opening quotes is not part of the value.
        let rest = raw.get(at..).unwrap_or_default();
        at += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    let mut value = 0;
    while value < offset {
        let Some(rest) = raw.get(at..).filter(|rest| rest.len() > open) else { break };
        let (written, means) = if literal { plain(rest) } else { escape(rest) };
        at += written;
        value += means;
    }
    // A line continuation writes bytes that mean nothing; what follows is what was meant.
    while !literal
        && raw.get(at..).is_some_and(|rest| escape(rest) == (continuation(rest), 0) && continuation(rest) > 0)
    {
        at += continuation(raw.get(at..).unwrap_or_default());
    }
    at.min(raw.len())
}

fn plain(rest: &str) -> (usize, usize) {
    let length = rest.chars().next().map_or(1, char::len_utf8);
    (length, length)
}

/// Returns how many bytes the next character of a basic string takes in the file, and how many in the value.
fn escape(rest: &str) -> (usize, usize) {
    let digits = |from: usize, count: usize| {
        let code = rest.get(from..from + count).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        (from + count, code.and_then(char::from_u32).map_or(1, char::len_utf8))
    };
    if !rest.starts_with('\\') {
        return plain(rest);
    }
    match rest.as_bytes().get(1) {
        Some(b'x') => digits(2, 2),
        Some(b'u') => digits(2, 4),
        Some(b'U') => digits(2, 8),
        _ => match continuation(rest) {
            0 => (2, 1),
            length => (length, 0),
        },
    }
}

/// Returns the length of a backslash before a line end with all the white space after it; 0 if there is none.
fn continuation(rest: &str) -> usize {
    let Some(after) = rest.strip_prefix('\\') else { return 0 };
    let blank = after.trim_start_matches([' ', '\t']);
    if !blank.starts_with(['\n', '\r']) {
        return 0;
    }
    rest.len() - blank.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For every character of the value, the place found must hold what writes that character.
    #[test]
    fn offsets_inside_strings_lead_to_where_they_were_written() {
        for raw in [
            "\"select X\"",
            "'select X'",
            "\"\"\"\nselect\n X\"\"\"",
            "'''\r\na X'''",
            "\"\"\"é\\u00e9\\n\\\n   X\"\"\"",
            "\"\\t\\\"X\"",
        ] {
            let text = format!("sql = {raw}\n");
            let table = DeTable::parse(&text).unwrap();
            let value = table.get_ref().get("sql").unwrap().get_ref().as_str().unwrap().to_owned();
            let document = Document::new(Path::new("t.toml"), &text, table.get_ref());
            let span = document.span_within(&["sql"], value.find('X').unwrap());
            assert_eq!(&text[span], "X", "{raw:?}");
        }
    }

    #[test]
    fn a_missing_key_leads_to_its_parent() {
        let text = "[tools.a]\nsql = 'x'\n[tools.b]\n";
        let table = DeTable::parse(text).unwrap();
        let document = Document::new(Path::new("t.toml"), text, table.get_ref());
        assert_eq!(&text[document.span(&["tools", "a", "nothing", "here"])], "a");
        assert_eq!(&text[document.span(&["tools", "a", "sql"])], "'x'");
        assert_eq!(document.position(text.find("sql").unwrap()), (2, 1));
    }
}
