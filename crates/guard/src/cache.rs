//! What is kept of answers that only read, so that equal questions need not be asked again.
//!
//! A [`Cache`] is the part that lasts as long as the process: what this node keeps, the questions under way, and the tags by which what
//! is kept is thrown away. [`Cache::keep_answers`] puts a layer around a tool, [`Cache::keep_reads`] around a resource,
//! [`Cache::invalidate`] around a tool that writes. Equal keys have equal answers: see [`Plan`] for whose questions share one.

mod canonical;
mod file;
mod flight;
mod held;
mod invalidate;
mod key;
mod landing;
mod lately;
mod layer;
mod local;
mod meter;
mod notices;
mod purge;
mod remote;
mod stored;
mod tags;
mod warm;

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trunkline_protocol::Method;
use trunkline_service::catalog::{Binding, Entry, Served};
use trunkline_service::meter::{Meter, Page};
use trunkline_service::seal::Sealer;
use trunkline_service::store::Store;
use trunkline_service::{CacheScope, Service};

use flight::Flights;
use held::Held;
use invalidate::Invalidating;
use key::{Defined, Key, KeyMaker};
use landing::Landing;
use lately::Lately;
use layer::{Cached, Core};
use local::Local;
use meter::{NodeMeter, Teller};
use remote::Remote;
use tags::{Named, Tag, Tags};

pub use file::{CacheFile, CacheTable, Plan, Scope, Subject, resolve_invalidates, unknown_tags};
pub use notices::Listening;
pub use purge::{Purge, PurgeError};
pub use warm::{Warmable, Warming, warm_problems};

/// How many bytes of answers a node keeps, unless the file says otherwise.
pub const DEFAULT_SIZE: usize = 64 * 1024 * 1024;

/// Most renewals at a time.
const MOST_RENEWALS: usize = 64;

/// How often what is over is swept.
const SWEEP: Duration = Duration::from_secs(30);

/// The answers a node keeps.
#[derive(Debug)]
pub struct Cache {
    local: Local,
    lately: Arc<Lately>,
    flights: Flights<Landing>,
    tags: Tags,
    meter: NodeMeter,
    remote: Option<Remote>,
    renewals: Arc<Semaphore>,
    tasks: TaskTracker,
    ending: CancellationToken,
}

/// Where answers come from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The name of the connector.
    pub connector: &'a str,
    /// Whatever of the file answers depend on beside what the service says.
    pub configuration: &'a [u8],
    /// How far behind a replica may be that is read from; zero where there is none. For so long after a change nothing is kept.
    pub lag: Duration,
}

/// What has to be known of a resource, or of a family of them, whose reads are kept.
#[derive(Debug, Clone)]
pub struct Reads<'a> {
    /// What they depend on beside URI and caller, as their service defines them; empty when it cannot be told, and nothing is kept.
    pub definition: &'a [u8],
    /// What of the caller they depend on; `None`: nothing.
    pub binding: Option<Arc<dyn Binding>>,
    /// Whether everybody who reaches the endpoint may read them: only then may they be called public downstream.
    pub open: bool,
}

impl Cache {
    /// Makes room for `size` bytes of answers. Needs a runtime: tasks sweep it until it is closed.
    #[must_use]
    pub fn new(size: usize) -> Arc<Self> {
        Self::of(size, None)
    }

    /// Makes room for `size` bytes of answers on this node, and shares answers with other nodes through `store`, where `sealer` seals
    /// them.
    #[must_use]
    pub fn with_store(size: usize, store: Store, sealer: Arc<Sealer>) -> Arc<Self> {
        Self::of(size, Some(Remote::new(store, sealer)))
    }

