//! What an edge serves: the outermost service, how the server introduces itself, and the bounds of one request.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use serde_json::{Map, Value, json};
use trunkline_protocol::{Revision, meta};

use crate::Service;
use crate::authenticate::Access;
use crate::caller::Caller;
use crate::catalog::{Catalog, Icon};
use crate::door::Door;
use crate::request::TimeAllowed;
use crate::router::Router;
use crate::shared::{Change, InMemory, Shared};

/// How the server introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// The name programs know it by.
    pub name: String,
    /// Its version.
    pub version: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is for, in a sentence.
    pub description: Option<String>,
    /// Where people read about it.
    pub website: Option<String>,
    /// Pictures of it.
    pub icons: Vec<Icon>,
    /// What a model should know before it uses the server, at most 2 KiB.
    pub instructions: Option<String>,
}

impl ServerInfo {
    /// Makes an introduction of name and version alone.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            title: None,
            description: None,
            website: None,
            icons: Vec::new(),
            instructions: None,
        }
    }

    /// Returns the `Implementation` object as a client of `revision` knows it. Spec: 2026-07-28 schema#implementation.
    #[must_use]
    pub fn implementation(&self, revision: Revision) -> Value {
        let mut object = Map::new();
        let mut add = |name: &str, since: Revision, value: Option<&String>| {
            if let Some(value) = value.filter(|_| revision >= since) {
                object.insert(name.to_owned(), value.as_str().into());
            }
        };
        add("name", Revision::V2025_03_26, Some(&self.name));
        add("version", Revision::V2025_03_26, Some(&self.version));
        add("title", Revision::V2025_06_18, self.title.as_ref());
        add("description", Revision::V2025_11_25, self.description.as_ref());
        add("websiteUrl", Revision::V2025_11_25, self.website.as_ref());
        Icon::add(&self.icons, revision, &mut object);
        Value::Object(object)
    }

    /// Returns the `_meta` member of a modern result, with its leading comma.
    #[must_use]
    pub fn result_meta(&self) -> Vec<u8> {
        format!(",\"_meta\":{}", json!({ meta::SERVER_INFO: self.implementation(Revision::LATEST) }))
            .into_bytes()
    }
}

/// What an endpoint is for callers of whom not all may use all of it.
pub trait Views: fmt::Debug + Send + Sync + 'static {
    /// Returns the router over what there is for that caller; `None` when that is everything.
    fn view(&self, caller: &Caller) -> Option<Arc<Router>>;

    /// Returns the local user with the roles that they have here.
    fn local(&self) -> Arc<Caller>;

    /// Returns a digest of the rules: equal for equal ones.
    fn digest(&self) -> [u8; 32];

    /// Says that other rules are in force now: streams without end that were begun under these end.
    fn retire(&self);
}

/// One state of an assembled server. Immutable; a reload makes a new one and swaps it in.
pub struct Endpoint {
    /// The outermost service.
    pub service: Arc<dyn Service>,
    /// What it has: tools, prompts, resources.
    pub catalog: Arc<Catalog>,
    /// How it introduces itself.
    pub info: ServerInfo,
    /// Its capabilities, in the shape of 2026-07-28.
    pub capabilities: Value,
    /// The `_meta` member of modern results, written once.
    pub result_meta: Vec<u8>,
    /// How long a request may take.
    pub time: TimeAllowed,
    /// Who may come in.
    pub access: Access,
    /// What it is for each caller; `None` when it is the same for everybody.
    pub views: Option<Arc<dyn Views>>,
    /// What requests have to pass before anybody looks at who sends them; nothing unless set.
    pub door: Option<Arc<dyn Door>>,
}

impl Endpoint {
    /// Puts the parts together. `capabilities` are those of the [`Router`] within. `deadline` is how long a request may take; `None` for no bound.
    #[must_use]
    pub fn new(
        service: Arc<dyn Service>,
        catalog: Arc<Catalog>,
        info: ServerInfo,
        capabilities: Value,
        deadline: Option<Duration>,
    ) -> Self {
        let result_meta = info.result_meta();
        let time = deadline.map_or(TimeAllowed::Unlimited, TimeAllowed::Within);
        Self {
            service,
            catalog,
            info,
            capabilities,
            result_meta,
            time,
            access: Access::Local,
            views: None,
            door: None,
        }
    }

