//! Trunkline, the library: serve and use the Model Context Protocol from Rust.
//!
//! This version re-exports the parts the `trunkline` binary is made of; the macros and the typed server come with a later
//! one.
//!
//! - [`protocol`]: messages as bytes, revisions, header rules.
//! - [`service`]: requests, replies, callers, and the [`Service`] trait every part answers through.
//! - [`server`]: stdio and Streamable HTTP.
//! - [`client`]: any MCP server, from the other side.

pub use trunkline_client as client;
pub use trunkline_protocol as protocol;
pub use trunkline_server as server;
pub use trunkline_service as service;

pub use trunkline_service::{Caller, Failure, FailureKind, Outcome, Reply, Request, Service};
