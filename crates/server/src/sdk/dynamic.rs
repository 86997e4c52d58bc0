//! Tools, prompts and resources made at run time, from descriptions and closures.

mod prompt;
mod resource;
mod tool;

use std::fmt;
use std::sync::Arc;

pub use prompt::{DynPrompt, PromptBuilder};
pub use resource::{DynResource, ResourceBuilder};
pub use tool::{DynTool, ToolBuilder};

use super::completion::nothing;
use super::{CompletionContext, CompletionFuture, Context, IntoCompletion, ToolFuture};

/// What is called.
type Handler = Arc<dyn Fn(Context) -> ToolFuture + Send + Sync>;
type Completer = Box<dyn Fn(CompletionContext) -> CompletionFuture + Send + Sync>;

/// Completions by name of argument or variable.
#[derive(Default)]
struct Completers(Vec<(String, Completer)>);

impl Completers {
    fn add<F, Fut, C>(&mut self, name: String, complete: F)
    where
        F: Fn(CompletionContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = C> + Send + 'static,
        C: IntoCompletion,
    {
        let completer: Completer = Box::new(move |ctx| {
            let values = complete(ctx);
            Box::pin(async move { values.await.into_completion() })
        });
        self.0.push((name, completer));
    }

    fn complete(&self, name: &str, ctx: CompletionContext) -> CompletionFuture {
        match self.0.iter().find(|(known, _)| known == name) {
            Some((_, completer)) => completer(ctx),
            None => nothing(),
        }
    }
}

impl fmt::Debug for Completers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
