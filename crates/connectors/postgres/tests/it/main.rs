//! PostgreSQL as a database behind tools, tried against real servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod lanes;
mod outage;
mod parameters;
mod roundtrip;
mod safety;
mod support;
mod tool;
mod types;
