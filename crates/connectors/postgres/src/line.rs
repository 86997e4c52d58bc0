//! The line of callers who have a place in the pool and no connection for it, because the server takes no more of them: they
//! are served in the order of asking, by what others give back or by a server that has room again.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::futures::Notified;
use tokio::sync::{Mutex, MutexGuard, Notify};

/// The line of one pool.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: AtomicUsize,
    first: Mutex<()>,
    returned: Notify,
}

/// A caller in the line, until it is dropped.
#[derive(Debug)]
pub(crate) struct InLine<'a>(&'a Line);

impl Line {
    /// Whether nobody waits, so that whoever comes may take what is free.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Joins at the end.
    pub(crate) fn join(&self) -> InLine<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        InLine(self)
    }

    /// Says that a connection came back.
    pub(crate) fn tell(&self) {
        if !self.is_empty() {
            self.returned.notify_one();
        }
    }
}

impl<'a> InLine<'a> {
    /// Waits until all who came before are served or have gone.
    ///
    /// # Cancel safety
    /// The place in the line is lost.
    pub(crate) async fn first(&self) -> MutexGuard<'a, ()> {
        self.0.first.lock().await
    }

    /// Waits until a connection came back, from now on.
    pub(crate) fn returned(&self) -> Notified<'a> {
        self.0.returned.notified()
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
