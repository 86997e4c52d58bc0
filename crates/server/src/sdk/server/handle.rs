//! Changing a server while it runs.

use std::sync::{Arc, Weak};

use trunkline_service::Change;

use super::error::ChangeError;
use super::hub::Hub;
use crate::sdk::{IntoPrompt, IntoResource, IntoTool};

/// Changes what a running server offers, and tells its clients. Cheap to clone; keeps no server alive.
///
/// A change makes the next state of the server and swaps it in; requests in flight go on with the one they began with. Clients
/// that subscribed to a list hear of it by themselves.
#[derive(Debug, Clone)]
pub struct ServerHandle(Weak<Hub>);

impl ServerHandle {
    pub(crate) fn of(hub: Weak<Hub>) -> Self {
        Self(hub)
    }

    fn hub(&self) -> Result<Arc<Hub>, ChangeError> {
        self.0.upgrade().ok_or(ChangeError::Stopped)
    }

    /// Adds a tool.
    ///
    /// # Errors
    /// [`ChangeError`]: the server has stopped, or something is wrong with the tool; nothing changed then.
    pub fn add_tool<M>(&self, tool: impl IntoTool<M>) -> Result<(), ChangeError> {
        self.hub()?.change(|maker, registry| {
            maker.tool(registry, Arc::new(tool.into_tool()));
            true
        })?;
        Ok(())
    }

    /// Removes a tool and tells whether there was one of that name.
    ///
    /// # Errors
    /// [`ChangeError::Stopped`].
    pub fn remove_tool(&self, name: &str) -> Result<bool, ChangeError> {
        Ok(self.hub()?.change(|_, registry| {
            let before = registry.tools.len();
            registry.tools.retain(|made| *made.unit.name != *name);
            registry.tools.len() < before
        })?)
    }

    /// Adds a prompt.
    ///
    /// # Errors
    /// [`ChangeError`]: the server has stopped, or something is wrong with the prompt; nothing changed then.
    pub fn add_prompt<M>(&self, prompt: impl IntoPrompt<M>) -> Result<(), ChangeError> {
        self.hub()?.change(|maker, registry| {
            maker.prompt(registry, Arc::new(prompt.into_prompt()));
            true
        })?;
        Ok(())
    }

    /// Removes a prompt and tells whether there was one of that name.
    ///
    /// # Errors
    /// [`ChangeError::Stopped`].
    pub fn remove_prompt(&self, name: &str) -> Result<bool, ChangeError> {
        Ok(self.hub()?.change(|_, registry| {
            let before = registry.prompts.len();
            registry.prompts.retain(|made| *made.unit.name != *name);
            registry.prompts.len() < before
        })?)
    }

    /// Adds a resource or a template.
    ///
    /// # Errors
    /// [`ChangeError`]: the server has stopped, or something is wrong with the resource; nothing changed then.
    pub fn add_resource<M>(&self, resource: impl IntoResource<M>) -> Result<(), ChangeError> {
        self.hub()?.change(|maker, registry| {
            maker.resource(registry, Arc::new(resource.into_resource()));
            true
        })?;
        Ok(())
    }

    /// Removes a resource or a template, by its URI as it was added, and tells whether there was one.
    ///
    /// # Errors
    /// [`ChangeError::Stopped`].
    pub fn remove_resource(&self, uri: &str) -> Result<bool, ChangeError> {
        Ok(self.hub()?.change(|_, registry| {
            let before = registry.resources.len();
            registry.resources.retain(|made| made.definition.uri() != uri);
            registry.resources.len() < before
        })?)
    }

    /// Ends the server: streams without end get their last message, calls in flight and tasks may finish within the
    /// [grace](super::Server::shutdown_grace); then they are stopped, and the record of such a task says that it failed. A
    /// server that listens by itself returns then; one that is part of an axum application answers no more streams, so that the
    /// application can end. Nothing when it has stopped already.
    ///
    /// # Cancel safety
    /// The server is told when the future is first polled. Dropped later, a server that listens by itself goes on ending; of one
    /// that is part of an axum application, the tasks are stopped at once.
    pub async fn stop(&self) {
        let Some(hub) = self.0.upgrade() else { return };
        hub.stop.cancel();
        if let Some(edge) = hub.mounted.get().and_then(Weak::upgrade) {
            tokio::join!(edge.stop(), hub.stop_tasks(hub.grace));
        }
    }

    /// Makes the server's lists anew, with what extensions bring now; clients that subscribed hear of what is different.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn refresh(&self) -> Result<(), ChangeError> {
        self.hub()?.change(|_, _| true)?;
        Ok(())
    }

    /// Tells everyone who subscribed to that resource that it changed, on every node. Nothing when the server has stopped.
    pub fn resource_updated(&self, uri: &str) {
        self.announce(Change::Resource(uri.into()));
    }

    /// Tells everyone who wants to know that the tools changed, for changes that are not made through this handle.
    pub fn tools_changed(&self) {
        self.announce(Change::Tools);
    }

    /// Tells everyone who wants to know that the prompts changed, for changes that are not made through this handle.
    pub fn prompts_changed(&self) {
        self.announce(Change::Prompts);
    }

    /// Tells everyone who wants to know that the list of resources changed, for changes that are not made through this handle.
    pub fn resources_changed(&self) {
        self.announce(Change::Resources);
    }

    fn announce(&self, change: Change) {
        if let Some(hub) = self.0.upgrade() {
            hub.live.announce(change);
        }
    }
}
