//! The one path of a request, put together: what the config file decides becomes the endpoint that the edges serve.
//!
//! ```text
//! edge (stdio | http; limits of server and address at its `Door`; who asks, by `Access`) -> Observed (counts)
//!   -> Recorded (one line of the record) -> Bounded (in flight, deadline, panics) -> Limited (caller, roles, budgets)
//!   -> Authorize (what there is for the caller) -> Router (catalog: admit the name, checks of the thing, judge the arguments)
//!   -> the layers around the thing -> SqlConnector -> database
//! ```
//!
//! Checks and layers of each thing: [`around`].

pub(crate) mod ahead;
mod around;

use std::sync::Arc;
use std::time::Duration;

use trunkline_guard::authorize::Authorize;
use trunkline_guard::cache::Cache;
use trunkline_guard::limit::{LimitState, Limited};
use trunkline_guard::record::{Observations, Observed, Recorded, Recorder};
use trunkline_service::catalog::{CatalogError, PAGE_SIZE, Parts};
use trunkline_service::layers::{Bounded, InFlight};
use trunkline_service::meter::Meters;
use trunkline_service::router::LIST_TTL;
use trunkline_service::seal::{Sealer, Unsealable};
use trunkline_service::shared::{InMemory, InRedis, Shared};
use trunkline_service::store::file::OnStoreFailure;
use trunkline_service::store::{Store, StoreConfig, TrustError};
use trunkline_service::{Catalog, Endpoint, RouterOptions, ServerInfo, Service};

use self::ahead::Ahead;
use self::around::{Around, Known};
use crate::config::{Config, Diagnostic, Document, Server, Things};
use crate::guards::Guards;
use crate::sources::{self, Source};

/// A connector that is served, with what the file said of it.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) own: crate::config::Fingerprint,
    pub(crate) tools: crate::config::Fingerprint,
}

/// What lasts as long as the process, whatever the file comes to say.
#[derive(Debug, Clone)]
pub(crate) struct Lasting {
    /// Seals what rides with clients.
    pub(crate) sealer: Arc<Sealer>,
    /// What nodes must know of each other's clients; without a store this one has it for itself.
    pub(crate) shared: Arc<dyn Shared>,
    /// The same, where it is in the store.
    sharing: Option<Arc<InRedis>>,
    /// One count for all states of the endpoint.
    in_flight: Arc<InFlight>,
    /// Keeps the record; `None` when none is kept.
    pub(crate) recorder: Option<Recorder>,
    /// What nodes share, where the file names a place for it.
    pub(crate) store: Option<Store>,
    /// What was counted for limits.
    pub(crate) limits: LimitState,
    /// The answers that are kept.
    pub(crate) cache: Arc<Cache>,
    /// What goes on for what is kept.
    ahead: Arc<Ahead>,
    /// What guards know of connectors and tools.
    known: Arc<Known>,
    /// What was counted of requests.
    observations: Arc<Observations>,
    /// All who count.
    pub(crate) meters: Meters,
}

impl Lasting {
    /// Makes what the process needs from its start on.
    ///
    /// # Errors
    /// [`TrustError`]: no certificate of an authority was found, and the store is reached over TLS.
    pub(crate) fn new(
        sealer: Arc<Sealer>,
        store: Option<(StoreConfig, OnStoreFailure)>,
        cache_size: usize,
    ) -> Result<Self, TrustError> {
        let on_failure = store.as_ref().map(|(_, on_failure)| *on_failure).unwrap_or_default();
        let store = store.map(|(config, _)| Store::open(config)).transpose()?;
        let meters = Meters::default();
        let cache = match &store {
            Some(store) => {
                meters.add(Arc::new(store.clone()));
                Cache::with_store(cache_size, store.clone(), Arc::clone(&sealer))
            }
            None => Cache::new(cache_size),
        };
        let limits = match &store {
            Some(store) => LimitState::with_store(store.clone(), on_failure),
            None => LimitState::new(),
        };
        let observations = Arc::<Observations>::default();
        meters.add(Arc::clone(&observations) as _);
        meters.add(Arc::clone(&cache) as _);
        meters.add(Arc::new(limits.clone()));
        let (shared, in_flight) = (Arc::new(InMemory::default()), Arc::<InFlight>::default());
        meters.add(Arc::clone(&in_flight) as _);
        let (recorder, known, ahead, sharing) = (None, Arc::default(), Arc::default(), None);
        Ok(Self {
            sealer,
            shared,
            sharing,
            in_flight,
            recorder,
            store,
            limits,
            cache,
            ahead,
            known,
            observations,
            meters,
        })
    }

