//! The proofs that held: found again by the digest of the credential, until they end or anything that made them hold changes.
//!
//! A table of fixed size, four places to a row, read without a lock and without writing to memory that others read; a full row
//! gives up what was used longest ago. Nothing here holds a credential, but for tokens of introspection that are asked about again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use trunkline_service::caller::Caller;

use crate::digest::sha256;

/// Most proofs remembered, row by row.
const ROWS: u64 = 2500;
const ROW: usize = 4;
/// The most bytes that all of them take, about.
const MAX_WEIGHT: usize = 64 * 1024 * 1024;
/// What a proof takes besides its claims.
const LEAST_WEIGHT: usize = 1024;
/// How many bytes the claims of a token take for each byte of it.
const GROWS_BY: usize = 4;

/// The digest a credential is known by.
pub(crate) type Digest = [u8; 32];

/// Digests a credential.
pub(crate) fn digest_of(credential: impl AsRef<[u8]>) -> Digest {
    sha256(credential.as_ref())
}

/// A proof that held.
pub(crate) struct Held {
    pub(crate) digest: Digest,
    pub(crate) caller: Arc<Caller>,
    /// The generation in which it was judged.
    pub(crate) generation: u64,
    /// Where the time of the last use is kept for others too.
    pub(crate) last_use: Option<Arc<AtomicU64>>,
    /// The token itself, where somebody else has to be asked about it again.
    pub(crate) token: Option<Box<str>>,
    /// The second of the last use.
    pub(crate) used: AtomicU64,
    /// How long the credential is, in bytes, from which is told how much all of this takes.
    pub(crate) length: usize,
}

impl Held {
    fn weight(&self) -> usize {
        LEAST_WEIGHT.saturating_add(self.length.saturating_mul(GROWS_BY))
    }
}

/// The table.
pub(crate) struct Memory {
    places: Box<[ArcSwapOption<Held>]>,
    /// Mixed into the row number, so that nobody can choose tokens that fall into one row.
    secret: u64,
    /// What all proofs take.
    weight: AtomicUsize,
    /// The place to be emptied next when they take too much.
    hand: AtomicUsize,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("places", &self.places.len()).finish()
    }
}

impl Memory {
    /// Makes an empty table.
    pub(crate) fn new() -> Self {
        let places = ROWS.saturating_mul(ROW as u64);
        let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), places);
        Self {
            places: (0..places).map(|_| ArcSwapOption::empty()).collect(),
            secret: seed | 1,
            weight: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// Finds a proof of this generation that has not ended, and notes its use. `now` is in seconds since 1970.
    pub(crate) fn find(
        &self,
        digest: &Digest,
        generation: u64,
        now: u64,
    ) -> Option<Guard<Option<Arc<Held>>>> {
        let found = self.row(digest).iter().map(ArcSwapOption::load).find(|held| {
            held.as_ref().is_some_and(|held| held.digest == *digest && held.generation == generation)
        })?;
        let held = found.as_ref()?;
        if held.caller.expires.is_some_and(|end| end <= now) {
            return None;
        }
        note(&held.used, now);
        if let Some(last_use) = &held.last_use {
            note(last_use, now);
        }
        Some(found)
    }

    /// Remembers a proof, in the place of one that is over, else of the one used longest ago in its row.
    pub(crate) fn keep(&self, held: Held, now: u64) {
        self.make_room(held.weight());
        let row = self.row(&held.digest);
        let worth = |place: &ArcSwapOption<Held>| match &*place.load() {
            None => 0,
            Some(old) if old.digest == held.digest || old.generation != held.generation => 0,
            Some(old) if old.caller.expires.is_some_and(|end| end <= now) => 0,
            Some(old) => old.used.load(Ordering::Relaxed),
        };
        // The same credential may only stand in one place, or an older verdict could be found first.
        let same =
            |place: &&ArcSwapOption<Held>| place.load().as_ref().is_some_and(|old| old.digest == held.digest);
        let place = row.iter().find(same).or_else(|| row.iter().min_by_key(|place| worth(place)));
        if let Some(place) = place {
            self.put(place, Some(Arc::new(held)));
        }
    }

    fn put(&self, place: &ArcSwapOption<Held>, held: Option<Arc<Held>>) {
        self.weight.fetch_add(held.as_ref().map_or(0, |held| held.weight()), Ordering::Relaxed);
        let old = place.swap(held);
        self.weight.fetch_sub(old.map_or(0, |old| old.weight()), Ordering::Relaxed);
    }

    /// Empties places, one after the other, until what is left and `more` take no more than they may.
    fn make_room(&self, more: usize) {
        for _ in 0..self.places.len() {
            if self.weight.load(Ordering::Relaxed).saturating_add(more) <= MAX_WEIGHT {
                return;
            }
            let at = self.hand.fetch_add(1, Ordering::Relaxed) % self.places.len().max(1);
            if let Some(place) = self.places.get(at) {
                self.put(place, None);
            }
        }
    }

    /// Finds what a caller was made from; edges bring handles of their own on it, so an equal caller is as good. `None` when two
    /// credentials made equal ones. It looks at everything.
    pub(crate) fn origin(&self, caller: &Caller) -> Option<Arc<Held>> {
        let all = self.places.iter().filter_map(|place| {
            let held = place.load();
            held.as_ref().filter(|held| *held.caller == *caller).map(Arc::clone)
        });
        let mut found: Vec<_> = all.take(2).collect();
        if found.len() > 1 { None } else { found.pop() }
    }

    fn row(&self, digest: &Digest) -> &[ArcSwapOption<Held>] {
        let mut start = [0; 8];
        start.copy_from_slice(digest.first_chunk::<8>().unwrap_or(&[0; 8]));
        let mixed = u64::from_le_bytes(start).wrapping_mul(self.secret) ^ (self.secret >> 7);
        // The upper half of the product spreads evenly over the rows.
        let row = (u128::from(mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15)) * u128::from(ROWS)) >> 64;
        let first = usize::try_from(row).unwrap_or(0).saturating_mul(ROW);
        self.places.get(first..first + ROW).unwrap_or_default()
    }
}

