//! Work that outlives its request: the tasks extension, `io.modelcontextprotocol/tasks`.
//!
//! A tool becomes a task by saying so ([`Context::become_task`](super::Context::become_task)) or by being declared one. From then on it runs under a tracker
//! of the server, its record lives in a [`TaskStore`], and every node that shares the store answers `tasks/get`,
//! `tasks/update` and `tasks/cancel` for it. What another node wrote reaches the running node through a shared topic.
//! A record belongs to the caller that made it; for everyone else its id is unknown.
//!
//! ```
//! use std::time::Duration;
//! use trunkline_server::sdk::{Context, DynTool, ToolError};
//!
//! let report = DynTool::new("report").description("Writes the report.").handler(|ctx: Context| async move {
//!     // A client that cannot follow tasks waits for its answer instead.
//!     ctx.become_task().await;
//!     for page in 1..=3 {
//!         ctx.task_status(format!("page {page} of 3"));
//!         tokio::time::sleep(Duration::from_secs(1)).await;
//!     }
//!     Ok::<_, ToolError>("done")
//! });
//! # drop(report);
//! ```
//!
//! Spec: SEP-2663

mod callers;
mod context;
mod record;
mod run;
mod service;
mod shared_store;
mod store;
mod time;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trunkline_service::router::TaskNotices;
use trunkline_service::shared::{Change, Later, Shared, Topic};
use trunkline_service::{Caller, Failure, FailureKind, Service};

use self::callers::Callers;
pub use self::context::NoTask;
pub(crate) use self::context::Prepared;
use self::record::owner_of;
pub use self::record::{TaskId, TaskRecord, TaskStatus};
pub use self::shared_store::SharedTasks;
pub use self::store::{StoreError, TaskStore};
use trunkline_service::seal::now_ms;

/// The id of the extension, as it stands in capabilities.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// How often a write is tried when others write too.
const TRIES: u32 = 16;
/// How long a stopped task may take to write that into its record.
const LAST_WRITE: Duration = Duration::from_secs(1);
/// The longest that a task exists, whatever is set: no clock overflows.
const MAX_TTL: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The bounds of a server's tasks. Spec: SEP-2663 task-creation
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskOptions {
    /// How long a task and its result exist, counted from its start; at most ten years. One hour unless set.
    pub ttl: Duration,
    /// How often clients are told to ask, in whole milliseconds; less counts as one. One second unless set.
    pub poll_interval: Duration,
    /// Most tasks that run on this node at a time; further calls run within their request. 1024 unless set.
    pub max_running: usize,
    /// Most of these for one caller. 256 unless set.
    pub max_per_caller: usize,
    /// Most ended tasks of one caller whose records this node keeps until their time is over: the one that ended first is
    /// forgotten for the next. At least one is kept. 256 unless set.
    pub max_kept: usize,
    /// Most bytes that the outcomes of these have together; at least one is kept. 32 MiB unless set.
    pub max_kept_bytes: usize,
    /// Most bytes of one result; a task with a larger one fails. 4 MiB unless set.
    pub max_result: usize,
    /// Most bytes of the answers of one `tasks/update`. 256 KiB unless set.
    pub max_answers: usize,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            poll_interval: Duration::from_secs(1),
            max_running: 1024,
            max_per_caller: 256,
            max_kept: 256,
            max_kept_bytes: 32 << 20,
            max_result: 4 << 20,
            max_answers: 256 << 10,
        }
    }
}

impl TaskOptions {
    /// Sets how long a task and its result exist, counted from its start.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how often clients are told to ask.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets the most tasks that run on this node at a time.
    #[must_use]
    pub fn max_running(mut self, tasks: usize) -> Self {
        self.max_running = tasks;
        self
    }

    /// Sets the most tasks that run on this node at a time for one caller.
    #[must_use]
    pub fn max_per_caller(mut self, tasks: usize) -> Self {
        self.max_per_caller = tasks;
        self
    }

    /// Sets the most ended tasks of one caller whose records this node keeps. Zero counts as one.
    #[must_use]
    pub fn max_kept(mut self, tasks: usize) -> Self {
        self.max_kept = tasks;
        self
    }

