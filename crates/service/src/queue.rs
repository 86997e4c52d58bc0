//! So many places, and the line before them: fair between callers, short, and shorter still while more comes than goes.
//!
//! A place is had with one atomic operation while one is free and nobody waits. Else a caller joins the line, in which callers
//! take turns: one that has a thousand requests waiting is no further from its next place than one that has a single request
//! (start-time fair queueing: Goyal, Vin, Cheng 1996). Requests of one caller keep their order.
//!
//! The line is bounded in length and each wait in time. A line that stands and still grows is a sign that more comes than can
//! be done, so that waiting helps nobody: then it is cut to a few turns of the places, and what is beyond that is refused at
//! once, until the line has drained. The idea of judging a queue by whether it stands and not by how long it once was is that
//! of CoDel (RFC 8289); what is cut are the newest requests of whoever has most in the line.

mod line;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::caller::Caller;
use crate::meter::Counter;
use line::{Key, Line};

/// How long the line may be, and how long one may stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineBounds {
    /// Most requests that wait; 0 for no line at all.
    pub waiting: usize,
    /// How long one waits at most.
    pub longest: Duration,
}

impl LineBounds {
    /// Returns the bounds of a line before something that works on `places` calls at a time: twice as many wait, 16 to 256, for at
    /// most a second. What cannot be begun by then is better tried elsewhere or later.
    #[must_use]
    pub fn of_calls(places: usize) -> Self {
        Self { waiting: places.saturating_mul(2).clamp(16, 256), longest: Duration::from_secs(1) }
    }
}

/// So many places with a line before them.
#[derive(Debug)]
pub struct Places {
    /// Places in use, and [`WAITING`] for each request in the line: one number, so that nobody takes or gives back a place
    /// between the look at one and the look at the other.
    counts: AtomicU64,
    places: AtomicUsize,
    bounds: LineBounds,
    line: Mutex<Line>,
    waited: Counter,
    refused: [Counter; 3],
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place<'a>(&'a Places);

/// A place that holds on to what it is a place of, until it is dropped.
#[derive(Debug)]
pub struct OwnedPlace(Arc<Places>);

/// No place was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no place was free: {reason}")]
pub struct Crowded {
    /// Why not.
    pub reason: Crowding,
    /// When it is worth trying again.
    pub retry_after: Duration,
}

/// Why no place was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowding {
    /// As many wait as may.
    Full,
    /// None became free in the time that may be waited.
    Late,
    /// More comes than goes.
    Shed,
}

/// What became of requests that found no place free, since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Joined the line.
    pub waited: u64,
    /// Were refused because the line was full.
    pub full: u64,
    /// Were refused after waiting as long as may be waited.
    pub late: u64,
    /// Were refused because more came than went.
    pub shed: u64,
}

impl Counts {
    /// Returns how many were refused, by reason.
    #[must_use]
    pub fn refused(self) -> [(&'static str, u64); 3] {
        [("full", self.full), ("late", self.late), ("shed", self.shed)]
    }
}

/// What one in the line is told.
#[derive(Debug)]
enum Told {
    Yours,
    Leave(Crowded),
}

const WAITING: u64 = 1 << 32;

/// Clients read whole seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Returns the number by which the line tells callers apart. It is another one in each process.
#[must_use]
pub fn who(caller: &Caller) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one((&caller.issuer, &caller.subject, caller.is_local))
}

fn taken(counts: u64) -> usize {
    usize::try_from(counts % WAITING).unwrap_or(usize::MAX)
}

fn is_waited_for(counts: u64) -> bool {
    counts >= WAITING
}

// ---- taking a place ----

impl Places {
    /// Makes so many places, all of them free.
    #[must_use]
    pub fn new(places: usize, bounds: LineBounds) -> Self {
        Self {
            counts: AtomicU64::new(0),
            places: AtomicUsize::new(places),
            bounds,
            line: Mutex::default(),
            waited: Counter::default(),
            refused: Default::default(),
        }
    }

    /// Says how many places there are from now on. Those in use stay so.
    pub fn set_places(&self, places: usize) {
        self.places.store(places, Ordering::Release);
        self.serve();
    }

