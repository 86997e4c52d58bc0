//! The one digest that things are known by here.

use aws_lc_rs::digest::{SHA256, digest};

/// Returns the SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut made = [0; 32];
    made.copy_from_slice(digest(&SHA256, bytes).as_ref());
    made
}
