//! What an assistant of those who look after a database needs, as tools and resources that a connector makes by itself:
//! the catalogue searched, plans read, indexes advised, health told.
//!
//! All of it reads. The catalogue is asked by fixed statements, prepared once and run like every other read; statements of
//! the caller pass the gate of the caller's own SQL first. Everything is bounded, so that no database floods a model.

mod answer;
mod explain;
mod fixed;
mod gate;
mod health;
mod indexes;
mod kind;
mod plan;
mod resources;
mod schema;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use serde_json::Value as Json;
use trunkline_protocol::Method;
use trunkline_protocol::uri_template::UriTemplate;
use trunkline_service::catalog::{Entry, Facts, Parts};
use trunkline_service::{Annotations, Answer, Outcome, Reply, Request, Service, ToolDefinition, ToolName};
use trunkline_sql::{Behalf, DatabaseError, Options, Problem};

use crate::Postgres;
use answer::who;
use fixed::Statements;

pub use kind::AssistantTool;

/// The tools and resources of one connector. [`Request::target`] is the place in [`Assistant::definitions`], or
/// 1000 for whatever has a URI.
#[derive(Debug)]
pub struct Assistant {
    name: Box<str>,
    postgres: Arc<Postgres>,
    options: Options,
    tools: Vec<(AssistantTool, ToolDefinition)>,
    /// Names that are no tool names.
    problems: Vec<Problem>,
    statements: Statements,
    template: Option<UriTemplate>,
    /// The tables that are listed, each by schema and name.
    listed: ArcSwap<Vec<(String, String)>>,
    is_ready: AtomicBool,
    generation: AtomicU64,
}

/// The target of everything that is read by a URI.
const RESOURCES: u32 = 1000;

impl Assistant {
    /// Makes the tools that the file asks for; `None` when it asks for none. Nothing is asked of the database yet.
    #[must_use]
    pub fn new(name: &str, postgres: Arc<Postgres>, options: Options) -> Option<Arc<Self>> {
        let kinds = postgres.tools().to_vec();
        if kinds.is_empty() {
            return None;
        }
        let prefix = options.prefix.clone().unwrap_or_else(|| format!("{name}_"));
        let (mut tools, mut problems) = (Vec::new(), Vec::new());
        for kind in kinds {
            match ToolName::new(&format!("{prefix}{}", kind.as_str())) {
                Ok(tool) => tools.push((kind, definition(kind, tool, name))),
                Err(error) => problems.push(Problem::new(&["connectors", name, "prefix"], error.to_string())),
            }
        }
        let has_schema = tools.iter().any(|(kind, _)| *kind == AssistantTool::Schema);
        let template = has_schema.then(|| UriTemplate::parse(&resources::template(name)).ok()).flatten();
        Some(Arc::new(Self {
            name: name.into(),
            postgres,
            options,
            tools,
            problems,
            statements: Statements::default(),
            template,
            listed: ArcSwap::default(),
            is_ready: AtomicBool::new(false),
            generation: AtomicU64::new(0),
        }))
    }

    /// Prepares what the tools ask the catalogue, and looks which tables are listed as resources. Returns what is wrong.
    ///
    /// # Cancel safety
    /// What was learned until then is kept.
    pub async fn learn(&self) -> Vec<Problem> {
        let mut problems = self.problems.clone();
        match self.look().await {
            Ok(()) => self.is_ready.store(true, Ordering::Release),
            Err(error) => {
                let path = ["connectors", &*self.name, "tools"];
                let problem = Problem::new(
                    &path,
                    format!("the catalogue cannot be read: {}", trunkline_service::Chain(&error)),
                );
                let is_away =
                    !matches!(error, DatabaseError::Statement { .. } | DatabaseError::Refused { .. });
                problems.push(if is_away { problem.unavailable() } else { problem });
            }
        }
        problems
    }

