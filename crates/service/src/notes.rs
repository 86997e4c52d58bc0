//! What the guards note of one request for its record: which rule decided, and how its conditions came out. And the face of the
//! record itself for edges, which turn some away before there is a request.
//!
//! Only requests that are recorded carry notes; without a record nothing is noted.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::authenticate::Denied;
use crate::failure::Failure;
use crate::shared::Later;

/// What was decided about a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// Whether it was allowed; `None` when nothing was decided, as for methods that everybody may use.
    pub allowed: Option<bool>,
    /// The rule that decided, as `roles.support.allow[0]`; empty when none did.
    pub rule: Arc<str>,
    /// Each named condition that was looked at, with its outcome; `None` when it could not be evaluated.
    pub conditions: Vec<(Arc<str>, Option<bool>)>,
    /// The scopes that were missing.
    pub missing_scopes: Vec<Box<str>>,
}

/// The notes of one request, shared by those who write them and the one who keeps the record.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Decided>);

impl Notes {
    /// Notes what was decided; the last word counts.
    pub fn decide(&self, decided: Decided) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = decided;
    }

    /// Takes what was noted.
    #[must_use]
    pub fn take(&self) -> Decided {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keeps the record of who was turned away before there was a request.
pub trait AccessRecord: Send + Sync + fmt::Debug + 'static {
    /// Records a refusal. The answer leaves when the future is ready, which is at once unless the record is strict. A flood
    /// is counted rather than written line by line.
    ///
    /// # Errors
    /// The record cannot be written, and without it nothing may be answered: that failure is the answer.
    ///
    /// # Cancel safety
    /// The refusal is recorded once the future was polled, whatever becomes of it.
    fn denied<'a>(&'a self, denied: &'a Denied, head: HeadInfo<'a>) -> Later<'a, Result<(), Failure>>;
}

/// What the head of a refused request says that a record keeps. Nothing of its credentials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadInfo<'a> {
    /// The number under which log and caller know the request.
    pub log_id: u64,
    /// The value of `Mcp-Method`, when there was one.
    pub method: Option<&'a [u8]>,
    /// The address it came from, when it is known.
    pub address: Option<IpAddr>,
    /// The value of `traceparent`, when there was one.
    pub traceparent: Option<&'a [u8]>,
}
