//! What stands around every connector so that one that fails or is slow harms nobody else: a bound on what it has in hand, a
//! second try where that does no harm, a breaker.
//!
//! One [`Source`] is what the things of one connector have in common, [`Resilient`] is the layer around each of them. Deadlines
//! are the connector's own and those of the request; nothing here waits beyond them. How many requests the whole server has in
//! hand is `trunkline_service::layers::Bounded`'s to say.

mod breaker;
pub mod file;
mod resilient;
mod retry;
mod source;
mod verdict;

/// The line that those wait in who find no place free.
pub use trunkline_service::queue;

pub use breaker::BreakerConfig;
pub use resilient::{Repeatable, Resilient};
pub use retry::RetryConfig;
pub use source::{Source, SourceConfig, SourceState};
