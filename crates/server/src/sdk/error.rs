//! Errors of tools, prompts and resources: texts for models on one side, failures of requests on the other.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use trunkline_service::{Chain, Failure, FailureKind, Outcome, Reply};

type Source = Box<dyn Error + Send + Sync>;

/// Why a tool could not do what was asked: a result with `isError`, whose text a model can act on.
///
/// Made from a text with `?`, from an own error type through its `From`, or from a [`Failure`] where the request itself was
/// not acceptable. The text is sent to the client: say what was wrong, what was found and what to do, and keep addresses,
/// paths and secrets out of it. Spec: 2026-07-28 server/tools#error-handling.
#[derive(Debug)]
pub struct ToolError(Kind);

#[derive(Debug)]
enum Kind {
    Result { text: Cow<'static, str>, source: Option<Source> },
    Request(Failure),
}

impl ToolError {
    /// Makes an error from the text a model reads.
    #[must_use]
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(Kind::Result { text: text.into(), source: None })
    }

    /// Makes an error that shows the text of `error`, without its causes: those go to the log.
    #[must_use]
    pub fn from_error(error: impl Error + Send + Sync + 'static) -> Self {
        let text = error.to_string();
        Self(Kind::Result { text: text.into(), source: Some(Box::new(error)) })
    }

    /// Adds the cause, for the log alone.
    #[must_use]
    pub fn with_source(mut self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        match &mut self.0 {
            Kind::Result { source, .. } => *source = Some(error.into()),
            Kind::Request(_) => {}
        }
        self
    }

    /// Returns the text that is sent.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.0 {
            Kind::Result { text, .. } => text,
            Kind::Request(failure) => failure.public(),
        }
    }

    /// Ends a call with this error: in a result, or in the failure it was made from.
    ///
    /// # Errors
    /// The failure it was made from.
    pub fn into_outcome(self) -> Outcome {
        self.into_text().map(|text| Reply::tool_error(&text))
    }

    /// The text for a result, after the cause went to the log.
    pub(crate) fn into_text(self) -> Result<Cow<'static, str>, Failure> {
        match self.0 {
            Kind::Result { text, source } => {
                if let Some(source) = source {
                    tracing::warn!(error = %Chain(&*source), "a tool reported an error");
                }
                Ok(text)
            }
            Kind::Request(failure) => Err(failure),
        }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Error for ToolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Result { source, .. } => source.as_ref().map(|source| &**source as &(dyn Error + 'static)),
            Kind::Request(failure) => failure.source(),
        }
    }
}

impl From<&'static str> for ToolError {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

impl From<String> for ToolError {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Failure> for ToolError {
    fn from(failure: Failure) -> Self {
        Self(Kind::Request(failure))
    }
}

/// Why a prompt could not be made. Prompts have no error results, so it fails the request with -32602, or with the failure it
/// was made from. Spec: 2026-07-28 server/prompts#error-handling.
#[derive(Debug)]
pub struct PromptError(Failure);

impl PromptError {
    /// Makes an error from the text the client reads.
    #[must_use]
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(Failure::new(FailureKind::InvalidParams, text))
    }

    /// Adds the cause, for the log alone.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(self.0.with_source(source))
    }
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for PromptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl From<&'static str> for PromptError {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

impl From<String> for PromptError {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Failure> for PromptError {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl From<PromptError> for Failure {
    fn from(error: PromptError) -> Self {
        error.0
    }
}

/// Why a resource could not be read. Spec: 2026-07-28 server/resources#error-handling.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResourceError {
    /// There is no such resource: -32602 with the URI (-32002 for clients of older revisions).
    NotFound,
    /// The request failed otherwise.
    Failed(Failure),
}

impl ResourceError {
    /// Makes an error from the text the client reads.
    #[must_use]
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed(Failure::new(FailureKind::Internal, text))
    }
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such resource"),
            Self::Failed(failure) => fmt::Display::fmt(failure, f),
        }
    }
}

impl Error for ResourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotFound => None,
            Self::Failed(failure) => failure.source(),
        }
    }
}

impl From<&'static str> for ResourceError {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

impl From<String> for ResourceError {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Failure> for ResourceError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
