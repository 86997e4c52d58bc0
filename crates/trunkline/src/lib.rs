//! Trunkline, the library: serve and use the Model Context Protocol from Rust.
//!
//! A tool is an async function; its doc comment is the description, its parameters are the schema of the arguments:
//!
//! ```no_run
//! use trunkline::{Server, ToolError, tool};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(rename_all = "lowercase")]
//! enum Operation {
//!     Add,
//!     Divide,
//! }
//!
//! /// Performs basic arithmetic.
//! #[tool(read_only)]
//! async fn calculate(operation: Operation, a: f64, b: f64) -> Result<String, ToolError> {
//!     match operation {
//!         Operation::Add => Ok((a + b).to_string()),
//!         Operation::Divide if b == 0.0 => Err("division by zero; choose another `b`".into()),
//!         Operation::Divide => Ok((a / b).to_string()),
//!     }
//! }
//!
//! # #[tokio::main] async fn main() -> Result<(), trunkline::ServeError> {
//! Server::new("calculator-server", "1.0.0").tool(calculate).run("127.0.0.1:3000").await
//! # }
//! ```
//!
//! [`macro@tool`], [`macro@prompt`] and [`macro@resource`] say what functions may look like. Everything else of the SDK is
//! here as well; the parts it is made of have their modules:
//!
//! - [`protocol`]: messages as bytes, revisions, header rules.
//! - [`service`]: requests, replies, callers, and the [`Service`] trait every part answers through.
//! - [`server`]: stdio and Streamable HTTP.
//! - `client`: any MCP server, from the other side.
//!
//! # Features
//! `macros` (the attributes, and with them `sdk`), `skills` (a folder of skills) and `client` are on by default; `axum` mounts
//! a server in an axum application; `redis` lets nodes in several processes be one server, with what they share in a store
//! (`service::shared::InRedis`, given to `Server::shared`). Without any, only messages and edges are left.

#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod macros_support;

#[cfg(feature = "client")]
pub use trunkline_client as client;
pub use trunkline_protocol as protocol;
pub use trunkline_server as server;
pub use trunkline_service as service;

#[cfg(feature = "macros")]
pub use trunkline_macros::{prompt, resource, tool};
#[cfg(feature = "sdk")]
#[doc(inline)]
pub use trunkline_server::sdk::*;
pub use trunkline_service::{Caller, Failure, FailureKind, Outcome, Reply, Request, Service};

/// Compiles the code of the guide.
#[cfg(all(doctest, feature = "macros", feature = "axum", feature = "skills"))]
#[doc = include_str!("../../../docs/sdk.md")]
pub struct SdkGuide;

/// Compiles the code of the README.
#[cfg(all(doctest, feature = "macros"))]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