    fn of(size: usize, remote: Option<Remote>) -> Arc<Self> {
        let cache = Arc::new(Self {
            local: Local::new(size),
            lately: Arc::default(),
            flights: Flights::default(),
            tags: Tags::default(),
            meter: NodeMeter::default(),
            remote,
            renewals: Arc::new(Semaphore::new(MOST_RENEWALS)),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
        });
        // So that all can be purged while nothing is kept yet.
        cache.tags.intern(Named::All);
        cache.spawn(sweep(Arc::downgrade(&cache)));
        if let Some(remote) = &cache.remote {
            let changes = remote.subscribe();
            let following = Arc::clone(&cache);
            cache.spawn(async move {
                if let Some(remote) = &following.remote {
                    let heard = || following.meter.tell(Teller::Node);
                    remote.follow(changes, &following.tags, heard).await;
                }
            });
        }
        cache
    }

    /// Changes how many bytes are kept, as after a reload.
    pub fn resize(&self, size: usize) {
        self.local.resize(size);
    }

    /// Puts a layer around a tool that keeps its answers as `plan` says. `None` when nothing can be kept, since the tool's service does not say what its answers depend on.
    pub fn keep_answers(
        self: &Arc<Self>,
        entry: &mut Entry,
        origin: &Origin<'_>,
        plan: &Plan,
    ) -> Option<Warmable> {
        let (facts, definition) = (&entry.facts, &entry.definition);
        if facts.definition.is_empty() || !definition.annotations.read_only {
            return None;
        }
        let name = definition.name.as_str();
        let tags = tag_names(&[Named::Tool(name), Named::Connector(origin.connector)], plan);
        let defined = Defined {
            method: Method::ToolsCall,
            name,
            definition: &facts.definition,
            configuration: origin.configuration,
            input_schema: facts.schema.as_ref().unwrap_or(&definition.input_schema),
            output_schema: definition.output_schema.as_ref(),
            tags: &tags,
        };
        let keys = KeyMaker::new(&defined, plan.scope, facts.binding.clone(), Arc::clone(&self.lately));
        let core = self.core(Arc::clone(&entry.service), keys, (plan, origin.lag), &tags, name, None);
        entry.service = Arc::new(Cached(Arc::clone(&core)));
        Some(Warmable { core, name: name.into(), target: entry.target, warm: plan.warm.clone() })
    }

    /// Puts a layer around a resource, or a family of them, that keeps what is read. `name` is its URI, or their template. `false`
    /// when nothing can be kept.
    pub fn keep_reads<D>(
        self: &Arc<Self>,
        served: &mut Served<D>,
        name: &str,
        origin: &Origin<'_>,
        plan: &Plan,
        reads: &Reads<'_>,
    ) -> bool {
        if reads.definition.is_empty() {
            return false;
        }
        let tags = tag_names(&[Named::Connector(origin.connector)], plan);
        let defined = Defined {
            method: Method::ResourcesRead,
            name,
            definition: reads.definition,
            configuration: origin.configuration,
            input_schema: &Value::Null,
            output_schema: None,
            tags: &tags,
        };
        let keys = KeyMaker::new(&defined, plan.scope, reads.binding.clone(), Arc::clone(&self.lately));
        let public = plan.scope == Scope::Public && reads.open && reads.binding.is_none();
        let sent = if public { CacheScope::Public } else { CacheScope::Private };
        let label = format!("{} resources", origin.connector);
        let core =
            self.core(Arc::clone(&served.service), keys, (plan, origin.lag), &tags, &label, Some(sent));
        served.service = Arc::new(Cached(core));
        true
    }

    fn core(
        self: &Arc<Self>,
        inner: Arc<dyn Service>,
        keys: KeyMaker,
        (plan, lag): (&Plan, Duration),
        tags: &[Box<str>],
        label: &str,
        sent_scope: Option<CacheScope>,
    ) -> Arc<Core> {
        Arc::new(Core {
            cache: Arc::clone(self),
            inner,
            keys,
            ttl: plan.ttl,
            stale: plan.stale,
            lag,
            tags: tags.iter().map(|name| self.tags.intern_whole(name)).collect(),
            is_tagged: !plan.tags.is_empty(),
            sent_scope,
            meter: self.meter.thing(label),
        })
    }

