//! From what a tool returns to its result.

mod parts;

use std::future::Future;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trunkline_service::{Failure, FailureKind, Outcome, Reply};

pub use parts::{IntoStreamPart, Parts};

use super::content::{IntoPart, PartWriter};
use super::{Context, ToolError};

/// Something a tool may return.
///
/// Everything that is content ([`IntoPart`]) is: text, numbers, [`Json`], pictures, links, lists and tuples of these; also
/// [`ToolResult`] for full control, [`Parts`] for a stream, and a `Result` of any of them with an error that becomes a
/// [`ToolError`]. Spec: 2026-07-28 server/tools#tool-result.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a tool",
    label = "not a result",
    note = "return text, content, `Json<T>` for a value of your own, `Parts` for a stream, or a `Result<T, E>` of these; an error `E` needs `impl From<E> for ToolError`"
)]
pub trait IntoToolResult: Sized + Send {
    /// Makes the result.
    ///
    /// # Cancel safety
    /// Dropping the future drops the value and whatever it was still reading from.
    fn into_outcome(self, ctx: &Context) -> impl Future<Output = Outcome> + Send;

    /// Returns the schema of `structuredContent`, for what brings some.
    #[must_use]
    fn output_schema() -> Option<Value> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<P: IntoPart> IntoToolResult for P {
    async fn into_outcome(self, ctx: &Context) -> Outcome {
        match self.into_reply() {
            Ok(reply) => Ok(reply),
            Err(part) => {
                let mut parts = PartWriter::new();
                part.write_to(&mut parts);
                finish(parts, false, None, ctx)
            }
        }
    }

    fn output_schema() -> Option<Value> {
        P::output_schema()
    }
}

impl<T: IntoToolResult, E: Into<ToolError> + Send> IntoToolResult for Result<T, E> {
    async fn into_outcome(self, ctx: &Context) -> Outcome {
        match self {
            Ok(value) => value.into_outcome(ctx).await,
            Err(error) => error.into().into_outcome(),
        }
    }

    fn output_schema() -> Option<Value> {
        T::output_schema()
    }
}

impl IntoToolResult for Reply {
    async fn into_outcome(self, _: &Context) -> Outcome {
        Ok(self)
    }
}

/// Closes a result, after a look at its structured part where the tool's schema asks for one.
pub(crate) fn finish(parts: PartWriter, is_error: bool, meta: Option<&Value>, ctx: &Context) -> Outcome {
    let finished = parts.finish(is_error, meta).map_err(|error| {
        Failure::new(FailureKind::Internal, "the result could not be written").with_source(error)
    })?;
    match finished.structured {
        Some(json) => ctx.check_output(&json).map(|()| finished.reply),
        None => Ok(finished.reply),
    }
}

/// A value as JSON: `structuredContent`, its twin as text, and the tool's output schema from its type.
///
/// As an argument of [`Resource`](super::Resource)s it is read back the same way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Json<T>(pub T);

/// A result put together by hand.
#[derive(Debug, Default)]
#[must_use]
pub struct ToolResult {
    parts: PartWriter,
    is_error: bool,
    meta: Option<Value>,
}

impl ToolResult {
    /// Starts an empty result.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a result that says that the tool could not do what was asked.
    pub fn error(text: &str) -> Self {
        Self::new().part(text).is_error(true)
    }

    /// Adds content.
    pub fn part(mut self, part: impl IntoPart) -> Self {
        part.write_to(&mut self.parts);
        self
    }

    /// Sets `structuredContent`, with its twin as a block of text. The first one counts; an error has none.
    pub fn structured<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.parts.json(value);
        self
    }

    /// Sets `structuredContent` without adding a text: the parts must say the same.
    pub fn structured_only<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.parts.structured_only(value);
        self
    }

    /// Says whether the tool could not do what was asked. Default: it could.
    pub fn is_error(mut self, is_error: bool) -> Self {
        self.is_error = is_error;
        self
    }

    /// Sets the result's `_meta` members: an object.
    pub fn meta(mut self, meta: Value) -> Self {
        self.meta = Some(meta);
        self
    }
}

impl IntoToolResult for ToolResult {
    async fn into_outcome(self, ctx: &Context) -> Outcome {
        finish(self.parts, self.is_error, self.meta.as_ref(), ctx)
    }
}
