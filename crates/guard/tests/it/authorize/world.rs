//! A toy endpoint: a service that tells what it was asked, and requests as edges make them.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use trunkline_guard::authenticate::Assign as _;
use trunkline_guard::authorize::{Authorize, Policy, PolicyFile, RoleFile, Surroundings};
use trunkline_protocol::{Method, Revision, scan};
use trunkline_service::catalog::{Entry, Parts, Served};
use trunkline_service::file::Problem;
use trunkline_service::outlet::Outlet;
use trunkline_service::seal::Sealer;
use trunkline_service::shared::InMemory;
use trunkline_service::{
    Annotations, Answer, Attached, Caller, Catalog, Event, Outcome, PromptArgument, PromptDefinition, Proof,
    Reply, Request, ResourceDefinition, RouterOptions, ServerInfo, Service, TemplateDefinition,
    ToolDefinition, ToolName, ready,
};

/// Answers everything with what it was asked for.
struct Echo;

impl Service for Echo {
    fn call(&self, request: Request) -> Answer<'_> {
        let uri = request.uri().map(String::from).unwrap_or_default();
        ready(Ok(Reply::text(&format!("ran {}{uri}", request.target()))))
    }
}

pub(crate) fn tool(name: &str, schema: Value) -> Entry {
    let definition = ToolDefinition {
        name: ToolName::new(name).unwrap(),
        title: None,
        description: name.to_owned(),
        input_schema: schema,
        output_schema: None,
        annotations: Annotations::READ_ONLY,
        icons: Vec::new(),
        meta: None,
    };
    Entry::new(definition, Arc::new(Echo), 0)
}

pub(crate) fn served<D>(definition: D) -> Served<D> {
    Served { completes: true, ..Served::new(definition, Arc::new(Echo), 0) }
}

pub(crate) fn prompt(name: &str, arguments: &[&str]) -> Served<PromptDefinition> {
    let argument = |name: &&str| PromptArgument { name: (*name).to_owned(), ..PromptArgument::default() };
    let arguments = arguments.iter().map(argument).collect();
    served(PromptDefinition { name: name.into(), arguments, ..PromptDefinition::default() })
}

pub(crate) fn resource(uri: &str) -> Served<ResourceDefinition> {
    served(ResourceDefinition {
        uri: uri.into(),
        name: uri.into(),
        subscribe: true,
        ..ResourceDefinition::default()
    })
}

pub(crate) fn template(uri: &str) -> Served<TemplateDefinition> {
    served(TemplateDefinition {
        uri_template: uri.into(),
        name: uri.into(),
        subscribe: true,
        ..TemplateDefinition::default()
    })
}

/// A schema of arguments of those kinds.
pub(crate) fn schema(arguments: &[(&str, &str)]) -> Value {
    let properties = arguments.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind })));
    json!({ "type": "object", "properties": properties.collect::<Map<_, _>>() })
}

/// Reads `[roles]`, `[scopes]` (of tools) and `[implied]` (scopes) as the file's reader does.
pub(crate) fn read(text: &str) -> (Policy, Vec<Problem>) {
    read_around(text, Surroundings { issuers: &["https://a.example"], auth: true, keys: true })
}

pub(crate) fn read_around(text: &str, around: Surroundings<'_>) -> (Policy, Vec<Problem>) {
    let mut file: toml::Table = toml::from_str(text).unwrap();
    let roles = file.remove("roles").map(|roles| {
        let toml::Value::Table(roles) = roles else { panic!("no table") };
        roles.into_iter().map(|(name, role)| (name, RoleFile::deserialize(role).unwrap())).collect()
    });
    let lists = |name: &str| -> Vec<(String, Vec<String>)> {
        let Some(toml::Value::Table(lists)) = file.get(name).cloned() else { return Vec::new() };
        lists.into_iter().map(|(name, list)| (name, list.try_into().unwrap())).collect()
    };
    let (tool_scopes, implied) = (lists("scopes"), lists("implied").into_iter().collect());
    PolicyFile { roles, tool_scopes, implied }.resolve(around)
}

use serde::Deserialize as _;

pub(crate) fn policy(text: &str) -> Arc<Policy> {
    let (policy, problems) = read(text);
    assert!(problems.is_empty(), "{problems:?}");
    Arc::new(policy)
}

pub(crate) fn catalog(parts: Parts) -> Arc<Catalog> {
    Arc::new(Catalog::of(parts, 250, &Arc::new(Sealer::random().unwrap())).unwrap())
}

/// An endpoint.
pub(crate) struct World {
    pub(crate) policy: Arc<Policy>,
    pub(crate) guard: Arc<Authorize>,
    pub(crate) shared: Arc<InMemory>,
}

