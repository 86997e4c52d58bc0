//! Which sessions have a stand-alone stream open on this node: one each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

type Open = HashMap<u128, CancellationToken>;

/// The stand-alone streams of this node, by session.
#[derive(Debug, Default, Clone)]
pub(super) struct Streams(Arc<Mutex<Open>>);

/// The place of one stream, given back when it ends.
#[derive(Debug)]
pub(super) struct Place {
    streams: Streams,
    session: u128,
    /// What ends the stream; also tells it from one that took its place.
    closing: CancellationToken,
}

impl Streams {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing in here panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of a session's stream, ending the one that had it. `closing` ends the new one.
    pub(super) fn take(&self, session: u128, closing: CancellationToken) -> Place {
        let mut open = self.open();
        if let Some(before) = open.insert(session, closing.clone()) {
            before.cancel();
        }
        drop(open);
        Place { streams: self.clone(), session, closing }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.open();
        // Cancelled under the same lock: somebody took the place.
        if !self.closing.is_cancelled() {
            open.remove(&self.session);
        }
    }
}
