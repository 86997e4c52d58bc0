//! Lists that change while the server runs, and a resource that others watch.
//!
//! Whoever changes something says so once; every subscription that wants to know hears of it, on every node.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use trunkline::service::Change;
use trunkline::service::shared::{Followed, Shared};
use trunkline::{
    ChangeError, Context, DynPrompt, DynResource, DynTool, PromptError, ResourceError, ServerHandle, State,
    resource, tool,
};

// ---- what others watch ----

/// How often [`touch`] was called. All nodes share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Touches(Arc<AtomicU64>);

/// A resource that changes with every touch; subscribe to it.
#[resource("test://watched-resource", name = "watched-resource", mime = "text/plain", subscribe)]
pub(crate) async fn test_watched_resource(State(touches): State<Touches>) -> String {
    format!("Touched {} times.", touches.0.load(Ordering::Relaxed))
}

/// Tells everyone who subscribed to a resource that it changed.
#[tool(destructive = false)]
pub(crate) async fn touch(
    ctx: Context,
    State(touches): State<Touches>,
    /// The resource that changed.
    uri: String,
) -> String {
    touches.0.fetch_add(1, Ordering::Relaxed);
    ctx.resource_updated(&uri);
    format!("touched {uri}")
}

// ---- lists ----

/// The nodes of this process. They, and those of other processes that share a store with it, are one server to their clients, so
/// what changes the lists of one changes those of all; a server of one node uses `ctx.server()`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nodes {
    here: Arc<Mutex<Vec<ServerHandle>>>,
    /// Where other processes are told, if there are any.
    others: Option<Arc<dyn Shared>>,
}

impl Nodes {
    /// Nodes that are not all in this process.
    pub(crate) fn among(others: Arc<dyn Shared>) -> Self {
        Self { others: Some(others), ..Self::default() }
    }

    /// Adds a node.
    pub(crate) fn join(&self, node: ServerHandle) {
        self.here.lock().unwrap_or_else(PoisonError::into_inner).push(node);
    }

    /// Has every node remove something, or add it where it is not; subscribers hear of it by themselves.
    fn toggle(&self, momentary: Momentary) -> Result<(), ChangeError> {
        match &self.others {
            // This process hears of it too, as all do: each does it once.
            Some(others) => others.announce(Change::Resource(momentary.uri().into())),
            None => self.toggle_here(momentary)?,
        }
        Ok(())
    }

    fn toggle_here(&self, momentary: Momentary) -> Result<(), ChangeError> {
        let nodes = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().try_for_each(|node| momentary.toggle(node))
    }

    /// Does what the nodes of any process say, for as long as the future lives.
    pub(crate) async fn follow(self) {
        let Some(others) = &self.others else { return std::future::pending().await };
        let mut changes = others.changes(None);
        loop {
            if let Followed::Message(_, change) = changes.next().await
                && let Some(Change::Resource(uri)) = Change::from_bytes(&change)
                && let Some(momentary) = Momentary::ALL.into_iter().find(|momentary| *uri == *momentary.uri())
                && let Err(error) = self.toggle_here(momentary)
            {
                tracing::warn!(%error, "a list did not change");
            }
        }
    }
}

/// What is there now and then.
#[derive(Debug, Clone, Copy)]
enum Momentary {
    Tool,
    Prompt,
    Resource,
}

/// What the changing tool, prompt and resource are called.
const MOMENTARY: &str = "momentary";
/// The URI of the changing resource.
const URI: &str = "test://momentary";

impl Momentary {
    const ALL: [Self; 3] = [Self::Tool, Self::Prompt, Self::Resource];

    /// What stands for it where nodes tell each other that it comes or goes.
    fn uri(self) -> &'static str {
        match self {
            Self::Tool => "everything://toggle/tool",
            Self::Prompt => "everything://toggle/prompt",
            Self::Resource => "everything://toggle/resource",
        }
    }

    /// Removes it from a node, or adds it where it is not.
    fn toggle(self, node: &ServerHandle) -> Result<(), ChangeError> {
        let text = "Is there now and then.";
        match self {
            Self::Tool if node.remove_tool(MOMENTARY)? => Ok(()),
            Self::Tool => {
                let tool = DynTool::new(MOMENTARY).description(text);
                node.add_tool(tool.handler(|_: Context| async { "here" }))
            }
            Self::Prompt if node.remove_prompt(MOMENTARY)? => Ok(()),
            Self::Prompt => {
                let prompt = DynPrompt::new(MOMENTARY).description(text);
                node.add_prompt(prompt.handler(|_: Context| async { Ok::<_, PromptError>("here") }))
            }
            Self::Resource if node.remove_resource(URI)? => Ok(()),
            Self::Resource => {
                let resource = DynResource::new(URI, MOMENTARY).description(text);
                node.add_resource(resource.handler(|_: Context| async { Ok::<_, ResourceError>("here") }))
            }
        }
    }
}

/// Adds a tool to the list, or removes it when it is there.
#[tool]
pub(crate) async fn test_trigger_tool_change(
    State(nodes): State<Nodes>,
) -> Result<&'static str, ChangeError> {
    nodes.toggle(Momentary::Tool)?;
    Ok("The list of tools changed.")
}

/// Adds a prompt to the list, or removes it when it is there.
#[tool]
pub(crate) async fn test_trigger_prompt_change(
    State(nodes): State<Nodes>,
) -> Result<&'static str, ChangeError> {
    nodes.toggle(Momentary::Prompt)?;
    Ok("The list of prompts changed.")
}

/// Adds a resource to the list, or removes it when it is there.
#[tool]
pub(crate) async fn test_trigger_resource_change(
    State(nodes): State<Nodes>,
) -> Result<&'static str, ChangeError> {
    nodes.toggle(Momentary::Resource)?;
    Ok("The list of resources changed.")
}
