//! What a call knows and can do: its request, its caller, the server's state, and the way back to the client.

mod news;
mod values;

use std::any::{Any, type_name};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{Method, Revision};
use trunkline_service::{Caller, Failure, FailureKind, Hints, Request};

pub use news::TraceContext;
pub(crate) use values::missing_argument;

use super::dialogue::{Facilities, Slot};
use super::unit::{Core, OutputCheck, PromptUnit, ResourceUnit, Shard, ToolUnit};
use super::{ServerHandle, ToolError};

/// One call of a tool, a prompt or a resource. Cheap to clone; may be moved into whatever the call starts.
///
/// How a call asks its client for more ([`elicit`](Self::elicit), [`sample`](Self::sample), [`step`](Self::step)) is told in
/// [`dialogue`](super::dialogue).
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    request: Request,
    shard: Arc<Shard>,
    /// Arguments to read in place of those of the request.
    arguments: Option<Vec<u8>>,
    cancellation: OnceLock<CancellationToken>,
    deadline: OnceLock<Option<Instant>>,
    ended: AtomicBool,
    dialogue: Slot,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("method", &self.0.request.method())
            .field("name", &self.unit_name())
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Inlined: every call not made is one copy of the request less.
    #[inline(always)]
    pub(crate) fn new(request: Request, shard: &Arc<Shard>, arguments: Option<Vec<u8>>) -> Self {
        Self(Arc::new(Inner {
            request,
            shard: Arc::clone(shard),
            arguments,
            cancellation: OnceLock::new(),
            deadline: OnceLock::new(),
            ended: AtomicBool::new(false),
            dialogue: Slot::default(),
        }))
    }

    /// Returns the request as it came.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.0.request
    }

    /// Returns who asks.
    #[must_use]
    pub fn caller(&self) -> &Arc<Caller> {
        self.0.request.caller()
    }

    /// Returns the client's capabilities as raw JSON; empty when unknown.
    #[must_use]
    pub fn client_capabilities(&self) -> &[u8] {
        self.0.request.client_capabilities()
    }

    /// Returns the revision the client speaks.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.0.request.revision()
    }

    /// Returns when an answer is of no use any more; `None` for never, and in a task.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.in_task() {
            return None;
        }
        *self.0.deadline.get_or_init(|| self.0.request.ends())
    }

    /// Returns a token that is cancelled when the call is dropped before it ended: the client cancelled or left, the deadline
    /// passed, or the server stops. For work that the call gave to others; what it awaits itself is dropped with it.
    #[must_use]
    pub fn cancellation(&self) -> CancellationToken {
        let token = self.0.cancellation.get_or_init(CancellationToken::new);
        if self.0.ended.load(Ordering::Acquire) {
            token.cancel();
        }
        token.clone()
    }

    /// Says that the call was dropped before it ended.
    pub(crate) fn dropped(&self) {
        self.0.ended.store(true, Ordering::Release);
        if let Some(token) = self.0.cancellation.get() {
            token.cancel();
        }
    }

    /// Decodes the arguments; absent ones are an empty object.
    ///
    /// They are read straight from the bytes of the request. A number or a list that came as a string is taken where the
    /// schema leaves no other reading, and members that hosts add are passed over.
    ///
    /// # Errors
    /// An error result that names what does not fit, what was found there and what is allowed.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, ToolError> {
        let raw = self.raw_arguments();
        // Looked at as text once, instead of once for each string in it.
        let decoded = match std::str::from_utf8(raw) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(raw),
        };
        match decoded {
            Ok(arguments) => Ok(arguments),
            Err(error) => match self.tool() {
                Some(unit) => unit.plan.decode_again(raw, &error),
                None => Err(super::arguments::undecodable(&error)),
            },
        }
    }

    /// Returns the arguments as raw JSON: an object, `{}` when there are none.
    #[must_use]
    pub fn raw_arguments(&self) -> &[u8] {
        match &self.0.arguments {
            Some(arguments) => arguments,
            None => self.0.request.arguments(),
        }
    }

    /// Returns a clone of the value of that type that was given to [`Server::state`](super::Server::state).
    ///
    /// # Errors
    /// `Internal` when there is none. A server whose tools name their state, as those of `#[tool]` do, is not built then.
    pub fn state<T: Any + Clone + Send + Sync>(&self) -> Result<T, Failure> {
        self.core().states.get::<T>().cloned().ok_or_else(|| {
            Failure::new(FailureKind::Internal, "internal error").with_source(format!(
                "`{}` asks for state of type `{}`, which the server was not given; add `.state(..)`",
                self.unit_name(),
                type_name::<T>()
            ))
        })
    }

    /// Returns the URI being read; empty where none is.
    #[must_use]
    pub fn uri(&self) -> Cow<'_, str> {
        self.0.request.uri().unwrap_or_default()
    }

    /// Returns the server, to change its lists or to tell of changes.
    #[must_use]
    pub fn server(&self) -> ServerHandle {
        ServerHandle::of(self.core().hub.get().cloned().unwrap_or_default())
    }

    pub(crate) fn core(&self) -> &Core {
        &self.0.shard.0.core
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.0.dialogue
    }

    pub(crate) fn facilities(&self) -> &Facilities {
        &self.core().facilities
    }

    fn target(&self) -> usize {
        self.0.request.target() as usize
    }

    /// The tool being called, if one is.
    pub(crate) fn tool(&self) -> Option<&ToolUnit> {
        (self.0.request.method() == Method::ToolsCall)
            .then(|| self.0.shard.0.tools.get(self.target()))?
            .map(|unit| &**unit)
    }

    fn prompt(&self) -> Option<&PromptUnit> {
        (self.0.request.method() == Method::PromptsGet)
            .then(|| self.0.shard.0.prompts.get(self.target()))?
            .map(|unit| &**unit)
    }

    fn resource(&self) -> Option<&ResourceUnit> {
        (self.0.request.method() == Method::ResourcesRead)
            .then(|| self.0.shard.0.resources.get(self.target()))?
            .map(|unit| &**unit)
    }

    /// The name of what is called, for the log.
    pub(crate) fn unit_name(&self) -> &str {
        let tool = || self.tool().map(|unit| &*unit.name);
        let prompt = || self.prompt().map(|unit| &*unit.name);
        let resource = || self.resource().map(|unit| &*unit.name);
        tool().or_else(prompt).or_else(resource).unwrap_or_default()
    }

    /// What contents of the resource being read have where they do not say so themselves.
    pub(crate) fn resource_defaults(&self) -> (Option<&str>, Hints) {
        match self.resource() {
            Some(unit) => (unit.mime_type.as_deref(), unit.hints),
            None => (None, super::resource::NOT_CACHED),
        }
    }

    pub(crate) fn max_result(&self) -> usize {
        self.core().max_result
    }

    /// Checks `structuredContent` where the tool's schema demands more than its type sees to.
    ///
    /// # Errors
    /// `Internal`: what does not fit is the server's fault, told to its log and not to the client.
    pub(crate) fn check_output(&self, json: &[u8]) -> Result<(), Failure> {
        let Some((unit, (validator, check))) =
            self.tool().and_then(|unit| Some((unit, unit.output.as_ref()?)))
        else {
            return Ok(());
        };
        if *check == OutputCheck::WithNull && memchr::memmem::find(json, b"null").is_none() {
            return Ok(());
        }
        let value = serde_json::from_slice(json).map_err(|error| unfit(&unit.name, error.to_string()))?;
        if validator.is_valid(&value) {
            return Ok(());
        }
        let super::arguments::Explained(text) =
            super::arguments::explain(&serde_json::Value::Null, validator, &value, "result");
        Err(unfit(&unit.name, text))
    }
}

fn unfit(tool: &str, problems: String) -> Failure {
    let text = format!("the result of `{tool}` does not fit its own output schema, so it was not sent");
    Failure::new(FailureKind::Internal, text).with_source(problems)
}
