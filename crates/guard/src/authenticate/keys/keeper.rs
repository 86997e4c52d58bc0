//! The task that follows a store: what changed comes into memory, when keys were last used goes back, and a store that is
//! silent for too long ends them all.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::Fuse;
use futures_util::{FutureExt as _, pin_mut};
use rustc_hash::FxHashMap;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use trunkline_service::Chain;

use super::format::KeyId;
use super::ring::Ring;
use super::store::{KeyStore, StoreError, Version};

/// How often what is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Between two looks at the store: with the time of the look itself, how long a revoked key goes on.
    pub(super) look: Duration,
    /// How long one look may take.
    pub(super) patience: Duration,
    /// Between two times that last uses are written back.
    pub(super) write: Duration,
    /// How long keys go on without an answer.
    pub(super) stale: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(250),
            patience: Duration::from_secs(3),
            write: Duration::from_secs(60),
            stale: Duration::from_secs(300),
        }
    }
}

/// Follows a store.
#[derive(Debug)]
pub(super) struct Keeper {
    /// Nobody follows a store for keys that nobody asks.
    ring: Weak<Ring>,
    store: Arc<dyn KeyStore>,
    pace: Pace,
    version: Option<Version>,
    /// When the question was asked that was last answered; `None` when none was.
    answered: Option<Instant>,
    /// What was told of a silent store.
    told: Told,
    /// What the store knows of last uses, besides what it said itself.
    written: FxHashMap<KeyId, u64>,
    /// Whether it was told that they cannot be written.
    is_unwritten_told: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Silence,
    End,
}

/// However the task ends, nobody follows the store any more, and keys must not go on.
struct Ended(Weak<Ring>);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(ring) = self.0.upgrade() {
            ring.set_stale(true);
        }
    }
}

impl Keeper {
    pub(super) fn new(ring: &Arc<Ring>, store: Arc<dyn KeyStore>, pace: Pace) -> Self {
        Self {
            ring: Arc::downgrade(ring),
            store,
            pace,
            version: None,
            answered: None,
            told: Told::Nothing,
            written: FxHashMap::default(),
            is_unwritten_told: false,
        }
    }

    /// Follows the store until it is told to stop, or nobody has the keys any more; when keys were last used is written back then,
    /// if that takes no time.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let _ended = Ended(Weak::clone(&self.ring));
        let mut write_at = Instant::now() + self.pace.write;
        // A write that takes long must not keep a revocation waiting.
        let writing = Fuse::terminated();
        pin_mut!(writing);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(self.pace.look) => {}
                done = &mut writing => {
                    self.note_written(done);
                    continue;
                }
            }
            let Some(ring) = self.ring.upgrade() else { return };
            self.look(&ring).await;
            if Instant::now() >= write_at {
                write_at = Instant::now() + self.pace.write;
                writing.set(write(Arc::clone(&self.store), self.unwritten(&ring)).fuse());
            }
        }
        let Some(ring) = self.ring.upgrade() else { return };
        // What is lost is when a key was last used, to a minute.
        let _ = timeout(LAST_WRITE, write(Arc::clone(&self.store), self.unwritten(&ring))).await;
    }

    /// Looks at the store once.
    pub(super) async fn look(&mut self, ring: &Ring) {
        let asked = Instant::now();
        match timeout(self.pace.patience, self.store.changes(self.version)).await {
            Ok(Ok(changes)) => {
                if let Some(changes) = changes {
                    self.version = Some(changes.version);
                    ring.apply(changes);
                }
                self.note_answer(ring, asked);
            }
            Ok(Err(error)) => self.note_silence(ring, &Chain(&error).to_string()),
            Err(_) => self.note_silence(ring, &format!("no answer within {:?}", self.pace.patience)),
        }
    }

    fn note_answer(&mut self, ring: &Ring, asked: Instant) {
        self.answered = Some(asked);
        ring.set_stale(false);
        if std::mem::replace(&mut self.told, Told::Nothing) != Told::Nothing {
            tracing::info!("the store of keys answers again");
        }
    }

    fn note_silence(&mut self, ring: &Ring, why: &str) {
        let is_over = self.answered.is_none_or(|answered| answered.elapsed() > self.pace.stale);
        if is_over {
            ring.set_stale(true);
        }
        let told = if is_over { Told::End } else { Told::Silence };
        if told <= self.told {
            return;
        }
        self.told = told;
        if is_over {
            tracing::error!(why, "no key is accepted until the store of keys answers");
        } else {
            let stale = self.pace.stale;
            tracing::warn!(why, "the store of keys does not answer; known keys go on for {stale:?} at most");
        }
    }

    /// Returns when keys were used, as far as the store does not know.
    fn unwritten(&self, ring: &Ring) -> Vec<(KeyId, u64)> {
        let slots = ring.slots();
        let uses = slots.values().filter_map(|slot| {
            let id = slot.entry.id;
            let last = slot.last_use.load(Ordering::Relaxed);
            let known = self.written.get(&id).copied().max(slot.entry.last_use).unwrap_or(0);
            (last > known).then_some((id, last))
        });
        uses.collect()
    }

    fn note_written(&mut self, done: Result<Vec<(KeyId, u64)>, StoreError>) {
        match done {
            Ok(uses) => {
                self.written.extend(uses);
                self.is_unwritten_told = false;
            }
            Err(error) => {
                // The next time it is tried again.
                if !std::mem::replace(&mut self.is_unwritten_told, true) {
                    tracing::warn!(why = %Chain(&error), "when keys were last used cannot be written to their store");
                }
            }
        }
    }
}

/// Writes last uses in batches, so that no lock is held for long. Returns them.
async fn write(store: Arc<dyn KeyStore>, uses: Vec<(KeyId, u64)>) -> Result<Vec<(KeyId, u64)>, StoreError> {
    for batch in uses.chunks(BATCH) {
        store.touch(batch.to_vec()).await?;
    }
    Ok(uses)
}

const BATCH: usize = 500;

const LAST_WRITE: Duration = Duration::from_secs(1);
