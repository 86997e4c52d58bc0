//! Something in parts with a lock each, chosen by a key: who comes with another key hardly ever waits.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The parts. There are as many as were made, at least one.
#[derive(Debug)]
pub(super) struct Sharded<T>(Box<[Mutex<T>]>);

impl<T: Default> Sharded<T> {
    /// Makes so many parts.
    pub(super) fn new(shards: usize) -> Self {
        Self((0..shards.max(1)).map(|_| Mutex::default()).collect())
    }

    /// Locks the part that a key is in.
    pub(super) fn of(&self, key: u64) -> MutexGuard<'_, T> {
        #[expect(clippy::indexing_slicing, reason = "the index is below the length, which is not 0")]
        let shard = &self.0[place(key, self.0.len())];
        locked(shard)
    }

    /// Sums up what each part has of something.
    pub(super) fn sum(&self, of: impl Fn(&T) -> usize) -> usize {
        self.0.iter().map(|shard| of(&locked(shard))).sum()
    }
}

/// Returns which of so many places is that of a key.
pub(super) fn place(key: u64, places: usize) -> usize {
    usize::try_from(key % places.max(1) as u64).unwrap_or_default()
}

fn locked<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half way.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