impl World {
    pub(crate) fn new(policy: Arc<Policy>, parts: Parts) -> Self {
        let shared = Arc::new(InMemory::default());
        let options = RouterOptions::new(Arc::clone(&shared) as _);
        let info = ServerInfo::new("toy", "1");
        let guard = Arc::new(Authorize::new(Arc::clone(&policy), catalog(parts), &info, options));
        Self { policy, guard, shared }
    }

    /// A caller whose token has those claims and scopes.
    pub(crate) fn caller(&self, claims: Value, scopes: &[&str]) -> Arc<Caller> {
        let Value::Object(claims) = claims else { panic!("no object") };
        self.policy.assign(Caller {
            issuer: Some("https://a.example".into()),
            subject: "ann".into(),
            claims,
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
            proof: Proof::Token { section: "company".into() },
            ..Caller::default()
        })
    }

    /// The owner of an API key that was made with those roles.
    pub(crate) fn key(&self, name: &str, roles: &[&str], scopes: &[&str]) -> Arc<Caller> {
        self.policy.assign(Caller {
            subject: name.into(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
            proof: Proof::Key { id: "k1".into(), name: name.into() },
            ..Caller::default()
        })
    }

    pub(crate) async fn ask(&self, caller: &Arc<Caller>, method: Method, params: Value) -> Outcome {
        self.guard.call(request(caller, method, params)).await
    }

    pub(crate) async fn call(&self, caller: &Arc<Caller>, tool: &str, arguments: Value) -> Said {
        Said::of(self.ask(caller, Method::ToolsCall, json!({ "name": tool, "arguments": arguments })).await)
    }

    /// The names in a list, by the member that holds them and the one that names each.
    pub(crate) async fn list(&self, caller: &Arc<Caller>, method: Method, name: &str) -> Vec<String> {
        let Ok(reply) = self.ask(caller, method, json!({})).await else { return Vec::new() };
        let members = [b"{", reply.members(), b"}"].concat();
        let page: Value = serde_json::from_slice(&members).unwrap();
        assert!(page.get("nextCursor").is_none(), "more than a page");
        let list = page.as_object().unwrap().values().next().unwrap().as_array().unwrap();
        list.iter().map(|one| one[name].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn tools(&self, caller: &Arc<Caller>) -> Vec<String> {
        self.list(caller, Method::ToolsList, "name").await
    }
}

pub(crate) fn body(method: Method, params: &Value) -> Bytes {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method.as_str(), "params": params }).to_string().into()
}

pub(crate) fn request(caller: &Arc<Caller>, method: Method, params: Value) -> Request {
    let body = body(method, &params);
    let (_, envelope) = scan(&body).unwrap();
    Request::new(body, &envelope, method, Revision::LATEST, Arc::clone(caller), 1)
}

/// A request with a stream, its events, and what ends it.
pub(crate) fn streamed(
    caller: &Arc<Caller>,
    method: Method,
    params: Value,
) -> (Request, tokio::sync::mpsc::Receiver<Event>, CancellationToken) {
    let (sender, events) = tokio::sync::mpsc::channel(64);
    let closing = CancellationToken::new();
    let attached = Attached::new(Outlet::new(sender, closing.clone()));
    (request(caller, method, params).with_attached(Some(Box::new(attached))), events, closing)
}

/// How a request came out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Ran,
    /// A tool's error, or a failure of the kind `Forbidden`, with its text.
    Refused(String),
    /// All scopes that are needed.
    Challenged(Vec<String>),
    /// Anything else, to the byte: kind, text, data.
    Failed(String, String, String),
}

impl Said {
    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Ok(reply) if reply.is_error() => {
                let members = [b"{", reply.members(), b"}"].concat();
                let result: Value = serde_json::from_slice(&members).unwrap();
                Self::Refused(result["content"][0]["text"].as_str().unwrap().to_owned())
            }
            Ok(_) => Self::Ran,
            Err(failure) if !failure.required_scopes().is_empty() => {
                Self::Challenged(failure.required_scopes().iter().map(|scope| scope.to_string()).collect())
            }
            Err(failure) if failure.kind() == trunkline_service::FailureKind::Forbidden => {
                Self::Refused(failure.public().to_owned())
            }
            Err(failure) => {
                let data = String::from_utf8_lossy(failure.data().unwrap_or_default()).into_owned();
                Self::Failed(format!("{:?}", failure.kind()), failure.public().to_owned(), data)
            }
        }
    }

    /// The same with every occurrence of a name replaced, to compare answers that differ in the name alone.
    pub(crate) fn without(self, name: &str) -> Self {
        match self {
            Self::Failed(kind, text, data) => {
                Self::Failed(kind, text.replace(name, "NAME"), data.replace(name, "NAME"))
            }
            other => other,
        }
    }
}
