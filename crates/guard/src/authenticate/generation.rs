//! A number that is another one after every change, and never the same again in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where all numbers come from: an edge remembers callers across a reload, which makes everything anew.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The number of one authenticator, which all that can change something for it may raise.
#[derive(Debug, Clone)]
pub(crate) struct Generation(Arc<AtomicU64>);

impl Generation {
    /// Starts with a number that nobody had.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(next())))
    }

    /// Returns the number of now.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Makes it another one. What has changed must be in place before.
    pub(crate) fn rise(&self) {
        self.0.fetch_max(next(), Ordering::AcqRel);
    }
}

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::AcqRel)
}
