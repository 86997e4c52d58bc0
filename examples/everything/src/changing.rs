//! Lists that change while the server runs, and a resource that others watch.
//!
//! Whoever changes something says so once; every subscription that wants to know hears of it, on every node.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

/// The handles of all nodes. They are one server to their clients, so what changes the lists of one changes those of all; a
/// server of one node uses `ctx.server()`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nodes(Arc<Mutex<Vec<ServerHandle>>>);

impl Nodes {
    /// Adds a node.
    pub(crate) fn join(&self, node: ServerHandle) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(node);
    }

    /// Removes something from every node, or adds it where it is not; subscribers hear of it by themselves.
    fn toggle(
        &self,
        remove: impl Fn(&ServerHandle) -> Result<bool, ChangeError>,
        add: impl Fn(&ServerHandle) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for node in nodes.iter() {
            if !remove(node)? {
                add(node)?;
            }
        }
        Ok(())
    }
}

/// What the changing tool, prompt and resource are called.
const MOMENTARY: &str = "momentary";

/// Adds a tool to the list, or removes it when it is there.
#[tool]
pub(crate) async fn test_trigger_tool_change(
    State(nodes): State<Nodes>,
) -> Result<&'static str, ChangeError> {
    let tool = || {
        DynTool::new(MOMENTARY).description("Is there now and then.").handler(|_: Context| async { "here" })
    };
    nodes.toggle(|node| node.remove_tool(MOMENTARY), |node| node.add_tool(tool()))?;
    Ok("The list of tools changed.")
}

/// Adds a prompt to the list, or removes it when it is there.
#[tool]
pub(crate) async fn test_trigger_prompt_change(
    State(nodes): State<Nodes>,
) -> Result<&'static str, ChangeError> {
    let prompt = || {
        DynPrompt::new(MOMENTARY)
            .description("Is there now and then.")
            .handler(|_: Context| async { Ok::<_, PromptError>("here") })
    };
    nodes.toggle(|node| node.remove_prompt(MOMENTARY), |node| node.add_prompt(prompt()))?;
    Ok("The list of prompts changed.")
}

/// Adds a resource to the list, or removes it when it is there.
#[tool]
pub(crate) async fn test_trigger_resource_change(
    State(nodes): State<Nodes>,
) -> Result<&'static str, ChangeError> {
    const URI: &str = "test://momentary";
    let resource = || {
        DynResource::new(URI, MOMENTARY)
            .description("Is there now and then.")
            .handler(|_: Context| async { Ok::<_, ResourceError>("here") })
    };
    nodes.toggle(|node| node.remove_resource(URI), |node| node.add_resource(resource()))?;
    Ok("The list of resources changed.")
}