    /// Sets the most bytes that the outcomes of one caller's ended tasks have together.
    #[must_use]
    pub fn max_kept_bytes(mut self, bytes: usize) -> Self {
        self.max_kept_bytes = bytes;
        self
    }

    /// Sets the most bytes of one result.
    #[must_use]
    pub fn max_result(mut self, bytes: usize) -> Self {
        self.max_result = bytes;
        self
    }
}

/// The tasks of one server on one node. Spec: SEP-2663
pub struct Tasks {
    options: TaskOptions,
    store: Arc<dyn TaskStore>,
    shared: Arc<dyn Shared>,
    tracker: TaskTracker,
    stop: CancellationToken,
    running: AtomicUsize,
    callers: Callers,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("options", &self.options)
            .field("running", &self.running.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

impl Tasks {
    /// Makes a place for tasks. All nodes of an endpoint use the same store and `shared`.
    #[must_use]
    pub fn new(mut options: TaskOptions, store: Arc<dyn TaskStore>, shared: Arc<dyn Shared>) -> Arc<Self> {
        options.ttl = options.ttl.min(MAX_TTL);
        Arc::new(Self {
            options,
            store,
            shared,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            running: AtomicUsize::new(0),
            callers: Callers::default(),
        })
    }

    /// Makes a place for tasks that are kept in `shared` itself.
    #[must_use]
    pub fn in_shared(options: TaskOptions, shared: Arc<dyn Shared>) -> Arc<Self> {
        Self::new(options, Arc::new(SharedTasks::new(Arc::clone(&shared))), shared)
    }

    /// Returns what answers `tasks/get`, `tasks/update` and `tasks/cancel`.
    #[must_use]
    pub fn service(self: &Arc<Self>) -> Arc<dyn Service> {
        Arc::new(service::TaskService(Arc::clone(self)))
    }

    /// Returns how many tasks run on this node.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Takes no new tasks and lets those that run here end by themselves within `grace`. What still runs then is stopped, and
    /// its record says that it failed.
    ///
    /// # Cancel safety
    /// When this is dropped, what still runs is stopped at once.
    pub async fn shutdown(&self, grace: Duration) {
        self.tracker.close();
        let stop = self.stop.clone().drop_guard();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_ok() {
            return;
        }
        drop(stop);
        if tokio::time::timeout(LAST_WRITE, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.running(), "tasks did not stop in time");
        }
    }

    /// Takes no new tasks and stops those that run here; nothing is waited for.
    pub(super) fn abandon(&self) {
        self.tracker.close();
        self.stop.cancel();
    }

    /// Tells the listeners, and the node that runs the task when another one changed it.
    async fn tell(&self, id: TaskId, to_runner: bool) {
        if to_runner {
            // Nobody there to hear it: the task has ended, or its node is gone.
            let _ = self.shared.append(Topic::Task(id.number()), Bytes::from_static(b"{}")).await;
        }
        self.shared.announce(Change::Task(id.to_string().into()));
    }

    /// Reads the record of a caller's task.
    async fn find(&self, id: &str, caller: &Caller) -> Result<Option<(u64, TaskRecord)>, StoreError> {
        let Some(id) = TaskId::parse(id) else { return Ok(None) };
        let owner = owner_of(caller);
        for _ in 0..TRIES {
            let found = self.store.read(id).await?;
            let found = found.filter(|(_, record)| record.owner == owner && record.expires_ms() > now_ms());
            let Some((version, mut record)) = found else { return Ok(None) };
            if !record.is_lost() {
                return Ok(Some((version, record)));
            }
            record.end(TaskStatus::Failed, Some(run::error(&lost())));
            match self.store.update(&record, version).await {
                Ok(_) => self.tell(id, true).await,
                // It has failed, be there room to write that down or not.
                Err(StoreError::NoRoom) => return Ok(Some((version, record))),
                // Somebody else saw it too, or its node is back.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }
}

fn lost() -> Failure {
    Failure::new(FailureKind::Internal, "the node that ran this task is gone; call the tool again")
}

impl TaskNotices for Tasks {
    fn detailed<'a>(&'a self, id: &'a str, caller: &'a Caller) -> Later<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let (_, record) = self.find(id, caller).await.ok()??;
            let mut object = vec![b'{'];
            record.write_detailed(&mut object);
            object.push(b'}');
            Some(object)
        })
    }
}
