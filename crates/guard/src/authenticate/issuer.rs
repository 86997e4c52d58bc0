//! The keys of one issuer, kept fresh by one task: fetched before anyone needs them, again when a token names a key that is
//! not known, and for a while longer when the issuer does not answer.
//!
//! All fetching is done by that task, so however many tokens wait, one question is asked. How often a token may bring about a
//! fetch is bounded by [`Bucket`], whatever the tokens say.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use reqwest::Url;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::discovery::{DiscoveryError, find_keys};
use super::fault::Fault;
use super::fetch::{Fetch, FetchError, PATIENCE};
use super::generation::Generation;
use super::key_set::KeySet;
use super::token::SignedToken;

/// How long keys are used beyond their lifetime when the issuer does not answer.
const STALE: Duration = Duration::from_secs(3600);
/// How long a discovered address of keys is used.
const ADDRESS_LASTS: Duration = Duration::from_secs(3600);
/// How long to wait after a first failure; doubled with each.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(15);
/// How many fetches tokens may bring about at once, and how long until one more.
const BURST: u32 = 3;
const REFILL: Duration = Duration::from_secs(5);
/// Most tokens that wait for a fetch at once. Those whose key is known wait for nothing.
const WAITING: usize = 1024;
/// How long a key that was not there is not asked for again, and how many such are remembered.
const ABSENT: Duration = Duration::from_secs(5);
const MAX_ABSENT: usize = 128;

/// What is told of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) issuer: Box<str>,
    pub(crate) address: Url,
    /// Where the keys are, if the configuration says so.
    pub(crate) keys: Option<Url>,
    /// How long a key set is good for.
    pub(crate) ttl: Duration,
}

/// An issuer.
#[derive(Debug)]
pub(crate) struct Issuer {
    source: Source,
    fetch: Fetch,
    keys: ArcSwapOption<Fetched>,
    attempts: watch::Sender<Attempts>,
    wake: Notify,
    waiting: Semaphore,
    bucket: Mutex<Bucket>,
    absent: Mutex<Vec<(u64, Instant)>>,
    hasher: RandomState,
    /// Raised when a key left, so that nothing it proved is remembered.
    generation: Generation,
    /// The same for those who wait.
    lost: watch::Sender<u64>,
}

/// A key set and how long it may be used.
#[derive(Debug)]
struct Fetched {
    set: KeySet,
    until: Instant,
}

/// How many fetches were begun and ended.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    begun: u64,
    ended: u64,
    /// Whether the last one brought no keys.
    has_failed: bool,
}

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the document at `{0}` is no JWK set")]
    NoSet(Url),
}

impl Issuer {
    /// Makes an issuer whose keys are not known yet; [`keep_fresh`](Self::keep_fresh) has to run.
    pub(crate) fn new(source: Source, generation: Generation) -> Self {
        Self {
            source,
            fetch: Fetch::default(),
            keys: ArcSwapOption::empty(),
            // The task begins with a fetch, for which the first callers can wait already.
            attempts: watch::Sender::new(Attempts { begun: 1, ended: 0, has_failed: false }),
            wake: Notify::new(),
            waiting: Semaphore::new(WAITING),
            bucket: Mutex::new(Bucket::full(Instant::now())),
            absent: Mutex::default(),
            hasher: RandomState::new(),
            generation,
            lost: watch::Sender::new(0),
        }
    }

    /// Returns what it was made from.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Follows the number that rises when a key left.
    pub(crate) fn lost(&self) -> watch::Receiver<u64> {
        self.lost.subscribe()
    }

    /// Checks the signature of a token, asking the issuer when it names a key that is not known.
    ///
    /// # Cancel safety
    /// A fetch that was brought about goes on.
    pub(crate) async fn verify(&self, token: &SignedToken<'_>) -> Result<(), Fault> {
        // A fetch that ran already when this token came may have missed its key: one more may follow.
        for round in 0..2 {
            match self.verify_now(token) {
                Err(Fault::NoKeys) if round == 0 => {}
                Err(Fault::NoSuchKey) if !self.is_absent(token) => {}
                judged => return judged,
            }
            let _place = self.waiting.try_acquire().map_err(|_| Fault::Busy)?;
            if !self.refreshed().await {
                break;
            }
        }
        match self.verify_now(token) {
            // It may well exist.
            Err(Fault::NoSuchKey) if self.attempts.borrow().has_failed => Err(Fault::NoKeys),
            Err(Fault::NoSuchKey) => {
                self.note_absent(token);
                Err(Fault::NoSuchKey)
            }
            judged => judged,
        }
    }

    fn verify_now(&self, token: &SignedToken<'_>) -> Result<(), Fault> {
        let fetched = self.keys.load();
        let fetched = fetched.as_ref().filter(|fetched| Instant::now() < fetched.until);
        fetched.ok_or(Fault::NoKeys)?.set.verify(token)
    }

