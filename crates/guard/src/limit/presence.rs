//! How many requests of each caller of a role are worked on at a time. Only those with some are remembered.

use std::num::NonZeroU32;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use trunkline_service::meter::Counter;

use super::sharded::Sharded;

/// Parts of the table with a lock of their own.
const SHARDS: usize = 16;

/// The bound of a role.
#[derive(Debug)]
pub(super) struct Presence {
    /// The key of the file that says it: `roles.support.concurrent`.
    pub(super) path: Box<str>,
    /// How metrics name it: `role support`.
    pub(super) label: Box<str>,
    pub(super) most: NonZeroU32,
    shards: Sharded<FxHashMap<u64, u32>>,
    pub(super) refused: Counter,
}

/// A place that is given back however the request ends.
#[derive(Debug)]
pub(super) struct Present {
    of: Arc<Presence>,
    key: u64,
}

impl Presence {
    pub(super) fn new(path: &str, label: &str, most: NonZeroU32) -> Self {
        let shards = Sharded::new(SHARDS);
        Self { path: path.into(), label: label.into(), most, shards, refused: Counter::default() }
    }

    /// Takes a place for one more request of a caller; `None` when there is none.
    pub(super) fn enter(self: &Arc<Self>, key: u64) -> Option<Present> {
        let mut shard = self.shards.of(key);
        let count = shard.entry(key).or_default();
        if *count >= self.most.get() {
            return None;
        }
        *count += 1;
        Some(Present { of: Arc::clone(self), key })
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut shard = self.of.shards.of(self.key);
        if let Some(count) = shard.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                shard.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_so_many_places_and_nothing_is_kept_of_one_without() {
        let presence = Arc::new(Presence::new("roles.r.concurrent", "role r", NonZeroU32::new(2).unwrap()));
        let (one, two) = (presence.enter(7), presence.enter(7));
        assert!(one.is_some() && two.is_some() && presence.enter(7).is_none());
        assert!(presence.enter(8).is_some());
        drop(one);
        assert!(presence.enter(7).is_some());
        drop(two);
        assert_eq!(presence.shards.sum(FxHashMap::len), 0);
    }
}
