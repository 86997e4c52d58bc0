//! The innermost service: answers what the catalog can answer, and takes a request to the service that owns what it names.

mod capabilities;
mod listen;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use trunkline_protocol::{Kind, Method, Revision, member};

use crate::catalog::{Admission, Catalog, Checks, Served};
use crate::check::{Check, Checked};
use crate::endpoint::ServerInfo;
use crate::failure::{Failure, FailureKind};
use crate::reply::{CacheScope, Hints, Reply};
use crate::request::{ParamHeaders, Request};
use crate::shared::Shared;
use crate::{Answer, Outcome, Service, ready};

pub use listen::TaskNotices;

/// How long clients may keep lists and the discover result: short, as a reload may change them at any time.
pub const LIST_TTL: Duration = Duration::from_secs(60);

/// What a router serves beside its catalog.
#[derive(Clone)]
pub struct RouterOptions {
    /// How long clients may keep lists; zero for a catalog that is about to change. [`LIST_TTL`] unless set.
    pub list_ttl: Duration,
    /// Who may keep lists and the discover result: private where they are not the same for every caller. Public unless set.
    pub list_scope: CacheScope,
    /// Extensions that are served, each id with its settings. None unless set.
    pub extensions: Map<String, Value>,
    /// Whether log messages are sent to clients that ask for them. Off unless set.
    pub logging: bool,
    /// Who answers the methods of extensions. None unless set.
    pub extra: Vec<(Method, Arc<dyn Service>)>,
    /// Who tells of tasks that subscriptions follow. Nobody unless set.
    pub tasks: Option<Arc<dyn TaskNotices>>,
    /// What the nodes share: where changes are announced.
    pub shared: Arc<dyn Shared>,
}

impl RouterOptions {
    /// Makes options for a node that shares `shared`.
    #[must_use]
    pub fn new(shared: Arc<dyn Shared>) -> Self {
        Self {
            list_ttl: LIST_TTL,
            list_scope: CacheScope::Public,
            extensions: Map::new(),
            logging: false,
            extra: Vec::new(),
            tasks: None,
            shared,
        }
    }
}

impl fmt::Debug for RouterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterOptions")
            .field("list_ttl", &self.list_ttl)
            .field("extensions", &self.extensions)
            .field("logging", &self.logging)
            .finish_non_exhaustive()
    }
}

/// Routes requests by method and name.
#[derive(Debug)]
pub struct Router {
    catalog: Arc<Catalog>,
    options: RouterOptions,
    capabilities: Value,
    discover: Bytes,
}

