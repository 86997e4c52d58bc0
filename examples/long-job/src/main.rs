//! Work that takes a while: progress, cancellation, a stream of parts, and a task that outlives its request.
//!
//! ```sh
//! cargo run -p trunkline-example-long-job                  # HTTP, http://127.0.0.1:3000/mcp
//! cargo run -p trunkline-example-long-job -- --stdio       # one client over stdin and stdout
//! ```
//!
//! You will see four tools. `work` reports each of its steps to a client that asked for progress; close the request, and it
//! stops within a step. `count` counts how many steps ran, and how many jobs are running, finished and stopped, so you can see
//! that it did. `recite` answers in lines that arrive one by one, and all together at the end. `render` becomes a task for a
//! client that can follow tasks, and is an ordinary call for every other. Each step sleeps where yours would work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use futures_util::{Stream, StreamExt, stream};
use schemars::JsonSchema;
use serde::Serialize;
use trunkline::{Context, Json, ServeError, Server, State, tool};

/// Does a number of steps of work and reports each.
#[tool]
async fn work(
    ctx: Context,
    State(counts): State<Arc<Counts>>,
    #[arg(range = 1..=1000)] steps: u32,
    /// How long a step takes, in milliseconds.
    #[arg(default = 100, range = 1..=1000)]
    step_ms: u32,
) -> String {
    let mut job = Job::begin(&counts);
    for step in 1..=steps {
        // A call that is cancelled is dropped where it waits: nothing below this line runs, `job` sees to the rest.
        tokio::time::sleep(Duration::from_millis(step_ms.into())).await;
        counts.steps.fetch_add(1, Ordering::Relaxed);
        ctx.progress(step.into(), Some(steps.into()), Some(&format!("step {step} of {steps}")));
    }
    job.finished = true;
    format!("did {steps} steps")
}

/// Recites the verses of a counting song, one part each.
#[tool(read_only)]
fn recite(#[arg(default = 10, range = 1..=100)] verses: u32) -> impl Stream<Item = String> {
    stream::iter((1..=verses).rev()).then(|left| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        format!("{left} green bottles, hanging on the wall")
    })
}

/// Renders a film. Takes about a tenth of a second for each frame.
#[tool(task)]
async fn render(
    ctx: Context,
    State(counts): State<Arc<Counts>>,
    #[arg(range = 1..=600)] frames: u32,
) -> String {
    let mut job = Job::begin(&counts);
    for frame in 1..=frames {
        tokio::time::sleep(Duration::from_millis(100)).await;
        counts.steps.fetch_add(1, Ordering::Relaxed);
        // What `tasks/get` shows; nothing in an ordinary call.
        ctx.task_status(format!("{frame} of {frames} frames"));
    }
    job.finished = true;
    format!("rendered {frames} frames")
}

/// Counts the steps that ran, and the jobs by what became of them.
#[tool(read_only)]
fn count(State(counts): State<Arc<Counts>>) -> Json<Count> {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let Counts { steps, running, finished, stopped } = &*counts;
    Json(Count {
        steps: read(steps),
        running: read(running),
        finished: read(finished),
        stopped: read(stopped),
    })
}

#[derive(Serialize, JsonSchema)]
struct Count {
    steps: u64,
    running: u64,
    finished: u64,
    stopped: u64,
}

#[derive(Default)]
struct Counts {
    steps: AtomicU64,
    running: AtomicU64,
    finished: AtomicU64,
    stopped: AtomicU64,
}

/// A job while it runs. Cancellation is dropping, so what must happen at every end belongs into a `Drop`.
struct Job<'a> {
    counts: &'a Counts,
    finished: bool,
}

impl<'a> Job<'a> {
    fn begin(counts: &'a Counts) -> Self {
        counts.running.fetch_add(1, Ordering::Relaxed);
        Self { counts, finished: false }
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        let ended = if self.finished { &self.counts.finished } else { &self.counts.stopped };
        ended.fetch_add(1, Ordering::Relaxed);
        self.counts.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Parser)]
struct Cli {
    /// Where to serve HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: String,
    /// Serve one client over stdin and stdout instead.
    #[arg(long)]
    stdio: bool,
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    // Over stdio stdout belongs to the protocol, so the log goes to stderr.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let server = Server::new("long-job-server", "1.0.0")
        // Half a minute unless set: a call that takes longer is dropped and answered as an error. Tasks have no deadline.
        .deadline(Duration::from_secs(20 * 60))
        .state(Arc::new(Counts::default()))
        .tool(work)
        .tool(recite)
        .tool(render)
        .tool(count);
    if cli.stdio { server.run_stdio().await } else { server.run(&cli.listen).await }
}
