//! Patterns of JSON Schema, which are regular expressions of ECMA-262, run by an engine whose time is linear in the text.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

/// The most memory that one compiled pattern of somebody else may take, in bytes, and the cache of one run.
pub(super) const MAX_SIZE: usize = 1 << 20;

/// The same for a pattern of the operator's own file.
const MAX_OWN_SIZE: usize = 10 << 20;

/// Compiles a pattern: as the engine has it when the service that reads it does so too, else in the meaning of ECMA-262. `None` for one
/// that is wrong, too large, or needs backtracking.
pub(super) fn compile(written: &str, is_own: bool) -> Option<Regex> {
    let text = if is_own { Cow::Borrowed(written) } else { translated(written)? };
    let most = if is_own { MAX_OWN_SIZE } else { MAX_SIZE };
    RegexBuilder::new(&text).size_limit(most).dfa_size_limit(most).build().ok()
}

/// Returns the pattern as the engine writes it; `None` for one that needs backtracking (look-around, back references), or that is
/// wrong.
fn translated(pattern: &str) -> Option<Cow<'_, str>> {
    jsonschema_regex::to_rust_regex(pattern).ok()
}
