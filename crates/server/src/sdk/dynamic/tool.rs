//! Tools from closures.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Handler;
use crate::sdk::schema::Schema;
use crate::sdk::{Context, Icon, IntoToolResult, TaskMode, Tool, ToolFuture, ToolSpec};

/// A tool made from a description and a closure; may be added and removed while the server runs.
///
/// ```
/// use schemars::JsonSchema;
/// use serde::Deserialize;
/// use trunkline_server::sdk::{DynTool, ToolError};
///
/// #[derive(Deserialize, JsonSchema)]
/// #[schemars(crate = "schemars")]
/// struct Sum {
///     /// What to add up.
///     numbers: Vec<f64>,
/// }
///
/// let sum = DynTool::new("sum")
///     .description("Adds numbers up.")
///     .read_only(true)
///     .handler_with_args(|args: Sum, _| async move { Ok::<_, ToolError>(args.numbers.iter().sum::<f64>()) });
/// ```
#[derive(Clone)]
pub struct DynTool {
    spec: ToolSpec,
    handler: Handler,
}

impl DynTool {
    /// Starts the description of a tool; [`ToolBuilder::handler`] or [`ToolBuilder::handler_with_args`] ends it.
    #[expect(clippy::new_ret_no_self, reason = "a tool is whole only with its handler")]
    pub fn new(name: impl Into<Cow<'static, str>>) -> ToolBuilder {
        ToolBuilder { spec: ToolSpec::new(name), has_output: false }
    }
}

impl fmt::Debug for DynTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynTool").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Tool for DynTool {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn call(&self, ctx: Context) -> ToolFuture {
        (self.handler)(ctx)
    }
}

/// A tool without its handler.
#[derive(Debug, Clone)]
#[must_use = "a tool needs a handler"]
pub struct ToolBuilder {
    spec: ToolSpec,
    has_output: bool,
}

impl ToolBuilder {
    /// Changes the description by any setter of [`ToolSpec`].
    pub fn with(mut self, change: impl FnOnce(ToolSpec) -> ToolSpec) -> Self {
        self.spec = change(self.spec);
        self
    }

    /// See [`ToolSpec::title`].
    pub fn title(self, title: impl Into<Cow<'static, str>>) -> Self {
        self.with(|spec| spec.title(title))
    }

    /// See [`ToolSpec::description`].
    pub fn description(self, description: impl Into<Cow<'static, str>>) -> Self {
        self.with(|spec| spec.description(description))
    }

    /// See [`ToolSpec::input`].
    pub fn input<T: JsonSchema>(self) -> Self {
        self.with(ToolSpec::input::<T>)
    }

    /// See [`ToolSpec::input_schema`].
    pub fn input_schema(self, schema: Value) -> Self {
        self.with(|spec| spec.input_schema(schema))
    }

    /// Says what `structuredContent` looks like by a schema written by hand; every result is checked against it. Without, it is
    /// taken from the type that the handler returns.
    pub fn output_schema(mut self, schema: Value) -> Self {
        self.has_output = true;
        self.with(|spec| spec.output_schema(Some(schema)))
    }

    /// See [`ToolSpec::read_only`].
    pub fn read_only(self, read_only: bool) -> Self {
        self.with(|spec| spec.read_only(read_only))
    }

    /// See [`ToolSpec::destructive`].
    pub fn destructive(self, destructive: bool) -> Self {
        self.with(|spec| spec.destructive(destructive))
    }

    /// See [`ToolSpec::idempotent`].
    pub fn idempotent(self, idempotent: bool) -> Self {
        self.with(|spec| spec.idempotent(idempotent))
    }

    /// See [`ToolSpec::open_world`].
    pub fn open_world(self, open_world: bool) -> Self {
        self.with(|spec| spec.open_world(open_world))
    }

    /// See [`ToolSpec::icon`].
    pub fn icon(self, icon: Icon) -> Self {
        self.with(|spec| spec.icon(icon))
    }

    /// See [`ToolSpec::meta`].
    pub fn meta(self, meta: Value) -> Self {
        self.with(|spec| spec.meta(meta))
    }

    /// See [`ToolSpec::task`].
    pub fn task(self, task: TaskMode) -> Self {
        self.with(|spec| spec.task(task))
    }

    /// Says what a call does. The arguments are checked against the schema before; read them with
    /// [`Context::arguments`] or [`Context::raw_arguments`].
    pub fn handler<F, Fut, R>(mut self, handler: F) -> DynTool
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoToolResult + 'static,
    {
        self.spec.checks_first = true;
        self.finish::<R>(Arc::new(move |ctx: Context| {
            let result = handler(ctx.clone());
            Box::pin(async move { result.await.into_outcome(&ctx).await })
        }))
    }

    /// Says what a call does with its arguments, decoded as `T`; without an input schema that of `T` is taken.
    pub fn handler_with_args<T, F, Fut, R>(mut self, handler: F) -> DynTool
    where
        T: DeserializeOwned + JsonSchema + Send,
        F: Fn(T, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoToolResult + 'static,
    {
        self.spec.input.get_or_insert_with(Schema::derived::<T>);
        self.finish::<R>(Arc::new(move |ctx: Context| match ctx.arguments() {
            Ok(arguments) => {
                let result = handler(arguments, ctx.clone());
                Box::pin(async move { result.await.into_outcome(&ctx).await })
            }
            Err(error) => Box::pin(std::future::ready(error.into_outcome())),
        }))
    }

    fn finish<R: IntoToolResult>(mut self, handler: Handler) -> DynTool {
        if !self.has_output {
            self.spec = self.spec.output::<R>();
        }
        DynTool { spec: self.spec, handler }
    }
}
