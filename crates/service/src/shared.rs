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
    /// Returns `false` when it already was.
    ///
    /// # Errors
    /// [`NoRoom`] when too many are remembered already: the session goes on.
    fn end_session(&self, session: u128, expires: u64) -> Result<bool, NoRoom>;

    /// Tells whether a session was ended.
    fn is_ended(&self, session: u128) -> bool;
}

/// Nothing more can be remembered for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many ended sessions are remembered; try again later")]
pub struct NoRoom;

/// Parts of the table, so that sessions rarely wait for each other.
const SHARDS: usize = 16;
/// Most ended sessions that one part remembers.
const MAX_ENDED: usize = 8192;

/// Shared state of a single node.
#[derive(Debug, Default)]
pub struct InMemory {
    ended: [Ended; SHARDS],
}

/// Ended sessions with the time their ids expire.
#[derive(Debug, Default)]
struct Ended {
    sessions: Mutex<HashMap<u128, u64>>,
    /// How many there are, so that calls need no lock while nobody ended a session.
    count: AtomicUsize,
}

impl InMemory {
    fn part(&self, session: u128) -> &Ended {
        let [first, ..] = &self.ended;
        usize::try_from(session % SHARDS as u128).ok().and_then(|part| self.ended.get(part)).unwrap_or(first)
    }
}

impl Shared for InMemory {
    fn end_session(&self, session: u128, expires: u64) -> Result<bool, NoRoom> {
        let part = self.part(session);
        let mut sessions = part.sessions.lock().map_err(|_| NoRoom)?;
        if sessions.len() >= MAX_ENDED {
            let now = now();
            sessions.retain(|_, expires| *expires > now);
        }
        if sessions.len() >= MAX_ENDED && !sessions.contains_key(&session) {
            return Err(NoRoom);
        }
        let added = sessions.insert(session, expires).is_none();
        part.count.store(sessions.len(), Ordering::Release);
        Ok(added)
    }

    fn is_ended(&self, session: u128) -> bool {
        let part = self.part(session);
        part.count.load(Ordering::Acquire) > 0
            && part.sessions.lock().is_ok_and(|sessions| sessions.contains_key(&session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_expires() {
        let shared = InMemory::default();
        assert_eq!((shared.end_session(1, u64::MAX), shared.end_session(1, u64::MAX)), (Ok(true), Ok(false)));
        assert!(shared.is_ended(1) && !shared.is_ended(2) && !shared.is_ended(17));
        for number in 1..MAX_ENDED as u128 {
            assert_eq!(shared.end_session(number * 16, u64::MAX), Ok(true));
        }
        assert_eq!(shared.end_session(0, 1), Ok(true));
        assert_eq!(
            shared.end_session(MAX_ENDED as u128 * 16, u64::MAX),
            Ok(true),
            "the expired one made room"
        );
        assert_eq!(shared.end_session((MAX_ENDED as u128 + 1) * 16, u64::MAX), Err(NoRoom));
    }
}
