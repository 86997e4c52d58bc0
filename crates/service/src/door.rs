//! What stands at the door of an edge: whether a request is looked at at all, decided from where it comes from, before anybody asks
//! who sends it. And whether it is answered, where the edge answers it by itself.
//!
//! The limits behind it are a guard; edges know only this face of them.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::caller::Caller;
use crate::failure::Failure;

/// Lets requests in, or not.
pub trait Door: fmt::Debug + Send + Sync + 'static {
    /// Decides of one request that came from `address`: that of the client, where a trusted proxy stands between; `None` when
    /// the edge knows none.
    fn arrive(&self, address: Option<IpAddr>) -> Arrival<'_>;

    /// Decides of one request of a caller that no service sees, since the edge answers it: the beginning and the end of a
    /// session, its settings, its stream, `ping`, a notification, and what the edge itself refuses.
    fn count(&self, caller: &Arc<Caller>) -> Arrival<'_>;

    /// Tells whether somebody may have to be asked, so that [`arrive`](Self::arrive) may wait.
    fn may_ask(&self) -> bool;
}

/// The answer of whoever has to be asked.
pub type Waiting<'s> = Pin<Box<dyn Future<Output = Option<Failure>> + Send + 's>>;

/// What becomes of a request at the door.
pub enum Arrival<'s> {
    /// It comes in.
    Admitted,
    /// This is the answer.
    Refused(Failure),
    /// Somebody has to be asked: for `None` it comes in, a failure is the answer.
    ///
    /// Dropping the future turns it away; what it took for it may be lost.
    Waiting(Waiting<'s>),
}

impl Arrival<'_> {
    /// Waits where somebody has to be asked; the failure is the answer.
    ///
    /// # Cancel safety
    /// Dropping the future turns the request away.
    pub async fn refusal(self) -> Option<Failure> {
        match self {
            Self::Admitted => None,
            Self::Refused(failure) => Some(failure),
            Self::Waiting(waiting) => waiting.await,
        }
    }
}

impl fmt::Debug for Arrival<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admitted => f.write_str("Admitted"),
            Self::Refused(failure) => f.debug_tuple("Refused").field(failure).finish(),
            Self::Waiting(_) => f.write_str("Waiting"),
        }
    }
}
