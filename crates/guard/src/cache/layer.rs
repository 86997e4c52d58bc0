//! The layer around one tool, or one resource, whose answers are kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trunkline_service::{
    Answer, CacheScope, Outcome, Reply, ReplyKind, Request, Service, TimeAllowed, ready,
};

use super::Cache;
use super::flight::{Boarded, Lead};
use super::held::{Held, Lasts, Status, with_status};
use super::key::{Key, KeyMaker, Made};
use super::landing::Landing;
use super::local::Slot;
use super::meter::ThingMeter;
use super::stored;
use super::tags::{self, Stamps, Tag};

/// Gives out what is kept of a thing's answers, and keeps them.
#[derive(Debug)]
pub(crate) struct Cached(pub(crate) Arc<Core>);

/// All of a layer, for renewals that outlast a request.
pub(crate) struct Core {
    pub(crate) cache: Arc<Cache>,
    pub(crate) inner: Arc<dyn Service>,
    pub(crate) keys: KeyMaker,
    pub(crate) ttl: Duration,
    pub(crate) stale: Duration,
    /// How far behind the source's replicas may be: what is read so soon after a change may be from before it.
    pub(crate) lag: Duration,
    /// In the order of the stamps.
    pub(crate) tags: Arc<[Arc<Tag>]>,
    /// Whether some of them are changed by other nodes.
    pub(crate) is_tagged: bool,
    /// Who may keep answers downstream; `None` where results do not say.
    pub(crate) sent_scope: Option<CacheScope>,
    pub(crate) meter: Arc<ThingMeter>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("keys", &self.keys).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

/// What is kept under a key.
enum Found {
    Fresh(Arc<Held>),
    Stale(Arc<Held>),
    /// Its answers are nobody else's.
    Alone,
    Nothing,
}

/// An answer with a cursor is kept no longer than this: half of what the cursor holds, so that whoever gets it has time to use it.
const LONGEST_BOUND: Duration = Duration::from_secs(300);

/// For so long it is remembered that the answers of a key are nobody else's.
const ALONE: Duration = Duration::from_secs(10);

/// A renewal takes at most so long.
const RENEWAL: Duration = Duration::from_secs(30);

impl Service for Cached {
    fn call(&self, request: Request) -> Answer<'_> {
        let core = &self.0;
        // What a client answered to a question belongs to one call.
        let made = if request.input().is_some() { None } else { core.keys.make(&request) };
        let Some(made) = made else {
            core.meter.bypassed.add_one();
            return core.inner.call(request);
        };
        let now = Instant::now();
        match core.look(&made.key, now) {
            Found::Fresh(held) => {
                core.meter.hits.add_one();
                ready(Ok(core.give(&held, Status::Hit, now)))
            }
            Found::Stale(held) => {
                core.meter.stale.add_one();
                if held.claim_renewal(now) {
                    core.renew_later(made, &request);
                }
                ready(Ok(core.give(&held, Status::Stale, now)))
            }
            // A replica may not have heard of the change, and whoever made it is read to from where it is: not so others.
            Found::Nothing if core.shares() && tags::changed_within(&core.tags, core.lag, now) => {
                core.meter.bypassed.add_one();
                core.inner.call(request)
            }
            Found::Alone => {
                core.meter.bypassed.add_one();
                core.inner.call(request)
            }
            Found::Nothing => Answer::later(core.fetch(made, request)),
        }
    }
}

impl Core {
    fn look(&self, key: &Key, now: Instant) -> Found {
        match self.cache.local.get(key) {
            Some(Slot::Kept(held)) if held.dies > now && self.hears() && held.holds() => {
                if held.fresh_until > now { Found::Fresh(held) } else { Found::Stale(held) }
            }
            Some(Slot::Alone(until)) if until > now => Found::Alone,
            _ => Found::Nothing,
        }
    }

    /// Tells whether this node would know of every change of what is kept.
    fn hears(&self) -> bool {
        !(self.is_tagged && self.cache.is_deaf())
    }

    /// Tells whether callers get answers to the questions of others.
    fn shares(&self) -> bool {
        self.keys.scope() != super::Scope::Caller
    }

    fn give(&self, held: &Held, status: Status, now: Instant) -> Reply {
        self.meter.ages.observe(held.age(now));
        held.reply(status, now)
    }

