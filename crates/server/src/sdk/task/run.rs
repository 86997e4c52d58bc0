//! A task in the background: polls its function, keeps its record up to date, and hears what other nodes write there.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;
use trunkline_protocol::{Revision, write};
use trunkline_service::shared::{Follow, Followed, Topic};
use trunkline_service::{Failure, FailureKind, Outcome, Reply, ReplyKind};

use super::callers::Kept;
use super::context::Start;
use super::record::{TaskId, TaskRecord, TaskStatus};
use super::store::StoreError;
use super::{TRIES, Tasks};
use crate::sdk::dialogue::state::{Dialogue, End};
use crate::sdk::{Context, ToolFuture};
use trunkline_service::seal::now_ms;

/// How often a task looks at its record unasked: word of another node may get lost.
const LOOK: Duration = Duration::from_secs(5);

/// How a run ended.
enum Ended {
    /// The function came to an end.
    Outcome(Outcome),
    /// Its record is final or gone: it was cancelled.
    Gone,
    /// Its time is over.
    Expired,
}

/// Runs a task to its end. Owned by the tracker of [`Tasks`].
pub(super) async fn run(start: Start, ctx: Context, future: ToolFuture) {
    let Start { tasks, id, expires_ms, mut words, place, .. } = start;
    let mut work = Work { ctx: ctx.clone(), future: Some(future) };
    let task = Running { tasks: &tasks, id, dialogue: ctx.slot().dialogue(ctx.request()) };
    let left = Duration::from_millis(expires_ms.saturating_sub(now_ms()));
    let ended = task.follow(&mut work, &mut words, Instant::now() + left).await;
    // The function goes first: once the record is final, nothing of it runs any more.
    drop(work);
    let kept = |bytes| Kept { id, bytes, expires_ms };
    let gone = match ended {
        Ended::Outcome(outcome) => {
            let bytes = task.finish(outcome).await;
            tasks.callers.keep(&place.owner, kept(bytes), &tasks.options)
        }
        Ended::Gone => tasks.callers.keep(&place.owner, kept(0), &tasks.options),
        Ended::Expired => vec![id],
    };
    for id in gone {
        if let Err(error) = tasks.store.remove(id).await {
            tracing::warn!(%error, "a task whose time is over is still recorded");
        }
    }
    tasks.shared.close(Topic::Task(id.number()));
    drop(place);
}

/// What became of a record.
#[derive(Clone, Copy)]
enum Change {
    /// It stays as it is.
    Nothing,
    /// It is written, and clients see no difference.
    Silent,
    /// Clients see a difference.
    News,
}

struct Running<'a> {
    tasks: &'a Arc<Tasks>,
    id: TaskId,
    dialogue: &'a Dialogue,
}