    /// Puts a layer around a tool that writes: once its answer leaves, nothing that is kept under those tags is given out any more.
    #[must_use]
    pub fn invalidate(self: &Arc<Self>, service: Arc<dyn Service>, tags: &[Box<str>]) -> Arc<dyn Service> {
        if tags.is_empty() {
            return service;
        }
        let tags = tags.iter().map(|tag| self.tags.intern(Named::Tag(tag))).collect();
        Arc::new(Invalidating { inner: service, cache: Arc::clone(self), tags })
    }

    /// Makes everything under those tags hold no longer, here at once and on other nodes; `false` when they could not be told yet.
    ///
    /// # Cancel safety
    /// Dropped, other nodes may not be told.
    async fn changed(&self, tags: &[Arc<Tag>], teller: Teller) -> bool {
        self.meter.tell(teller);
        tags.iter().for_each(|tag| tag.bump());
        let Some(remote) = &self.remote else { return true };
        match remote.change(tags).await {
            Ok(()) => true,
            Err(error) => {
                self.meter.untold.add_one();
                tracing::warn!(%error, "other nodes could not be told yet that kept answers hold no longer");
                false
            }
        }
    }

    /// Keeps an answer in the store too, in a task of its own, unless too many are on their way there.
    fn keep_for_others(self: &Arc<Self>, key: Key, held: &Arc<Held>, tags: &Arc<[Arc<Tag>]>) {
        let Some(remote) = &self.remote else { return };
        if !remote.store.is_up() {
            return;
        }
        let Ok(place) = Arc::clone(&remote.writes).try_acquire_owned() else { return };
        let (cache, held, tags) = (Arc::clone(self), Arc::clone(held), Arc::clone(tags));
        self.spawn(async move {
            let _place = place;
            let Some(remote) = &cache.remote else { return };
            let Some((sealed, left)) = stored::seal(&remote.sealer, &key, &held, Instant::now()) else {
                return;
            };
            match remote.keep(&key, &sealed, left, &tags, &held.stamps).await {
                Ok(true) => cache.meter.store_kept.add_one(),
                Ok(false) => {}
                Err(_) => cache.meter.store_failed.add_one(),
            }
        });
    }

    /// Tells whether changes on other nodes may have gone unheard.
    fn is_deaf(&self) -> bool {
        self.remote.as_ref().is_some_and(Remote::is_deaf)
    }

    /// Runs something until the cache is closed.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let ending = self.ending.clone();
        self.tasks.spawn(async move {
            ending.run_until_cancelled(work).await;
        });
    }

    /// Ends all work that goes on for it.
    ///
    /// # Cancel safety
    /// What was told to end ends, whether that is waited for or not.
    pub async fn close(&self) {
        self.ending.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Throws away what is over, now and then, as long as there is a cache.
async fn sweep(cache: Weak<Cache>) {
    let mut beat = tokio::time::interval(SWEEP);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let Some(cache) = cache.upgrade() else { return };
        cache.local.sweep(Instant::now());
    }
}

/// The names of the tags of a thing, in the order of its stamps.
fn tag_names(own: &[Named<'_>], plan: &Plan) -> Vec<Box<str>> {
    let own = [Named::All].into_iter().chain(own.iter().copied());
    own.chain(plan.tags.iter().map(|tag| Named::Tag(tag))).map(Named::name).collect()
}

impl Meter for Cache {
    fn read(&self, page: &mut Page) {
        self.meter.read(page);
        let evicted = self.local.evicted();
        page.counter(
            "trunkline_cache_evicted_total",
            "Kept answers that went for want of room.",
            &[],
            evicted,
        );
        // As exact as a number of bytes has to be.
        #[expect(clippy::cast_precision_loss, reason = "a size is told, not computed with")]
        let (bytes, entries) = (self.local.bytes() as f64, self.local.len() as f64);
        page.gauge("trunkline_cache_bytes", "How many bytes of answers are kept on this node.", &[], bytes);
        page.gauge("trunkline_cache_entries", "How many answers are kept on this node.", &[], entries);
    }
}

#[cfg(test)]
mod tests;
