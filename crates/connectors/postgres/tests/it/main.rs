//! PostgreSQL as a database behind tools, tried against real servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod behalf;
mod fairness;
mod hosts;
mod lanes;
mod outage;
mod parameters;
mod pooler;
mod replicas;
mod reset;
mod roundtrip;
mod safety;
mod support;
mod tls;
mod tool;
mod types;
