//! Checks messages against the official JSON Schemas, where the folder that holds them stands beside the repository.
//!
//! There is no schema file of 2025-03-26: its messages are checked against 2025-06-18, and must not have what that added.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jsonschema::Validator;
use serde_json::{Value, json};

/// The schemas of every revision.
#[derive(Debug)]
pub struct Spec {
    root: PathBuf,
    compiled: Mutex<HashMap<(String, String), &'static Validator>>,
}

impl Spec {
    /// Finds the schemas; `None` where they are not laid out.
    #[must_use]
    pub fn find() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec");
        root.join("2026-07-28/schema.json").exists().then(|| Self { root, compiled: Mutex::default() })
    }

    /// Checks a message a server wrote in answer to `method` (or its own notification or request) for a client of `revision`.
    ///
    /// # Errors
    /// What the schema says is wrong.
    pub fn check(&self, revision: &str, method: &str, message: &Value) -> Result<(), String> {
        if let Some(own) = message.get("method").and_then(Value::as_str) {
            let name = name_of(own).ok_or_else(|| format!("a server of {revision} sends no `{own}`"))?;
            if message.get("id").is_some() && revision == "2026-07-28" {
                return Err("a modern server sends no requests".to_owned());
            }
            return self.check_as(revision, name, message);
        }
        if message.get("error").is_some() {
            let name = if revision >= "2025-11-25" { "JSONRPCErrorResponse" } else { "JSONRPCError" };
            // 2025-06-18 wants an id even where none could be read; a null id is what JSON-RPC says then.
            if name == "JSONRPCError" && message.get("id").is_none() {
                return Ok(());
            }
            return self.check_as(revision, name, message);
        }
        let result = message.get("result").unwrap_or(&Value::Null);
        self.check_as(revision, "JSONRPCResponse", message)?;
        let name = match result.get("resultType").and_then(Value::as_str) {
            Some("input_required") => "InputRequiredResult",
            // Of the extension for tasks, whose schema is another.
            Some("task") => "Result",
            _ => result_of(method),
        };
        self.check_as(revision, name, result)?;
        match revision {
            "2026-07-28" if result.get("resultType").is_none() => {
                Err("a modern result needs `resultType`".to_owned())
            }
            "2026-07-28" => Ok(()),
            _ => check_legacy(revision, result),
        }
    }

    fn check_as(&self, revision: &str, name: &str, value: &Value) -> Result<(), String> {
        let revision = if revision == "2025-03-26" { "2025-06-18" } else { revision };
        let validator = self.validator(revision, name)?;
        let problems: Vec<String> = validator
            .iter_errors(value)
            .take(3)
            .map(|error| format!("{} at {}", error, error.instance_path()))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(format!("{revision} {name}: {}", problems.join("; "))) }
    }

    fn validator(&self, revision: &str, name: &str) -> Result<&'static Validator, String> {
        let mut compiled = self.compiled.lock().map_err(|error| error.to_string())?;
        let key = (revision.to_owned(), name.to_owned());
        if let Some(validator) = compiled.get(&key) {
            return Ok(validator);
        }
        let text = std::fs::read_to_string(self.root.join(revision).join("schema.json"))
            .map_err(|error| error.to_string())?;
        let mut schema: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let table = if schema.get("$defs").is_some() { "$defs" } else { "definitions" };
        if schema.get(table).and_then(|table| table.get(name)).is_none() {
            return Err(format!("{revision} has no {name}"));
        }
        schema["allOf"] = json!([{ "$ref": format!("#/{table}/{name}") }]);
        let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
        // Once per name and test process.
        let validator: &'static Validator = Box::leak(Box::new(validator));
        compiled.insert(key, validator);
        Ok(validator)
    }
}

/// What a server sends by itself.
fn name_of(method: &str) -> Option<&'static str> {
    Some(match method {
        "notifications/progress" => "ProgressNotification",
        "notifications/message" => "LoggingMessageNotification",
        "notifications/cancelled" => "CancelledNotification",
        "notifications/tools/list_changed" => "ToolListChangedNotification",
        "notifications/prompts/list_changed" => "PromptListChangedNotification",
        "notifications/resources/list_changed" => "ResourceListChangedNotification",
        "notifications/resources/updated" => "ResourceUpdatedNotification",
        "notifications/subscriptions/acknowledged" => "SubscriptionsAcknowledgedNotification",
        "notifications/elicitation/complete" => "ElicitationCompleteNotification",
        // Of the extension for tasks.
        "notifications/tasks" => "JSONRPCNotification",
        "elicitation/create" => "ElicitRequest",
        "sampling/createMessage" => "CreateMessageRequest",
        "roots/list" => "ListRootsRequest",
        _ => return None,
    })
}

fn result_of(method: &str) -> &'static str {
    match method {
        "prompts/get" => "GetPromptResult",
        "resources/read" => "ReadResourceResult",
        "completion/complete" => "CompleteResult",
        "subscriptions/listen" => "SubscriptionsListenResult",
        "tools/call" => "CallToolResult",
        "tools/list" => "ListToolsResult",
        "resources/list" => "ListResourcesResult",
        "resources/templates/list" => "ListResourceTemplatesResult",
        "prompts/list" => "ListPromptsResult",
        "server/discover" => "DiscoverResult",
        "initialize" => "InitializeResult",
        // Extensions have schemas of their own.
        "tasks/get"
        | "tasks/update"
        | "tasks/cancel"
        | "skills/list"
        | "skills/get"
        | "resources/directory/read" => "Result",
        _ => "EmptyResult",
    }
}

/// What a legacy result must not have.
fn check_legacy(revision: &str, result: &Value) -> Result<(), String> {
    let mut banned = vec!["resultType", "ttlMs", "cacheScope"];
    if revision == "2025-03-26" {
        banned.push("structuredContent");
        for tool in result.get("tools").and_then(Value::as_array).into_iter().flatten() {
            if let Some(member) = ["outputSchema", "title"].iter().find(|member| tool.get(**member).is_some())
            {
                return Err(format!("a tool of {revision} has no `{member}`"));
            }
        }
    }
    match banned.iter().find(|member| result.get(**member).is_some()) {
        Some(member) => Err(format!("a result of {revision} has no `{member}`")),
        None => Ok(()),
    }
}
