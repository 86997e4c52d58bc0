//! The audit record: every decision and call, in lines that hold names, sizes and shapes and never values.
//!
//! ```text
//! Recorded (one line per request) -> Recorder (bounded queue) -> writer thread (chain, batches) -> Sink
//! ```
//!
//! Lines are chained: each ends with a MAC over the line before and itself, so that [`verify`] finds what was edited, removed,
//! swapped or inserted. What was cut from the end is found by the heads that are logged every minute.

mod chain;
pub mod file;
mod line;
mod names;
pub mod read;
mod recorded;
mod recorder;
mod shape;
pub mod sink;
mod time;
pub mod verify;
mod writer;

pub use chain::{AuditKey, Head, Mac, Prover};
pub use file::{Audit, AuditFile, Fsync, Mode, OnFailure, SinkChoice};
pub use recorded::Recorded;
pub use recorder::{Counts, Recorder, StartError};
