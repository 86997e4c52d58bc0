//! PostgreSQL as a database behind tools, tried against real servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod behalf;
mod hosts;
mod lanes;
mod outage;
mod pages;
mod parameters;
mod replicas;
mod reset;
mod safety;
mod support;
mod tls;
mod types;