impl Running<'_> {
    async fn follow(&self, work: &mut Work, words: &mut Option<Box<dyn Follow>>, expires: Instant) -> Ended {
        loop {
            tokio::select! {
                biased;
                () = self.tasks.stop.cancelled() => return Ended::Outcome(Err(stopped())),
                outcome = &mut *work => return Ended::Outcome(outcome),
                () = tokio::time::sleep_until(expires) => return Ended::Expired,
                () = self.dialogue.changed.notified() => {}
                () = next(words) => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            if let Some(End::Failure(failure)) = self.dialogue.take_end() {
                return Ended::Outcome(Err(failure));
            }
            if !self.sync().await {
                return Ended::Gone;
            }
        }
    }

    /// Brings record and conversation together: answers in, questions and status out. `false` when the task is over.
    async fn sync(&self) -> bool {
        let done = self.write(|record| {
            for (key, answer) in &record.answers {
                self.dialogue.deliver(key, answer);
            }
            let is_due = record.vouch();
            match self.refresh(record) {
                true => Change::News,
                false if is_due => Change::Silent,
                false => Change::Nothing,
            }
        });
        match done.await {
            Ok(still) => still,
            Err(error) => {
                tracing::warn!(%error, "the record of a task could not be brought up to date; it is tried again");
                true
            }
        }
    }

    /// Writes into the record what the conversation came to; `false` when there is nothing new.
    fn refresh(&self, record: &mut TaskRecord) -> bool {
        record.answers.retain(|key, _| self.dialogue.awaits(key));
        let open = self.dialogue.open_questions();
        let message = self.dialogue.status();
        let status = if open.is_empty() { TaskStatus::Working } else { TaskStatus::InputRequired };
        if open.keys().eq(record.requests.keys())
            && message == record.status_message
            && status == record.status
        {
            return false;
        }
        (record.requests, record.status_message, record.status) = (open, message, status);
        true
    }

    /// Keeps how the task ended, exactly as the call would have returned it, and returns how many bytes that takes.
    async fn finish(&self, outcome: Outcome) -> usize {
        let (mut status, mut raw) = encode(outcome, self.tasks.options.max_result);
        for _ in 0..2 {
            let done = self
                .write(|record| {
                    record.status_message = self.dialogue.status();
                    record.end(status, Some(raw.clone()));
                    Change::News
                })
                .await;
            match done {
                Ok(_) => return raw.get().len(),
                Err(error) => {
                    tracing::error!(%error, "the result of a task could not be kept");
                    let text = "the result of this task could not be kept";
                    (status, raw) = encode(Err(Failure::new(FailureKind::Internal, text)), usize::MAX);
                }
            }
        }
        0
    }

    /// Changes the record, again if others wrote it meanwhile. `Ok(false)` when it is final or gone.
    async fn write(&self, change: impl Fn(&mut TaskRecord) -> Change) -> Result<bool, StoreError> {
        let store = &self.tasks.store;
        for _ in 0..TRIES {
            let Some((version, mut record)) = store.read(self.id).await? else { return Ok(false) };
            if record.status.is_final() {
                return Ok(false);
            }
            let change = change(&mut record);
            match change {
                Change::Nothing => return Ok(true),
                Change::Silent => {}
                Change::News => record.touch(),
            }
            match store.update(&record, version).await {
                Ok(_) => {
                    if matches!(change, Change::News) {
                        self.tasks.tell(self.id, false).await;
                    }
                    return Ok(true);
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }
}

/// Waits for word of another node; for ever when there is nobody to hear it from.
async fn next(words: &mut Option<Box<dyn Follow>>) {
    let Some(follow) = words else { return pending().await };
    if follow.next().await == Followed::Closed {
        *words = None;
    }
}

/// The function of a task, cancelled when it is dropped half way.
struct Work {
    ctx: Context,
    future: Option<ToolFuture>,
}

impl Future for Work {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        let Some(future) = &mut this.future else { return Poll::Pending };
        let outcome = std::task::ready!(crate::sdk::service::poll_caught(&this.ctx, future, cx));
        this.future = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.future.take().is_some() {
            self.ctx.dropped();
        }
    }
}

fn stopped() -> Failure {
    Failure::new(FailureKind::Internal, "the server stopped before this task ended; call the tool again")
}

/// Turns an outcome into the status and the `result` or `error` of a record.
fn encode(outcome: Outcome, max: usize) -> (TaskStatus, Box<RawValue>) {
    let failure = match outcome {
        Ok(reply) if reply.kind() == ReplyKind::Complete => match result(&reply, max) {
            Ok(raw) => return (TaskStatus::Completed, raw),
            Err(failure) => failure,
        },
        Ok(_) => Failure::new(FailureKind::Internal, "a task ended in something else than a result"),
        Err(failure) => failure,
    };
    (TaskStatus::Failed, error(&failure))
}

fn result(reply: &Reply, max: usize) -> Result<Box<RawValue>, Failure> {
    const HEAD: &[u8] = br#"{"jsonrpc":"2.0","id":0,"result":"#;
    let internal = |text: String| Failure::new(FailureKind::Internal, text);
    let mut message = Vec::new();
    reply.write(&mut message, b"0", Revision::LATEST, b"");
    write::without_line_breaks(&mut message);
    let object = message.strip_prefix(HEAD).and_then(|rest| rest.strip_suffix(b"}"));
    let object = object.ok_or_else(|| internal("the result of this task is not readable".to_owned()))?;
    if object.len() > max {
        let text =
            format!("the result takes {} bytes, and a task may keep {max}; ask for less", object.len());
        return Err(internal(text));
    }
    String::from_utf8(object.to_vec())
        .map_err(|_| ())
        .and_then(|text| RawValue::from_string(text).map_err(|_| ()))
        .map_err(|()| internal("the result of this task is not readable".to_owned()))
}

/// Writes the `error` object of a failure. Spec: 2026-07-28 basic/index#error-responses
pub(super) fn error(failure: &Failure) -> Box<RawValue> {
    let mut object = format!(r#"{{"code":{},"message":"#, failure.kind().row().code.0).into_bytes();
    write::string(&mut object, failure.public());
    if let Some(data) = failure.data() {
        object.extend_from_slice(br#","data":"#);
        object.extend_from_slice(data);
    }
    object.push(b'}');
    write::without_line_breaks(&mut object);
    String::from_utf8(object)
        .ok()
        .and_then(|text| RawValue::from_string(text).ok())
        .unwrap_or_else(|| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_kept_as_the_call_would_have_returned_it() {
        let (status, raw) = encode(Ok(Reply::tool_error("no")), 1000);
        assert_eq!(status, TaskStatus::Completed, "an error result is a result");
        assert_eq!(
            raw.get(),
            r#"{"resultType":"complete","content":[{"type":"text","text":"no"}],"isError":true}"#
        );
    }

    #[test]
    fn a_failure_is_kept_with_its_code_and_data() {
        let failure = Failure::new(FailureKind::InvalidParams, "a \"b\"").with_data(b"{\"x\":\n1}".to_vec());
        let (status, raw) = encode(Err(failure), 1000);
        assert_eq!(status, TaskStatus::Failed);
        assert_eq!(raw.get(), r#"{"code":-32602,"message":"a \"b\"","data":{"x":1}}"#);
    }

    #[test]
    fn a_result_over_the_bound_fails_and_says_so() {
        let (status, raw) = encode(Ok(Reply::text(&"x".repeat(100))), 100);
        assert_eq!(status, TaskStatus::Failed);
        assert!(raw.get().contains("may keep 100"), "{raw}");
    }
}
