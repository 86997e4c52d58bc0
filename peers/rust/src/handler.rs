//! What the server asks and tells, answered and kept.

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::ClientHandler;
use rmcp::model::{
    ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams,
    ElicitResult, ElicitationAction, ErrorData, Implementation, ListRootsResult,
    LoggingMessageNotificationParam, ProgressNotificationParam, ProtocolVersion,
    ResourceUpdatedNotificationParam, Root, SamplingMessage, TASKS_EXTENSION_ID,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use serde_json::{Value, json};

use crate::Plan;

/// The client's side of the conversation.
pub(crate) struct Handler {
    pub(crate) plan: Arc<Plan>,
    capabilities: ClientCapabilities,
    seen: Mutex<Seen>,
}

/// What happened since it was last cleared.
pub(crate) struct Seen {
    /// What the user does with a form.
    pub(crate) action: ElicitationAction,
    /// The parameters of questions.
    pub(crate) asked: Vec<Value>,
    /// Log messages.
    pub(crate) logged: Vec<Value>,
    /// `[progress, total]`.
    pub(crate) progress: Vec<Value>,
    /// URIs of updated resources, and the names of lists that changed.
    pub(crate) told: Vec<String>,
}

impl Handler {
    pub(crate) fn new(plan: Arc<Plan>) -> Result<Self, serde_json::Error> {
        let capabilities = serde_json::from_value(json!({
            "elicitation": { "form": {}, "url": {} },
            "sampling": {},
            "roots": { "listChanged": true },
            "extensions": { TASKS_EXTENSION_ID: {} },
        }))?;
        let action = ElicitationAction::Accept;
        let (asked, logged, progress, told) = Default::default();
        Ok(Self { plan, capabilities, seen: Mutex::new(Seen { action, asked, logged, progress, told }) })
    }

    /// Looks at what happened so far, or changes it.
    pub(crate) fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn told(&self, what: &str) {
        self.seen(|seen| seen.told.push(what.to_owned()));
    }
}

fn plain(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(self.capabilities.clone(), Implementation::new("trunkline-peers", "1"))
            .with_protocol_version(ProtocolVersion::V_2025_11_25)
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        // An address is opened or not; there is nothing to fill in.
        let has_form = matches!(request, ElicitRequestParams::FormElicitationParams { .. });
        let action = self.seen(|seen| {
            seen.asked.push(plain(request));
            seen.action.clone()
        });
        let fills = has_form && action == ElicitationAction::Accept;
        let result = ElicitResult::new(action);
        Ok(if fills { result.with_content(self.plan.form.clone()) } else { result })
    }

    async fn create_message(
        &self,
        request: CreateMessageRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        self.seen(|seen| seen.asked.push(plain(request)));
        let message = SamplingMessage::assistant_text(self.plan.sampled.as_str());
        Ok(CreateMessageResult::new(message, "a-model".to_owned()).with_stop_reason("endTurn"))
    }

    async fn list_roots(&self, _context: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(vec![Root::new(self.plan.root.as_str()).with_name("root")]))
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.seen(|seen| seen.progress.push(json!([params.progress, params.total])));
    }

    async fn on_logging_message(
        &self,
        params: LoggingMessageNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.seen(|seen| seen.logged.push(plain(params)));
    }

    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.told(&params.uri);
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.told("tools");
    }

    async fn on_prompt_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.told("prompts");
    }

    async fn on_resource_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.told("resources");
    }
}
