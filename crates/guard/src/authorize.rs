//! What a caller may do: roles, scopes and conditions, one engine for lists and calls.
//!
//! Two gates, and one engine for both. For each set of roles there is a *view*: the part of the catalog that its rules allow,
//! with a router over it. What is listed, called, completed and subscribed to is looked up in the same view, so that what
//! is not in it answers as what does not exist, by the same code. Before what is in it stand its scopes and conditions.
//!
//! Nothing is decided from a request but by its caller's roles, which were assigned when their proof was accepted.

mod arguments;
mod claim;
mod condition;
mod explain;
mod file;
mod gate;
mod glob;
mod guard;
mod overlap;
mod pattern;
mod policy;
mod problems;
mod replay;
mod resolve;
mod rules;
mod sets;
mod uri;

pub use explain::{Explainer, Explanation, HeldRole, Looked, NamedRule, Scopes, Thing, Verdict};
pub use file::{MatchFile, MatchesFile, RoleFile, Scalar, ScopesFile, WhenFile};
pub use guard::Authorize;
pub use policy::Policy;
pub use replay::{Replay, Replayed};
pub use resolve::{PolicyFile, Surroundings};
