//! What an edge serves: the outermost service, how the server introduces itself, and the bounds of one request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use serde_json::{Value, json};
use tokio::sync::watch;
use trunkline_protocol::meta;

use crate::Service;
use crate::catalog::Catalog;
use crate::request::TimeAllowed;

/// How the server introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// The name programs know it by.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What a model should know before it uses the server, at most 2 KiB.
    pub instructions: Option<String>,
}

impl ServerInfo {
    /// Returns the `Implementation` object.
    #[must_use]
    pub fn implementation(&self) -> Value {
        json!({ "name": self.name, "version": self.version })
    }

    /// Returns the `_meta` member of a modern result, with its leading comma.
    #[must_use]
    pub fn result_meta(&self) -> Vec<u8> {
        format!(",\"_meta\":{}", json!({ meta::SERVER_INFO: self.implementation() })).into_bytes()
    }
}

/// One state of an assembled server. Immutable; a reload makes a new one and swaps it in.
pub struct Endpoint {
    /// The outermost service.
    pub service: Arc<dyn Service>,
    /// The tools it has.
    pub catalog: Arc<Catalog>,
    /// How it introduces itself.
    pub info: ServerInfo,
    /// The `_meta` member of modern results, written once.
    pub result_meta: Vec<u8>,
    /// How long a request may take.
    pub time: TimeAllowed,
}

impl Endpoint {
    /// Puts the parts together. `deadline` is how long a request may take; `None` for no bound.
    #[must_use]
    pub fn new(
        service: Arc<dyn Service>,
        catalog: Arc<Catalog>,
        info: ServerInfo,
        deadline: Option<Duration>,
    ) -> Self {
        let result_meta = info.result_meta();
        let time = deadline.map_or(TimeAllowed::Unlimited, TimeAllowed::Within);
        Self { service, catalog, info, result_meta, time }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("info", &self.info)
            .field("catalog", &self.catalog)
            .finish_non_exhaustive()
    }
}

/// The endpoint being served now; edges load it for every request, so that a swap never disturbs one in flight.
#[derive(Debug, Clone)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: ArcSwap<Endpoint>,
    /// Rises whenever a swap changed what `tools/list` answers.
    tools: watch::Sender<u64>,
}

impl Live {
    /// Serves an endpoint.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self(Arc::new(Inner { endpoint: ArcSwap::from_pointee(endpoint), tools: watch::Sender::new(0) }))
    }

    /// Returns a guard on the endpoint, cheaper than a counted reference.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Endpoint>> {
        self.0.endpoint.load()
    }

    /// Returns the endpoint.
    #[must_use]
    pub fn load_full(&self) -> Arc<Endpoint> {
        self.0.endpoint.load_full()
    }

    /// Serves another endpoint from now on, and tells those who watch when its tools are others.
    pub fn store(&self, endpoint: Endpoint) {
        let old = self.0.endpoint.swap(Arc::new(endpoint));
        if old.catalog.digest() != self.load().catalog.digest() {
            self.0.tools.send_modify(|generation| *generation += 1);
        }
    }

    /// Returns a receiver that is told of every change of the tools.
    #[must_use]
    pub fn tools_changed(&self) -> watch::Receiver<u64> {
        self.0.tools.subscribe()
    }
}
