//! Who asks: a caller from a signed token, an introspected token or an API key.
//!
//! [`Identity`] puts it together. What a credential is taken for, and what its claims must say, is decided once in `[auth]`
//! ([`mod@file`]); what held is remembered until it ends or something that made it hold changes.

mod algorithm;
mod audience;
mod claims;
mod contract;
mod discovery;
mod examine;
mod fault;
mod fetch;
pub mod file;
mod generation;
mod identity;
mod introspection;
mod issuer;
mod key_set;
pub mod keys;
mod memory;
mod presented;
mod resource;
mod sections;
mod token;

pub use algorithm::Algorithm;
pub use audience::Audience;
pub use contract::{Assign, KeyCheck, Unassigned, Verified};
pub use examine::examine;
pub use fault::Fault;
pub use identity::Identity;
pub use resource::Described;
pub use token::{MAX_TOKEN, SignedToken};
