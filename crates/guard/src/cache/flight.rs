//! One question under way: who asks it first fetches its answer, the others wait for that one.
//!
//! Whoever holds the one permit of a flight leads it. A leader that is dropped gives the permit back, and the next one who waits leads;
//! when there is an answer for all, the permits end and everybody reads it.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::key::Key;
use super::tags::Stamps;

const SHARDS: usize = 16;

/// The questions under way on this node. Each is there as long as somebody waits for its answer, so that requests in flight bound them.
pub(crate) struct Flights<T> {
    shards: [Mutex<FxHashMap<Key, Arc<Flight<T>>>>; SHARDS],
}

impl<T> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { shards: Default::default() }
    }
}

/// One question under way.
struct Flight<T> {
    seat: Semaphore,
    landed: OnceLock<T>,
    /// The generations when it was first asked: an answer is of no use to whoever asks after they changed.
    stamps: Stamps,
}

/// A place in a flight.
pub(crate) struct Passenger<'f, T> {
    flights: &'f Flights<T>,
    key: Key,
    /// Empty only while it is dropped.
    flight: Option<Arc<Flight<T>>>,
    /// Whether the question was under way already.
    pub(crate) joined: bool,
}

/// What waiting came to.
pub(crate) enum Boarded<'p, T> {
    /// There is an answer for all.
    Landed(&'p T),
    /// The one who waited fetches it.
    Leads(Lead<'p, T>),
}

/// The right and duty to fetch the answer. Dropped without one, the next who waits has it.
pub(crate) struct Lead<'p, T> {
    flight: &'p Arc<Flight<T>>,
    _permit: SemaphorePermit<'p>,
}

impl<T> Flights<T> {
    fn shard(&self, key: &Key) -> &Mutex<FxHashMap<Key, Arc<Flight<T>>>> {
        // The number is below the count of shards.
        self.shards.get(key.spread(SHARDS)).unwrap_or(&self.shards[0])
    }

    /// Takes a place in the flight of that key. One that began under generations that hold no longer, as `holds` tells, is left to
    /// those who are in it, and another begins with `stamps`.
    pub(crate) fn join(&self, key: Key, stamps: Stamps, holds: impl Fn(&[u64]) -> bool) -> Passenger<'_, T> {
        let mut flights = self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner);
        let known = flights.get(&key).filter(|flight| holds(&flight.stamps)).map(Arc::clone);
        let joined = known.is_some();
        let flight = known.unwrap_or_else(|| {
            let flight = Arc::new(Flight { seat: Semaphore::new(1), landed: OnceLock::new(), stamps });
            flights.insert(key, Arc::clone(&flight));
            flight
        });
        Passenger { flights: self, key, flight: Some(flight), joined }
    }

    /// Tells whether a question is under way.
    #[cfg(test)]
    pub(crate) fn is_under_way(&self, key: &Key) -> bool {
        self.shard(key).lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }
}

impl<T> Passenger<'_, T> {
    /// Waits for the answer, or for the turn to fetch it; `None` only while it is being dropped.
    ///
    /// # Cancel safety
    /// Whoever gives up waiting leaves nothing behind.
    pub(crate) async fn board(&self) -> Option<Boarded<'_, T>> {
        let flight = self.flight.as_ref()?;
        match flight.seat.acquire().await {
            Ok(permit) => Some(Boarded::Leads(Lead { flight, _permit: permit })),
            Err(_) => flight.landed.get().map(Boarded::Landed),
        }
    }
}

impl<T> Drop for Passenger<'_, T> {
    fn drop(&mut self) {
        let Some(flight) = self.flight.take() else { return };
        let mut flights = self.flights.shard(&self.key).lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = flights.get(&self.key) else { return };
        // Places are taken under the same lock: this one and the table's are the last.
        let is_last = Arc::strong_count(&flight) == 2;
        if Arc::ptr_eq(known, &flight) && (is_last || flight.landed.get().is_some()) {
            flights.remove(&self.key);
        }
    }
}

impl<T> Lead<'_, T> {
    /// Gives everybody the answer.
    pub(crate) fn land(self, landing: T) {
        // Nobody else has the permit.
        let _ = self.flight.landed.set(landing);
        self.flight.seat.close();
    }

    /// Tells whether somebody else waits for the answer.
    pub(crate) fn is_followed(&self) -> bool {
        // The table's and the leader's own.
        Arc::strong_count(self.flight) > 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::tests::key_of;
    use futures_util::FutureExt as _;

    fn join(flights: &Flights<u32>) -> Passenger<'_, u32> {
        flights.join(key_of(b"x"), Box::new([1]), |stamps| stamps == [1])
    }

    #[tokio::test]
    async fn those_who_wait_get_the_answer_of_the_one_who_leads() {
        let flights = Flights::default();
        let leader = join(&flights);
        let Some(Boarded::Leads(lead)) = leader.board().await else { panic!("no lead") };
        let followers: Vec<_> = (0..3).map(|_| join(&flights)).collect();
        let mut waiting: Vec<_> = followers.iter().map(|one| Box::pin(one.board())).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        assert!(lead.is_followed());
        lead.land(7);
        for one in waiting {
            assert!(matches!(one.await, Some(Boarded::Landed(7))));
        }
        drop((leader, followers));
        assert!(!flights.is_under_way(&key_of(b"x")));
    }

    #[tokio::test]
    async fn a_leader_that_is_dropped_hands_over_to_the_next() {
        let flights = Flights::default();
        let leader = join(&flights);
        let Some(Boarded::Leads(lead)) = leader.board().await else { panic!("no lead") };
        let (second, third) = (join(&flights), join(&flights));
        let (mut second_waits, mut third_waits) = (Box::pin(second.board()), Box::pin(third.board()));
        assert!((&mut second_waits).now_or_never().is_none() && (&mut third_waits).now_or_never().is_none());
        drop(lead);
        drop(leader);
        let Some(Boarded::Leads(lead)) = second_waits.await else { panic!("no lead") };
        assert!((&mut third_waits).now_or_never().is_none());
        lead.land(8);
        assert!(matches!(third_waits.await, Some(Boarded::Landed(8))));
    }

    #[tokio::test]
    async fn nobody_joins_a_flight_that_began_before_a_change() {
        let flights = Flights::<u32>::default();
        let old = join(&flights);
        let new = flights.join(key_of(b"x"), Box::new([2]), |stamps| stamps == [2]);
        assert!(!new.joined && matches!(new.board().await, Some(Boarded::Leads(_))));
        drop(old);
        assert!(flights.is_under_way(&key_of(b"x")));
        drop(new);
        assert!(!flights.is_under_way(&key_of(b"x")));
    }
}
