//! Tools that tell the client something before they answer: progress, log messages, parts of the result.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::sleep;
use trunkline::{Context, Json, State, tool};

/// The pause between two things told.
const PAUSE: Duration = Duration::from_millis(50);

/// Reports progress in three steps.
#[tool(read_only)]
pub(crate) async fn test_tool_with_progress(ctx: Context) -> &'static str {
    for (done, message) in [(0.0, "beginning"), (50.0, "half way"), (100.0, "done")] {
        ctx.progress(done, Some(100.0), Some(message));
        sleep(PAUSE).await;
    }
    "Reported progress three times."
}

/// Sends three log messages to a client that wants them.
#[tool(read_only)]
pub(crate) async fn test_tool_with_logging(ctx: Context) -> &'static str {
    for message in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        ctx.info(message);
        sleep(PAUSE).await;
    }
    "Logged three messages."
}

/// Logs for clients that named a level in their request; others hear nothing.
#[tool(read_only)]
pub(crate) async fn test_logging_tool(ctx: Context) -> &'static str {
    ctx.info("This client wants to know.");
    "Logged to those who want to know."
}

/// Ends its stream before it has an answer, which the client fetches later. Only 2025-11-25 knows streams that are taken up
/// again; all other clients just wait.
#[tool(read_only)]
pub(crate) async fn test_reconnection(ctx: Context) -> &'static str {
    ctx.close_stream();
    sleep(2 * PAUSE).await;
    "The answer came on another stream."
}

/// What became of the calls of [`slow`] so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlowCalls(Arc<Mutex<Counts>>);

/// How many calls there were.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
pub(crate) struct Counts {
    /// Begun.
    started: u64,
    /// Came to their end.
    finished: u64,
    /// Were dropped before.
    cancelled: u64,
}

impl SlowCalls {
    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// One call of [`slow`]; counted as cancelled when it is dropped before it is marked as finished.
struct Running {
    calls: SlowCalls,
    finished: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let finished = self.finished;
        self.calls.count(|counts| if finished { counts.finished += 1 } else { counts.cancelled += 1 });
    }
}

/// Takes its time, and tells how far it is. When the client cancels, the future is dropped where it waits, and nothing of it
/// goes on.
#[tool(read_only)]
pub(crate) async fn slow(
    ctx: Context,
    State(calls): State<SlowCalls>,
    /// How long to take, in milliseconds.
    #[arg(range = 0..=600_000)]
    ms: u32,
) -> String {
    calls.count(|counts| counts.started += 1);
    let mut running = Running { calls, finished: false };
    let (mut done, step) = (0, (ms / 20).clamp(10, 1000));
    ctx.progress(0.0, Some(ms.into()), None);
    while done < ms {
        sleep(Duration::from_millis(step.min(ms - done).into())).await;
        done = (done + step).min(ms);
        ctx.progress(done.into(), Some(ms.into()), None);
    }
    running.finished = true;
    format!("slept {ms} ms")
}

/// Tells what became of the calls of `slow`.
#[tool(read_only)]
pub(crate) async fn slow_calls(State(calls): State<SlowCalls>) -> Json<Counts> {
    Json(*calls.0.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Counts, one part at a time: each leaves as a progress message at once, the whole is the result.
#[tool(read_only)]
pub(crate) async fn test_stream(
    /// How far to count.
    #[arg(range = 0..=10_000)]
    count: u32,
) -> impl Stream<Item = String> {
    stream::iter((1..=count).map(|number| format!("part {number}")))
}
