//! What every section of the config file is written with: lengths of time, sizes, and problems told by their key.

mod problem;
mod units;

pub use problem::{Problem, Severity};
pub use units::{DurationText, SizeText};
