//! PostgreSQL as a database behind tools, tried against real servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod lanes;
mod outage;
mod pages;
mod parameters;
mod safety;
mod support;
mod types;
