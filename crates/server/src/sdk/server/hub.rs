//! The living server: what it offers now, and how a change becomes the next endpoint.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trunkline_protocol::Method;
use trunkline_service::catalog::{Entry, Parts, Served};
use trunkline_service::endpoint::Live;
use trunkline_service::layers::{Bounded, InFlight};
use trunkline_service::seal::Sealer;
use trunkline_service::{Catalog, Endpoint, Router, RouterOptions, ServerInfo, Service};

use super::Options;
use super::error::{BuildError, BuildProblem};
use super::extension::{ExtensionParts, Source};
use super::registry::{Maker, Registry, ResourceListing};
use crate::http::Http;
use crate::sdk::service::{Prompts, Resources, Tools};
use crate::sdk::unit::{Core, Generation, Shards};

/// What makes endpoints, one after each change.
pub(super) struct Assembly {
    pub(super) core: Arc<Core>,
    pub(super) info: ServerInfo,
    pub(super) options: Options,
    pub(super) sealer: Arc<Sealer>,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) router: RouterOptions,
    /// What extensions bring, made anew for each endpoint.
    pub(super) sources: Vec<Source>,
}

impl Assembly {
    /// Puts an endpoint together.
    ///
    /// # Errors
    /// What the catalog refuses.
    pub(super) fn endpoint(&self, registry: &Registry) -> Result<Endpoint, BuildError> {
        let generation = Arc::new(Generation {
            core: Arc::clone(&self.core),
            tools: registry.tools.iter().map(|made| Arc::clone(&made.unit)).collect(),
            prompts: registry.prompts.iter().map(|made| Arc::clone(&made.unit)).collect(),
            resources: registry.resources.iter().map(|made| Arc::clone(&made.unit)).collect(),
        });
        let shards = Shards::new(&generation);
        let (mut parts, mut options) = (parts(registry, &shards), self.router.clone());
        for source in &self.sources {
            let ExtensionParts { resources, templates, methods } = source(&self.sealer);
            parts.resources.extend(resources);
            parts.templates.extend(templates);
            options.extra.extend(methods);
        }
        if let Some(method) = claimed_twice(&options.extra) {
            return Err(BuildProblem::ExtensionClash(method.as_str().to_owned()).into());
        }
        let catalog = Catalog::of(parts, self.options.page_size, &self.sealer).map_err(BuildProblem::from)?;
        let catalog = Arc::new(catalog);
        let router = Router::new(Arc::clone(&catalog), &self.info, options);
        let capabilities = router.capabilities().clone();
        let service = Bounded::new(router, self.options.max_in_flight, Arc::clone(&self.in_flight));
        let (service, info) = (Arc::new(service), self.info.clone());
        let endpoint = Endpoint::new(service, catalog, info, capabilities, self.options.deadline);
        Ok(endpoint.with_access(self.options.access.clone()))
    }
}

fn parts(registry: &Registry, shards: &Shards) -> Parts {
    let tools: Arc<dyn Service> = Arc::new(Tools(shards.clone()));
    let prompts: Arc<dyn Service> = Arc::new(Prompts(shards.clone()));
    let resources: Arc<dyn Service> = Arc::new(Resources(shards.clone()));
    let mut parts = Parts::default();
    for (target, made) in (0..).zip(&registry.tools) {
        let (definition, service) = (made.definition.clone(), Arc::clone(&tools));
        parts.tools.push(Entry::new(definition, service, target));
    }
    for (target, made) in (0..).zip(&registry.prompts) {
        let (definition, service) = (made.definition.clone(), Arc::clone(&prompts));
        parts.prompts.push(Served { completes: made.completes, ..Served::new(definition, service, target) });
    }
    for (target, made) in (0..).zip(&registry.resources) {
        let (service, completes) = (Arc::clone(&resources), made.completes);
        match made.definition.clone() {
            ResourceListing::One(definition) => {
                parts.resources.push(Served { completes, ..Served::new(definition, service, target) });
            }
            ResourceListing::Template(definition) => {
                parts.templates.push(Served { completes, ..Served::new(definition, service, target) });
            }
        }
    }
    parts
}

/// A server that lives: its endpoint, and what the next one is made from.
pub(crate) struct Hub {
    pub(super) live: Live,
    pub(super) assembly: Assembly,
    registry: Mutex<Registry>,
    /// Tells edges that serve by themselves to end.
    pub(super) stop: CancellationToken,
    /// The edge behind routes of another server, which nothing else tells to end.
    pub(super) mounted: OnceLock<Weak<Http>>,
    pub(super) grace: Duration,
}

impl Hub {
    pub(super) fn new(live: Live, assembly: Assembly, registry: Registry, grace: Duration) -> Arc<Self> {
        let registry = Mutex::new(registry);
        let (stop, mounted) = (CancellationToken::new(), OnceLock::new());
        let hub = Arc::new(Self { live, assembly, registry, stop, mounted, grace });
        // Set once, right here.
        let _ = hub.assembly.core.hub.set(Arc::downgrade(&hub));
        hub
    }

    /// Ends the tasks: they get `grace` to end by themselves, and are stopped then.
    pub(super) async fn stop_tasks(&self, grace: Duration) {
        if let Some(tasks) = &self.assembly.core.facilities.tasks {
            tasks.shutdown(grace).await;
        }
    }

    /// Changes what is offered, and serves that from now on; subscribers are told. `change` says whether it changed anything.
    ///
    /// # Errors
    /// What is wrong with what was added; nothing changed then.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut Maker<'_>, &mut Registry) -> bool,
    ) -> Result<bool, BuildError> {
        // One change at a time. A poisoned lock is a change that panicked before it was stored.
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = registry.clone();
        let (states, profile) = (&self.assembly.core.states, self.assembly.options.profile);
        let mut maker = Maker { states, profile, problems: Vec::new() };
        let changed = change(&mut maker, &mut next);
        if !maker.problems.is_empty() {
            return Err(BuildError::new(maker.problems));
        }
        if changed {
            self.live.store(self.assembly.endpoint(&next)?);
            *registry = next;
        }
        Ok(changed)
    }
}

impl Drop for Hub {
    /// Nothing outlives its server: tasks hold on to what they use, and would go on without it.
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(tasks) = &self.assembly.core.facilities.tasks {
            tasks.abandon();
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("live", &self.live).finish_non_exhaustive()
    }
}

/// The methods of extensions, each claimed once.
fn claimed_twice(methods: &[(Method, Arc<dyn Service>)]) -> Option<Method> {
    let mut seen = Vec::new();
    methods.iter().map(|(method, _)| *method).find(|method| {
        let twice = seen.contains(method);
        seen.push(*method);
        twice
    })
}
