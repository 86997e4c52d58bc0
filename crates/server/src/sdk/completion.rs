//! Completions: what an argument of a prompt or a variable of a template may be, given what was typed so far.

use std::future::{Future, ready};
use std::pin::Pin;

use trunkline_service::{Failure, Reply};

use super::Context;

/// Values that leave the server at most; more are told by `hasMore`. Spec: 2026-07-28 server/utilities/completion.
const MAX_VALUES: usize = 100;

/// A completion in the making.
pub type CompletionFuture = Pin<Box<dyn Future<Output = Result<Completion, Failure>> + Send + 'static>>;

/// Suggestions, best first. Spec: 2026-07-28 schema#completeresult
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// The values; what is over 100 is cut off.
    pub values: Vec<String>,
    /// How many there are in all, where that is known; less than the values given counts as their number. The number of values
    /// given, if not said, unless [`has_more`](Self::has_more) says that it is unknown.
    pub total: Option<u64>,
    /// There are more than were given.
    pub has_more: bool,
}

impl Completion {
    /// Suggests nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Suggests those of `values` that have to do with what was typed: first those that begin with it, then those that hold
    /// it, whatever the case; otherwise in the order given.
    #[must_use]
    pub fn ranked<V: AsRef<str>>(values: impl IntoIterator<Item = V>, typed: &str) -> Self {
        let typed = typed.to_lowercase();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for value in values {
            let lower = value.as_ref().to_lowercase();
            if lower.starts_with(&typed) {
                first.push(value.as_ref().to_owned());
            } else if lower.contains(&typed) {
                second.push(value.as_ref().to_owned());
            }
        }
        first.append(&mut second);
        Self { values: first, total: None, has_more: false }
    }

    /// Makes the result, with at most [`MAX_VALUES`].
    pub(crate) fn into_reply(mut self) -> Reply {
        let given = self.values.len() as u64;
        let total = self.total.unwrap_or(given).max(given);
        self.values.truncate(MAX_VALUES);
        let has_more = self.has_more || total > self.values.len() as u64;
        let total = if self.has_more && self.total.is_none() { None } else { Some(total) };
        let mut completion = serde_json::Map::new();
        completion.insert("values".into(), self.values.into());
        completion.extend(total.map(|total| ("total".to_owned(), total.into())));
        completion.insert("hasMore".into(), has_more.into());
        Reply::from_members(format!("\"completion\":{}", serde_json::Value::Object(completion)).into_bytes())
    }
}

/// Something that a completion function may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot complete an argument",
    note = "return `Vec<String>`, an array or a slice of text, `Completion`, or a `Result` of these"
)]
pub trait IntoCompletion {
    /// Makes the completion.
    ///
    /// # Errors
    /// Why there is none.
    fn into_completion(self) -> Result<Completion, Failure>;
}

impl IntoCompletion for Completion {
    fn into_completion(self) -> Result<Completion, Failure> {
        Ok(self)
    }
}

/// Lists of text, in the order given.
macro_rules! lists {
    ($([$($generics:tt)*] $list:ty),*) => {$(
        impl<$($generics)*> IntoCompletion for $list {
            fn into_completion(self) -> Result<Completion, Failure> {
                let values = self.into_iter().map(|value| value.to_string()).collect();
                Ok(Completion { values, ..Completion::default() })
            }
        }
    )*};
}

lists!([] Vec<String>, [] Vec<&str>, [] &[&str], [const N: usize] [&str; N], [const N: usize] [String; N]);

impl<C: IntoCompletion> IntoCompletion for Option<C> {
    fn into_completion(self) -> Result<Completion, Failure> {
        self.map_or_else(|| Ok(Completion::none()), IntoCompletion::into_completion)
    }
}

impl<C: IntoCompletion, E: Into<Failure>> IntoCompletion for Result<C, E> {
    fn into_completion(self) -> Result<Completion, Failure> {
        self.map_err(Into::into)?.into_completion()
    }
}

/// What is known while an argument is being typed. Spec: 2026-07-28 schema#completerequest
#[derive(Debug, Clone)]
pub struct CompletionContext {
    ctx: Context,
    value: String,
    others: Vec<(String, String)>,
}

impl CompletionContext {
    pub(crate) fn new(ctx: Context, value: String, others: Vec<(String, String)>) -> Self {
        Self { ctx, value, others }
    }

    /// Returns what was typed so far.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns another argument that was filled in already.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.others.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the call: its caller, the server's state, its cancellation.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Returns a clone of the state of that type.
    ///
    /// # Errors
    /// As [`Context::state`].
    pub fn state<T: std::any::Any + Clone + Send + Sync>(&self) -> Result<T, Failure> {
        self.ctx.state()
    }
}

/// A completion that suggests nothing.
pub(crate) fn nothing() -> CompletionFuture {
    Box::pin(ready(Ok(Completion::none())))
}
