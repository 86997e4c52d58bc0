//! Runs the function behind a request until it ends, has to ask the client, or goes on as a task.

use std::pin::Pin;
use std::task::{self, Poll};

use trunkline_service::{Answer, Outcome, Reply, ready};

use super::saved;
use super::state::{End, Verdict};
use crate::sdk::service::poll_caught;
use crate::sdk::{Context, TaskMode, ToolFuture};

/// Wraps the future of a tool, prompt or resource so that it can ask its client. A call that never asks pays one box.
///
/// # Cancel safety
/// Dropping the answer drops the future and cancels the call's token, unless the call became a task.
pub(crate) fn drive(ctx: Context, mode: TaskMode, future: ToolFuture) -> Answer<'static> {
    if let Some(input) = ctx.request().input() {
        match saved::resume(ctx.request(), input, &ctx.facilities().sealer) {
            Ok(dialogue) => ctx.slot().resume(dialogue),
            Err(failure) => return ready(Err(failure)),
        }
    }
    let future = match mode {
        TaskMode::Never => future,
        TaskMode::Optional => {
            let ctx = ctx.clone();
            Box::pin(async move {
                ctx.become_task().await;
                future.await
            })
        }
        TaskMode::Required => {
            let ctx = ctx.clone();
            Box::pin(async move {
                ctx.require_task().await;
                future.await
            })
        }
    };
    Answer::later(Drive { ctx, future: Some(future) })
}

/// A call that is being answered.
struct Drive {
    ctx: Context,
    /// Gone once it ended or was handed on.
    future: Option<ToolFuture>,
}

impl Future for Drive {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        let Some(future) = &mut this.future else { return Poll::Pending };
        if let Poll::Ready(outcome) = poll_caught(&this.ctx, future, cx) {
            this.future = None;
            return Poll::Ready(outcome);
        }
        // First the waker, then the look: what another task asks after the look wakes this one.
        this.ctx.slot().register(cx.waker());
        let Some(dialogue) = this.ctx.slot().made() else { return Poll::Pending };
        match dialogue.verdict() {
            Verdict::Wait => Poll::Pending,
            Verdict::End(end) => Poll::Ready(this.end(end)),
            Verdict::Round(round) => {
                let reply = round.into_reply(this.ctx.request(), &this.ctx.facilities().sealer);
                this.stop();
                Poll::Ready(reply)
            }
        }
    }
}

impl Drive {
    fn end(&mut self, end: End) -> Outcome {
        match end {
            End::Failure(failure) => {
                self.stop();
                Err(failure)
            }
            End::Task(prepared) => {
                let members = prepared.members();
                if let Some(future) = self.future.take() {
                    (*prepared).start(self.ctx.clone(), future);
                }
                Ok(Reply::task(members))
            }
        }
    }

    /// Drops the function half way.
    fn stop(&mut self) {
        if self.future.take().is_some() {
            self.ctx.dropped();
        }
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.stop();
    }
}
