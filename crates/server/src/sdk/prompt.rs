//! Prompts: messages a person chooses by name, made from a few strings.

use std::any::TypeId;
use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use trunkline_protocol::write;
use trunkline_service::{Failure, FailureKind, Outcome, Reply};

use super::completion::nothing;
use super::content::{IntoPart, PartWriter};
use super::markers::given_as_value_or_function;
use super::{CompletionContext, CompletionFuture, Context, Icon, PromptError, Role, ToolFuture};

/// Something clients can get messages from by name. Written by `#[prompt]`, or made from a closure with
/// [`DynPrompt`](super::DynPrompt). Spec: 2026-07-28 server/prompts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no prompt",
    label = "not a prompt",
    note = "put `#[prompt]` above the function, or make one from a closure with `DynPrompt::new(\"name\").handler(..)`"
)]
pub trait Prompt: Send + Sync + 'static {
    /// Describes the prompt. Asked for once, when the server is built.
    fn spec(&self) -> PromptSpec;

    /// Makes the messages.
    fn get(&self, ctx: Context) -> ToolFuture;

    /// Suggests values of an argument. Nothing, if not said.
    fn complete(&self, argument: &str, ctx: CompletionContext) -> CompletionFuture {
        let _ = (argument, ctx);
        nothing()
    }
}

/// What a server takes as a prompt: a [`Prompt`], or a function without arguments that returns one, which is what `#[prompt]`
/// leaves under the function's name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no prompt",
    label = "not a prompt",
    note = "put `#[prompt]` above the function, or make one from a closure with `DynPrompt::new(\"name\").handler(..)`"
)]
pub trait IntoPrompt<M> {
    /// The prompt.
    type Prompt: Prompt;

    /// Makes it.
    fn into_prompt(self) -> Self::Prompt;
}

given_as_value_or_function!(IntoPrompt, Prompt, into_prompt);

impl Prompt for Arc<dyn Prompt> {
    fn spec(&self) -> PromptSpec {
        (**self).spec()
    }

    fn get(&self, ctx: Context) -> ToolFuture {
        (**self).get(ctx)
    }

    fn complete(&self, argument: &str, ctx: CompletionContext) -> CompletionFuture {
        (**self).complete(argument, ctx)
    }
}

/// One argument of a prompt; a string on the wire. Spec: 2026-07-28 schema#promptargument
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct PromptArgument {
    pub(crate) name: Cow<'static, str>,
    pub(crate) title: Option<Cow<'static, str>>,
    pub(crate) description: Option<Cow<'static, str>>,
    pub(crate) required: bool,
    pub(crate) completes: bool,
}

impl PromptArgument {
    /// Describes an argument that may be left out.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), title: None, description: None, required: false, completes: false }
    }

    /// Gives a name for people.
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Says what it is.
    pub fn description(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Says whether it must be given.
    pub fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }

    /// Says that values are suggested for it.
    pub fn completes(mut self, completes: bool) -> Self {
        self.completes = completes;
        self
    }
}

