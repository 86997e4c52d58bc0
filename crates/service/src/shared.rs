//! What changes and every node must know, behind one trait; here in memory, bounded.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::seal::now;

/// State that all nodes of an endpoint share.
pub trait Shared: Send + Sync + fmt::Debug + 'static {
    /// Remembers that a session was ended, until its id would have expired anyway (seconds since 1970).
    ///
    /// Returns `false` when it already was, or when there is no room to remember it.
    fn end_session(&self, session: u128, expires: u64) -> bool;

    /// Tells whether a session was ended.
    fn is_ended(&self, session: u128) -> bool;
}

/// Most ended sessions that are remembered at a time.
const MAX_ENDED: usize = 100_000;

/// Shared state of a single node.
#[derive(Debug, Default)]
pub struct InMemory {
    ended: Mutex<HashMap<u128, u64>>,
    /// How many there are, so that calls need no lock while nobody ended a session.
    count: AtomicUsize,
}

impl Shared for InMemory {
    fn end_session(&self, session: u128, expires: u64) -> bool {
        let Ok(mut ended) = self.ended.lock() else { return false };
        if ended.len() >= MAX_ENDED {
            let now = now();
            ended.retain(|_, expires| *expires > now);
        }
        let added = ended.len() < MAX_ENDED && ended.insert(session, expires).is_none();
        self.count.store(ended.len(), Ordering::Release);
        added
    }

    fn is_ended(&self, session: u128) -> bool {
        self.count.load(Ordering::Acquire) > 0
            && self.ended.lock().is_ok_and(|ended| ended.contains_key(&session))
    }
}