impl Router {
    /// Makes a router over the catalog.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, info: &ServerInfo, options: RouterOptions) -> Self {
        let capabilities = capabilities::of(&catalog, &options);
        let mut discover = format!(
            "\"supportedVersions\":{},\"capabilities\":{capabilities}",
            json!([Revision::LATEST.as_str()])
        );
        if let Some(instructions) = &info.instructions {
            discover.push_str(&format!(",\"instructions\":{}", json!(instructions)));
        }
        Self { catalog, options, capabilities, discover: discover.into() }
    }

    /// Returns the capabilities of 2026-07-28 that the endpoint has.
    #[must_use]
    pub fn capabilities(&self) -> &Value {
        &self.capabilities
    }

    /// Returns what is routed to.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    fn declares(&self, capability: &str) -> bool {
        self.capabilities.get(capability).is_some()
    }

    fn list(&self, request: &Request, capability: &str) -> Outcome {
        // Some hosts of the handshake era list what nothing declares, and give up on an error; modern ones read `discover`.
        if request.revision().is_modern() && !self.declares(capability) {
            return Err(no_method(request));
        }
        let token = request.cursor();
        let text = token.text(request.body());
        if !token.is_nothing() && text.is_none() {
            return Err(invalid("`cursor` must be a string"));
        }
        let page = self.catalog.page(request.method(), text.as_deref(), request.revision());
        let page = page.ok_or_else(|| {
            invalid("this cursor is unknown, or the list has changed since; start again without a cursor")
        })?;
        Ok(Reply::from_shared(page).with_hints(self.hints(self.options.list_ttl)))
    }

    fn hints(&self, ttl: Duration) -> Hints {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Hints { ttl_ms, scope: self.options.list_scope }
    }

    fn call_tool(&self, mut request: Request) -> Answer<'_> {
        if !matches!(request.arguments_token().kind, Kind::Absent | Kind::Null | Kind::Object) {
            return ready(Err(invalid("`arguments` must be an object")));
        }
        let number = self.catalog.find_named(&mut request);
        let Some((number, entry)) = number.and_then(|number| Some((number, self.catalog.entry(number)?)))
        else {
            return ready(Err(match request.name_bytes() {
                Some(_) => unknown("tool", "tools/list", &request),
                None => invalid("`name` must be the name of a tool"),
            }));
        };
        let admission = self.catalog.tool_admission(number);
        if let Some(refusal) = admission.admit(&request) {
            return ready(refusal);
        }
        if let Err(failure) = self.check_param_headers(number, &request) {
            return ready(Err(failure));
        }
        request.set_target(entry.target);
        pass(admission, &entry.checks, &entry.service, request)
    }

    /// Compares `Mcp-Param-*` headers with the arguments they mirror.
    fn check_param_headers(&self, number: u32, request: &Request) -> Result<(), Failure> {
        let wanted = self.catalog.param_headers(number);
        let came: &[(Box<str>, Bytes)] = match request.param_headers() {
            _ if wanted.is_empty() => return Ok(()),
            ParamHeaders::NotUsed => return Ok(()),
            ParamHeaders::None => &[],
            ParamHeaders::Some(headers) => headers,
        };
        for wanted in wanted {
            let short = wanted.header.strip_prefix("mcp-param-").unwrap_or(&wanted.header);
            let values: Vec<&[u8]> =
                came.iter().filter(|(name, _)| **name == *short).map(|(_, value)| &**value).collect();
            wanted.check(&values, request.body(), request.arguments_token()).map_err(|mismatch| {
                Failure::new(FailureKind::HeaderMismatch, format!("header `{}` {mismatch}", wanted.header))
            })?;
        }
        Ok(())
    }

    fn get_prompt(&self, mut request: Request) -> Answer<'_> {
        if !self.declares("prompts") {
            return ready(Err(no_method(&request)));
        }
        if !matches!(request.arguments_token().kind, Kind::Absent | Kind::Null | Kind::Object) {
            return ready(Err(invalid("`arguments` must be an object of strings")));
        }
        let Some(prompt) = request.name().map(|name| self.catalog.prompt(&name)) else {
            return ready(Err(invalid("`name` must be the name of a prompt")));
        };
        match prompt {
            Some((prompt, admission)) => {
                request.set_target(prompt.target);
                admit(admission, &prompt.checks, &prompt.service, request)
            }
            None => ready(Err(unknown("prompt", "prompts/list", &request))),
        }
    }

    fn read_resource(&self, mut request: Request) -> Answer<'_> {
        if !self.declares("resources") {
            return ready(Err(no_method(&request)));
        }
        let Some(uri) = request.uri() else {
            return ready(Err(invalid("`uri` must be the URI of a resource, a string")));
        };
        let Some(found) = self.catalog.readable(&uri) else {
            let failure = Failure::resource_not_found(&uri);
            return ready(Err(failure));
        };
        drop(uri);
        if let Some(refusal) = found.admission.admit(&request) {
            return ready(refusal);
        }
        if let Some(spelling) = &found.spelling {
            request.set_uri(spelling);
        }
        request.set_target(found.target);
        pass(&found.admission, found.checks, found.service, request)
    }

    fn complete(&self, mut request: Request) -> Answer<'_> {
        if !self.declares("completions") {
            return ready(Err(no_method(&request)));
        }
        let found = match self.completer(&request) {
            Ok(found) => found,
            Err(failure) => return ready(Err(failure)),
        };
        match found {
            Some(Owner { service, target, checks, admission }) => {
                request.set_target(target);
                admit(admission, checks, service, request)
            }
            None => {
                let members = br#""completion":{"values":[],"total":0,"hasMore":false}"#;
                ready(Ok(Reply::from_shared(Bytes::from_static(members))))
            }
        }
    }

    /// Who completes what `ref` names; `None` when it has no completions.
    fn completer(&self, request: &Request) -> Result<Option<Owner<'_>>, Failure> {
        let body = request.body();
        let text = |object: &[u8], key: &str| member(object, key).text(object).map(String::from);
        let reference = request.param("ref").raw(body);
        let argument = request.param("argument").raw(body);
        if text(argument, "name").is_none() || text(argument, "value").is_none() {
            return Err(invalid("`argument` must be an object with the strings `name` and `value`"));
        }
        match text(reference, "type").as_deref() {
            Some("ref/prompt") => {
                let name = text(reference, "name").unwrap_or_default();
                let prompt = self.catalog.prompt(&name);
                let (prompt, admission) = prompt
                    .ok_or_else(|| invalid("`ref` names no prompt; `prompts/list` tells which exist"))?;
                Ok(prompt.completes.then(|| Owner::of(prompt, admission)))
            }
            Some("ref/resource") => {
                let uri = text(reference, "uri").unwrap_or_default();
                if self.catalog.resource(&uri).is_some() {
                    return Ok(None);
                }
                let (template, admission) = self.catalog.template(&uri).ok_or_else(|| {
                    invalid("`ref` names no resource template; `resources/templates/list` tells which exist")
                })?;
                Ok(template.completes.then(|| Owner::of(template, admission)))
            }
            _ => Err(invalid("`ref` must have the type `ref/prompt` or `ref/resource`")),
        }
    }

    /// Answers a method of an extension.
    fn extra(&self, request: Request) -> Answer<'_> {
        let known = self.options.extra.iter().find(|(method, _)| *method == request.method());
        match known.filter(|_| request.revision().is_modern()) {
            Some((_, service)) => service.call(request),
            None => ready(Err(no_method(&request))),
        }
    }
}