    /// Shares with the other nodes what every node must know of clients, where the file names a store, and waits a moment for
    /// what they know already.
    pub(crate) async fn share(&mut self) {
        let Some(store) = &self.store else { return };
        let sharing = Arc::new(InRedis::open(store.clone(), Arc::clone(&self.sealer)));
        // A store that does not answer stops no start.
        let _ = tokio::time::timeout(store.timeout() * 2, sharing.until_current()).await;
        self.shared = Arc::clone(&sharing) as _;
        self.sharing = Some(sharing);
    }

    /// Ends what runs for it.
    pub(crate) async fn end(&self) {
        self.cache.close().await;
        if let Some(sharing) = &self.sharing {
            sharing.end().await;
        }
        if let Some(store) = &self.store {
            store.close().await;
        }
    }
}

/// Makes the sealer that the file asks for; a random one when it names no keys.
///
/// # Errors
/// [`Unsealable`] when the system gives no randomness.
pub(crate) fn sealer(server: &Server) -> Result<Arc<Sealer>, Unsealable> {
    let keys = &server.seal_keys.0;
    Ok(Arc::new(if keys.is_empty() { Sealer::random()? } else { Sealer::new(keys)? }))
}

/// Makes every connector of the file, keeping those of `old` that did not change, with their connections.
pub(crate) fn connectors(config: &mut Config, old: &[Served], sealer: &Arc<Sealer>) -> Vec<Served> {
    let made = config.connectors.drain(..).map(|connector| {
        let known = old.iter().find(|served| served.name == connector.name && served.own == connector.own);
        let (name, kind) = (connector.name.clone(), connector.database.kind());
        let (own, tools) = (connector.own.clone(), connector.tools_print.clone());
        let source = match known {
            Some(served) if served.tools == tools => Arc::clone(&served.source),
            Some(served) => served.source.with_tools(connector),
            None => sources::make(connector, sealer),
        };
        Served { name, kind, source, own, tools }
    });
    made.collect()
}

/// Gathers what there is, tools in the order of the file, those that connectors make by themselves after them. No guard is
/// around anything: for looking at.
///
/// # Errors
/// [`CatalogError`] when two tools have one name.
pub(crate) fn catalog(
    order: &[String],
    served: &[Served],
    sealer: &Arc<Sealer>,
) -> Result<Arc<Catalog>, CatalogError> {
    gather(order, served, sealer, |_, _| {})
}

/// Gathers what there is, having `wrap` put the guards of each thing around it.
fn gather(
    order: &[String],
    served: &[Served],
    sealer: &Arc<Sealer>,
    mut wrap: impl FnMut(&Served, &mut Parts),
) -> Result<Arc<Catalog>, CatalogError> {
    let mut parts = Parts::default();
    for served in served {
        let mut more = served.source.parts();
        wrap(served, &mut more);
        parts.tools.extend(more.tools);
        parts.prompts.extend(more.prompts);
        parts.resources.extend(more.resources);
        parts.templates.extend(more.templates);
    }
    parts.tools.sort_by_key(|entry| {
        order.iter().position(|name| name == entry.definition.name.as_str()).unwrap_or(usize::MAX)
    });
    Ok(Arc::new(Catalog::of(parts, PAGE_SIZE, sealer)?))
}

