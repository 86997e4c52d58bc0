//! The database as the SQL connectors use it, on real files.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod availability;
mod cancel;
mod describe;
mod read_only;
mod service;
mod support;
mod types;
mod wal;
mod write;