    async fn look(&self) -> Result<(), DatabaseError> {
        self.statements.prepare(&self.postgres).await?;
        // What one caller sees, another may not: then nothing is listed for all.
        if self.template.is_none() || self.options.session.is_some() {
            return Ok(());
        }
        let behalf = Behalf::default();
        let asked = self.ask(&behalf, self.until());
        let listed = schema::listed(&asked, resources::MOST_LISTED).await?;
        if **self.listed.load() != listed {
            self.listed.store(Arc::new(listed));
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Tells whether the catalogue was looked at.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// Returns a number that rises whenever [`parts`](Self::parts) change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the tools, in the order of the file.
    #[must_use]
    pub fn definitions(&self) -> Vec<ToolDefinition> {
        self.tools.iter().map(|(_, definition)| definition.clone()).collect()
    }

    /// Returns the tools, resources and templates with who answers them.
    #[must_use]
    pub fn parts(self: &Arc<Self>) -> Parts {
        let own: Arc<Self> = Arc::clone(self);
        let service: Arc<dyn Service> = own;
        let entry = |(target, definition)| Entry::new(definition, Arc::clone(&service), target);
        let mut parts =
            Parts { tools: (0..).zip(self.definitions()).map(entry).collect(), ..Parts::default() };
        if self.template.is_some() {
            // Where the database sees each caller by itself, what it tells one is for nobody else.
            let definition: &[u8] = if self.options.session.is_some() { b"" } else { b"schema" };
            let facts = Facts { definition: definition.into(), ..Facts::default() };
            resources::add(&mut parts, &service, &self.name, &self.listed.load(), &facts);
        }
        parts
    }

    /// When a call that begins now has to end, whoever calls.
    fn until(&self) -> Instant {
        Instant::now()
            + self
                .options
                .deadline
                .map_or(self.options.statement_timeout, |most| most.min(self.options.statement_timeout))
    }

    fn ask<'a>(&'a self, behalf: &'a Behalf, until: Instant) -> Asked<'a> {
        Asked { assistant: self, behalf, until }
    }

    async fn tool(&self, kind: AssistantTool, definition: &ToolDefinition, request: &Request) -> Reply {
        let who = who(&self.name, definition.name.as_str(), request);
        let until = request.ends().map_or(self.until(), |end| end.min(self.until()));
        let behalf = match self.options.behalf(request.caller()) {
            Ok(behalf) => behalf,
            Err(error) => return who.unidentified(&error).reply(),
        };
        let asked = self.ask(&behalf, until);
        let arguments = request.arguments();
        let work = async {
            match kind {
                AssistantTool::Schema => schema::call(&asked, arguments).await,
                AssistantTool::Explain => explain::call(&asked, arguments).await,
                AssistantTool::Indexes => indexes::call(&asked, arguments).await,
                AssistantTool::Health => health::call(&asked, arguments).await,
            }
        };
        match tokio::time::timeout_at(until.into(), work).await {
            Ok(Ok(answer)) => answer::reply(&answer),
            Ok(Err(fault)) => fault.told(&who).reply(),
            Err(_) => who.late().reply(),
        }
    }

    async fn resource(&self, request: &Request) -> Outcome {
        let until = request.ends().map_or(self.until(), |end| end.min(self.until()));
        let who = who(&self.name, "resources", request);
        let behalf = match self.options.behalf(request.caller()) {
            Ok(behalf) => behalf,
            Err(error) => return Err(who.unidentified(&error).failure()),
        };
        let asked = self.ask(&behalf, until);
        let work = async {
            match request.method() {
                Method::CompletionComplete => resources::complete(&asked, request).await,
                _ => resources::read(&asked, request).await,
            }
        };
        match tokio::time::timeout_at(until.into(), work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(who.late().failure()),
        }
    }
}

/// One call: whose it is, and until when it is of use.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    assistant: &'a Assistant,
    behalf: &'a Behalf,
    until: Instant,
}

impl Asked<'_> {
    fn most_bytes(&self) -> usize {
        self.assistant.options.max_bytes
    }
}

impl Service for Assistant {
    fn call(&self, request: Request) -> Answer<'_> {
        Answer::later(async move {
            if request.target() == RESOURCES {
                return self.resource(&request).await;
            }
            let target = usize::try_from(request.target()).unwrap_or(usize::MAX);
            match self.tools.get(target) {
                Some((kind, definition)) => Ok(self.tool(*kind, definition, &request).await),
                // Only a router with another list than ours can ask for it.
                None => Ok(Reply::tool_error("this tool is gone; list the tools again")),
            }
        })
    }
}

fn definition(kind: AssistantTool, name: ToolName, connector: &str) -> ToolDefinition {
    let (input_schema, output_schema): (Json, Json) = match kind {
        AssistantTool::Schema => (schema::input(), answer::schema_of::<schema::SchemaAnswer>()),
        AssistantTool::Explain => (explain::input(), answer::schema_of::<explain::ExplainAnswer>()),
        AssistantTool::Indexes => (indexes::input(), answer::schema_of::<indexes::IndexesAnswer>()),
        AssistantTool::Health => (health::input(), answer::schema_of::<health::HealthAnswer>()),
    };
    ToolDefinition {
        title: Some(kind.title(connector)),
        description: kind.description(connector),
        input_schema,
        output_schema: Some(output_schema),
        annotations: Annotations::READ_ONLY,
        icons: Vec::new(),
        meta: None,
        name,
    }
}
