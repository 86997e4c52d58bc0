//! What this node keeps: bounded by bytes, what was not asked for lately goes first, what is over is swept.

use std::fmt;
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use rustc_hash::FxBuildHasher;
use tokio::time::Instant;
use trunkline_service::meter::Counter;

use super::held::Held;
use super::key::Key;

/// What is known of a key.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    /// Its answer.
    Kept(Arc<Held>),
    /// That its answers are nobody else's, until then: those who ask need not wait for each other.
    Alone(Instant),
}

impl Slot {
    fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::Kept(held) => held.dies <= now || !held.holds(),
            Self::Alone(until) => *until <= now,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Weigh;

impl Weighter<Key, Slot> for Weigh {
    fn weight(&self, _: &Key, slot: &Slot) -> u64 {
        match slot {
            Slot::Kept(held) => held.weight(),
            Slot::Alone(_) => 128,
        }
    }
}

/// Counts what had to go for want of room.
#[derive(Debug, Clone)]
struct Evictions(Arc<Counter>);

impl Lifecycle<Key, Slot> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Key, slot: Slot) {
        if matches!(slot, Slot::Kept(_)) {
            self.0.add_one();
        }
    }
}

/// The kept answers of a node.
pub(crate) struct Local {
    entries: Cache<Key, Slot, Weigh, FxBuildHasher, Evictions>,
    evicted: Arc<Counter>,
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

/// What an answer takes on average, from which is told how much is noted of those that went.
const USUAL_WEIGHT: usize = 4096;

impl Local {
    /// Makes room for `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        let evicted = Arc::<Counter>::default();
        let items = (size / USUAL_WEIGHT).max(64);
        let mut options = OptionsBuilder::new();
        options.weight_capacity(size as u64).estimated_items_capacity(items);
        let lifecycle = Evictions(Arc::clone(&evicted));
        let entries = match options.build() {
            Ok(options) => Cache::with_options(options, Weigh, FxBuildHasher, lifecycle),
            // Both numbers it needs were given; should it want more one day, this is the same without its tuning.
            Err(_) => Cache::with(items, size as u64, Weigh, FxBuildHasher, lifecycle),
        };
        Self { entries, evicted }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Slot> {
        self.entries.get(key)
    }

    /// Keeps an answer; one that takes more than a part of the room is not kept.
    pub(crate) fn keep(&self, key: Key, slot: Slot) {
        self.entries.insert(key, slot);
    }

    /// Changes how many bytes may be kept.
    pub(crate) fn resize(&self, size: usize) {
        self.entries.set_capacity(size as u64);
    }

    /// Throws away what is over.
    pub(crate) fn sweep(&self, now: Instant) {
        self.entries.retain(|_, slot| !slot.is_over(now));
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use bytes::Bytes;
    use trunkline_service::Kept;

    use crate::cache::held::Lasts;
    use crate::cache::key::tests::key_of;

    fn slot(bytes: usize, fresh: Duration) -> Slot {
        let members = Bytes::from(vec![b'x'; bytes]);
        let kept = Kept { members, structured: None, rows: None, has_links: false };
        let lasts = Lasts { fresh, stale: Duration::ZERO, sent_scope: None };
        Slot::Kept(Arc::new(Held::new(kept, b"", &Arc::default(), Box::default(), Instant::now(), lasts)))
    }

    #[test]
    fn it_never_takes_more_than_it_may() {
        let local = Local::new(1024 * 1024);
        for number in 0..2000_u32 {
            local.keep(key_of(&number.to_be_bytes()), slot(2000, Duration::from_secs(60)));
            assert!(local.bytes() <= 1024 * 1024);
        }
        assert!(local.bytes() > 512 * 1024 && local.evicted() > 1000, "{local:?}");
        local.keep(key_of(b"large"), slot(2 * 1024 * 1024, Duration::from_secs(60)));
        assert!(local.get(&key_of(b"large")).is_none());
    }

    #[test]
    fn what_is_over_is_swept() {
        let local = Local::new(1024 * 1024);
        local.keep(key_of(b"short"), slot(1, Duration::from_secs(1)));
        local.keep(key_of(b"long"), slot(1, Duration::from_secs(60)));
        local.keep(key_of(b"alone"), Slot::Alone(Instant::now()));
        local.sweep(Instant::now() + Duration::from_secs(2));
        assert_eq!(local.len(), 1);
        assert!(local.get(&key_of(b"long")).is_some());
    }
}
