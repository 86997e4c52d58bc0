//! Prompts from closures.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::{Completers, Handler};
use crate::sdk::{
    CompletionContext, CompletionFuture, Context, Icon, IntoCompletion, IntoPromptResult, Prompt,
    PromptArgument, PromptSpec, ToolFuture,
};

/// A prompt made from a description and a closure; may be added and removed while the server runs.
///
/// ```
/// use trunkline_server::sdk::{Context, DynPrompt, PromptArgument, PromptError};
///
/// let review = DynPrompt::new("review")
///     .description("Asks for a review.")
///     .argument(PromptArgument::new("language").required(true))
///     .complete("language", |_| async { ["rust", "python"] })
///     .handler(|ctx: Context| async move {
///         let language: String = ctx.prompt_argument("language")?;
///         Ok::<_, PromptError>(format!("Review this {language} code."))
///     });
/// ```
#[derive(Clone)]
pub struct DynPrompt {
    spec: PromptSpec,
    handler: Handler,
    completers: Arc<Completers>,
}

impl DynPrompt {
    /// Starts the description of a prompt; [`PromptBuilder::handler`] ends it.
    #[expect(clippy::new_ret_no_self, reason = "a prompt is whole only with its handler")]
    pub fn new(name: impl Into<Cow<'static, str>>) -> PromptBuilder {
        PromptBuilder { spec: PromptSpec::new(name), completers: Completers::default() }
    }
}

impl fmt::Debug for DynPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynPrompt").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Prompt for DynPrompt {
    fn spec(&self) -> PromptSpec {
        self.spec.clone()
    }

    fn get(&self, ctx: Context) -> ToolFuture {
        (self.handler)(ctx)
    }

    fn complete(&self, argument: &str, ctx: CompletionContext) -> CompletionFuture {
        self.completers.complete(argument, ctx)
    }
}

/// A prompt without its handler.
#[derive(Debug)]
#[must_use = "a prompt needs a handler"]
pub struct PromptBuilder {
    spec: PromptSpec,
    completers: Completers,
}

impl PromptBuilder {
    fn with(mut self, change: impl FnOnce(PromptSpec) -> PromptSpec) -> Self {
        self.spec = change(self.spec);
        self
    }

    /// See [`PromptSpec::title`].
    pub fn title(self, title: impl Into<Cow<'static, str>>) -> Self {
        self.with(|spec| spec.title(title))
    }

    /// See [`PromptSpec::description`].
    pub fn description(self, description: impl Into<Cow<'static, str>>) -> Self {
        self.with(|spec| spec.description(description))
    }

    /// See [`PromptSpec::argument`].
    pub fn argument(self, argument: PromptArgument) -> Self {
        self.with(|spec| spec.argument(argument))
    }

    /// See [`PromptSpec::icon`].
    pub fn icon(self, icon: Icon) -> Self {
        self.with(|spec| spec.icon(icon))
    }

    /// See [`PromptSpec::meta`].
    pub fn meta(self, meta: Value) -> Self {
        self.with(|spec| spec.meta(meta))
    }

    /// Suggests values of an argument.
    pub fn complete<F, Fut, C>(mut self, argument: impl Into<String>, complete: F) -> Self
    where
        F: Fn(CompletionContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = C> + Send + 'static,
        C: IntoCompletion,
    {
        let name = argument.into();
        for known in self.spec.arguments.iter_mut().filter(|known| *known.name == *name) {
            known.completes = true;
        }
        self.completers.add(name, complete);
        self
    }

    /// Says how the messages are made. Required arguments were checked to be there.
    pub fn handler<F, Fut, R>(self, handler: F) -> DynPrompt
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoPromptResult,
    {
        let handler: Handler = Arc::new(move |ctx: Context| {
            let result = handler(ctx.clone());
            Box::pin(async move { result.await.into_outcome(&ctx) })
        });
        DynPrompt { spec: self.spec, handler, completers: Arc::new(self.completers) }
    }
}
