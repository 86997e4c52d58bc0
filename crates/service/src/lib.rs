//! What everything in Trunkline answers through: requests, replies, failures, callers and the [`Service`] trait.
//!
//! A [`Request`] is always in the terms of 2026-07-28: stateless, with its own caller and deadline. Edges translate older
//! revisions before they get here. Payloads stay raw bytes.

mod answer;
pub mod authenticate;
pub mod caller;
pub mod catalog;
mod chain;
pub mod check;
pub mod door;
pub mod endpoint;
#[cfg(feature = "expression")]
pub mod expression;
pub mod failure;
#[cfg(feature = "file")]
pub mod file;
pub mod layers;
pub mod meter;
mod nearest;
pub mod notes;
pub mod notices;
pub mod outlet;
pub mod queue;
pub mod reply;
pub mod request;
pub mod router;
pub mod seal;
pub mod shared;
#[cfg(feature = "redis")]
pub mod store;
pub mod trace;

pub use answer::{Answer, Later, ready};
pub use authenticate::{Access, Authenticator, Credentials, Denied, DeniedKind};
pub use caller::{Caller, Proof};
pub use catalog::{
    Annotations, Catalog, CatalogError, Icon, PromptArgument, PromptDefinition, ResourceDefinition,
    TemplateDefinition, ToolDefinition, ToolName,
};
pub use chain::Chain;
pub use check::{Check, Checked};
pub use door::{Arrival, Door};
pub use endpoint::{Endpoint, ServerInfo};
pub use failure::{Failure, FailureKind};
pub use nearest::nearest;
pub use notes::{AccessRecord, Decided, HeadInfo, Notes};
pub use outlet::{Attached, Event, Log, Outlet, Progress, Veil};
pub use reply::{CacheScope, Fault, Hints, Kept, Reply, ReplyKind};
pub use request::{Input, ParamHeaders, Request, TimeAllowed};
pub use router::{Router, RouterOptions, TaskNotices};
pub use shared::{Change, Shared};

/// What a service comes to: a reply, or why the request was not acceptable.
///
/// A tool that could not do what was asked is a [`Reply`] with `isError`, not a [`Failure`].
pub type Outcome = Result<Reply, Failure>;

/// Something that answers MCP requests: a connector, a router over them, a guard around either.
pub trait Service: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// # Cancel safety
    /// Dropping the answer cancels the request: the work behind it is stopped, and nothing is sent for it.
    fn call(&self, request: Request) -> Answer<'_>;
}

impl<S: Service + ?Sized> Service for std::sync::Arc<S> {
    fn call(&self, request: Request) -> Answer<'_> {
        (**self).call(request)
    }
}
