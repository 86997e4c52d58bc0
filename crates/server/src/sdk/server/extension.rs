//! What an extension of the protocol adds to a server.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use trunkline_protocol::Method;
use trunkline_service::Service;
use trunkline_service::catalog::{ResourceDefinition, Served, TemplateDefinition};
use trunkline_service::seal::Sealer;

use crate::sdk::Resource;

/// An extension of the protocol: announced under its id, with the methods it answers and the resources it brings.
///
/// Spec: 2026-07-28 extensions.
#[must_use]
pub struct Extension {
    pub(super) id: String,
    pub(super) settings: Value,
    pub(super) methods: Vec<(Method, Arc<dyn Service>)>,
    pub(super) resources: Vec<Arc<dyn Resource>>,
    pub(super) parts: Option<Source>,
}

/// Makes what an extension brings, anew for each state of the server.
pub(super) type Source = Arc<dyn Fn(&Arc<Sealer>) -> ExtensionParts + Send + Sync>;

/// Resources and methods of an extension that has services of its own. Spec: 2026-07-28 extensions
#[derive(Default)]
pub struct ExtensionParts {
    /// Resources, listed after those of the server.
    pub resources: Vec<Served<ResourceDefinition>>,
    /// Templates, listed after those of the server.
    pub templates: Vec<Served<TemplateDefinition>>,
    /// Who answers its methods.
    pub methods: Vec<(Method, Arc<dyn Service>)>,
}

impl Extension {
    /// Makes an extension of that id, without settings.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            settings: Value::Object(Map::new()),
            methods: Vec::new(),
            resources: Vec::new(),
            parts: None,
        }
    }

    /// Sets the object that is announced under the id.
    pub fn settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }

    /// Adds who answers a method.
    pub fn method(mut self, method: Method, service: Arc<dyn Service>) -> Self {
        self.methods.push((method, service));
        self
    }

    /// Adds a resource.
    pub fn resource(mut self, resource: impl Resource) -> Self {
        self.resources.push(Arc::new(resource));
        self
    }

    /// Adds what is made anew for each state of the server, as after
    /// [`ServerHandle::refresh`](super::ServerHandle::refresh). `make` gets what cursors are sealed with.
    pub fn parts(mut self, make: impl Fn(&Arc<Sealer>) -> ExtensionParts + Send + Sync + 'static) -> Self {
        self.parts = Some(Arc::new(make));
        self
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extension")
            .field("id", &self.id)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ExtensionParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtensionParts")
            .field("resources", &self.resources)
            .field("templates", &self.templates)
            .finish_non_exhaustive()
    }
}
