//! The edges that carry MCP: stdio and Streamable HTTP, with legacy sessions translated to stateless requests.
//!
//! An edge turns bytes into [`Request`](trunkline_service::Request)s and outcomes into bytes. What is asked for, and who may
//! ask, is no business of this crate.

mod admit;
mod batch;
mod flood;
pub mod http;
mod legacy;
mod outgoing;
#[cfg(feature = "sdk")]
pub mod sdk;
pub mod stdio;

pub use admit::next_log_id;
