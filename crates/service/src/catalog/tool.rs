//! Tools as clients see them.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use trunkline_protocol::Revision;

use super::Checks;
use super::common::{Icon, add_meta};
use super::pages::Listed;
use crate::Service;
use crate::request::Request;

/// A tool's name: 1 to 64 characters of `[A-Za-z0-9_-]`, the form every known host takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolName(Box<str>);

/// A name that is no tool name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no tool name; use 1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`")]
pub struct BadToolName(String);

impl ToolName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadToolName`] when it is empty, longer than 64 characters, or has other characters than `[A-Za-z0-9_-]`.
    pub fn new(name: &str) -> Result<Self, BadToolName> {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if fits { Ok(Self(name.into())) } else { Err(BadToolName(name.to_owned())) }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tool does to the world, as hints for hosts. Spec: 2026-07-28 schema#toolannotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotations {
    /// It changes nothing.
    pub read_only: bool,
    /// It may destroy something; meaningless when `read_only`.
    pub destructive: bool,
    /// Calling it twice does no more than calling it once.
    pub idempotent: bool,
    /// It reaches beyond a closed set of data.
    pub open_world: bool,
}

impl Annotations {
    /// A tool that only reads from a source of its own.
    pub const READ_ONLY: Self =
        Self { read_only: true, destructive: false, idempotent: true, open_world: false };
    /// A tool that writes to a source of its own.
    pub const WRITES: Self =
        Self { read_only: false, destructive: true, idempotent: false, open_world: false };
}

/// One tool as clients see it.
#[derive(Debug, Clone)]
pub struct ToolDefinition {
    /// The name it is called by.
    pub name: ToolName,
    /// A name for people.
    pub title: Option<String>,
    /// What it is for; the model chooses by it. Empty is replaced by the title or the name.
    pub description: String,
    /// The JSON Schema of the arguments; an object schema.
    pub input_schema: Value,
    /// The JSON Schema of `structuredContent`, when it is known. Of an object, or clients of a handshake are not told it.
    pub output_schema: Option<Value>,
    /// What it does to the world.
    pub annotations: Annotations,
    /// Pictures of it.
    pub icons: Vec<Icon>,
    /// Its `_meta` object.
    pub meta: Option<Value>,
}

impl Listed for ToolDefinition {
    const KEY: &'static str = "tools";

    fn to_json(&self, revision: Revision) -> Value {
        let mut tool = Map::new();
        let title = self.title.clone().unwrap_or_else(|| title_of(self.name.as_str()));
        let description =
            if self.description.trim().is_empty() { title.clone() } else { self.description.clone() };
        tool.insert("name".into(), self.name.as_str().into());
        if revision >= Revision::V2025_06_18 {
            tool.insert("title".into(), title.clone().into());
        }
        tool.insert("description".into(), description.into());
        tool.insert("inputSchema".into(), self.input_schema.clone());
        // Before 2026-07-28 structured content is an object, and so is its schema.
        let sent = |schema: &&Value| {
            revision.is_modern()
                || revision >= Revision::V2025_06_18
                    && schema.get("type").and_then(Value::as_str) == Some("object")
        };
        if let Some(schema) = self.output_schema.as_ref().filter(sent) {
            tool.insert("outputSchema".into(), schema.clone());
        }
        let hints = &self.annotations;
        tool.insert(
            "annotations".into(),
            serde_json::json!({
                "title": title,
                "readOnlyHint": hints.read_only,
                "destructiveHint": hints.destructive,
                "idempotentHint": hints.idempotent,
                "openWorldHint": hints.open_world,
            }),
        );
        Icon::add(&self.icons, revision, &mut tool);
        add_meta(self.meta.as_ref(), &mut tool);
        Value::Object(tool)
    }
}

/// Makes a title from a name: `search_customers` becomes `Search customers`.
fn title_of(name: &str) -> String {
    let mut title = name.replace(['_', '-'], " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

/// Tells whether a text, the second, is in a form, the first. One that is not known has every text.
pub type Forms = fn(&str, &str) -> bool;

/// What guards know of a tool beside what clients see.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The JSON Schema that arguments have to fit, where it says more than the one that clients see; `None` for that one.
    pub schema: Option<Value>,
    /// Whether the service also takes numbers written as strings, where the schema says `integer` or `number`.
    pub takes_numerals: bool,
    /// Tells whether the service takes a text for one of a `format` of its schemas; `None`: it takes what the format says, or, where
    /// it also takes numerals, looks at formats by itself.
    pub forms: Option<Forms>,
    /// The names of arguments whose values are secret.
    pub secrets: Vec<Box<str>>,
    /// Tells what of the caller an answer depends on; `None`: on nothing.
    pub binding: Option<Arc<dyn Binding>>,
    /// What an answer depends on beside arguments and caller, as the service defines the tool: equal for tools that answer
    /// alike. Its SQL and database, say. Empty: it cannot be told, and no answer is kept.
    pub definition: Box<[u8]>,
}

/// Tells what of its caller the answer of a tool depends on, as by values that are computed from claims.
pub trait Binding: fmt::Debug + Send + Sync + 'static {
    /// Appends all of the request's caller that the answer depends on: what is equal for two callers lets them have one answer.
    /// `false` when it cannot be told now, so that the answer is nobody else's.
    fn write(&self, request: &Request, out: &mut Vec<u8>) -> bool;
}

/// A tool and the service that answers it.
#[derive(Clone)]
pub struct Entry {
    /// What clients see.
    pub definition: ToolDefinition,
    /// What guards know beside.
    pub facts: Facts,
    /// What a call has to pass before its arguments are authorized.
    pub checks: Checks,
    /// Who answers.
    pub service: Arc<dyn Service>,
    /// The tool's number within that service.
    pub target: u32,
}

impl Entry {
    /// Makes an entry of a tool that nothing else is known of.
    #[must_use]
    pub fn new(definition: ToolDefinition, service: Arc<dyn Service>, target: u32) -> Self {
        Self { definition, facts: Facts::default(), checks: Checks::default(), service, target }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("definition", &self.definition)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