    /// Says who may come in; only the local user unless set.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Says what it is for each caller; the same for everybody unless set.
    #[must_use]
    pub fn with_views(mut self, views: Arc<dyn Views>) -> Self {
        self.views = Some(views);
        self
    }

    /// Says what requests have to pass before anybody looks at who sends them; nothing unless set.
    #[must_use]
    pub fn with_door(mut self, door: Arc<dyn Door>) -> Self {
        self.door = Some(door);
        self
    }

    /// Returns what there is for that caller.
    #[must_use]
    pub fn catalog_for(&self, caller: &Caller) -> Arc<Catalog> {
        let view = self.views.as_ref().and_then(|views| views.view(caller));
        Arc::clone(view.as_ref().map_or(&self.catalog, |router| router.catalog()))
    }

    /// Returns the capabilities for that caller, in the shape of 2026-07-28.
    #[must_use]
    pub fn capabilities_for(&self, caller: &Caller) -> Cow<'_, Value> {
        match self.views.as_ref().and_then(|views| views.view(caller)) {
            Some(router) => Cow::Owned(router.capabilities().clone()),
            None => Cow::Borrowed(&self.capabilities),
        }
    }

    /// Returns the local user, as edges that know nobody else bring them.
    #[must_use]
    pub fn local(&self) -> Arc<Caller> {
        self.views.as_ref().map_or_else(Caller::local, |views| views.local())
    }

    fn rules(&self) -> Option<[u8; 32]> {
        self.views.as_ref().map(|views| views.digest())
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
    /// What was served before under the rules that are still in force: streams that were begun there go on.
    earlier: Mutex<Vec<Weak<dyn Views>>>,
    shared: Arc<dyn Shared>,
}

impl Live {
    /// Serves an endpoint, with shared state of its own: the only node.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self::with_shared(endpoint, Arc::new(InMemory::default()))
    }

    /// Serves an endpoint as one of the nodes that share `shared`.
    #[must_use]
    pub fn with_shared(endpoint: Endpoint, shared: Arc<dyn Shared>) -> Self {
        Self(Arc::new(Inner { endpoint: ArcSwap::from_pointee(endpoint), earlier: Mutex::default(), shared }))
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

    /// Returns what this node shares with the others.
    #[must_use]
    pub fn shared(&self) -> &Arc<dyn Shared> {
        &self.0.shared
    }

    /// Serves another endpoint from now on, and announces which of its lists are others than before. Where its rules are
    /// others, each list may be, and streams that were begun under the old ones end.
    pub fn store(&self, endpoint: Endpoint) {
        let new = Arc::new(endpoint);
        let old = self.0.endpoint.swap(Arc::clone(&new));
        let has_other_rules = old.rules() != new.rules();
        if let Some(views) = &old.views {
            self.leave(views, has_other_rules);
        }
        let lists = [Change::Tools, Change::Prompts, Change::Resources];
        for (list, (before, after)) in
            lists.into_iter().zip(old.catalog.digests().iter().zip(new.catalog.digests()))
        {
            if has_other_rules || before != &after {
                self.announce(list);
            }
        }
    }

    /// Remembers what is served no longer, or ends its streams and those of all before it.
    fn leave(&self, views: &Arc<dyn Views>, has_other_rules: bool) {
        let mut earlier = self.0.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.retain(|views| views.strong_count() > 0);
        earlier.push(Arc::downgrade(views));
        if has_other_rules {
            earlier.drain(..).filter_map(|views| views.upgrade()).for_each(|views| views.retire());
        }
    }

    /// Tells all subscriptions that want to know, on every node.
    pub fn announce(&self, change: Change) {
        self.0.shared.announce(change);
    }
}
