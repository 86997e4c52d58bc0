//! Patterns of JSON Schema, which are regular expressions of ECMA-262, run by an engine whose time is linear in the text.

use std::borrow::Cow;

/// The most memory that one compiled pattern may take, in bytes, and the cache of one run.
pub(super) const MAX_SIZE: usize = 1 << 20;

/// Returns the pattern as the engine writes it; `None` for one that needs backtracking (look-around, back references), or that is
/// wrong.
pub(super) fn translated(pattern: &str) -> Option<Cow<'_, str>> {
    jsonschema_regex::to_rust_regex(pattern).ok()
}
