//! What code written by the macros names. Not for use by hand: it changes without notice.

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserialize;
use trunkline_server::sdk::{
    Completion, CompletionContext, CompletionFuture, Context, IntoCompletion, IntoToolResult,
};
use trunkline_service::{Failure, FailureKind, Outcome};

pub use {schemars, serde, serde_json};

/// The arguments of a tool that takes none: an object without members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// What a tool's function returns.
///
/// A type that is no result is an error already where the tool describes itself, with a text that says what to return. Making
/// the outcome must not repeat it: so for such a type, and only then, `into_outcome` is that of [`NoResult`], as a method of
/// the type itself goes before one of a trait.
#[derive(Debug)]
pub struct Returned<R>(pub PhantomData<fn() -> R>);

impl<R: IntoToolResult> Returned<R> {
    /// Makes the outcome.
    ///
    /// # Cancel safety
    /// As [`IntoToolResult::into_outcome`].
    pub fn into_outcome(self, value: R, ctx: &Context) -> impl Future<Output = Outcome> + Send {
        value.into_outcome(ctx)
    }
}

/// Stands in where a function returns what is no result: that does not compile.
pub trait NoResult<R>: Sized {
    /// Fails.
    fn into_outcome(self, _: R, _: &Context) -> Ready<Outcome> {
        ready(Err(Failure::new(FailureKind::Internal, "the tool returned what is no result")))
    }
}

impl<R> NoResult<R> for Returned<R> {}

/// A type that arguments of prompts and variables of URI templates may have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from text",
    label = "does not implement `FromStr`",
    note = "arguments of prompts and variables of URI templates are text: take a `String`, or a type that implements `std::str::FromStr`"
)]
pub trait FromText: FromStr {}

#[diagnostic::do_not_recommend]
impl<T: FromStr> FromText for T {}

/// Returns an argument of a prompt.
///
/// # Errors
/// As [`Context::prompt_argument`].
pub fn prompt_argument<T: FromText>(ctx: &Context, name: &str) -> Result<T, Failure> {
    ctx.prompt_argument(name)
}

/// Returns an argument of a prompt that may be left out.
///
/// # Errors
/// As [`Context::optional_prompt_argument`].
pub fn optional_prompt_argument<T: FromText>(ctx: &Context, name: &str) -> Result<Option<T>, Failure> {
    ctx.optional_prompt_argument(name)
}

/// Returns a variable of a URI template.
///
/// # Errors
/// As [`Context::variable`].
pub fn variable<T: FromText>(ctx: &Context, name: &str) -> Result<T, Failure> {
    ctx.variable(name)
}

/// Returns a variable of a URI template that may be missing.
///
/// # Errors
/// As [`Context::optional_variable`].
pub fn optional_variable<T: FromText>(ctx: &Context, name: &str) -> Result<Option<T>, Failure> {
    ctx.optional_variable(name)
}

/// Suggests those of `values` that fit what was typed.
pub fn complete_from<V: AsRef<str>>(values: &[V], typed: &CompletionContext) -> CompletionFuture {
    Box::pin(ready(Ok(Completion::ranked(values, typed.value()))))
}

/// Suggests nothing.
#[must_use]
pub fn complete_nothing() -> CompletionFuture {
    Box::pin(ready(Ok(Completion::none())))
}

/// Suggests what a function returned, or what the future it returned ends in.
pub fn complete_with<M>(returned: impl Completes<M>) -> CompletionFuture {
    returned.complete()
}

/// Something that a completion function returns; `M` tells the two ways apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot complete an argument",
    label = "not a completion",
    note = "return `Vec<String>`, an array or a slice of text, `Completion`, or a `Result` of these; the function may be async"
)]
pub trait Completes<M> {
    /// Returns the completion.
    fn complete(self) -> CompletionFuture;
}

/// Marks a value.
#[derive(Debug)]
pub struct Now;

/// Marks a future.
#[derive(Debug)]
pub struct Later;

#[diagnostic::do_not_recommend]
impl<C: IntoCompletion> Completes<Now> for C {
    fn complete(self) -> CompletionFuture {
        Box::pin(ready(self.into_completion()))
    }
}

#[diagnostic::do_not_recommend]
impl<F> Completes<Later> for F
where
    F: Future<Output: IntoCompletion> + Send + 'static,
{
    fn complete(self) -> CompletionFuture {
        Box::pin(async move { self.await.into_completion() })
    }
}
