//! Private servers for tests, started on free ports, in temporary folders, ended with the test; and what stands in front of them.
//!
//! Tests are the only readers, so a server that cannot be started panics with the server's own words.

pub mod front;
mod http;
pub mod metrics;
pub mod pgbouncer;
pub mod postgres;
pub mod redis;
pub mod shim;
mod slack;
pub mod spec;

pub use slack::{slack, within};
