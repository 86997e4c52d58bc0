//! The handle through which lines reach the record: a bounded queue to the one thread that writes.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use trunkline_service::shared::Later;
use trunkline_service::{AccessRecord, Denied, Failure, FailureKind, HeadInfo};

use super::chain::Head;
use super::file::{Audit, Mode, OnFailure};
use super::line::Line;
use super::sink::{Sink, SinkError, SinkErrorKind};
use super::writer::{Pending, Writer};

/// Lines that wait for the writer before callers wait for room.
const QUEUE: usize = 4096;
/// Refusals at authentication that get a line of their own in one second; more are counted.
const DENIED_A_SECOND: u64 = 100;

/// Keeps the record of one process. Clones are the same recorder.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    lines: mpsc::Sender<Pending>,
    mode: Mode,
    on_failure: OnFailure,
    state: Arc<State>,
    stopping: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
    started: Instant,
}

/// What the handle and the writer's thread both know.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The sink does not take lines.
    pub(super) is_broken: AtomicBool,
    /// The last line that is written; changed once a batch.
    pub(super) head: Mutex<Head>,
    pub(super) lines: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) refused: AtomicU64,
    /// The second in which refusals at authentication were counted last, and how many.
    denied: AtomicU64,
    /// Those that got no line of their own and are not told yet.
    pub(super) denied_unlisted: AtomicU64,
}

/// What has happened to a record since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Lines that are written.
    pub lines: u64,
    /// Lines that were lost: the queue was full, or the sink did not take them.
    pub lost: u64,
    /// How often writing failed.
    pub failures: u64,
    /// Requests that were refused since the record could not be written.
    pub refused: u64,
}

/// Why a record cannot be kept from the start on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The sink is set up wrong.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The system gives no thread, or the thread ended.
    #[error("the thread that writes the audit record cannot be started")]
    Thread(#[source] Option<std::io::Error>),
}

impl Recorder {
    /// Starts the thread that writes to `sink`, and waits until the sink is open. A sink that does not answer starts all the
    /// same: the rule for failures holds then.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the thread.
    pub async fn start(audit: &Audit, sink: Box<dyn Sink>) -> Result<Self, StartError> {
        let (lines, queue) = mpsc::channel(QUEUE);
        let (state, stopping) = (Arc::<State>::default(), CancellationToken::new());
        let (opened, is_open) = oneshot::channel();
        let writer = Writer::new(audit, sink, queue, Arc::clone(&state), stopping.clone());
        let ended = Ended(Arc::clone(&state));
        let thread = std::thread::Builder::new()
            .name("trunkline-audit".to_owned())
            .spawn(move || run(writer, opened, ended))
            .map_err(|error| StartError::Thread(Some(error)))?;
        match is_open.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(StartError::Thread(None)),
        }
        Ok(Self(Arc::new(Inner {
            lines,
            mode: audit.mode,
            on_failure: audit.on_failure,
            state,
            stopping,
            thread: Mutex::new(Some(thread)),
            started: Instant::now(),
        })))
    }

    /// Writes what is still queued and the last line, and ends the thread. What comes after is lost. A second call does
    /// nothing.
    ///
    /// # Cancel safety
    /// The thread ends all the same.
    pub async fn stop(&self) {
        self.0.stopping.cancel();
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // An error would be a panic of the writer, which has nothing left to write.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Returns the last line that is written.
    #[must_use]
    pub fn head(&self) -> Head {
        *self.0.state.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what has happened since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = &self.0.state;
        Counts {
            lines: state.lines.load(Ordering::Relaxed),
            lost: state.lost.load(Ordering::Relaxed),
            failures: state.failures.load(Ordering::Relaxed),
            refused: state.refused.load(Ordering::Relaxed),
        }
    }

    /// Tells whether lines can be written now.
    #[must_use]
    pub fn is_working(&self) -> bool {
        !self.0.state.is_broken.load(Ordering::Relaxed)
    }

    /// Tells whether requests are refused, since lines cannot be written and the rule is to stop.
    #[must_use]
    pub fn stops_serving(&self) -> bool {
        !self.is_working() && self.0.on_failure == OnFailure::Stop
    }

    /// Refuses a request before it runs, when its line could not be written and the rule is to stop.
    pub(super) fn refuse(&self) -> Result<(), Failure> {
        if self.is_working() || self.0.on_failure == OnFailure::Continue {
            return Ok(());
        }
        self.0.state.refused.fetch_add(1, Ordering::Relaxed);
        let text = "the record of calls cannot be written now, so nothing was done; try again in a second";
        Err(Failure::new(FailureKind::Overloaded, text).with_retry_after(Duration::from_secs(1)))
    }

    /// Hands a line over. In strict mode it waits until the line is written.
    ///
    /// # Errors
    /// The line is not written, and the rule is to stop: the answer must not leave.
    ///
    /// # Cancel safety
    /// The line is recorded once the future was polled, unless the queue stays full.
    pub(super) async fn record(&self, line: Vec<u8>) -> Result<(), Failure> {
        if self.0.mode == Mode::Fast {
            self.record_now(line);
            return Ok(());
        }
        let (done, written) = oneshot::channel();
        let waiting = Waiting { recorder: self, line: Some(Pending { line, done: Some(done) }) };
        waiting.send().await;
        // A writer that is gone has written nothing.
        if written.await.unwrap_or(false) || self.0.on_failure == OnFailure::Continue {
            return Ok(());
        }
        let text = "this call ended, but the record of it cannot be written, so its answer is withheld; find out what \
                    it did before it is sent again";
        Err(Failure::new(FailureKind::Internal, text))
    }

    /// Hands a line over without waiting for anything; a full queue loses it, which is counted.
    pub(super) fn record_now(&self, line: Vec<u8>) {
        if self.0.lines.try_send(Pending { line, done: None }).is_err() {
            self.lose();
        }
    }

    fn lose(&self) {
        self.0.state.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells whether a refusal at authentication gets a line of its own.
    fn lists_denied(&self) -> bool {
        let second = self.0.started.elapsed().as_secs() << 32;
        let state = &self.0.state;
        let before = state.denied.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            Some(if before >> 32 == second >> 32 { before.saturating_add(1) } else { second | 1 })
        });
        let before = before.unwrap_or_default();
        let is_listed = before >> 32 != second >> 32 || before & 0xffff_ffff < DENIED_A_SECOND;
        if !is_listed {
            state.denied_unlisted.fetch_add(1, Ordering::Relaxed);
        }
        is_listed
    }
}

