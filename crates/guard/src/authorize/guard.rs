//! The guard: every request goes to the router over what there is for its caller.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use trunkline_protocol::Method;
use trunkline_service::endpoint::Views;
use trunkline_service::file::Severity;
use trunkline_service::{
    Answer, Authenticator, CacheScope, Caller, Catalog, Decided, Outcome, Request, Router, RouterOptions,
    ServerInfo, Service,
};

use super::pattern::Kind;
use super::policy::Policy;
use super::rules::{Rules, Said, said, said_of_uri};
use super::sets::MAX_SETS;
use super::uri;

/// Sets of one part of the table of views.
const CHUNK: usize = 64;

/// Authorizes requests: what a caller's roles do not allow does not exist for them, and what they allow is asked for its
/// scopes and conditions. It routes by itself: one look-up finds the thing and what stands before it.
pub struct Authorize {
    rules: Arc<Rules>,
    info: ServerInfo,
    options: RouterOptions,
    /// The router for everybody, where the file declares no roles.
    open: Option<Arc<Router>>,
    /// By the number of the set of roles, made when a caller first comes with it. Read without a lock, and never changed: a
    /// policy that changes makes a new guard.
    views: Box<[OnceLock<Box<Chunk>>]>,
    local: Arc<Caller>,
    authenticator: Option<Arc<dyn Authenticator>>,
    retired: CancellationToken,
}

type Chunk = [OnceLock<Arc<Router>>; CHUNK];

/// A view, kept or made for one call.
enum View<'a> {
    Kept(&'a Arc<Router>),
    Made(Arc<Router>),
}

impl Authorize {
    /// Makes the guard over the whole catalog. Its routers have the options given; with roles, what they list is private to
    /// each caller.
    #[must_use]
    pub fn new(
        policy: Arc<Policy>,
        catalog: Arc<Catalog>,
        info: &ServerInfo,
        options: RouterOptions,
    ) -> Self {
        let local = policy.local();
        for wrong in policy.problems(&catalog).iter().filter(|problem| problem.severity == Severity::Wrong) {
            // It is told by `check` with its place. Here it only never holds.
            tracing::warn!(
                condition = wrong.path.join("."),
                "a condition of a role does not fit, so that it refuses every call: {}",
                wrong.message
            );
        }
        let rules = Rules::new(policy, catalog);
        let mut options = options;
        let open = if rules.policy.has_roles() {
            options.list_scope = CacheScope::Private;
            None
        } else {
            let catalog = match rules.scopes_only() {
                Some(restriction) => Arc::new(rules.catalog.restricted(restriction)),
                None => Arc::clone(&rules.catalog),
            };
            Some(Arc::new(Router::new(catalog, info, options.clone())))
        };
        let chunks = (MAX_SETS as usize).div_ceil(CHUNK);
        Self {
            rules,
            info: info.clone(),
            options,
            open,
            views: (0..chunks).map(|_| OnceLock::new()).collect(),
            local,
            authenticator: None,
            retired: CancellationToken::new(),
        }
    }

    /// Says who tells when a caller's proof ends, so that their streams end with it; nobody unless set.
    #[must_use]
    pub fn with_authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Returns the capabilities of the whole endpoint, for [`Endpoint::new`](trunkline_service::Endpoint::new).
    #[must_use]
    pub fn capabilities(&self) -> serde_json::Value {
        match &self.open {
            Some(router) => router.capabilities().clone(),
            None => {
                let catalog = Arc::clone(&self.rules.catalog);
                Router::new(catalog, &self.info, self.options.clone()).capabilities().clone()
            }
        }
    }