    /// Fetches an answer, or waits for one that is being fetched.
    async fn fetch(&self, made: Made, request: Request) -> Outcome {
        let stamps = tags::stamps(&self.tags);
        let passenger = self.cache.flights.join(made.key, stamps, |stamps| tags::same(&self.tags, stamps));
        match passenger.board().await {
            Some(Boarded::Leads(lead)) => self.lead(lead, &made, request).await,
            Some(Boarded::Landed(Landing::Kept(held))) => {
                self.meter.joined.add_one();
                Ok(self.give(held, Status::Miss, Instant::now()))
            }
            Some(Boarded::Landed(Landing::Failed(failed))) => {
                self.meter.joined.add_one();
                failed.outcome(request.log_id())
            }
            Some(Boarded::Landed(Landing::Alone)) | None => {
                self.meter.bypassed.add_one();
                self.inner.call(request).await
            }
        }
    }

    /// Fetches the answer for all who wait for it.
    async fn lead(&self, lead: Lead<'_, Landing>, made: &Made, request: Request) -> Outcome {
        // Another flight may have landed since this request looked.
        let now = Instant::now();
        if let Found::Fresh(held) = self.look(&made.key, now) {
            let reply = self.give(&held, Status::Hit, now);
            self.meter.hits.add_one();
            lead.land(Landing::Kept(held));
            return Ok(reply);
        }
        let stamps = match self.ask_store(made).await {
            Ok(held) => {
                let now = Instant::now();
                let status = if held.fresh_until > now { Status::Hit } else { Status::Stale };
                self.meter.hits.add_one();
                let reply = self.give(&held, status, now);
                lead.land(Landing::Kept(held));
                return Ok(reply);
            }
            Err(stamps) => stamps,
        };
        self.meter.misses.add_one();
        self.run(lead, made, stamps, request).await
    }

    /// Returns what the store has under the key and keeps it here too; else the generations under which to fetch the answer.
    async fn ask_store(&self, made: &Made) -> Result<Arc<Held>, Stamps> {
        let stamps = || tags::stamps(&self.tags);
        let (Some(remote), meter) = (&self.cache.remote, &self.cache.meter) else { return Err(stamps()) };
        // While a change of this node is untold, the store does not know what holds.
        if self.tags.iter().any(|tag| tag.owed() > 0 || tag.is_suspect()) {
            return Err(stamps());
        }
        let read = match remote.read(&made.key, &self.tags).await {
            Ok(read) => read,
            Err(_) => {
                meter.store_failed.add_one();
                return Err(stamps());
            }
        };
        let now = Instant::now();
        let Some((sealed, left)) = read.value else {
            meter.store_misses.add_one();
            return Err(read.stamps);
        };
        let Some(held) = stored::open(&remote.sealer, &made.key, &sealed, left, &self.tags, now) else {
            meter.store_bad.add_one();
            return Err(read.stamps);
        };
        if held.stamps != read.stamps || held.dies <= now {
            meter.store_misses.add_one();
            return Err(read.stamps);
        }
        meter.store_hits.add_one();
        let held = Arc::new(held);
        self.cache.local.keep(made.key, Slot::Kept(Arc::clone(&held)));
        Ok(held)
    }

    /// Has the service answer, keeps the answer if it may be kept, and gives it to all who wait.
    async fn run(
        &self,
        lead: Lead<'_, Landing>,
        made: &Made,
        stamps: Stamps,
        mut request: Request,
    ) -> Outcome {
        if !made.as_it_was {
            self.keys.spell(&mut request);
        }
        let born = Instant::now();
        let mut reply = match self.inner.call(request).await {
            Ok(reply) => reply,
            Err(failure) => {
                if let Some(landing) = Landing::of_failure(&failure) {
                    lead.land(landing);
                }
                return Err(failure);
            }
        };
        if reply.is_error() {
            if lead.is_followed()
                && let Some(landing) = Landing::of_error(&reply)
            {
                lead.land(landing);
            }
            return Ok(reply);
        }
        let Some(lasts) = self.lasts(&reply) else {
            lead.land(Landing::Alone);
            self.cache.local.keep(made.key, Slot::Alone(born + ALONE));
            return Ok(reply);
        };
        let Some(kept) = reply.keep() else { return Ok(reply) };
        let held = Arc::new(Held::new(kept, reply.meta(), &self.tags, stamps, born, lasts));
        let holds = self.keep(made, &held);
        lead.land(Landing::Kept(Arc::clone(&held)));
        Ok(self.told(reply, &held, holds))
    }