/// A service, the number within it, and what is asked before.
struct Owner<'a> {
    service: &'a Arc<dyn Service>,
    target: u32,
    checks: &'a Checks,
    admission: &'a Admission,
}

impl<'a> Owner<'a> {
    fn of<D>(served: &'a Served<D>, admission: &'a Admission) -> Self {
        Self { service: &served.service, target: served.target, checks: &served.checks, admission }
    }
}

/// Takes a request to its service, if its name and all that stands before let it.
fn admit<'a>(
    admission: &Admission,
    checks: &'a Checks,
    service: &'a Arc<dyn Service>,
    request: Request,
) -> Answer<'a> {
    match admission.admit(&request) {
        Some(refusal) => ready(refusal),
        None => pass(admission, checks, service, request),
    }
}

/// Takes a request whose name was admitted through the checks and past the gate to its service.
fn pass<'a>(
    admission: &Admission,
    checks: &'a [Arc<dyn Check>],
    service: &'a Arc<dyn Service>,
    mut request: Request,
) -> Answer<'a> {
    let mut left = checks.iter();
    while let Some(check) = left.next() {
        match check.check(&mut request) {
            Checked::Passed => {}
            Checked::Answered(outcome) => return ready(outcome),
            Checked::Waiting(waiting) => {
                let (admission, left) = (admission.clone(), left.as_slice());
                return Answer::later(async move {
                    match waiting.await {
                        Some(outcome) => outcome,
                        None => pass(&admission, left, service, request).await,
                    }
                });
            }
        }
    }
    match admission.refuse(&request) {
        Some(refusal) => ready(refusal),
        None => service.call(request),
    }
}

fn invalid(text: &'static str) -> Failure {
    Failure::new(FailureKind::InvalidParams, text)
}

fn no_method(request: &Request) -> Failure {
    let body = request.body();
    let name: String = member(body, "method").text(body).unwrap_or_default().chars().take(64).collect();
    Failure::new(FailureKind::MethodNotFound, format!("method `{name}` not found"))
}

/// The one answer for what does not exist, and for what the caller has no role for.
fn unknown(kind: &str, list: &str, request: &Request) -> Failure {
    let name: String = request.name().unwrap_or_default().chars().take(64).collect();
    Failure::new(FailureKind::InvalidParams, format!("unknown {kind} `{name}`; `{list}` tells which exist"))
}

impl Service for Router {
    fn call(&self, request: Request) -> Answer<'_> {
        match request.method() {
            Method::ToolsCall => self.call_tool(request),
            Method::ToolsList => ready(self.list(&request, "tools")),
            Method::ServerDiscover => {
                ready(Ok(Reply::from_shared(self.discover.clone()).with_hints(self.hints(LIST_TTL))))
            }
            Method::ResourcesList | Method::ResourcesTemplatesList => ready(self.list(&request, "resources")),
            Method::PromptsList => ready(self.list(&request, "prompts")),
            Method::ResourcesRead => self.read_resource(request),
            Method::PromptsGet => self.get_prompt(request),
            Method::CompletionComplete => self.complete(request),
            Method::SubscriptionsListen => Answer::later(self.listen(request)),
            method if method.is_of_an_extension() => self.extra(request),
            _ => ready(Err(no_method(&request))),
        }
    }
}
