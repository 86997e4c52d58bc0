//! Buckets of many callers or addresses, bounded in number: a table that forgets those that are full again, and where it has no
//! room those that are nearest to it, but never one from which nothing more can be taken.
//!
//! Keys are spread over small sets, so that finding a place looks at sixteen and nobody waits for more than a few others. Where
//! a whole set is emptied its newcomers share one bucket: who floods the table with addresses makes nothing free.

use std::sync::{MutexGuard, OnceLock};

use trunkline_service::meter::Counter;

use super::rate::Pace;
use super::sharded::{Sharded, place};

/// Parts of the table with a lock of their own.
const SHARDS: usize = 64;
/// Sets of one part.
const SETS: usize = 64;
/// Places of one set.
const WAYS: usize = 16;
/// Most keys that are told apart at a time: 65,536.
#[cfg(test)]
const PLACES: usize = SHARDS * SETS * WAYS;

/// The table. It takes no memory until it is first used, and 16 bytes for each place then.
#[derive(Debug, Default)]
pub(super) struct Keyed {
    shards: OnceLock<Sharded<Shard>>,
    evicted: Counter,
    pooled: Counter,
}

#[derive(Debug, Default)]
struct Shard {
    /// Empty until a key is written. A key of 0 is none.
    sets: Vec<[Slot; WAYS]>,
    /// What those share who find no place.
    pool: u64,
}

/// A key, and when all that was taken under it will have come back.
#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    key: u64,
    empty_until: u64,
}

/// Where a key's bucket is.
enum Found {
    Own(usize),
    /// It has none, so that it is full; there is room for it here.
    Free(usize),
    Pool,
}

impl Keyed {
    /// Shows the bucket of `key` to `change` and keeps what it makes of it. A bucket that nobody has is full: 0.
    pub(super) fn change<R>(&self, key: u64, pace: Pace, now: u64, change: impl FnOnce(&mut u64) -> R) -> R {
        let key = key.max(1);
        let mut shard = self.shard(key);
        let set = place(key / SHARDS as u64, SETS);
        let mut fresh = 0;
        if shard.sets.is_empty() {
            let result = change(&mut fresh);
            if fresh > now {
                shard.sets = vec![[Slot::default(); WAYS]; SETS];
                if let Some(slot) = shard.place(set, 0) {
                    *slot = Slot { key, empty_until: fresh };
                }
            }
            return result;
        }
        match shard.find(set, key, pace, now) {
            Found::Own(way) => match shard.place(set, way) {
                Some(slot) => change(&mut slot.empty_until),
                None => change(&mut fresh),
            },
            Found::Free(way) => {
                let result = change(&mut fresh);
                // One that is full is not worth a place.
                if fresh > now
                    && let Some(slot) = shard.place(set, way)
                {
                    if slot.empty_until > now {
                        self.evicted.add_one();
                    }
                    *slot = Slot { key, empty_until: fresh };
                }
                result
            }
            Found::Pool => {
                self.pooled.add_one();
                change(&mut shard.pool)
            }
        }
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        self.shards.get_or_init(|| Sharded::new(SHARDS)).of(key)
    }

    /// Counts the buckets that are not full, and looks at each place for it.
    pub(super) fn tracked(&self, now: u64) -> usize {
        let count = |shard: &Shard| shard.sets.iter().flatten().filter(|slot| slot.empty_until > now).count();
        self.shards.get().map_or(0, |shards| shards.sum(count))
    }

    /// Returns how many were forgotten before they were full, for want of room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.sum()
    }

    /// Returns how often somebody had to share a bucket for want of room.
    pub(super) fn pooled(&self) -> u64 {
        self.pooled.sum()
    }
}

impl Shard {
    fn place(&mut self, set: usize, way: usize) -> Option<&mut Slot> {
        self.sets.get_mut(set)?.get_mut(way)
    }

    fn find(&self, set: usize, key: u64, pace: Pace, now: u64) -> Found {
        let slots = self.sets.get(set).map(<[Slot; WAYS]>::as_slice).unwrap_or_default();
        if let Some(way) = slots.iter().position(|slot| slot.key == key) {
            return Found::Own(way);
        }
        match slots.iter().enumerate().min_by_key(|(_, slot)| slot.empty_until) {
            Some((way, slot))
                if slot.empty_until.saturating_add(pace.interval) <= now.saturating_add(pace.room) =>
            {
                Found::Free(way)
            }
            _ => Found::Pool,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cell;
    use super::super::rate::{Rate, Unit};
    use super::*;

    fn take(table: &Keyed, key: u64, pace: Pace, now: u64) -> bool {
        table
            .change(key, pace, now, |bucket| {
                cell::take(*bucket, pace, pace.cost(1), now).map(|new| *bucket = new)
            })
            .is_ok()
    }

    fn pace(burst: u32) -> Pace {
        Rate::new(5, Unit::Minute, Some(burst)).unwrap().pace()
    }

    /// Numbers without an order, as keys are.
    fn key(number: u64) -> u64 {
        let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[test]
    fn each_key_has_its_own_bucket() {
        let (table, pace) = (Keyed::default(), pace(2));
        for number in 0..1000 {
            assert!(take(&table, key(number), pace, 0) && take(&table, key(number), pace, 0));
        }
        assert!((0..1000).all(|number| !take(&table, key(number), pace, 0)));
        assert_eq!(table.tracked(0), 1000);
        assert_eq!(table.tracked(60_000_000_000), 0);
        assert!(take(&table, key(7), pace, 60_000_000_000));
    }

    #[test]
    fn a_flood_of_a_million_addresses_is_bounded_and_frees_nobody_who_is_refused() {
        let (table, pace) = (Keyed::default(), pace(2));
        let emptied: Vec<u64> = (0..2000).map(key).collect();
        for key in &emptied {
            while take(&table, *key, pace, 0) {}
        }
        for number in 10_000..1_010_000 {
            take(&table, key(number), pace, 1);
        }
        assert!(emptied.iter().all(|key| !take(&table, *key, pace, 2)));
        assert!(table.tracked(2) <= PLACES);
        assert!(table.evicted() >= 1_000_000 - PLACES as u64, "{}", table.evicted());
        let size = |shard: &Shard| size_of::<Shard>() + shard.sets.capacity() * size_of::<[Slot; WAYS]>();
        let bytes = table.shards.get().unwrap().sum(size);
        assert!(bytes <= PLACES * 16 + 64 * 64, "{bytes}");
    }

    #[test]
    fn where_everybody_is_emptied_newcomers_share_one_bucket() {
        let (table, pace) = (Keyed::default(), pace(1));
        let in_one_set = |number: u64| (number + 1) * (SHARDS * SETS) as u64;
        assert!((0..WAYS as u64).all(|number| take(&table, in_one_set(number), pace, 0)));
        let passed = (16..1000).filter(|number| take(&table, in_one_set(*number), pace, 0)).count();
        assert_eq!(passed, 1);
        assert!(table.pooled() >= 984);
        // Full again, they have places.
        assert!((16..20).all(|number| take(&table, in_one_set(number), pace, 60_000_000_000)));
    }
}
