//! How a call becomes a task, and what it can say as one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use trunkline_protocol::Method;
use trunkline_service::shared::{Follow, Keep, Topic};
use trunkline_service::{Failure, FailureKind};

use super::record::{TaskId, TaskRecord, owner_of};
use super::{Tasks, run};
use crate::sdk::dialogue::capability::Need;
use crate::sdk::dialogue::question::give_up;
use crate::sdk::dialogue::state::Dialogue;
use crate::sdk::{Context, ToolFuture};

/// Why a call did not become a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoTask {
    /// The client did not declare on this request that it can follow tasks.
    #[error("the client does not declare the extension `io.modelcontextprotocol/tasks`")]
    NotDeclared,
    /// The server has no tasks, or this is no call of a tool.
    #[error("this request cannot become a task")]
    NotOffered,
    /// Too many tasks run or are kept.
    #[error("there are too many tasks; try again later")]
    NoRoom,
}

/// A task that is recorded and not started. Dropped like that, it is forgotten again.
pub(crate) struct Prepared(Option<Start>);

/// What a task starts with.
pub(super) struct Start {
    pub(super) tasks: Arc<Tasks>,
    pub(super) id: TaskId,
    pub(super) expires_ms: u64,
    /// Word of other nodes.
    pub(super) words: Option<Box<dyn Follow>>,
    pub(super) place: Place,
    /// What the client is told.
    members: Vec<u8>,
}

/// One of the places for running tasks; free again when dropped.
pub(super) struct Place {
    tasks: Arc<Tasks>,
    pub(super) owner: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tasks.running.fetch_sub(1, Ordering::Relaxed);
        self.tasks.callers.end(&self.owner);
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("id", &self.0.as_ref().map(|start| start.id)).finish()
    }
}

impl Prepared {
    /// Returns the members of the `CreateTaskResult`.
    pub(crate) fn members(&self) -> Vec<u8> {
        self.0.as_ref().map(|start| start.members.clone()).unwrap_or_default()
    }

    /// Runs the rest of the call in the background.
    pub(crate) fn start(mut self, ctx: Context, future: ToolFuture) {
        let Some(start) = self.0.take() else { return };
        ctx.slot().dialogue(ctx.request()).enter_task();
        let tracker = start.tasks.tracker.clone();
        tracker.spawn(run::run(start, ctx, future));
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        let Some(Start { tasks, id, .. }) = self.0.take() else { return };
        tasks.shared.close(Topic::Task(id.number()));
        // Outside of a runtime everything ends anyway; the record expires.
        if tokio::runtime::Handle::try_current().is_ok() {
            let tracker = tasks.tracker.clone();
            tracker.spawn(async move {
                if let Err(error) = tasks.store.remove(id).await {
                    tracing::warn!(%error, "a task that never started is still recorded");
                }
            });
        }
    }
}

impl Tasks {
    fn take_place(self: &Arc<Self>, owner: &str) -> Result<Place, NoTask> {
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        let of_caller = self.callers.begin(owner);
        let place = Place { tasks: Arc::clone(self), owner: owner.to_owned() };
        let is_full = running >= self.options.max_running || of_caller > self.options.max_per_caller;
        if is_full || self.tracker.is_closed() { Err(NoTask::NoRoom) } else { Ok(place) }
    }

    /// Records a task of that owner. Owned by the tracker, so that a call that is dropped meanwhile leaves nothing behind.
    async fn prepare(self: &Arc<Self>, owner: String) -> Result<Box<Prepared>, NoTask> {
        let place = self.take_place(&owner)?;
        let (done, prepared) = oneshot::channel();
        let tasks = Arc::clone(self);
        self.tracker.spawn(async move {
            // Whoever asked may be gone: then what was prepared is dropped here.
            let _ = done.send(tasks.record_new(owner, place).await);
        });
        prepared.await.unwrap_or(Err(NoTask::NoRoom))
    }

