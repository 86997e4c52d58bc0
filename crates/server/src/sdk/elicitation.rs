//! Asking the user: a form made from a Rust type, or an address to open.

use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::address::problem_of_page;
use super::dialogue::capability::Need;
use super::dialogue::flatten::flatten;
use super::dialogue::form::Form;
use super::dialogue::question::{Asking, Question, ask};
use super::{Context, ToolError};

/// What a user can be asked for: a struct whose fields are text, numbers, booleans, enums of plain names, lists of these enums,
/// or `Option`s of any of them.
///
/// Every type that can be read and describes itself has it; whether its shape fits a form shows when it is first asked for.
/// [`form_schema`] tells in a test. Constraints of `#[schemars(length, range)]` are shown and checked; so are the formats
/// `email`, `uri`, `date` and `date-time` (`#[schemars(extend("format" = "email"))]`). Doc comments become descriptions.
/// Spec: 2026-07-28 client/elicitation#requested-schema.
pub trait Elicit: DeserializeOwned + JsonSchema + Send + 'static {}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Elicit for T {}

/// What became of a question to the user. Spec: 2026-07-28 client/elicitation#response-actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elicited<T> {
    /// The user filled the form in.
    Accepted(T),
    /// The user said no.
    Declined,
    /// The user closed the form without a choice.
    Cancelled,
}

impl<T> Elicited<T> {
    /// Returns what was filled in, or the error that ends a tool whose user does not want to go on.
    ///
    /// # Errors
    /// A text that says whether the user declined or closed the form, for the model to act on.
    pub fn accepted(self) -> Result<T, ToolError> {
        match self {
            Self::Accepted(answer) => Ok(answer),
            Self::Declined => {
                Err(ToolError::new("the user declined to answer; do not ask again unless told to"))
            }
            Self::Cancelled => Err(ToolError::new("the user closed the question without an answer")),
        }
    }

    /// Returns what was filled in, if it was.
    #[must_use]
    pub fn ok(self) -> Option<T> {
        match self {
            Self::Accepted(answer) => Some(answer),
            Self::Declined | Self::Cancelled => None,
        }
    }

    /// Tells whether the form was filled in.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    /// Makes something else of what was filled in.
    #[must_use]
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Elicited<U> {
        match self {
            Self::Accepted(answer) => Elicited::Accepted(make(answer)),
            Self::Declined => Elicited::Declined,
            Self::Cancelled => Elicited::Cancelled,
        }
    }
}

/// What became of an address the user was asked to open.
///
/// `Accepted` means that the user agreed to open it, not that anything was done there: look at your own state, and ask again
/// while it is not done. Spec: 2026-07-28 client/elicitation#url-mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// The user agreed to open it.
    Accepted,
    /// The user said no.
    Declined,
    /// The user closed the question without a choice.
    Cancelled,
}

impl Consent {
    /// Goes on when the user agreed.
    ///
    /// # Errors
    /// A text that says whether the user declined or closed the question, for the model to act on.
    pub fn accepted(self) -> Result<(), ToolError> {
        match self {
            Self::Accepted => Elicited::Accepted(()),
            Self::Declined => Elicited::Declined,
            Self::Cancelled => Elicited::Cancelled,
        }
        .accepted()
    }
}

/// Why a type is no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a form cannot be made of `{name}`: {reason}")]
pub struct NotAForm {
    name: String,
    reason: String,
}

/// Returns the schema that [`Context::elicit`] sends for `T`: what a test of a server checks its types with.
///
/// # Errors
/// [`NotAForm`] names the field in the way.
pub fn form_schema<T: Elicit>() -> Result<Value, NotAForm> {
    let not_a_form = |reason| NotAForm { name: T::schema_name().into_owned(), reason };
    let schema = flatten::<T>().map_err(not_a_form)?;
    Form::parse(schema).map(|form| form.schema).map_err(not_a_form)
}

/// The answer as it comes. Spec: 2026-07-28 schema#elicitresult
#[derive(Deserialize)]
struct ElicitResult {
    action: Action,
    #[serde(default)]
    content: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Accept,
    Decline,
    Cancel,
}

// --- A form ---

/// A form that is about to be shown; `.await` it, or join it with other questions.
#[must_use = "nothing is asked unless it is awaited"]
pub struct Elicitation<T>(Asking<FormParts, Elicited<T>>);

struct FormParts {
    ctx: Context,
    message: String,
    key: Option<String>,
    schema: Option<Value>,
}

impl<T> fmt::Debug for Elicitation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elicitation").finish_non_exhaustive()
    }
}

impl<T> Elicitation<T> {
    /// Names the question; without it questions are `q1`, `q2` and so on. A name used twice in a call gets a number.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.change(|parts| parts.key = Some(key.into()));
        self
    }

    /// Shows this form instead of the one made from `T`: a `requestedSchema` written by hand. `T` reads what was filled in, and
    /// may be `serde_json::Value`.
    pub fn schema(mut self, schema: Value) -> Self {
        self.0.change(|parts| parts.schema = Some(schema));
        self
    }
}