/// A line on its way into the queue: whoever waits for room may leave, and the line still goes in if there is room then.
struct Waiting<'a> {
    recorder: &'a Recorder,
    line: Option<Pending>,
}

impl Waiting<'_> {
    async fn send(mut self) {
        let lines = &self.recorder.0.lines;
        match self.line.take().map(|line| lines.try_send(line)) {
            Some(Err(TrySendError::Full(line))) => self.line = Some(line),
            Some(Err(TrySendError::Closed(_))) => return self.recorder.lose(),
            _ => return,
        }
        match lines.reserve().await {
            Ok(room) => {
                if let Some(line) = self.line.take() {
                    room.send(line);
                }
            }
            Err(_) => {
                self.line = None;
                self.recorder.lose();
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.line.take()
            && self.recorder.0.lines.try_send(line).is_err()
        {
            self.recorder.lose();
        }
    }
}

impl AccessRecord for Recorder {
    fn denied<'a>(&'a self, denied: &'a Denied, head: HeadInfo<'a>) -> Later<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.refuse()?;
            if !self.lists_denied() {
                return Ok(());
            }
            self.record(Line::of_denied(denied.kind(), &head, SystemTime::now())).await
        })
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("mode", &self.0.mode)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// Notes that nothing is written any more when the thread ends, be it by a panic.
struct Ended(Arc<State>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.is_broken.store(true, Ordering::Relaxed);
    }
}

/// The writer's thread: a runtime of its own, so that sinks may wait for sockets and nothing else waits for them.
fn run(mut writer: Writer, opened: oneshot::Sender<Result<(), StartError>>, _ended: Ended) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever started it may have left.
            let _ = opened.send(Err(StartError::Thread(Some(error))));
            return;
        }
    };
    runtime.block_on(async move {
        match writer.begin().await {
            Err(error) if error.kind() == SinkErrorKind::Wrong => {
                let _ = opened.send(Err(error.into()));
                return;
            }
            Err(error) => writer.broke(&error),
            Ok(()) => {}
        }
        if opened.send(Ok(())).is_ok() {
            writer.run().await;
        }
    });
}
