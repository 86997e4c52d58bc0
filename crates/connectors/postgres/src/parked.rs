//! Open cursors that wait for their caller to ask for the next page, each on a connection of its own.
//!
//! They never cost another caller anything: at most a quarter of the pool, the longest parked one first taken back when
//! somebody waits for a connection, and none longer than half a minute.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_postgres::Row;
use trunkline_sql::Behalf;

use crate::exclusive::{Held, Pool};

/// The parked cursors of one pool.
#[derive(Debug)]
pub(crate) struct Parked {
    most: usize,
    /// How many callers wait for a connection.
    waiting: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The longest parked first.
    entries: VecDeque<Entry>,
    /// A task looks after them.
    is_swept: bool,
}

#[derive(Debug)]
struct Entry {
    handle: u64,
    owner: Owner,
    since: Instant,
    cursor: Cursor,
}

/// Whose cursor it is, and of which statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    identity: Vec<u8>,
    role: Option<String>,
    settings: Vec<(Arc<str>, String)>,
    statement: u64,
}

/// An open cursor on its connection.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) held: Held,
    /// Rows that came and were not taken.
    pub(crate) rest: VecDeque<Row>,
    /// The rows behind `rest` are all there is.
    pub(crate) is_at_end: bool,
    /// Bytes of a row, on average.
    pub(crate) row_bytes: usize,
    /// How many rows were sent.
    pub(crate) sent: u64,
    /// When it was opened.
    pub(crate) opened: Instant,
}

impl Owner {
    /// Makes the owner of a caller's cursor of the statement that is sent as `sql`.
    pub(crate) fn new(behalf: &Behalf, sql: &str) -> Self {
        Self {
            identity: behalf.caller.identity(),
            role: behalf.role.clone(),
            settings: behalf.settings.clone(),
            statement: random().hash_one(sql),
        }
    }
}

impl Parked {
    /// Makes room for the cursors of a pool of `size` connections.
    pub(crate) fn new(size: usize) -> Self {
        Self { most: (size / 4).max(1), waiting: AtomicUsize::new(0), inner: Mutex::default() }
    }

    /// Keeps a cursor and returns the handle it is had back by; gives it back when somebody waits for its connection, or it
    /// has been open for too long.
    ///
    /// When there are too many, the caller's own longest parked one is closed, or else the longest parked one of all.
    pub(crate) fn park(&self, pool: &Arc<Pool>, owner: Owner, cursor: Cursor) -> Result<u64, Box<Cursor>> {
        let too_old = cursor.opened.elapsed() > OPEN_FOR;
        if too_old || self.is_waited_for() {
            return Err(Box::new(cursor));
        }
        let handle = next_handle();
        let mut inner = self.inner();
        let displaced = if inner.entries.len() < self.most {
            None
        } else {
            let own = inner.entries.iter().position(|entry| entry.owner.identity == owner.identity);
            inner.entries.remove(own.unwrap_or(0))
        };
        inner.entries.push_back(Entry { handle, owner, since: Instant::now(), cursor });
        let starts = !std::mem::replace(&mut inner.is_swept, true);
        drop(inner);
        displaced.into_iter().for_each(|entry| pool.undo(entry.cursor.held));
        if starts {
            self.sweep(pool);
        }
        // Somebody may have begun to wait while it was put there.
        if self.is_waited_for() {
            self.give_way(pool);
        }
        Ok(handle)
    }

    /// Takes a cursor back to go on; `None` when it is gone, another's, or elsewhere than after `sent` rows.
    pub(crate) fn take(&self, handle: u64, owner: &Owner, sent: u64) -> Option<Cursor> {
        let mut inner = self.inner();
        let at = inner
            .entries
            .iter()
            .position(|entry| entry.handle == handle && entry.owner == *owner && entry.cursor.sent == sent)?;
        inner.entries.remove(at).map(|entry| entry.cursor)
    }

    /// Says that a caller waits for a connection until the returned guard is dropped, and takes one back for it.
    pub(crate) fn make_way<'a>(&'a self, pool: &Arc<Pool>) -> Waiting<'a> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.give_way(pool);
        Waiting(self)
    }

    /// Closes all cursors.
    pub(crate) fn clear(&self, pool: &Arc<Pool>) {
        let entries = std::mem::take(&mut self.inner().entries);
        entries.into_iter().for_each(|entry| pool.undo(entry.cursor.held));
    }

    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn give_way(&self, pool: &Arc<Pool>) {
        let longest = self.inner().entries.pop_front();
        longest.into_iter().for_each(|entry| pool.undo(entry.cursor.held));
    }

    /// Closes cursors that nobody came back for, for as long as there are any.
    fn sweep(&self, pool: &Arc<Pool>) {
        let Ok(runtime) = Handle::try_current() else {
            // Without a runtime there is nobody to come back.
            self.inner().is_swept = false;
            return self.clear(pool);
        };
        let weak = Arc::downgrade(pool);
        let work = async move {
            loop {
                let Some(pool) = weak.upgrade() else { return };
                let Some(next) = pool.parked().close_forgotten(&pool) else { return };
                drop(pool);
                tokio::time::sleep_until(next).await;
            }
        };
        pool.tasks().spawn_on(work, &runtime);
    }

    /// Returns when to look again; `None` when nothing is parked any more.
    fn close_forgotten(&self, pool: &Arc<Pool>) -> Option<Instant> {
        loop {
            let mut inner = self.inner();
            let Some(oldest) = inner.entries.front() else {
                inner.is_swept = false;
                return None;
            };
            let until = oldest.since + pool.parked_for();
            if until > Instant::now() {
                return Some(until);
            }
            let forgotten = inner.entries.pop_front();
            drop(inner);
            forgotten.into_iter().for_each(|entry| pool.undo(entry.cursor.held));
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that waits for a connection.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Parked);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A number that no other node gives to a cursor of its own: clients bring it to whichever they reach.
fn next_handle() -> u64 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    random().hash_one(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn random() -> &'static RandomState {
    static KEYS: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
    &KEYS
}

/// How long a cursor may wait for its caller.
pub(crate) const PARKED_FOR: Duration = Duration::from_secs(30);

/// How long a cursor may be open in all: as long as it is, the server keeps every row version that it might still show.
const OPEN_FOR: Duration = Duration::from_secs(600);
