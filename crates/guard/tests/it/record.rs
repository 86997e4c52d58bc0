//! The audit record: what is in its lines, and that none is missing.

mod faults;
mod kinds;
mod observed;
mod sinks;
mod support;
mod survives;
