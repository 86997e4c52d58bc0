//! From a builder to a server: everything checked, all problems told at once.

use std::sync::{Arc, OnceLock};

use trunkline_protocol::Method;
use trunkline_service::endpoint::Live;
use trunkline_service::layers::InFlight;
use trunkline_service::router::TaskNotices;
use trunkline_service::shared::InMemory;
use trunkline_service::{RouterOptions, Service};

use super::error::{BuildError, BuildProblem};
use super::extension::Source;
use super::hub::{Assembly, Hub};
use super::registry::{Maker, Registry};
use super::run::BuiltServer;
use super::{Extension, Seals, Server};
use crate::sdk::TaskMode;
use crate::sdk::dialogue::Facilities;
use crate::sdk::task::{self, TaskOptions};
use crate::sdk::unit::Core;

/// What all extensions bring together.
#[derive(Default)]
struct Extensions {
    settings: serde_json::Map<String, serde_json::Value>,
    methods: Vec<(Method, Arc<dyn Service>)>,
    sources: Vec<Source>,
}

impl Extensions {
    fn add(&mut self, extension: Extension, maker: &mut Maker<'_>, registry: &mut Registry) {
        let Extension { id, settings, methods, resources, parts } = extension;
        self.methods.extend(methods);
        self.sources.extend(parts);
        for resource in resources {
            maker.resource(registry, resource);
        }
        if self.settings.insert(id.clone(), settings).is_some() {
            maker.problems.push(BuildProblem::ExtensionClash(id));
        }
    }
}

impl Server {
    /// Builds the server and turns it into a service, as [`BuiltServer::into_service`].
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn into_service(self) -> Result<Arc<dyn Service>, BuildError> {
        self.build().map(BuiltServer::into_service)
    }

    /// Checks everything and makes the server.
    ///
    /// # Errors
    /// [`BuildError`] with every problem: names that clash or are none, state that was not given, schemas that cannot be used,
    /// mirrored headers that clients refuse, templates that cannot be read.
    pub fn build(self) -> Result<BuiltServer, BuildError> {
        let mut maker = Maker { states: &self.states, profile: self.options.profile, problems: Vec::new() };
        let mut registry = Registry::default();
        for tool in self.tools {
            maker.tool(&mut registry, tool);
        }
        for prompt in self.prompts {
            maker.prompt(&mut registry, prompt);
        }
        for resource in self.resources {
            maker.resource(&mut registry, resource);
        }
        let mut extensions = Extensions::default();
        for extension in self.extensions {
            extensions.add(extension, &mut maker, &mut registry);
        }
        let mut problems = maker.problems;
        problems.extend(self.early);
        // Other nodes open the same sessions where keys are given; they hear of an end only through what they share.
        let ends_sessions = matches!(self.sealer, Seals::Random) || self.shared.is_some();
        let sealer = self.sealer.make().map_err(|_| problems.push(BuildProblem::NoSealKey));
        let Some(sealer) = sealer.ok().filter(|_| problems.is_empty()) else {
            return Err(BuildError::new(problems));
        };
        let shared = self.shared.unwrap_or_else(|| Arc::new(InMemory::default()));
        let mut router = RouterOptions::new(Arc::clone(&shared));
        router.list_ttl = self.options.list_ttl;
        router.logging = self.options.logging;
        let wants_tasks = registry.tools.iter().any(|made| made.unit.task != TaskMode::Never);
        let wants_tasks = wants_tasks || self.task_store.is_some();
        let source = self.tasks.or_else(|| wants_tasks.then(|| TaskOptions::default().into()));
        let tasks = source.map(|source| source.make(self.task_store, &shared));
        if let Some(tasks) = &tasks {
            let service = tasks.service();
            let methods = [Method::TasksGet, Method::TasksUpdate, Method::TasksCancel];
            extensions.methods.extend(methods.map(|method| (method, Arc::clone(&service))));
            extensions.settings.insert(task::EXTENSION.to_owned(), serde_json::json!({}));
            let notices: Arc<dyn TaskNotices> = Arc::clone(tasks) as _;
            router.tasks = Some(notices);
        }
        router.extensions = extensions.settings;
        router.extra = extensions.methods;
        let core = Arc::new(Core {
            states: self.states,
            facilities: Facilities { sealer: Arc::clone(&sealer), tasks },
            shared: Arc::clone(&shared),
            max_result: self.options.max_result,
            hub: OnceLock::new(),
        });
        let in_flight = Arc::new(InFlight::default());
        let (info, options, sources) = (self.info, self.options, extensions.sources);
        let assembly = Assembly { core, info, options, sealer, in_flight, router, sources };
        let live = Live::with_shared(assembly.endpoint(&registry)?, shared);
        Ok(BuiltServer::new(
            Hub::new(live, assembly, registry, self.serving.shutdown_grace),
            self.serving,
            ends_sessions,
        ))
    }
}
