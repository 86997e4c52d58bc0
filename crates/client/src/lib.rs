//! Using Model Context Protocol servers of every revision, over Streamable HTTP and over a child process's stdio.
//!
//! [`Client::connect`] finds out once which era the server speaks (2026-07-28 and later: every request stands alone;
//! 2025-11-25 and earlier: a handshake first) and hides the difference afterwards. Payloads stay raw: a tool's definition
//! and a call's result come out byte for byte as the server wrote them.
//!
//! What it keeps true: every wait has a deadline, every answer has a bounded size, a response reaches only the request
//! whose id it carries in value and in type, and nothing a server writes makes the client answer a response.

mod child;
mod client;
mod era;
mod error;
mod http;
mod message;
mod options;
mod request;
mod sse;
mod tool;

pub use client::Client;
pub use era::Era;
pub use error::{ClientError, Kind};
pub use options::{ChildStderr, ConnectOptions, OnProgress, Target};
pub use request::Progress;
pub use tool::{CallOutcome, Tool, ToolList};