/// Describes a prompt. Spec: 2026-07-28 schema#prompt
#[derive(Debug, Clone)]
#[must_use]
pub struct PromptSpec {
    pub(crate) name: Cow<'static, str>,
    pub(crate) title: Option<Cow<'static, str>>,
    pub(crate) description: Cow<'static, str>,
    pub(crate) arguments: Vec<PromptArgument>,
    pub(crate) icons: Vec<Icon>,
    pub(crate) meta: Option<Value>,
    pub(crate) states: Vec<(TypeId, &'static str)>,
}

impl PromptSpec {
    /// Describes a prompt of that name.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            title: None,
            description: Cow::Borrowed(""),
            arguments: Vec::new(),
            icons: Vec::new(),
            meta: None,
            states: Vec::new(),
        }
    }

    /// Gives a name for people.
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Says what it is for.
    pub fn description(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.description = description.into();
        self
    }

    /// Adds an argument.
    pub fn argument(mut self, argument: PromptArgument) -> Self {
        self.arguments.push(argument);
        self
    }

    /// Adds an icon.
    pub fn icon(mut self, icon: Icon) -> Self {
        self.icons.push(icon);
        self
    }

    /// Sets the `_meta` object that is listed with the prompt.
    pub fn meta(mut self, meta: Value) -> Self {
        self.meta = Some(meta);
        self
    }

    /// Names the types of state the prompt asks for, so that a server without one of them is not built.
    pub fn states(mut self, states: &[(TypeId, &'static str)]) -> Self {
        self.states.extend_from_slice(states);
        self
    }
}

/// One message of a prompt: exactly one block of content. Spec: 2026-07-28 schema#promptmessage
#[derive(Debug)]
#[must_use]
pub struct PromptMessage {
    role: Role,
    content: PartWriter,
}

impl PromptMessage {
    /// Says something as `role`. `content` must be one block; of several the first is taken.
    pub fn new(role: Role, content: impl IntoPart) -> Self {
        let mut writer = PartWriter::new();
        content.write_to(&mut writer);
        Self { role, content: writer }
    }

    /// Says something as the person.
    pub fn user(content: impl IntoPart) -> Self {
        Self::new(Role::User, content)
    }

    /// Says something as the model.
    pub fn assistant(content: impl IntoPart) -> Self {
        Self::new(Role::Assistant, content)
    }
}

/// The messages of a prompt. Spec: 2026-07-28 schema#getpromptresult
#[derive(Debug, Default)]
#[must_use]
pub struct PromptMessages {
    description: Option<String>,
    messages: Vec<PromptMessage>,
}

impl PromptMessages {
    /// Starts without a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what these messages are for.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds a message.
    pub fn message(mut self, message: PromptMessage) -> Self {
        self.messages.push(message);
        self
    }

    /// Adds what the person says.
    pub fn user(self, content: impl IntoPart) -> Self {
        self.message(PromptMessage::user(content))
    }

    /// Adds what the model says.
    pub fn assistant(self, content: impl IntoPart) -> Self {
        self.message(PromptMessage::assistant(content))
    }
}

/// Something a prompt may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a prompt",
    label = "not messages",
    note = "return text (one message of the user), `PromptMessage`, `PromptMessages`, a list of messages, or a `Result` of these"
)]
pub trait IntoPromptResult {
    /// Makes the result.
    ///
    /// # Errors
    /// Why the request failed.
    fn into_outcome(self, ctx: &Context) -> Outcome;
}

impl IntoPromptResult for PromptMessages {
    fn into_outcome(self, _: &Context) -> Outcome {
        let mut out = Vec::with_capacity(256);
        if let Some(description) = &self.description {
            out.extend_from_slice(br#""description":"#);
            write::string(&mut out, description);
            out.push(b',');
        }
        out.extend_from_slice(br#""messages":["#);
        let mut links = false;
        for (number, message) in self.messages.into_iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            out.extend_from_slice(br#"{"role":""#);
            out.extend_from_slice(message.role.as_str().as_bytes());
            out.extend_from_slice(br#"","content":"#);
            links |= message.content.write_one(&mut out).map_err(unwritable)?;
            out.push(b'}');
        }
        out.push(b']');
        let reply = Reply::from_members(out);
        Ok(if links { reply.with_links() } else { reply })
    }
}

fn unwritable(error: serde_json::Error) -> Failure {
    Failure::new(FailureKind::Internal, "the prompt could not be written").with_source(error)
}

/// One message of the user.
macro_rules! one_message {
    ($($text:ty),*) => {$(
        impl IntoPromptResult for $text {
            fn into_outcome(self, ctx: &Context) -> Outcome {
                PromptMessages::new().user(self).into_outcome(ctx)
            }
        }
    )*};
}

one_message!(String, &'static str, Cow<'static, str>);

impl IntoPromptResult for PromptMessage {
    fn into_outcome(self, ctx: &Context) -> Outcome {
        PromptMessages::new().message(self).into_outcome(ctx)
    }
}

impl IntoPromptResult for Vec<PromptMessage> {
    fn into_outcome(self, ctx: &Context) -> Outcome {
        PromptMessages { description: None, messages: self }.into_outcome(ctx)
    }
}

impl<const N: usize> IntoPromptResult for [PromptMessage; N] {
    fn into_outcome(self, ctx: &Context) -> Outcome {
        Vec::from(self).into_outcome(ctx)
    }
}

impl<T: IntoPromptResult, E: Into<PromptError>> IntoPromptResult for Result<T, E> {
    fn into_outcome(self, ctx: &Context) -> Outcome {
        match self {
            Ok(value) => value.into_outcome(ctx),
            Err(error) => Err(error.into().into()),
        }
    }
}
