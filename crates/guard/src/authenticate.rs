//! Who asks: a caller from a signed token, an introspected token or an API key.

mod contract;
pub mod keys;

pub use contract::{Assign, KeyCheck, Unassigned, Verified};
