//! A server from its parts: what it is called, what it offers, how it is served.

mod build;
mod error;
mod extension;
mod handle;
mod hub;
#[cfg(feature = "axum")]
mod mount;
mod registry;
mod run;
mod tester;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use trunkline_service::router::LIST_TTL;
use trunkline_service::seal::{Sealer, Unsealable};
use trunkline_service::{Access, ServerInfo, Shared, catalog};

pub use error::{BuildError, BuildProblem, ChangeError, ServeError};
pub use extension::{Extension, ExtensionParts};
pub use handle::ServerHandle;
pub(crate) use hub::Hub;
pub use run::BuiltServer;
pub use tester::{Called, Tester};

use super::unit::States;
use super::{
    Icon, IntoPrompt, IntoResource, IntoTool, Prompt, Resource, SchemaProfile, TaskOptions, TaskStore, Tasks,
    Tool,
};

/// Builds a server.
///
/// ```
/// use trunkline_server::sdk::{Context, DynTool, Server};
///
/// let hello = DynTool::new("hello").description("Says hello.").handler(|_: Context| async { "hello" });
/// let server = Server::new("greeter", "1.0.0").tool(hello).build();
/// assert!(server.is_ok());
/// ```
#[must_use = "a server does nothing until it is run"]
pub struct Server {
    info: ServerInfo,
    tools: Vec<Arc<dyn Tool>>,
    prompts: Vec<Arc<dyn Prompt>>,
    resources: Vec<Arc<dyn Resource>>,
    extensions: Vec<Extension>,
    states: States,
    sealer: Seals,
    shared: Option<Arc<dyn Shared>>,
    tasks: Option<TaskSource>,
    task_store: Option<Arc<dyn TaskStore>>,
    /// Problems met before the server is built.
    early: Vec<BuildProblem>,
    options: Options,
    serving: Serving,
}

/// Where the tasks of a server come from.
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskSource {
    /// They are made when the server is built, within these bounds.
    Options(TaskOptions),
    /// They were made already.
    Made(Arc<Tasks>),
}

impl From<TaskOptions> for TaskSource {
    fn from(options: TaskOptions) -> Self {
        Self::Options(options)
    }
}

impl From<Arc<Tasks>> for TaskSource {
    fn from(tasks: Arc<Tasks>) -> Self {
        Self::Made(tasks)
    }
}

impl TaskSource {
    fn make(self, store: Option<Arc<dyn TaskStore>>, shared: &Arc<dyn Shared>) -> Arc<Tasks> {
        match (self, store) {
            (Self::Made(tasks), _) => tasks,
            (Self::Options(options), Some(store)) => Tasks::new(options, store, Arc::clone(shared)),
            (Self::Options(options), None) => Tasks::in_shared(options, Arc::clone(shared)),
        }
    }
}

/// What seals.
#[derive(Debug)]
enum Seals {
    /// A key of this process.
    Random,
    Keys(Vec<[u8; 32]>),
    Sealer(Arc<Sealer>),
}

impl Seals {
    fn make(self) -> Result<Arc<Sealer>, Unsealable> {
        match self {
            Self::Random => Sealer::random().map(Arc::new),
            Self::Keys(keys) => Sealer::new(&keys).map(Arc::new),
            Self::Sealer(sealer) => Ok(sealer),
        }
    }
}

/// What of the builder the service needs.
#[derive(Debug, Clone)]
struct Options {
    deadline: Option<Duration>,
    max_in_flight: usize,
    page_size: usize,
    profile: SchemaProfile,
    list_ttl: Duration,
    logging: bool,
    max_result: usize,
    access: Access,
}

/// What of the builder the edges need.
#[derive(Debug, Clone)]
struct Serving {
    path: String,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    max_body: usize,
    shutdown_grace: Duration,
    allows_unauthenticated: bool,
}