    async fn record_new(self: Arc<Self>, owner: String, place: Place) -> Result<Box<Prepared>, NoTask> {
        let failed = |error: &dyn std::error::Error| {
            tracing::warn!(error = %error, "a task could not be recorded");
            NoTask::NoRoom
        };
        let id = TaskId::draw().map_err(|error| failed(&error))?;
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let record =
            TaskRecord::new(id, owner, millis(self.options.ttl), millis(self.options.poll_interval).max(1));
        let topic = Topic::Task(id.number());
        let keep = Keep { messages: 8, bytes: 256, closed_for: Duration::ZERO, at_most: self.options.ttl };
        // First the ear, then the record: nobody can say anything about a task that is not recorded.
        if let Err(error) = self.shared.open(topic, keep).await {
            return Err(failed(&error));
        }
        let mut members = Vec::with_capacity(256);
        record.write_task(&mut members);
        // Without it the task looks at its record now and then.
        let words = self.shared.follow(topic, Some(0)).await.ok().flatten();
        let start =
            Start { tasks: Arc::clone(&self), id, expires_ms: record.expires_ms(), words, place, members };
        let prepared = Box::new(Prepared(Some(start)));
        match self.store.create(&record).await {
            Ok(_) => Ok(prepared),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl Context {
    /// Lets the call go on as a task, if the client can follow tasks: its request is answered now, and the function goes on in
    /// the background, where it is. `false` when the client did not declare the extension on this request, or no task can be
    /// had: then it goes on within the request.
    ///
    /// In a task there is no progress, no log and no deadline; [`task_status`](Self::task_status) tells how it goes, and
    /// questions wait in its record for `tasks/update`. Questions before this point are asked in rounds, as without a task.
    /// Spec: SEP-2663.
    ///
    /// # Cancel safety
    /// Dropped before it is done, the call stays what it is and no task is left behind.
    pub async fn become_task(&self) -> bool {
        self.try_task().await.is_ok()
    }

    /// Lets the call go on as a task, or ends it: with -32021 naming the extension when the client did not declare it, with
    /// 503 when there are too many tasks.
    ///
    /// # Cancel safety
    /// As for [`become_task`](Self::become_task).
    pub async fn require_task(&self) {
        let failure = match self.try_task().await {
            Ok(()) => return,
            Err(NoTask::NotDeclared) => match self.declared().demand(Need::Tasks) {
                Ok(()) => return,
                Err(failure) => failure,
            },
            Err(error @ NoTask::NoRoom) => Failure::new(FailureKind::Overloaded, error.to_string())
                .with_retry_after(Duration::from_secs(1)),
            Err(error) => Failure::new(FailureKind::Internal, error.to_string()),
        };
        give_up(self, failure).await
    }

    /// Tells whether the call goes on as a task.
    #[must_use]
    pub fn in_task(&self) -> bool {
        self.slot().made().is_some_and(Dialogue::in_task)
    }

    /// Sets the text that tells a task's client how it goes. Nothing when the call is no task. Texts may be skipped when they
    /// follow fast; the last one stays. Of a long one the first 1024 bytes are kept.
    pub fn task_status(&self, text: impl Into<String>) {
        if let Some(dialogue) = self.slot().made().filter(|dialogue| dialogue.in_task()) {
            dialogue.set_status(text.into());
        }
    }

    async fn try_task(&self) -> Result<(), NoTask> {
        if self.in_task() {
            return Ok(());
        }
        let tasks = self.facilities().tasks.as_ref().ok_or(NoTask::NotOffered)?;
        if self.request().method() != Method::ToolsCall {
            return Err(NoTask::NotOffered);
        }
        if !self.declared().has(Need::Tasks) {
            return Err(NoTask::NotDeclared);
        }
        let dialogue = self.slot().dialogue(self.request());
        let prepare = || async {
            let prepared = tasks.prepare(owner_of(self.caller())).await?;
            dialogue.become_task(prepared);
            self.slot().wake();
            Ok(())
        };
        (*dialogue.task.get_or_init(prepare).await)?;
        dialogue.entered().await;
        Ok(())
    }
}