    fn view_of(&self, caller: &Caller) -> View<'_> {
        if let Some(open) = &self.open {
            return View::Kept(open);
        }
        let caller = if caller.is_local { &self.local } else { caller };
        let set = caller.role_set as usize;
        match self.views.get(set / CHUNK) {
            Some(chunk) => {
                let chunk = chunk.get_or_init(|| Box::new([const { OnceLock::new() }; CHUNK]));
                // A set that has no number brings its names in vain.
                let names: &[Box<str>] = if set == 0 { &[] } else { &caller.roles };
                match chunk.get(set % CHUNK) {
                    Some(slot) => View::Kept(slot.get_or_init(|| self.make(names))),
                    None => View::Made(self.make(names)),
                }
            }
            None => View::Made(self.make(&caller.roles)),
        }
    }

    fn make(&self, names: &[Box<str>]) -> Arc<Router> {
        let catalog = self.rules.catalog.restricted(self.rules.restriction(names));
        Arc::new(Router::new(Arc::new(catalog), &self.info, self.options.clone()))
    }

    /// Serves a subscription until the caller's proof or the rules hold no longer.
    async fn listen(&self, view: &Router, mut request: Request) -> Outcome {
        let Some(closing) = request.outlet().map(|outlet| outlet.closing().child_token()) else {
            return view.call(request).await;
        };
        request.end_stream_on(closing.clone());
        let caller = Arc::clone(request.caller());
        let mut answer = view.call(request);
        let ended = async {
            match &self.authenticator {
                Some(authenticator) if !caller.is_local => authenticator.ended(&caller).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            outcome = &mut answer => return outcome,
            () = self.retired.cancelled() => {}
            () = ended => {}
        }
        closing.cancel();
        answer.await
    }

    /// Notes that what a request names is not there for its caller, and tells the log whether it exists at all. It looks at
    /// the name alone first, so that both take as long.
    fn note_unlisted(&self, view: &Router, request: &Request) {
        if request.notes().is_none() && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let Some(unlisted) = Unlisted::of(view.catalog(), request) else { return };
        let roles = self.rules.roles(&request.caller().roles);
        let said = match unlisted.kind {
            Kind::Resources => {
                uri::canonical(&unlisted.name).map_or(Said::Nothing, |uri| said_of_uri(&roles, &uri))
            }
            kind => said(&roles, kind, &unlisted.name),
        };
        let rule = if let Said::Denied(rule) = said { Some(&rule.id) } else { None };
        let exists = unlisted.exists(&self.rules.catalog);
        if let Some(notes) = request.notes().filter(|_| exists) {
            let rule = rule.map(Arc::clone).unwrap_or_default();
            notes.decide(Decided { allowed: Some(false), rule, ..Decided::default() });
        }
        tracing::debug!(
            request = %format_args!("{:016x}", request.log_id()),
            kind = unlisted.kind.as_str(),
            rule = rule.map_or("", |rule| rule),
            "{}", if exists { "denied: no role of the caller allows it" } else { "unknown" }
        );
    }
}

/// Something a request names that is not there for its caller.
struct Unlisted<'r> {
    kind: Kind,
    name: Cow<'r, str>,
}

impl<'r> Unlisted<'r> {
    fn of(view: &Catalog, request: &'r Request) -> Option<Self> {
        let (kind, name, is_there): (_, _, fn(&Catalog, &str) -> bool) = match request.method() {
            Method::ToolsCall => (Kind::Tools, request.name()?, has_tool),
            Method::PromptsGet => (Kind::Prompts, request.name()?, has_prompt),
            Method::ResourcesRead => (Kind::Resources, request.uri()?, has_resource),
            _ => return None,
        };
        (!is_there(view, &name)).then_some(Self { kind, name })
    }

    fn exists(&self, whole: &Catalog) -> bool {
        match self.kind {
            Kind::Tools => has_tool(whole, &self.name),
            Kind::Prompts => has_prompt(whole, &self.name),
            Kind::Resources => has_resource(whole, &self.name),
        }
    }
}

fn has_tool(catalog: &Catalog, name: &str) -> bool {
    catalog.find(name.as_bytes()).is_some()
}

fn has_prompt(catalog: &Catalog, name: &str) -> bool {
    catalog.prompt(name).is_some()
}

fn has_resource(catalog: &Catalog, uri: &str) -> bool {
    catalog.readable(uri).is_some()
}

impl Service for Authorize {
    fn call(&self, mut request: Request) -> Answer<'_> {
        // An edge that knows no better brings the local user without roles.
        if self.open.is_none() && request.caller().is_local && request.caller().role_set == 0 {
            request.set_caller(Arc::clone(&self.local));
        }
        match self.view_of(request.caller()) {
            View::Kept(view) if request.method() == Method::SubscriptionsListen => {
                Answer::later(self.listen(view, request))
            }
            View::Kept(view) => {
                if self.open.is_none() {
                    self.note_unlisted(view, &request);
                }
                view.call(request)
            }
            View::Made(view) => Answer::later(async move {
                match request.method() {
                    Method::SubscriptionsListen => self.listen(&view, request).await,
                    _ => {
                        self.note_unlisted(&view, &request);
                        view.call(request).await
                    }
                }
            }),
        }
    }
}

impl Views for Authorize {
    fn view(&self, caller: &Caller) -> Option<Arc<Router>> {
        if self.open.is_some() {
            return None;
        }
        Some(match self.view_of(caller) {
            View::Kept(view) => Arc::clone(view),
            View::Made(view) => view,
        })
    }

    fn local(&self) -> Arc<Caller> {
        Arc::clone(&self.local)
    }

    fn digest(&self) -> [u8; 32] {
        self.rules.policy.digest()
    }

    fn retire(&self) {
        self.retired.cancel();
    }
}

impl fmt::Debug for Authorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorize").field("policy", &self.rules.policy).finish_non_exhaustive()
    }
}
