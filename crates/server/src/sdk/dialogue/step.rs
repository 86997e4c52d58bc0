//! Work that must not be done again in the next round: it runs once, and its result travels with the client.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use trunkline_service::{Failure, FailureKind};

use super::question::give_up;
use super::saved::SavedStep;
use super::state::Dialogue;
use crate::sdk::Context;

impl Context {
    /// Does `work` once, however often the function runs: later rounds get the result of the first time.
    ///
    /// Each round of questions runs the function again from its start, so whatever has an effect, costs time or may come out
    /// differently (an insert, a request, the time, a random number) belongs in a step if a question follows it. The result is
    /// sealed into `requestState`: all results and answers of a call together take at most 16 KiB and live for 10 minutes; a
    /// call that exceeds this fails, saying so. `name` tells steps apart; one used again counts as another step, so a loop
    /// may use one name. A round does not end while a step runs, so a step
    /// must not ask. In a task, and in a call that never asks, a step just runs.
    ///
    /// # Cancel safety
    /// A call that is cancelled while a step runs drops it; whether its work was done is up to `work`.
    pub async fn step<T, F>(&self, name: &str, work: F) -> T
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = T>,
    {
        match self.run_step(name, async move { Ok::<T, Never>(work.await) }).await {
            Ok(result) => result,
            Err(never) => match never {},
        }
    }

    /// Does `work` once as [`step`](Self::step) does, where it may fail: an error is returned and not remembered, and the work
    /// is done again should the function run again.
    ///
    /// # Errors
    /// What `work` returns.
    ///
    /// # Cancel safety
    /// As for [`step`](Self::step).
    pub async fn try_step<T, E, F>(&self, name: &str, work: F) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, E>>,
    {
        self.run_step(name, work).await
    }

    async fn run_step<T, E, F>(&self, name: &str, work: F) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, E>>,
    {
        let dialogue = self.slot().dialogue(self.request());
        let key = match dialogue.begin_step(name) {
            Ok(earlier) => match serde_json::from_str(earlier.get()) {
                Ok(result) => return Ok(result),
                Err(error) => return give_up(self, unreadable(name, error)).await,
            },
            Err(key) => key,
        };
        let mut running = Running { ctx: self, dialogue, step: None };
        let result = marked(work).await?;
        match to_raw_value(&result) {
            Ok(raw) => running.step = Some((key, raw)),
            Err(error) => return give_up(self, unwritable(name, error)).await,
        }
        drop(running);
        Ok(result)
    }
}

thread_local!(static IN_STEP: Cell<bool> = const { Cell::new(false) });

/// Tells whether the work of a step is being polled on this thread.
pub(super) fn in_step() -> bool {
    IN_STEP.get()
}

/// Polls the work of a step with the mark that [`in_step`] reads.
async fn marked<F: Future>(work: F) -> F::Output {
    /// Sets the mark back, also when the work panics.
    struct Mark(bool);

    impl Drop for Mark {
        fn drop(&mut self) {
            IN_STEP.set(self.0);
        }
    }

    let mut work = pin!(work);
    poll_fn(|cx| {
        let _mark = Mark(IN_STEP.replace(true));
        work.as_mut().poll(cx)
    })
    .await
}

/// An error that cannot be.
enum Never {}

/// A step that runs; however it ends, the round may end again.
struct Running<'a> {
    ctx: &'a Context,
    dialogue: &'a Dialogue,
    step: Option<(String, Box<RawValue>)>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.dialogue.end_step(self.step.take().map(|(name, result)| SavedStep { name, result }));
        self.ctx.slot().wake();
    }
}

fn unwritable(name: &str, error: serde_json::Error) -> Failure {
    let text = format!("the result of step `{name}` cannot be written as JSON; let it return plain data");
    tracing::error!(step = name, %error, "a step has a result that cannot be kept");
    Failure::new(FailureKind::Internal, text).with_source(error)
}

fn unreadable(name: &str, error: serde_json::Error) -> Failure {
    let text =
        format!("the result of step `{name}` of an earlier round has another shape; begin the call again");
    Failure::new(FailureKind::Internal, text).with_source(error)
}
