//! The guards of a Trunkline endpoint: who asks ([`authenticate`]), what they may do ([`authorize`]), and the record of
//! both ([`record`]).
//!
//! No guard knows a connector or an edge, and none reads the config file: `file` types say how their sections are written.

pub mod authenticate;
pub mod authorize;
mod digest;
pub mod record;
mod scope;
