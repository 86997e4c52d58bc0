//! The guards of a Trunkline endpoint: who asks ([`authenticate`]), what they may do ([`authorize`]), how often ([`limit`]), with what
//! ([`validate`]), what is kept of answers ([`cache`]) and shown of them ([`redact`]), what becomes of sources that fail
//! ([`resilience`]), and the record of all of it ([`record`]).
//!
//! No guard knows a connector or an edge, and none reads the config file: `file` types say how their sections are written.

pub mod authenticate;
pub mod authorize;
pub mod cache;
mod digest;
pub mod limit;
pub mod record;
pub mod redact;
pub mod resilience;
mod scope;
pub mod switch;
pub mod thing;
pub mod validate;
