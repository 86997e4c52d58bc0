//! The SDK from outside: servers built as a user builds them, called as a service and over the real edges.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod arguments;
mod build;
mod changes;
mod context;
mod dialogue;
mod edges;
mod offered;
mod parts;
mod peer;
mod results;
mod schemas;
#[cfg(feature = "skills")]
mod skills;
mod support;
mod tasks;
