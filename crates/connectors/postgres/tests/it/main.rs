//! PostgreSQL as a database behind tools, tried against real servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod assistant;
mod behalf;
mod bypass;
mod contention;
mod cursors;
mod fairness;
mod frozen;
mod full;
mod hosts;
mod lanes;
mod notify;
mod outage;
mod pages;
mod parameters;
mod pooler;
mod posture;
mod replicas;
mod reset;
mod roundtrip;
mod safety;
mod slow;
mod support;
mod table;
mod tls;
mod tool;
mod types;
mod unclear;
mod writer;