    /// Returns how long an answer may be kept; `None` when it is nobody else's.
    fn lasts(&self, reply: &Reply) -> Option<Lasts> {
        let is_of_one =
            reply.is_bound() || reply.hints().is_some_and(|hints| hints.scope == CacheScope::Private);
        if reply.kind() != ReplyKind::Complete || (is_of_one && self.shares()) {
            return None;
        }
        let most = if reply.is_bound() { LONGEST_BOUND } else { Duration::MAX };
        let allowed = reply.hints().map_or(Duration::MAX, |hints| Duration::from_millis(hints.ttl_ms));
        let fresh = self.ttl.min(most).min(allowed);
        // What a service says of how long its answers are fresh is its last word.
        let stale =
            if allowed < self.ttl { Duration::ZERO } else { self.stale.min(most.saturating_sub(fresh)) };
        let sent_scope = self.sent_scope.map(|scope| if is_of_one { CacheScope::Private } else { scope });
        (!fresh.is_zero()).then_some(Lasts { fresh, stale, sent_scope })
    }

    /// Keeps an answer, unless what it tells of changed while it was fetched: then `false`.
    fn keep(&self, made: &Made, held: &Arc<Held>) -> bool {
        if !held.holds() || tags::changed_within(&self.tags, self.lag, held.born) {
            self.meter.overtaken.add_one();
            return false;
        }
        self.meter.kept.add_one();
        self.cache.local.keep(made.key, Slot::Kept(Arc::clone(held)));
        self.cache.keep_for_others(made.key, held, &self.tags);
        true
    }

    /// Says in a reply that was fetched where it comes from, and how long it is fresh.
    fn told(&self, reply: Reply, held: &Held, holds: bool) -> Reply {
        let now = Instant::now();
        let meta = with_status(&held.meta, Status::Miss, held.age(now));
        let reply = reply.with_meta(meta);
        let Some(scope) = held.sent_scope else { return reply };
        let mut hints = held.hints(scope, now);
        if !holds {
            hints.ttl_ms = 0;
        }
        reply.with_hints(hints)
    }

    /// Fetches a new answer in a task of its own, unless too many are under way.
    fn renew_later(self: &Arc<Self>, made: Made, request: &Request) {
        let Ok(place) = Arc::clone(&self.cache.renewals).try_acquire_owned() else { return };
        let request = request.detached(TimeAllowed::Within(RENEWAL));
        let core = Arc::clone(self);
        self.cache.spawn(async move {
            let _place = place;
            core.renew(made, request).await;
        });
    }

    /// Fetches a new answer although there may be one; `false` when none was kept.
    ///
    /// # Cancel safety
    /// Whoever waits for the same answer fetches it.
    async fn renew(&self, made: Made, request: Request) -> bool {
        let stamps = tags::stamps(&self.tags);
        let passenger = self.cache.flights.join(made.key, stamps, |stamps| tags::same(&self.tags, stamps));
        if passenger.joined {
            return true;
        }
        let renewed = async {
            let Some(Boarded::Leads(lead)) = passenger.board().await else { return true };
            self.meter.renewed.add_one();
            let stamps = match &self.cache.remote {
                // The answer is to be kept in the store too, under the generations that are there now.
                Some(remote) => match remote.read(&made.key, &self.tags).await {
                    Ok(read) => read.stamps,
                    Err(_) => tags::stamps(&self.tags),
                },
                None => tags::stamps(&self.tags),
            };
            // The outcome is for those who wait; the kept answer goes on until it is over.
            self.run(lead, &made, stamps, request).await.is_ok_and(|reply| !reply.is_error())
        };
        tokio::time::timeout(RENEWAL, renewed).await.unwrap_or(false)
    }

    /// Returns for how long what is kept for a request is still fresh.
    pub(crate) fn fresh_for(&self, request: &Request) -> Duration {
        let now = Instant::now();
        match self.keys.make(request).map(|made| self.look(&made.key, now)) {
            Some(Found::Fresh(held)) => held.fresh_until.saturating_duration_since(now),
            _ => Duration::ZERO,
        }
    }

    /// Fetches the answer of a request that nobody made; `false` when none was kept.
    pub(crate) async fn warm(&self, request: Request) -> bool {
        match self.keys.make(&request) {
            Some(made) => self.renew(made, request).await,
            None => false,
        }
    }
}
