//! What the parts of authentication owe each other: who gives roles, who knows API keys, and what a proof that held says.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use trunkline_service::authenticate::Denied;
use trunkline_service::caller::Caller;
use trunkline_service::shared::Later;

/// Gives a caller whose proof held the roles that the configuration has for them.
pub trait Assign: Send + Sync + fmt::Debug + 'static {
    /// Fills what the configuration decides: [`Caller::roles`], [`Caller::role_set`], [`Caller::evidence`], and the scopes that
    /// broader ones in [`Caller::scopes`] imply.
    fn assign(&self, caller: Caller) -> Arc<Caller>;
}

/// Gives no roles: for endpoints without `[roles]`, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unassigned;

impl Assign for Unassigned {
    fn assign(&self, caller: Caller) -> Arc<Caller> {
        Arc::new(caller)
    }
}

/// Knows the API keys of an endpoint, all of them in memory.
pub trait KeyCheck: Send + Sync + fmt::Debug + 'static {
    /// Tells whether it has the shape of a key, so that nobody else needs to look at it. It says nothing of its worth.
    fn looks_like_key(&self, credential: &str) -> bool;

    /// Judges a key. It waits for nothing, and tells an unknown key from a revoked one neither by its text nor by its time.
    ///
    /// # Errors
    /// [`DeniedKind::Invalid`](trunkline_service::authenticate::DeniedKind::Invalid) when the key does not hold.
    fn check(&self, key: &str) -> Result<Verified, Denied>;

    /// Returns a number that only rises, and rises whenever a key that held holds no longer or means something else. It is
    /// read on every call, so it must be one atomic load.
    fn generation(&self) -> u64;

    /// Waits until the key with that public id holds no longer: revoked, replaced, expired. One that does not exist is over
    /// at once.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    fn ended<'a>(&'a self, id: &'a str) -> Later<'a, ()>;
}

/// What a proof that held says.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Who asks, before the configuration gives them roles. [`Caller::roles`] of a key are those it was made with;
    /// [`Caller::scopes`] are as granted, before one scope implies others.
    pub caller: Caller,
    /// Where to keep the time of the last use, in seconds since 1970; whoever remembers the proof writes it too.
    pub last_use: Option<Arc<AtomicU64>>,
}