/// Writes the second if it is another one, so that a busy caller costs one write a second.
fn note(cell: &AtomicU64, now: u64) {
    if cell.load(Ordering::Relaxed) != now {
        cell.store(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(name: &str, generation: u64, expires: Option<u64>) -> Held {
        Held {
            digest: digest_of(name),
            caller: Arc::new(Caller { subject: name.into(), expires, ..Caller::default() }),
            generation,
            last_use: None,
            token: None,
            used: AtomicU64::new(0),
            length: name.len(),
        }
    }

    fn subject(memory: &Memory, name: &str, generation: u64, now: u64) -> Option<String> {
        let found = memory.find(&digest_of(name), generation, now)?;
        found.as_ref().map(|held| held.caller.subject.to_string())
    }

    #[test]
    fn a_proof_is_found_until_it_ends_or_its_generation_does() {
        let memory = Memory::new();
        memory.keep(held("a", 7, Some(100)), 50);
        assert_eq!(subject(&memory, "a", 7, 99).as_deref(), Some("a"));
        assert_eq!(subject(&memory, "a", 7, 100), None);
        assert_eq!(subject(&memory, "a", 8, 50), None);
        assert_eq!(subject(&memory, "b", 7, 50), None);
        memory.keep(held("a", 8, None), 50);
        assert_eq!(subject(&memory, "a", 8, u64::MAX).as_deref(), Some("a"));
        assert_eq!(subject(&memory, "a", 7, 50), None, "the older verdict is still there");
    }

    #[test]
    fn what_a_caller_was_made_from_is_found_by_a_copy_too_unless_two_made_the_same() {
        let memory = Memory::new();
        memory.keep(held("a", 1, Some(100)), 1);
        memory.keep(held("b", 1, Some(100)), 1);
        let copy = Caller { subject: "a".into(), expires: Some(100), ..Caller::default() };
        assert!(memory.origin(&copy).is_some_and(|held| held.digest == digest_of("a")));
        assert!(memory.origin(&Caller { expires: Some(99), ..copy.clone() }).is_none());
        memory.keep(Held { digest: digest_of("a again"), ..held("a", 1, Some(100)) }, 1);
        assert!(memory.origin(&copy).is_none());
    }

    #[test]
    fn the_last_use_is_told_to_whoever_keeps_it() {
        let memory = Memory::new();
        let cell = Arc::new(AtomicU64::new(0));
        memory.keep(Held { last_use: Some(Arc::clone(&cell)), ..held("k", 1, None) }, 5);
        assert!(subject(&memory, "k", 1, 42).is_some());
        assert_eq!(cell.load(Ordering::Relaxed), 42);
    }

    #[test]
    fn the_table_stays_of_one_size_and_keeps_what_is_used() {
        let memory = Memory::new();
        memory.keep(held("used", 1, None), 1);
        let mut kept = 0;
        for round in 0..40_000_u64 {
            memory.keep(Held { used: AtomicU64::new(round + 1), ..held(&round.to_string(), 1, None) }, round);
            kept += usize::from(subject(&memory, "used", 1, round + 1).is_some());
        }
        assert_eq!(kept, 40_000, "what is used all the time was given up");
        let known =
            (0..40_000_u64).filter(|round| subject(&memory, &round.to_string(), 1, 1).is_some()).count();
        assert!((5_000..=10_000).contains(&known), "{known}");
    }

    #[test]
    fn long_tokens_take_the_place_of_others_before_they_take_too_much() {
        let memory = Memory::new();
        for round in 0..10_000_u64 {
            let name = round.to_string();
            memory.keep(Held { length: 16 * 1024, ..held(&name, 1, None) }, round);
            assert!(subject(&memory, &name, 1, round).is_some(), "the newest is gone");
            assert!(memory.weight.load(Ordering::Relaxed) <= MAX_WEIGHT);
        }
        let held: usize =
            memory.places.iter().filter_map(|place| place.load().as_ref().map(|held| held.weight())).sum();
        assert_eq!(held, memory.weight.load(Ordering::Relaxed));
    }
}
