//! One question to the client: what is sent, and the future that waits for an answer of the right shape.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::{self, Poll};

use serde_json::value::RawValue;
use serde_json::{Value, json};
use trunkline_service::{Failure, FailureKind};

use super::capability::Need;
use super::state::Dialogue;
use super::step::in_step;
use crate::sdk::Context;

/// What is asked. Spec: 2026-07-28 schema#inputrequest
#[derive(Debug)]
pub(crate) struct Question {
    /// The key the author chose; `None` for the next of `q1`, `q2` and so on.
    pub(crate) key: Option<String>,
    /// What the client must have declared.
    pub(crate) need: Need,
    /// `elicitation/create`, `sampling/createMessage` or `roots/list`.
    pub(crate) method: &'static str,
    /// The parameters; `Null` for none.
    pub(crate) params: Value,
}

impl Question {
    /// Returns the entry of `inputRequests`, written.
    pub(super) fn to_json(&self) -> String {
        match &self.params {
            Value::Null => json!({ "method": self.method }),
            params => json!({ "method": self.method, "params": params }),
        }
        .to_string()
    }
}

/// A question that is built up until it is first polled. Its own future, so that it can be awaited and joined alike.
pub(crate) enum Asking<P, O> {
    /// Nothing is asked yet.
    Built(P),
    /// It is asked.
    Running(Pin<Box<dyn Future<Output = O> + Send>>),
    /// It was answered.
    Done,
}

impl<P, O> Asking<P, O> {
    /// Changes what is not asked yet.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut P)) {
        if let Self::Built(parts) = self {
            change(parts);
        }
    }

    /// Polls the question that `start` makes of the parts.
    pub(crate) fn poll_with<F>(&mut self, cx: &mut task::Context<'_>, start: impl FnOnce(P) -> F) -> Poll<O>
    where
        F: Future<Output = O> + Send + 'static,
    {
        *self = match std::mem::replace(self, Self::Done) {
            Self::Built(parts) => Self::Running(Box::pin(start(parts))),
            other => other,
        };
        let Self::Running(future) = self else { return Poll::Pending };
        let answer = task::ready!(future.as_mut().poll(cx));
        *self = Self::Done;
        Poll::Ready(answer)
    }
}

/// Asks the client, again until `read` makes something of the answer. A question that was put together wrongly, or that the
/// client cannot be asked, ends the whole call: then this waits for ever and is dropped with the call.
pub(crate) async fn ask<O>(
    ctx: &Context,
    question: Result<Question, String>,
    read: impl Fn(&RawValue) -> Option<O>,
) -> O {
    let dialogue = ctx.slot().dialogue(ctx.request());
    let outside =
        question.and_then(|question| if in_step() { Err(INSIDE_STEP.to_owned()) } else { Ok(question) });
    let registered = outside.map_err(misuse).and_then(|question| {
        dialogue.capabilities().demand(question.need)?;
        dialogue.register(&question)
    });
    let number = match registered {
        Ok(number) => number,
        Err(failure) => return give_up(ctx, failure).await,
    };
    let place = Place { ctx, dialogue, number };
    ctx.slot().wake();
    loop {
        let answer = poll_fn(|cx| dialogue.poll_answer(number, cx)).await;
        if let Some(output) = read(&answer) {
            dialogue.accept(number, answer);
            drop(place);
            // Another question may be all that is left of the round, and whoever asked this one need not be the call itself.
            ctx.slot().wake();
            return output;
        }
        if !dialogue.ask_again(number) {
            drop(place);
            return give_up(ctx, Failure::new(FailureKind::InvalidParams, UNUSABLE)).await;
        }
        ctx.slot().wake();
    }
}

/// Ends the call that `ctx` belongs to with a failure; what awaits this goes no further.
pub(crate) async fn give_up<O>(ctx: &Context, failure: Failure) -> O {
    ctx.slot().dialogue(ctx.request()).fail(failure);
    ctx.slot().wake();
    pending().await
}

const INSIDE_STEP: &str = "a question is asked inside a step, where it cannot be answered: the round ends when no step runs; ask it before or after the step";

const UNUSABLE: &str = "no answer to a question was of use: each must have an `action` and `content` that fits the `requestedSchema`";

/// The failure of a tool that asks in a way no client could answer: its author's mistake, and nobody else's.
fn misuse(text: String) -> Failure {
    tracing::error!(problem = %text, "a question cannot be asked");
    Failure::new(FailureKind::Internal, text)
}

/// Takes the question back when whoever asked goes on without the answer.
struct Place<'a> {
    ctx: &'a Context,
    dialogue: &'a Dialogue,
    number: usize,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.dialogue.withdraw(self.number) {
            self.ctx.slot().wake();
        }
    }
}
