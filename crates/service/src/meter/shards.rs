//! One value for each core that writes, so that no two write the same line of memory.

use std::cell::Cell;
use std::fmt;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

/// Most places. On a machine with more cores some share one, which costs time and no truth.
const MOST: usize = 64;
/// Least places: enough that the few threads beside the workers seldom share one with them.
const LEAST: usize = 8;

/// Copies of a value, one for each core that writes. Those who write take their own, whoever reads adds all of them up.
///
/// A copy is made when it is first written to, so that what is never counted takes no memory. Several threads may be given the
/// same copy: it has to be one that they can share, as of atomic numbers.
pub struct Shards<T> {
    /// Of those threads that find no other.
    first: OnceLock<Box<Line<T>>>,
    others: Box<[OnceLock<Box<Line<T>>>]>,
}

/// A value that shares its lines of memory with no other. Two lines of 64 bytes: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Self { first: OnceLock::new(), others: (1..places()).map(|_| OnceLock::new()).collect() }
    }
}

impl<T: Default> Shards<T> {
    /// Returns the copy of this thread.
    #[inline]
    pub fn mine(&self) -> &T {
        let place = self.others.get(place()).unwrap_or(&self.first);
        &place.get_or_init(Box::default).0
    }

    /// Returns every copy that was written to.
    pub fn each(&self) -> impl Iterator<Item = &T> {
        let all = std::iter::once(&self.first).chain(&self.others);
        all.filter_map(|place| place.get().map(|line| &line.0))
    }
}

impl<T: fmt::Debug + Default> fmt::Debug for Shards<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.each()).finish()
    }
}

/// How many places there are: twice as many as cores, since other threads than workers count as well.
fn places() -> usize {
    static PLACES: LazyLock<usize> = LazyLock::new(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (2 * cores).next_power_of_two().clamp(LEAST, MOST)
    });
    *PLACES
}

/// Returns the place of this thread.
#[inline]
fn place() -> usize {
    thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(take());
        }
        mine.get()
    })
}

/// How many living threads have each place.
static TAKEN: Mutex<[u32; MOST]> = Mutex::new([0; MOST]);

/// Gives its place back when its thread ends, so that the threads of a pool that comes and goes do not use them up.
struct Held(Cell<Option<usize>>);

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = self.0.get().and_then(|place| taken.get_mut(place)) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Takes the place that the fewest threads have.
#[cold]
fn take() -> usize {
    thread_local!(static HELD: Held = const { Held(Cell::new(None)) });
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let free = taken.iter_mut().take(places()).enumerate().min_by_key(|(_, count)| **count);
    let Some((place, count)) = free else { return 0 };
    // A thread that is ending has a place for its last words, and keeps none.
    if HELD.try_with(|held| held.0.set(Some(place))).is_ok() {
        *count += 1;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn threads_that_count_at_one_time_have_lines_of_their_own() {
        let (shards, barrier) = (Shards::<AtomicU64>::default(), Barrier::new(4));
        let lines: HashSet<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mine: *const AtomicU64 = shards.mine();
                        shards.mine().fetch_add(1, Ordering::Relaxed);
                        barrier.wait();
                        mine.addr() / 128
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(lines.len(), 4, "no two on one line");
        assert_eq!(shards.each().map(|one| one.load(Ordering::Relaxed)).sum::<u64>(), 4);
    }

    #[test]
    fn a_thread_that_ends_gives_its_place_back() {
        // More threads than places, one after another: each finds one that is free.
        let shards = Shards::<AtomicU64>::default();
        for _ in 0..3 * MOST {
            std::thread::scope(|scope| {
                scope.spawn(|| shards.mine().fetch_add(1, Ordering::Relaxed));
            });
        }
        assert_eq!(shards.each().map(|one| one.load(Ordering::Relaxed)).sum::<u64>(), 3 * MOST as u64);
        let taken: u32 = TAKEN.lock().unwrap().iter().sum();
        assert!(taken < 100, "{taken} threads of a test run cannot all live");
    }

    #[test]
    fn what_is_never_counted_takes_no_memory() {
        let shards = Shards::<[AtomicU64; 32]>::default();
        assert_eq!(shards.each().count(), 0);
        shards.mine();
        assert_eq!(shards.each().count(), 1);
    }
}
