//! Arguments of a call: decoded straight from their bytes, with help for a model that got them wrong.
//!
//! The common call is one pass of `serde_json` over the raw bytes. Only when the schema demands more than the type does, or
//! when decoding failed, is a tree built and the compiled schema asked.

mod explain;
mod plan;
mod repair;

pub(crate) use explain::{Explained, explain, undecodable};
pub(crate) use plan::Plan;

/// The whole arguments object as one type, instead of one parameter for each argument.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Args<T>(pub T);

/// A value given to the server with [`Server::state`](super::Server::state), cloned for the call. Wrap what is large in an
/// [`Arc`](std::sync::Arc).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

#[cfg(test)]
mod tests;
