//! What the guards note of one request for its record: which rule decided, and how its conditions came out.
//!
//! Only requests that are recorded carry notes; without a record nothing is noted.

use std::sync::{Arc, Mutex, PoisonError};

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