    /// Waits for a fetch, one that runs or a new one if tokens may bring one about; `false` when there is none to wait for.
    async fn refreshed(&self) -> bool {
        let mut attempts = self.attempts.subscribe();
        let seen = *attempts.borrow_and_update();
        let awaited = if seen.begun > seen.ended {
            seen.begun
        } else if self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
            self.wake.notify_one();
            seen.ended + 1
        } else {
            return false;
        };
        // Discovery asks at several addresses; whoever waits longer than for one may come again.
        timeout(PATIENCE, attempts.wait_for(|now| now.ended >= awaited)).await.is_ok()
    }

    fn is_absent(&self, token: &SignedToken<'_>) -> bool {
        let (name, now) = (self.name(token), Instant::now());
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        absent.iter().any(|(known, until)| *known == name && now < *until)
    }

    fn note_absent(&self, token: &SignedToken<'_>) {
        let (name, now) = (self.name(token), Instant::now());
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        absent.retain(|(known, until)| *known != name && now < *until);
        if absent.len() < MAX_ABSENT {
            absent.push((name, now + ABSENT));
        }
    }

    fn name(&self, token: &SignedToken<'_>) -> u64 {
        self.hasher.hash_one((token.key_id.as_deref(), token.algorithm as u8))
    }

    // ---------------------------------------------------------------------------------------------------------------
    // The task.

    /// Fetches the keys, and again before they are too old, until `stop`.
    pub(crate) async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        stop.run_until_cancelled(self.fetch_again_and_again()).await;
    }

    async fn fetch_again_and_again(&self) {
        let mut found = None;
        let mut failures = 0_u32;
        loop {
            let outcome = self.fetch_once(&mut found).await;
            let pause = match outcome {
                Ok(set) => {
                    if failures > 0 {
                        tracing::info!(issuer = %self.source.issuer, "the issuer answers again");
                    }
                    failures = 0;
                    self.replace(set);
                    // Sooner than they are too old, and not all nodes at once.
                    self.source.ttl.mul_f64(0.7 + 0.1 * self.chance())
                }
                Err(error) => {
                    self.tell(&error, failures);
                    (found, failures) = (None, failures.saturating_add(1));
                    self.drop_stale();
                    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(8));
                    doubled.min(LAST_RETRY).mul_f64(0.8 + 0.4 * self.chance())
                }
            };
            self.attempts.send_modify(|attempts| {
                attempts.ended = attempts.begun;
                attempts.has_failed = failures > 0;
            });
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wake.notified() => {}
            }
            self.attempts.send_modify(|attempts| attempts.begun += 1);
        }
    }

    async fn fetch_once(&self, found: &mut Option<(Url, Instant)>) -> Result<KeySet, RefreshError> {
        let url = match (&self.source.keys, &*found) {
            (Some(url), _) => url.clone(),
            (None, Some((url, until))) if Instant::now() < *until => url.clone(),
            (None, _) => {
                let url = find_keys(&self.fetch, &self.source.issuer, &self.source.address).await?;
                *found = Some((url.clone(), Instant::now() + ADDRESS_LASTS));
                url
            }
        };
        let document = self.fetch.get(&url).await?;
        KeySet::read(&document).ok_or(RefreshError::NoSet(url))
    }

    fn replace(&self, set: KeySet) {
        let before = self.keys.load_full();
        let is_kept = before.as_ref().is_none_or(|before| set.keeps(&before.set));
        tracing::debug!(issuer = %self.source.issuer, keys = set.len(), "keys of the issuer fetched");
        if set.len() == 0 {
            tracing::warn!(issuer = %self.source.issuer, "the issuer publishes no key that can be used");
        }
        self.keys.store(Some(Arc::new(Fetched { set, until: Instant::now() + self.source.ttl + STALE })));
        if !is_kept {
            tracing::info!(issuer = %self.source.issuer, "a key of the issuer left; its tokens are judged anew");
            self.lose();
        }
    }

    /// Forgets keys that are too old to be believed.
    fn drop_stale(&self) {
        let is_over = self.keys.load().as_ref().is_some_and(|fetched| fetched.until <= Instant::now());
        if is_over {
            self.keys.store(None);
            self.lose();
        }
    }

    fn lose(&self) {
        // After the keys were swapped: whoever reads the new number judges with the new keys.
        self.generation.rise();
        self.lost.send_modify(|lost| *lost += 1);
    }

    fn tell(&self, error: &RefreshError, failures: u32) {
        let chain = trunkline_service::Chain(error);
        if failures == 0 {
            tracing::warn!(issuer = %self.source.issuer, error = %chain, "the keys of the issuer could not be fetched");
        } else {
            tracing::debug!(issuer = %self.source.issuer, error = %chain, "the keys of the issuer still cannot be fetched");
        }
    }

    /// Returns a number between 0 and 1 that differs between nodes and times.
    fn chance(&self) -> f64 {
        f64::from(u16::try_from(self.hasher.hash_one(Instant::now()) & 0xFFFF).unwrap_or(0)) / 65536.0
    }
}

/// How often tokens may bring about a fetch.
#[derive(Debug)]
struct Bucket {
    left: u32,
    since: Instant,
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self { left: BURST, since: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let refills = now.saturating_duration_since(self.since).as_secs() / REFILL.as_secs();
        if refills > 0 {
            self.left = self.left.saturating_add(u32::try_from(refills).unwrap_or(u32::MAX)).min(BURST);
            self.since = now;
        }
        let is_there = self.left > 0;
        self.left -= u32::from(is_there);
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_bring_about_three_fetches_and_then_one_every_five_seconds() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let mut taken = |seconds| bucket.take(start + Duration::from_secs(seconds));
        assert_eq!([taken(0), taken(0), taken(1), taken(1), taken(4)], [true, true, true, false, false]);
        assert_eq!([taken(5), taken(6), taken(9), taken(11)], [true, false, false, true]);
        assert_eq!([taken(1000), taken(1000), taken(1000), taken(1000)], [true, true, true, false]);
    }
}
