//! What is known of requests afterwards: the audit record, every decision and call in lines that hold names, sizes and shapes
//! and never values; and the numbers of [`Observed`], which cost no line.
//!
//! ```text
//! Observed (counts, access lines of the log)
//!   -> Recorded (one line per request) -> Recorder (bounded queue) -> writer thread (chain, batches) -> Sink
//! ```
//!
//! Lines are chained: each ends with a MAC over the line before and itself, so that [`verify`] finds what was edited, removed,
//! swapped or inserted. What was cut from the end is found by the heads that are logged every minute.

mod chain;
mod ended;
pub mod file;
mod line;
mod names;
mod observations;
mod observed;
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
pub use observations::Observations;
pub use observed::Observed;
pub use recorded::Recorded;
pub use recorder::{Counts, Recorder, StartError};
