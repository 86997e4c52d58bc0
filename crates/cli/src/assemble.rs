//! The one path of a request, put together: what the config file decides becomes the endpoint that the edges serve.
//!
//! ```text
//! edge (stdio | http; who asks, by `Access`) -> Observed (counts) -> Recorded (one line of the record)
//!   -> Bounded (in flight, deadline, panics) -> Authorize (what there is for the caller; scopes and conditions) -> Router (catalog) -> SqlConnector -> database
//! ```

use std::sync::Arc;
use std::time::Duration;

use trunkline_guard::authorize::Authorize;
use trunkline_guard::record::{Observations, Observed, Recorded, Recorder};
use trunkline_service::catalog::{CatalogError, PAGE_SIZE, Parts};
use trunkline_service::layers::{Bounded, InFlight};
use trunkline_service::meter::Meters;
use trunkline_service::router::LIST_TTL;
use trunkline_service::seal::{Sealer, Unsealable};
use trunkline_service::shared::{InMemory, Shared};
use trunkline_service::{Catalog, Endpoint, RouterOptions, ServerInfo, Service};

use crate::config::{Config, Diagnostic, Document, Server};
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
    /// What nodes share; this one has it for itself.
    pub(crate) shared: Arc<dyn Shared>,
    /// One count for all states of the endpoint.
    in_flight: Arc<InFlight>,
    /// Keeps the record; `None` when none is kept.
    pub(crate) recorder: Option<Recorder>,
    /// What was counted of requests.
    observations: Arc<Observations>,
    /// Who counts.
    pub(crate) meters: Meters,
}

impl Lasting {
    /// Makes what the process needs from its start on.
    pub(crate) fn new(sealer: Arc<Sealer>) -> Self {
        let (observations, meters) = (Arc::<Observations>::default(), Meters::default());
        meters.add(Arc::clone(&observations) as _);
        Self {
            sealer,
            shared: Arc::new(InMemory::default()),
            in_flight: Arc::default(),
            recorder: None,
            observations,
            meters,
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

/// Gathers what there is, tools in the order of the file, those that connectors make by themselves after them.
///
/// # Errors
/// [`CatalogError`] when two tools have one name.
pub(crate) fn catalog(
    order: &[String],
    served: &[Served],
    sealer: &Arc<Sealer>,
) -> Result<Arc<Catalog>, CatalogError> {
    let mut parts = Parts::default();
    for served in served {
        let more = served.source.parts();
        parts.tools.extend(more.tools);
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
    guards: &Guards,
    lasting: &Lasting,
) -> Result<Endpoint, CatalogError> {
    let catalog = catalog(order, served, &lasting.sealer)?;
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
    let (most, in_flight) = (server.max_in_flight, Arc::clone(&lasting.in_flight));
    let inner = Arc::clone(&authorize);
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
    let endpoint = Endpoint::new(service, catalog, info, capabilities, Some(server.deadline));
    let endpoint = endpoint.with_access(guards.access());
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
