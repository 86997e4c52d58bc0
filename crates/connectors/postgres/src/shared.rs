//! The shared lane: a few connections over which many callers' short reads are pipelined.
//!
//! Nothing here is cancelled in the server, since a cancel would hit whatever runs on that connection then; the session's
//! short statement timeout bounds every statement.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use tokio::sync::Mutex;
use trunkline_sql::DatabaseError;

use crate::dial::{Dialer, Lane, Session};

/// How many connections there are. Fewer pipeline more, and eight cost the database some 15 % more than four.
pub(crate) const CONNECTIONS: usize = 4;

/// The lane of one database.
#[derive(Debug)]
pub(crate) struct SharedLane {
    dialer: Arc<Dialer>,
    /// How its sessions are set up.
    lane: Lane,
    slots: [Slot; CONNECTIONS],
    next: AtomicUsize,
    /// The number of its first place among those of all nodes.
    first_place: usize,
    /// After how long without an answer a connection is given up.
    stalled_after: Duration,
}

#[derive(Debug, Default)]
struct Slot {
    current: ArcSwapOption<SharedSession>,
    opening: Mutex<()>,
}

/// A connection that many callers use at once.
#[derive(Debug)]
pub(crate) struct SharedSession {
    session: Session,
    place: usize,
    /// When the oldest statement was sent that nobody waits for any more, in microseconds; 0 when there is none, or an
    /// answer came since.
    unanswered_since: AtomicU64,
    /// When the last answer ended, in microseconds.
    answered: AtomicU64,
}

impl SharedLane {
    /// Makes a lane without connections; they are opened as they are needed. `first_place` numbers them among those of all
    /// nodes.
    pub(crate) fn new(dialer: Arc<Dialer>, lane: Lane, first_place: usize, stalled_after: Duration) -> Self {
        Self {
            dialer,
            lane,
            slots: std::array::from_fn(|_| Slot::default()),
            next: AtomicUsize::new(0),
            first_place,
            stalled_after,
        }
    }

    /// Returns the next connection in turn, opened anew when it is closed or does not move; another where the server takes no
    /// more connections.
    ///
    /// # Errors
    /// [`DatabaseError::Unreachable`], [`DatabaseError::Full`].
    pub(crate) async fn pick(&self) -> Result<Arc<SharedSession>, DatabaseError> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        let slot = self.slots.get(at).unwrap_or(&self.slots[0]);
        match self.usable(slot) {
            Some(session) => Ok(session),
            None => match Box::pin(self.open(slot, at)).await {
                Err(error @ DatabaseError::Full { .. }) => {
                    self.slots.iter().find_map(|slot| self.usable(slot)).ok_or(error)
                }
                opened => opened,
            },
        }
    }

    /// Opens every connection that is not open, all at once, and returns those that are then.
    pub(crate) async fn all(&self) -> Vec<Arc<SharedSession>> {
        let opened = self.slots.iter().enumerate().map(|(at, slot)| async move {
            match self.usable(slot) {
                Some(session) => Some(session),
                None => self.open(slot, at).await.ok(),
            }
        });
        join_all(opened).await.into_iter().flatten().collect()
    }

    /// Cuts off every connection that has answered nothing since the watched statement was sent: the server is likely not
    /// to answer on any, and a caller should find that out only once.
    pub(crate) fn sever_silent(&self, watch: &Watch<'_>) {
        for slot in &self.slots {
            if let Some(session) = slot.current.load_full()
                && session.answered.load(Ordering::Relaxed) < watch.sent
            {
                session.session.sever();
            }
        }
    }

    fn usable(&self, slot: &Slot) -> Option<Arc<SharedSession>> {
        let session = slot.current.load_full().filter(|session| session.session.is_reusable())?;
        if session.is_stalled(self.stalled_after) {
            session.session.sever();
            return None;
        }
        Some(session)
    }

    /// One caller opens, the others wait for it.
    async fn open(&self, slot: &Slot, at: usize) -> Result<Arc<SharedSession>, DatabaseError> {
        let wait = self.dialer.connect_timeout();
        let Ok(_opening) = tokio::time::timeout(wait, slot.opening.lock()).await else {
            return Err(self.dialer.unreached(format!("no connection within {wait:?}")));
        };
        if let Some(session) = self.usable(slot) {
            return Ok(session);
        }
        let session = Arc::new(SharedSession {
            session: self.dialer.dial(self.lane).await?,
            place: self.first_place + at,
            unanswered_since: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        });
        slot.current.store(Some(Arc::clone(&session)));
        Ok(session)
    }
}

impl SharedSession {
    /// Returns the connection.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Returns which place it has among those of all nodes.
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Starts watching a statement about to be sent.
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch { session: self, sent: now(), answered: false }
    }

    fn is_stalled(&self, after: Duration) -> bool {
        let since = self.unanswered_since.load(Ordering::Relaxed);
        since != 0 && now().saturating_sub(since) > micros(after)
    }
}

/// A statement on its way. Dropped without an answer, it leaves a mark that only another answer wipes away.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    session: &'a SharedSession,
    sent: u64,
    answered: bool,
}

impl Watch<'_> {
    /// Notes that the answer came, and returns how long the server worked on it: answers come in the order of statements,
    /// so work on this one began when it was sent or when the answer before it ended.
    pub(crate) fn answered(mut self) -> Duration {
        self.answered = true;
        let session = self.session;
        if session.unanswered_since.load(Ordering::Relaxed) != 0 {
            session.unanswered_since.store(0, Ordering::Relaxed);
        }
        let now = now();
        let before = session.answered.swap(now, Ordering::Relaxed);
        Duration::from_micros(now.saturating_sub(before.max(self.sent)))
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.answered {
            // The oldest mark stays.
            let mark = &self.session.unanswered_since;
            let _ = mark.compare_exchange(0, self.sent, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Microseconds since this process first asked, never 0.
pub(crate) fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    micros(START.elapsed()).max(1)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
