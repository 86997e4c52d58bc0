//! One limit of the file with its buckets: a single one, or one for each caller or address.

use std::ops::Deref;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use trunkline_service::meter::Counter;

use super::cell::{self, Cell};
use super::keyed::Keyed;
use super::lease::Lease;
use super::rate::{Pace, Rate};
use super::sharded::Sharded;

/// A limit and what was taken from it.
#[derive(Debug)]
pub(super) struct Bucket {
    /// The key of the file that says it: `limits.caller`.
    pub(super) path: Box<str>,
    /// How metrics name it: `caller`.
    pub(super) label: Box<str>,
    pub(super) rate: Rate,
    pub(super) pace: Pace,
    cells: Cells,
    leases: Leases,
    pub(super) allowed: Counter,
    pub(super) refused: Counter,
}

/// Whether a limit has one bucket or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// All share one.
    Everybodys,
    /// Each caller or address has its own.
    Each,
}

#[derive(Debug)]
enum Cells {
    One(Cell),
    Many(Keyed),
}

/// Units that were taken from the store ahead of time.
#[derive(Debug)]
enum Leases {
    One(Arc<Lease>),
    Many(Sharded<FxHashMap<u64, Arc<Lease>>>),
    /// The limit is not leased.
    None,
}

/// Parts of the table of leases with a lock of their own.
const SHARDS: usize = 64;
/// Most leases of one part. Whoever finds no room has one for a moment, and asks the store each time.
const MOST: usize = 512;

/// One lease, without counting a reference that all cores share where there is one for everybody.
#[derive(Debug)]
pub(super) enum Leased<'a> {
    One(&'a Arc<Lease>),
    Mine(Arc<Lease>),
}

impl Leased<'_> {
    pub(super) fn owned(&self) -> Arc<Lease> {
        match self {
            Self::One(lease) => Arc::clone(lease),
            Self::Mine(lease) => Arc::clone(lease),
        }
    }
}

impl Deref for Leased<'_> {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        match self {
            Self::One(lease) => lease,
            Self::Mine(lease) => lease,
        }
    }
}

impl Bucket {
    pub(super) fn new(path: &str, label: &str, rate: Rate, whose: Whose) -> Self {
        let (cells, leases) = match whose {
            Whose::Everybodys => (Cells::One(Cell::default()), Leases::One(Arc::default())),
            Whose::Each => {
                let leases = match Lease::is_for(&rate) {
                    true => Leases::Many(Sharded::new(SHARDS)),
                    false => Leases::None,
                };
                (Cells::Many(Keyed::default()), leases)
            }
        };
        let (path, label, pace) = (path.into(), label.into(), rate.pace());
        Self {
            path,
            label,
            rate,
            pace,
            cells,
            leases,
            allowed: Counter::default(),
            refused: Counter::default(),
        }
    }

    pub(super) fn whose(&self) -> Whose {
        match self.cells {
            Cells::One(_) => Whose::Everybodys,
            Cells::Many(_) => Whose::Each,
        }
    }

    /// Tells how many nanoseconds until so many units fit; 0 for now.
    pub(super) fn wait(&self, key: u64, units: u32, now: u64) -> u64 {
        let (pace, cost) = (self.pace, self.pace.cost(units));
        match &self.cells {
            Cells::One(cell) => cell.wait(pace, cost, now),
            Cells::Many(table) => {
                table.change(key, pace, now, |bucket| cell::take(*bucket, pace, cost, now)).err().unwrap_or(0)
            }
        }
    }

    /// Takes so many units, or tells how many nanoseconds until they fit.
    pub(super) fn take(&self, key: u64, units: u32, now: u64) -> Result<(), u64> {
        let (pace, cost) = (self.pace, self.pace.cost(units));
        match &self.cells {
            Cells::One(cell) => cell.take(pace, cost, now),
            Cells::Many(table) => table.change(key, pace, now, |bucket| {
                cell::take(*bucket, pace, cost, now).map(|new| *bucket = new)
            }),
        }
    }

    /// Gives back what was taken at `taken`.
    pub(super) fn give_back(&self, key: u64, units: u32, taken: u64) {
        let cost = self.pace.cost(units);
        match &self.cells {
            Cells::One(cell) => cell.give_back(cost, taken, cell::now),
            // Under its lock, so that the clock is read after whoever took before.
            Cells::Many(table) => table.change(key, self.pace, taken, |bucket| {
                *bucket = cell::give_back(*bucket, cost, taken, cell::now());
            }),
        }
    }

    /// Learns that at least so many nanoseconds are owed; never more than the burst.
    pub(super) fn learn(&self, key: u64, owed: u64, now: u64) {
        let owed = owed.min(self.pace.room);
        match &self.cells {
            Cells::One(cell) => cell.learn(owed, now),
            Cells::Many(table) => table.change(key, self.pace, now, |bucket| {
                *bucket = (*bucket).max(now.saturating_add(owed));
            }),
        }
    }

    /// Returns how many nanoseconds are owed.
    pub(super) fn owed(&self, key: u64, now: u64) -> u64 {
        match &self.cells {
            Cells::One(cell) => cell.owed(now),
            Cells::Many(table) => table.change(key, self.pace, now, |bucket| bucket.saturating_sub(now)),
        }
    }

    /// Returns the lease of a key.
    pub(super) fn lease(&self, key: u64, now: u64) -> Leased<'_> {
        let mut shard = match &self.leases {
            Leases::One(lease) => return Leased::One(lease),
            Leases::Many(shards) => shards.of(key),
            Leases::None => return Leased::Mine(Arc::default()),
        };
        if let Some(lease) = shard.get(&key) {
            return Leased::Mine(Arc::clone(lease));
        }
        if shard.len() >= MOST {
            shard.retain(|_, lease| lease.is_of_use(now));
        }
        let lease = Arc::<Lease>::default();
        if shard.len() < MOST {
            shard.insert(key, Arc::clone(&lease));
        }
        Leased::Mine(lease)
    }

    /// Returns the table of a limit that tells callers or addresses apart.
    pub(super) fn table(&self) -> Option<&Keyed> {
        match &self.cells {
            Cells::One(_) => None,
            Cells::Many(table) => Some(table),
        }
    }
}