    /// Returns how many places there are.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.load(Ordering::Acquire)
    }

    /// Takes a place if one is free and nobody waits for it.
    #[must_use]
    pub fn try_take(&self) -> Option<Place<'_>> {
        self.take_free().then(|| Place(self))
    }

    /// As [`try_take`](Self::try_take), for a place that outlives the borrow.
    #[must_use]
    pub fn try_take_owned(self: &Arc<Self>) -> Option<OwnedPlace> {
        self.take_free().then(|| OwnedPlace(Arc::clone(self)))
    }

    /// Takes a place, waiting for it in the line if need be. `who` tells callers apart: [`who`].
    ///
    /// # Errors
    /// [`Crowded`], at once where that can be told.
    ///
    /// # Cancel safety
    /// The place in the line is lost; a place that was given meanwhile goes to the next.
    pub async fn take(&self, who: u64) -> Result<Place<'_>, Crowded> {
        if self.take_free() {
            return Ok(Place(self));
        }
        self.wait(who).await?;
        Ok(Place(self))
    }

    /// As [`take`](Self::take), for a place that outlives the borrow.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    ///
    /// # Cancel safety
    /// As [`take`](Self::take).
    pub async fn take_owned(self: &Arc<Self>, who: u64) -> Result<OwnedPlace, Crowded> {
        if !self.take_free() {
            self.wait(who).await?;
        }
        Ok(OwnedPlace(Arc::clone(self)))
    }

    fn take_free(&self) -> bool {
        let places = self.places();
        let is_free = |counts| !is_waited_for(counts) && taken(counts) < places;
        if !is_free(self.counts.load(Ordering::Relaxed)) {
            return false;
        }
        let is_taken = is_free(self.counts.fetch_add(1, Ordering::AcqRel));
        if !is_taken {
            self.give_back();
        }
        is_taken
    }

    fn give_back(&self) {
        if is_waited_for(self.counts.fetch_sub(1, Ordering::AcqRel)) {
            self.serve();
        }
    }

    /// Waits in the line. A place that is had is counted as taken.
    async fn wait(&self, who: u64) -> Result<(), Crowded> {
        let mut waiting = self.join(who)?;
        let outcome = timeout(self.bounds.longest, &mut waiting.told).await;
        match outcome {
            Ok(Ok(Told::Yours)) => {
                waiting.is_over = true;
                Ok(())
            }
            Ok(Ok(Told::Leave(crowded))) => {
                waiting.is_over = true;
                Err(crowded)
            }
            // Nobody drops a sender without a word.
            Ok(Err(_)) | Err(_) => Err(self.refuse(Crowding::Late)),
        }
    }

    fn refuse(&self, reason: Crowding) -> Crowded {
        let [full, late, shed] = &self.refused;
        match reason {
            Crowding::Full => full.add_one(),
            Crowding::Late => late.add_one(),
            Crowding::Shed => shed.add_one(),
        }
        Crowded { reason, retry_after: RETRY_AFTER }
    }

    // ---- the line ----

    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing in there panics half way.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the line, or is refused at once.
    fn join(&self, who: u64) -> Result<Waiting<'_>, Crowded> {
        let places = self.places();
        let (sender, told) = oneshot::channel();
        let mut line = self.line();
        let now = Instant::now();
        let key = line.push(who, sender, now);
        self.counts.fetch_add(WAITING, Ordering::AcqRel);
        line.judge(places, self.bounds.longest, now);
        let most = line.most(places).min(self.bounds.waiting);
        let reason = if most < self.bounds.waiting { Crowding::Shed } else { Crowding::Full };
        let mut beyond = Vec::new();
        while line.len() > most
            && let Some(last) = line.pop_last()
        {
            self.counts.fetch_sub(WAITING, Ordering::AcqRel);
            beyond.push(last);
        }
        line.shrunk(places);
        drop(line);
        self.waited.add_one();
        // Nobody is told under the lock: whom it wakes may come here.
        let mut is_refused = None;
        for (of, sender) in beyond {
            let crowded = self.refuse(reason);
            if of == key {
                is_refused = Some(crowded);
            }
            // One that left meanwhile need not be told.
            let _ = sender.send(Told::Leave(crowded));
        }
        let waiting = Waiting { places: self, key, told, is_over: is_refused.is_some() };
        if let Some(crowded) = is_refused {
            return Err(crowded);
        }
        // One may have become free before the line was joined.
        self.serve();
        Ok(waiting)
    }

    /// Gives the places that are free to those who are next.
    fn serve(&self) {
        while let Some(next) = self.next() {
            if next.send(Told::Yours).is_err() {
                // It left just now.
                self.counts.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Takes a place for whoever is next, if one is free.
    fn next(&self) -> Option<oneshot::Sender<Told>> {
        let mut line = self.line();
        let places = self.places();
        loop {
            let counts = self.counts.load(Ordering::Acquire);
            if taken(counts) >= places || line.len() == 0 {
                return None;
            }
            let served = counts + 1 - WAITING;
            let exchanged =
                self.counts.compare_exchange_weak(counts, served, Ordering::AcqRel, Ordering::Acquire);
            if exchanged.is_ok() {
                let next = line.pop_first(Instant::now());
                line.shrunk(places);
                return next;
            }
        }
    }

    fn leave(&self, key: Key) -> bool {
        let mut line = self.line();
        let was_in_line = line.remove(key);
        if was_in_line {
            self.counts.fetch_sub(WAITING, Ordering::AcqRel);
            line.shrunk(self.places());
        }
        was_in_line
    }

    // ---- what was counted ----

    /// Returns how many places are in use now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        taken(self.counts.load(Ordering::Relaxed))
    }

    /// Returns how many requests wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        usize::try_from(self.counts.load(Ordering::Relaxed) / WAITING).unwrap_or(usize::MAX)
    }

    /// Returns what became of requests that found no place free.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let [full, late, shed] = &self.refused;
        Counts { waited: self.waited.sum(), full: full.sum(), late: late.sum(), shed: shed.sum() }
    }
}

/// One in the line. Dropped, it leaves, and passes on what it was given.
struct Waiting<'a> {
    places: &'a Places,
    key: Key,
    told: oneshot::Receiver<Told>,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_over || self.places.leave(self.key) {
            return;
        }
        // After this either nothing comes, and who sends knows it, or it is there.
        self.told.close();
        if let Ok(Told::Yours) = self.told.try_recv() {
            self.places.give_back();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Drop for OwnedPlace {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl std::fmt::Display for Crowding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "as many wait as may",
            Self::Late => "none became free in time",
            Self::Shed => "more comes than can be done",
        })
    }
}

#[cfg(test)]
mod tests;
