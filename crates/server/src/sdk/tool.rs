//! What a tool is to the SDK: a description, and a function from a [`Context`] to an outcome.

use std::any::TypeId;
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use schemars::JsonSchema;
use serde_json::Value;
use trunkline_service::Outcome;

use super::markers::given_as_value_or_function;
use super::schema::Schema;
use super::{Context, Icon, IntoToolResult};

/// What a tool does when called; ends in the result, or in the failure of a request that was not acceptable.
pub type ToolFuture = Pin<Box<dyn Future<Output = Outcome> + Send + 'static>>;

/// Something clients can call by name. Written by `#[tool]`, or made from a closure with [`DynTool`](super::DynTool).
///
/// Spec: 2026-07-28 server/tools.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no tool",
    label = "not a tool",
    note = "put `#[tool]` above the function, or make one from a closure with `DynTool::new(\"name\").handler(..)`"
)]
pub trait Tool: Send + Sync + 'static {
    /// Describes the tool. Asked for once, when the server is built.
    fn spec(&self) -> ToolSpec;

    /// Starts a call.
    ///
    /// # Cancel safety
    /// The future is dropped when the client cancels, the deadline passes or the server stops.
    fn call(&self, ctx: Context) -> ToolFuture;
}

impl Tool for Arc<dyn Tool> {
    fn spec(&self) -> ToolSpec {
        (**self).spec()
    }

    fn call(&self, ctx: Context) -> ToolFuture {
        (**self).call(ctx)
    }
}

/// What a server takes as a tool: a [`Tool`], or a function without arguments that returns one, which is what `#[tool]` leaves
/// under the function's name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no tool",
    label = "not a tool",
    note = "put `#[tool]` above the function, or make one from a closure with `DynTool::new(\"name\").handler(..)`"
)]
pub trait IntoTool<M> {
    /// The tool.
    type Tool: Tool;

    /// Makes it.
    fn into_tool(self) -> Self::Tool;
}

given_as_value_or_function!(IntoTool, Tool, into_tool);

/// Whether a tool may run as a task of the tasks extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaskMode {
    /// It answers within the request, unless it says otherwise with [`Context::become_task`].
    #[default]
    Never,
    /// It is a task whenever the client can follow tasks, and answers within the request otherwise.
    Optional,
    /// It is always a task; a client that cannot follow tasks is refused.
    Required,
}

/// Describes a tool.
#[derive(Debug, Clone)]
#[must_use]
pub struct ToolSpec {
    pub(crate) name: Cow<'static, str>,
    pub(crate) title: Option<Cow<'static, str>>,
    pub(crate) description: Cow<'static, str>,
    pub(crate) input: Option<Schema>,
    pub(crate) output: Option<Schema>,
    /// The arguments are looked at before the tool is called, whatever the schema needs.
    pub(crate) checks_first: bool,
    pub(crate) read_only: Option<bool>,
    pub(crate) destructive: Option<bool>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) open_world: Option<bool>,
    pub(crate) icons: Vec<Icon>,
    pub(crate) meta: Option<Value>,
    pub(crate) task: TaskMode,
    pub(crate) states: Vec<(TypeId, &'static str)>,
}

impl ToolSpec {
    /// Describes a tool of that name: 1 to 64 of the characters `A-Z`, `a-z`, `0-9`, `_` and `-`, checked when the server is
    /// built. A tool that says nothing else takes no arguments.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            title: None,
            description: Cow::Borrowed(""),
            input: None,
            output: None,
            checks_first: false,
            read_only: None,
            destructive: None,
            idempotent: None,
            open_world: None,
            icons: Vec::new(),
            meta: None,
            task: TaskMode::Never,
            states: Vec::new(),
        }
    }

    /// Gives a name for people. Made from the name, if not said.
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Says what the tool is for; the model chooses by it, mostly by its first sentence.
    pub fn description(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.description = description.into();
        self
    }

    /// Takes the arguments from a type. The type's own title and description are left out of the schema.
    pub fn input<T: JsonSchema>(mut self) -> Self {
        self.input = Some(Schema::derived::<T>());
        self
    }

    /// Takes the arguments by a schema written by hand: listed as it stands, and every call is checked against it. It must
    /// have `"type": "object"` at its root. Spec: 2026-07-28 server/tools#tool.
    pub fn input_schema(mut self, schema: Value) -> Self {
        self.input = Some(Schema::written(schema));
        self
    }

    /// Takes the schema of results from the type a tool returns.
    pub fn output<R: IntoToolResult>(mut self) -> Self {
        self.output = R::output_schema().map(Schema::of_result);
        self
    }

    /// Says what `structuredContent` looks like by a schema written by hand, against which every result is checked; one that
    /// does not fit is reported as an error and not sent.
    pub fn output_schema(mut self, schema: Option<Value>) -> Self {
        self.output = schema.map(Schema::written);
        self
    }

    /// Says whether the tool changes nothing. Default: it may.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = Some(read_only);
        self
    }

    /// Says whether the tool may destroy something. Default: it may, unless it is read-only.
    pub fn destructive(mut self, destructive: bool) -> Self {
        self.destructive = Some(destructive);
        self
    }

    /// Says whether a second call does no more than the first. Default: only when it is read-only.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Says whether the tool reaches beyond a closed set of data. Default: it may.
    pub fn open_world(mut self, open_world: bool) -> Self {
        self.open_world = Some(open_world);
        self
    }

    /// Adds an icon.
    pub fn icon(mut self, icon: Icon) -> Self {
        self.icons.push(icon);
        self
    }

    /// Sets the `_meta` object that is listed with the tool.
    pub fn meta(mut self, meta: Value) -> Self {
        self.meta = Some(meta);
        self
    }

    /// Says whether the tool may run as a task.
    pub fn task(mut self, task: TaskMode) -> Self {
        self.task = task;
        self
    }

    /// Names the types of state the tool asks for, so that a server without one of them is not built.
    pub fn states(mut self, states: &[(TypeId, &'static str)]) -> Self {
        self.states.extend_from_slice(states);
        self
    }
}