impl Server {
    /// Starts a server of that name and version, as programs know it.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            info: ServerInfo::new(name, version),
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            extensions: Vec::new(),
            states: States::default(),
            sealer: Seals::Random,
            shared: None,
            tasks: None,
            task_store: None,
            early: Vec::new(),
            options: Options {
                deadline: Some(Duration::from_secs(30)),
                max_in_flight: 1024,
                page_size: catalog::PAGE_SIZE,
                profile: SchemaProfile::Portable,
                list_ttl: LIST_TTL,
                logging: true,
                max_result: 1 << 20,
                access: Access::Local,
            },
            serving: Serving {
                path: "/mcp".to_owned(),
                allowed_hosts: Vec::new(),
                allowed_origins: Vec::new(),
                max_body: 4 << 20,
                shutdown_grace: Duration::from_secs(10),
                allows_unauthenticated: false,
            },
        }
    }

    /// Gives a name for people.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.info.title = Some(title.into());
        self
    }

    /// Says in a sentence what the server is for.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.info.description = Some(description.into());
        self
    }

    /// Says where people read about it.
    pub fn website(mut self, url: impl Into<String>) -> Self {
        self.info.website = Some(url.into());
        self
    }

    /// Adds an icon.
    pub fn icon(mut self, icon: Icon) -> Self {
        if let Some(reason) = icon.problem() {
            self.early.push(BuildProblem::BadIcon { what: "the server".to_owned(), reason });
        }
        self.info.icons.push(icon.into());
        self
    }

    /// Says what a model should know before it uses the server; hosts cut it at 2 KiB.
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.info.instructions = Some(instructions.into());
        self
    }

    /// Adds a tool.
    pub fn tool<M>(mut self, tool: impl IntoTool<M>) -> Self {
        self.tools.push(Arc::new(tool.into_tool()));
        self
    }

    /// Adds a prompt.
    pub fn prompt<M>(mut self, prompt: impl IntoPrompt<M>) -> Self {
        self.prompts.push(Arc::new(prompt.into_prompt()));
        self
    }

    /// Adds a resource, or a template of resources.
    pub fn resource<M>(mut self, resource: impl IntoResource<M>) -> Self {
        self.resources.push(Arc::new(resource.into_resource()));
        self
    }

    /// Adds an extension of the protocol.
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Gives tools, prompts and resources a value by its type; they get a clone each call, with `State<T>` or
    /// [`Context::state`](super::Context::state). A later value of the same type replaces it.
    pub fn state<T: Any + Clone + Send + Sync>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }

    /// Says how long a request may take; `None` for no bound. Default: 30 s.
    pub fn deadline(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.options.deadline = deadline.into();
        self
    }

    /// Says who may come in over HTTP. With [`Access::Guarded`] every request has to prove who asks, addresses that are not
    /// loopback may be served, and tools see the caller in their [`Context`](super::Context). Over stdio it is always the local
    /// user. Default: [`Access::Local`].
    pub fn access(mut self, access: Access) -> Self {
        self.options.access = access;
        self
    }

    /// Says how many requests may be in flight; over it they are answered 503 at once. Zero refuses all. Default:
    /// 1024.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.options.max_in_flight = requests;
        self
    }

    /// Says how many bytes the result of a stream of parts may have. Default: 1 MiB.
    pub fn max_result(mut self, bytes: usize) -> Self {
        self.options.max_result = bytes;
        self
    }

    /// Says how many tools, prompts or resources one page of a list has. Default: 250; not every host asks for a second page.
    /// Zero counts as one.
    pub fn page_size(mut self, size: usize) -> Self {
        self.options.page_size = size;
        self
    }

    /// Says how input schemas are shown. Default: [`SchemaProfile::Portable`].
    pub fn schema_profile(mut self, profile: SchemaProfile) -> Self {
        self.options.profile = profile;
        self
    }

    /// Says how long clients may keep lists, in whole milliseconds; zero asks them to fetch a list each time. Default: one minute.
    pub fn list_ttl(mut self, ttl: Duration) -> Self {
        self.options.list_ttl = ttl;
        self
    }

    /// Says whether clients may ask for log messages. Default: they may.
    pub fn logging(mut self, logging: bool) -> Self {
        self.options.logging = logging;
        self
    }

    /// Sets the keys that seal what rides with clients: session ids, cursors, the state of questions. The first seals, all
    /// open. Without any, random ones are made at start, and what was sealed before a restart does not open after it.
    ///
    /// Nodes behind one address need common keys; with [`shared`](Self::shared) they also know of each other's ended sessions.
    pub fn seal_keys(mut self, keys: &[[u8; 32]]) -> Self {
        self.sealer = Seals::Keys(keys.to_vec());
        self
    }

    /// Sets what seals, in place of [`seal_keys`](Self::seal_keys), for a process in which others open the same.
    pub fn sealer(mut self, sealer: Arc<Sealer>) -> Self {
        self.sealer = Seals::Sealer(sealer);
        self
    }

    /// Turns tasks on, with bounds of your own ([`TaskOptions`]) or with all that makes them up (`Arc<Tasks>`). Default: on with
    /// the usual bounds when a tool may run as a task.
    pub fn tasks(mut self, tasks: impl Into<TaskSource>) -> Self {
        self.tasks = Some(tasks.into());
        self
    }

    /// Turns tasks on and sets where they are kept. Default: in what the nodes share.
    pub fn task_store(mut self, store: Arc<dyn TaskStore>) -> Self {
        self.task_store = Some(store);
        self
    }

    /// Sets what this node shares with others. Default: it is alone.
    pub fn shared(mut self, shared: Arc<dyn Shared>) -> Self {
        self.shared = Some(shared);
        self
    }

    /// Serves a host name besides loopback, whatever the port.
    pub fn allowed_host(mut self, host: impl Into<String>) -> Self {
        self.serving.allowed_hosts.push(host.into());
        self
    }

    /// Serves browsers of an origin besides loopback, such as `https://claude.ai`.
    pub fn allowed_origin(mut self, origin: impl Into<String>) -> Self {
        self.serving.allowed_origins.push(origin.into());
        self
    }

    /// Serves these host names besides loopback. Default: none.
    pub fn allowed_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.serving.allowed_hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Serves browsers of these origins besides loopback. Default: none.
    pub fn allowed_origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.serving.allowed_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Says under which path MCP is served. Default: `/mcp`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.serving.path = path.into();
        self
    }

    /// Says how many bytes an HTTP body or a line of stdio may have. Default: 4 MiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.serving.max_body = bytes;
        self
    }

    /// Says how long requests in flight and tasks may go on when the server is told to stop; zero stops them at once. Default: 10 s.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.serving.shutdown_grace = grace;
        self
    }

    /// Keeps the server from being built, for a reason met while it was put together.
    #[cfg(feature = "skills")]
    pub(crate) fn fail(mut self, problem: String) -> Self {
        self.early.push(BuildProblem::Other(problem));
        self
    }

    /// Allows an address that is not loopback although nobody is asked who they are: everyone who reaches the address may call
    /// every tool.
    pub fn danger_allow_unauthenticated(mut self) -> Self {
        self.serving.allows_unauthenticated = true;
        self
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("info", &self.info)
            .field("tools", &self.tools.len())
            .field("prompts", &self.prompts.len())
            .field("resources", &self.resources.len())
            .field("states", &self.states)
            .field("options", &self.options)
            .field("serving", &self.serving)
            .finish_non_exhaustive()
    }
}
