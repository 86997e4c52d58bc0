//! Keys: what has to make them equal, and what has to make them differ.

use super::*;

/// Returns some key.
pub(crate) fn key_of(bytes: &[u8]) -> Key {
    Key(sha256(bytes))
}
