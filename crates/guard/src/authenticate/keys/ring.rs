//! All keys of a store in memory, and the judgement of one: a hash, a look-up and a comparison, however many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trunkline_service::authenticate::{Denied, DeniedKind};
use trunkline_service::caller::{Caller, Proof};
use trunkline_service::seal::now;
use trunkline_service::shared::Later;

use super::entry::{Entry, State};
use super::format::{self, KeyHash, KeyId};
use super::keeper::{Keeper, Pace};
use super::store::{Changes, KeyStore};
use crate::authenticate::{KeyCheck, Verified};

/// The keys of a store, as a task keeps them current.
#[derive(Debug)]
pub struct Ring {
    known: ArcSwap<Known>,
    generation: AtomicU64,
    /// Whether the store has not answered for too long, or never did.
    is_stale: AtomicBool,
    /// Tells streams to look again.
    changed: watch::Sender<()>,
}

type Known = FxHashMap<KeyId, Slot>;

/// A key in memory.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) entry: Arc<Entry>,
    /// Outlives changes of the entry.
    pub(super) last_use: Arc<AtomicU64>,
}

impl Ring {
    /// Reads the keys of a store, waiting a few seconds at most, and has a task follow it until `stop`, or until the ring
    /// is dropped. Without an answer it
    /// begins without keys, and refuses all as not to be judged until there is one. When the store falls silent, the keys that
    /// are known go on for `stale`.
    pub async fn start(
        store: Arc<dyn KeyStore>,
        stale: Duration,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Self::start_at(Pace { stale, ..Pace::default() }, store, tasks, stop).await
    }

    pub(super) async fn start_at(
        pace: Pace,
        store: Arc<dyn KeyStore>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let ring = Arc::new(Self {
            known: ArcSwap::default(),
            generation: AtomicU64::new(next_generation()),
            is_stale: AtomicBool::new(true),
            changed: watch::Sender::new(()),
        });
        let mut keeper = Keeper::new(&ring, store, pace);
        keeper.look(&ring).await;
        tasks.spawn(keeper.run(stop));
        ring
    }

    /// Returns how many keys are known, those that hold no longer too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.load().len()
    }

    /// Whether no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.load().is_empty()
    }

    /// Takes over what changed.
    pub(super) fn apply(&self, changes: Changes) {
        let before = self.known.load_full();
        let mut known = if changes.is_whole { Known::default() } else { Known::clone(&before) };
        known.reserve(changes.entries.len());
        let mut takes_away = false;
        for entry in changes.entries {
            let old = before.get(&entry.id);
            takes_away |= old.is_some_and(|old| old.entry.loses_to(&entry));
            let last_use = old.map_or_else(
                || Arc::new(AtomicU64::new(entry.last_use.unwrap_or(0))),
                |old| Arc::clone(&old.last_use),
            );
            known.insert(entry.id, Slot { entry: Arc::new(entry), last_use });
        }
        takes_away |= changes.is_whole && before.keys().any(|id| !known.contains_key(id));
        self.known.store(Arc::new(known));
        if takes_away {
            self.tell();
        }
    }

    /// Says whether the store is silent for too long.
    pub(super) fn set_stale(&self, is_stale: bool) {
        if self.is_stale.swap(is_stale, Ordering::AcqRel) != is_stale && is_stale {
            self.tell();
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Acquire)
    }

    /// Returns the keys.
    pub(super) fn slots(&self) -> Arc<Known> {
        self.known.load_full()
    }

    /// Ends what others remember. The keys were changed before: who sees the new number sees them.
    fn tell(&self) {
        self.generation.store(next_generation(), Ordering::Release);
        self.changed.send_replace(());
    }

    fn entry(&self, id: &KeyId) -> Option<Arc<Entry>> {
        self.known.load().get(id).map(|slot| Arc::clone(&slot.entry))
    }

    async fn until_over(&self, id: &str) {
        let mut changed = self.changed.subscribe();
        let Some(first) = KeyId::parse(id).and_then(|id| self.entry(&id)) else { return };
        loop {
            let entry = self.entry(&first.id);
            let Some(entry) = entry.filter(|entry| entry.state(now()).holds() && entry.has_rights_of(&first))
            else {
                return;
            };
            if self.is_stale() {
                return;
            }
            let left = entry.expires.map_or(LONGEST_SLEEP, time_until).min(LONGEST_SLEEP);
            tokio::select! {
                told = changed.changed() => if told.is_err() { return },
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

impl KeyCheck for Ring {
    fn looks_like_key(&self, credential: &str) -> bool {
        format::looks_like_key(credential)
    }

    fn check(&self, key: &str) -> Result<Verified, Denied> {
        let (id, hash) = format::parse(key).map_err(|error| refused().with_source(error))?;
        let known = self.known.load();
        let slot = known.get(&id);
        // An unknown id is compared with, too, so that it takes as long as a wrong secret.
        let fits = slot.map_or(&NOBODY, |slot| &slot.entry.hash).matches(&hash);
        if self.is_stale() {
            return Err(Denied::new(DeniedKind::Unavailable, UNAVAILABLE));
        }
        let Some(slot) = slot.filter(|_| fits) else {
            return Err(refused().with_source("there is no such key"));
        };
        let now = now();
        match slot.entry.state(now) {
            State::Active | State::Replaced => {
                slot.last_use.store(now, Ordering::Relaxed);
                Ok(verified(slot))
            }
            state => {
                Err(refused()
                    .with_source(format!("the key of `{}` was sent, which is {state}", slot.entry.name)))
            }
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn ended<'a>(&'a self, id: &'a str) -> Later<'a, ()> {
        Box::pin(self.until_over(id))
    }
}

fn verified(slot: &Slot) -> Verified {
    let entry = &slot.entry;
    let caller = Caller {
        subject: entry.name.clone(),
        scopes: entry.scopes.clone(),
        roles: entry.roles.clone(),
        proof: Proof::Key { id: entry.id.as_str().into(), name: entry.name.clone() },
        expires: entry.expires,
        ..Caller::default()
    };
    Verified { caller, last_use: Some(Arc::clone(&slot.last_use)) }
}

fn refused() -> Denied {
    Denied::new(DeniedKind::Invalid, REFUSED)
}

/// Returns a number that no ring of this process had before.
fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn time_until(end: u64) -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(end).saturating_sub(since)
}

/// What an unknown key is compared with.
static NOBODY: KeyHash = KeyHash::nobody();

/// The same for every reason: which one it was is the operator's to know.
const REFUSED: &str = "the token or key was not accepted";

const UNAVAILABLE: &str = "keys cannot be judged at the moment; try again";

/// Clocks are set, and a sleep does not notice.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
