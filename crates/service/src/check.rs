//! What a request for one thing of the catalog has to pass after its name was authorized and before its arguments are: limits of
//! that thing, and whether the arguments fit it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::Outcome;
use crate::request::Request;

/// Looks at a request for one tool, prompt or resource before it goes on; may change it, as by adding defaults.
pub trait Check: fmt::Debug + Send + Sync + 'static {
    /// Looks at the request. What it has to wait for it takes out of the request first: the future does not hold it.
    fn check<'s>(&'s self, request: &mut Request) -> Checked<'s>;
}

/// What a check came to.
pub enum Checked<'s> {
    /// The request goes on.
    Passed,
    /// This is its answer.
    Answered(Outcome),
    /// It has to wait: for `None` it goes on, an outcome is its answer.
    ///
    /// Dropping the future gives up the request; what it took for it is given back or forfeit, as its check says.
    Waiting(Pin<Box<dyn Future<Output = Option<Outcome>> + Send + 's>>),
}

impl fmt::Debug for Checked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("Passed"),
            Self::Answered(outcome) => f.debug_tuple("Answered").field(outcome).finish(),
            Self::Waiting(_) => f.write_str("Waiting"),
        }
    }
}