impl<T: Elicit> Future for Elicitation<T> {
    type Output = Elicited<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Elicited<T>> {
        self.0.poll_with(cx, ask_form)
    }
}

async fn ask_form<T: Elicit>(parts: FormParts) -> Elicited<T> {
    let FormParts { ctx, message, key, schema } = parts;
    let schema = match schema {
        Some(schema) => Ok(schema),
        None => form_schema::<T>().map_err(|error| error.to_string()),
    };
    let (form, question) = match schema.and_then(Form::parse) {
        Err(problem) => (None, Err(problem)),
        Ok(form) => {
            let params = json!({ "mode": "form", "message": message, "requestedSchema": form.schema });
            let question = Question { key, need: Need::Form, method: "elicitation/create", params };
            (Some(form), Ok(question))
        }
    };
    ask(&ctx, question, |answer| read(form.as_ref()?, answer)).await
}

/// Makes something of an answer; `None` when it does not fit.
fn read<T: DeserializeOwned>(form: &Form, answer: &RawValue) -> Option<Elicited<T>> {
    let ElicitResult { action, content } = serde_json::from_str(answer.get()).ok()?;
    match action {
        Action::Decline => Some(Elicited::Declined),
        Action::Cancel => Some(Elicited::Cancelled),
        Action::Accept => {
            let content = form.read(content.unwrap_or_default())?;
            serde_json::from_value(Value::Object(content)).ok().map(Elicited::Accepted)
        }
    }
}

// --- An address ---

/// An address the user is about to be asked to open; `.await` it, or join it with other questions.
#[must_use = "nothing is asked unless it is awaited"]
pub struct UrlElicitation(Asking<UrlParts, Consent>);

struct UrlParts {
    ctx: Context,
    message: String,
    url: String,
    key: Option<String>,
}

impl fmt::Debug for UrlElicitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlElicitation").finish_non_exhaustive()
    }
}

impl UrlElicitation {
    /// Names the question, as for [`Elicitation::key`].
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.change(|parts| parts.key = Some(key.into()));
        self
    }
}

impl Future for UrlElicitation {
    type Output = Consent;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Consent> {
        self.0.poll_with(cx, ask_url)
    }
}

async fn ask_url(parts: UrlParts) -> Consent {
    let UrlParts { ctx, message, url, key } = parts;
    let question = match problem_of_page(&url) {
        Some(problem) => Err(format!("the address to be opened cannot be used: {problem}")),
        None => {
            let params = json!({ "mode": "url", "message": message, "url": url });
            Ok(Question { key, need: Need::Url, method: "elicitation/create", params })
        }
    };
    let read = |answer: &RawValue| {
        let result: ElicitResult = serde_json::from_str(answer.get()).ok()?;
        Some(match result.action {
            Action::Accept => Consent::Accepted,
            Action::Decline => Consent::Declined,
            Action::Cancel => Consent::Cancelled,
        })
    };
    ask(&ctx, question, read).await
}

impl Context {
    /// Asks the user to fill in a form made from `T`.
    ///
    /// Reads like any other await, and is none: the request ends here, and the function runs again from its start when the
    /// answer came (see [`dialogue`](super::dialogue)). What must not happen twice before it belongs in a
    /// [`step`](Self::step). The same form must be asked for again: put into a step what `message` takes from elsewhere. An
    /// answer that does not fit is asked for again. Never ask for passwords or keys by a form; use
    /// [`elicit_url`](Self::elicit_url).
    ///
    /// A client that declared no forms ends the call with -32021; [`can_elicit`](Self::can_elicit) tells before. A `T` that is
    /// no form fails the call and says why. Spec: 2026-07-28 client/elicitation.
    ///
    /// # Cancel safety
    /// A question that is dropped is not asked, or its answer is not looked at.
    pub fn elicit<T: Elicit>(&self, message: impl Into<String>) -> Elicitation<T> {
        let (ctx, message) = (self.clone(), message.into());
        Elicitation(Asking::Built(FormParts { ctx, message, key: None, schema: None }))
    }

    /// Asks the user to open an address, for what must not pass through the client: credentials, payments, consent.
    ///
    /// `url` is an absolute `https:` or `http:` address without credentials, of at most 2048 bytes; another one fails the call and
    /// says why. It must be the same when the function runs again: draw a token for it in a [`step`](Self::step). A client that
    /// declared no addresses ends the call with -32021; [`can_elicit_url`](Self::can_elicit_url) tells before.
    /// Spec: 2026-07-28 client/elicitation#url-mode.
    ///
    /// # Cancel safety
    /// As for [`elicit`](Self::elicit).
    pub fn elicit_url(&self, message: impl Into<String>, url: impl Into<String>) -> UrlElicitation {
        let (ctx, message, url) = (self.clone(), message.into(), url.into());
        UrlElicitation(Asking::Built(UrlParts { ctx, message, url, key: None }))
    }
}
