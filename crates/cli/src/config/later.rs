//! Keys that belong to the file format but not to this version: refused by name, so that none is ever ignored.

use toml::de::{DeTable, DeValue};
use trunkline_sql::Severity;

use super::diagnostic::{Diagnostic, key_of};

/// Types of `[connectors.X]` that come later.
pub(crate) const CONNECTOR_TYPES: &[&str] = &["files", "http", "mcp"];
/// Keys of `[connectors.X]` that come later.
pub(crate) const CONNECTOR_KEYS: &[&str] = &["invalidates"];
/// Keys of `[tools.X]` that come later.
pub(crate) const TOOL_KEYS: &[&str] = &["session", "role"];

/// Takes every key of `later` out of the table and tells of it.
pub(crate) fn refuse(table: &mut DeTable<'_>, path: &[&str], later: &[&str], problems: &mut Vec<Diagnostic>) {
    for name in later {
        if let Some((key, _)) = table.remove_entry(*name) {
            let keys: Vec<&str> = path.iter().copied().chain([*name]).collect();
            let message = format!("`{}` is not available in this version", section(&keys));
            let help = Some("remove it; nothing in the file is ignored".to_owned());
            problems.push(Diagnostic {
                key: key_of(&keys),
                span: key.span(),
                message,
                help,
                severity: Severity::Wrong,
            });
        }
    }
}

/// A section is known by its brackets.
fn section(keys: &[&str]) -> String {
    match keys {
        [section] => format!("[{section}]"),
        _ => keys.last().copied().unwrap_or_default().to_owned(),
    }
}

/// Returns the text at a key, if it is a string.
pub(crate) fn text<'a>(table: &'a DeTable<'_>, key: &str) -> Option<&'a str> {
    match table.get(key)?.get_ref() {
        DeValue::String(text) => Some(text.as_ref()),
        _ => None,
    }
}