/// Puts the endpoint together.
///
/// # Errors
/// [`CatalogError`] when two tools have one name.
pub(crate) fn endpoint(
    server: &Server,
    order: &[String],
    served: &[Served],
    things: &Things,
    guards: &Guards,
    lasting: &Lasting,
) -> Result<Endpoint, CatalogError> {
    let mut around = Around {
        things,
        limits: &guards.limits,
        cache: &lasting.cache,
        known: &lasting.known,
        max_in_flight: server.max_in_flight,
        open: !guards.policy.has_roles(),
        warm: Vec::new(),
        meters: Vec::new(),
    };
    let catalog = gather(order, served, &lasting.sealer, |served, parts| around.wrap(served, parts))?;
    lasting.meters.replace(around.meters);
    lasting.known.keep(served, things);
    let info = ServerInfo::new(server.name.clone(), env!("CARGO_PKG_VERSION"));
    // A list that is about to change must not be kept.
    let settled = served.iter().all(|served| served.source.is_ready());
    let list_ttl = if settled { LIST_TTL } else { Duration::ZERO };
    let options = RouterOptions { list_ttl, ..RouterOptions::new(Arc::clone(&lasting.shared)) };
    let mut authorize = Authorize::new(Arc::clone(&guards.policy), Arc::clone(&catalog), &info, options);
    if let Some(authenticator) = guards.authenticator() {
        authorize = authorize.with_authenticator(authenticator);
    }
    let capabilities = authorize.capabilities();
    let authorize = Arc::new(authorize);
    let most = guards.most_at_a_time.map_or(server.max_in_flight, |most| most.min(server.max_in_flight));
    let in_flight = Arc::clone(&lasting.in_flight);
    let inner = Limited::new(Arc::clone(&authorize), Arc::clone(&guards.limits), guards.counted);
    let bounded = Bounded::new(inner, most, in_flight);
    // Outermost: what is refused for want of room, is late or panics counts and has its line before the answer leaves, as all has.
    let (observations, names) = (Arc::clone(&lasting.observations), Arc::clone(&catalog));
    let service: Arc<dyn Service> = match &lasting.recorder {
        Some(recorder) => {
            let recorded = Recorded::new(bounded, recorder.clone(), &catalog);
            Arc::new(Observed::new(recorded, observations, names))
        }
        None => Arc::new(Observed::new(bounded, observations, names)),
    };
    lasting.ahead.go_on(&lasting.cache, served, around.warm, guards);
    let endpoint = Endpoint::new(service, catalog, info, capabilities, Some(server.deadline));
    let endpoint = endpoint.with_access(guards.access());
    let endpoint = match guards.limits.door(guards.counted) {
        Some(door) => endpoint.with_door(door),
        None => endpoint,
    };
    // Without roles it is the same for everybody.
    Ok(if guards.policy.has_roles() { endpoint.with_views(authorize) } else { endpoint })
}

/// Tells which tools of the file have the name of one that a connector makes by itself.
pub(crate) fn clashes(order: &[String], served: &[Served], document: &Document) -> Vec<Diagnostic> {
    let mut names: Vec<(String, &str)> = Vec::new();
    let mut problems = Vec::new();
    for served in served {
        for definition in served.source.definitions() {
            let name = definition.name.as_str().to_owned();
            match names.iter().find(|(known, _)| *known == name) {
                Some((_, other)) => {
                    let of_file = order.contains(&name);
                    let message = if of_file {
                        format!("connector `{}` makes a tool named `{name}` by itself", served.name)
                    } else {
                        format!("connectors `{other}` and `{}` both make a tool named `{name}`", served.name)
                    };
                    let path: [&str; 2] =
                        if of_file { ["tools", &name] } else { ["connectors", &served.name] };
                    let help = "rename the tool, or set another `prefix` on the connector";
                    problems.push(Diagnostic::at(document, &path, message).help(help));
                }
                None => names.push((name, &served.name)),
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests;
