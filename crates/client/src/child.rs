//! A server as a child process: one task owns the process and its pipes, and calls wait beside it.
//!
//! What it keeps true: a call is answered, or fails soon after the process can no longer answer; a call that is dropped
//! leaves nothing behind and never cuts a line short; the process ends with the client, gently where there is time. Lines
//! on its output that are no messages are kept for diagnosis and answered by nothing.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child as Process, ChildStderr as Stderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use trunkline_protocol::write;

use crate::error::ClientError;
use crate::message::{self, Answer, Incoming};
use crate::options::{ChildStderr, ConnectOptions, OnProgress};
use crate::request::{self, Prepared};

/// How long the rest of the output is read after the process ended, and its end is awaited after the output ended.
const SETTLE: Duration = Duration::from_millis(200);
/// How long the process may take to end after its input was closed, and again after it was told to terminate.
const GRACE: Duration = Duration::from_secs(2);
/// Lines waiting to be written; a caller waits when they are that many.
const QUEUE: usize = 16;
/// Lines that were no messages: how many are kept, and how many characters of each.
const NOISE: (usize, usize) = (16, 200);
/// How much of the end of the standard error is kept, in bytes.
const STDERR: usize = 64 * 1024;

/// A running server process.
#[derive(Debug)]
pub(crate) struct Child {
    lines: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    program: String,
    max_answer: usize,
    waiting: Mutex<Waiting>,
    noise: Mutex<VecDeque<String>>,
    stderr: Mutex<VecDeque<u8>>,
    /// Requests of the server are answered, which only the handshake era allows.
    legacy: AtomicBool,
    on_progress: Option<OnProgress>,
}

#[derive(Default)]
struct Waiting {
    calls: HashMap<u64, oneshot::Sender<Answer>>,
    end: Option<End>,
}

/// Why nothing is answered any more.
#[derive(Clone)]
enum End {
    Gone { how: String, status: Option<ExitStatus> },
    TooLarge,
}

// ---------------------------------------------------------------- Child

impl Child {
    /// Starts the process.
    pub(crate) fn start(
        argv: &[OsString],
        stderr: ChildStderr,
        options: &ConnectOptions,
    ) -> Result<Self, ClientError> {
        let (program, arguments) = argv.split_first().ok_or(ClientError::NoCommand)?;
        let name = program.to_string_lossy().into_owned();
        let mut process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(match stderr {
                ChildStderr::Inherit => Stdio::inherit(),
                ChildStderr::Keep => Stdio::piped(),
            })
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ClientError::Spawn { program: name.clone(), source })?;
        let shared = Arc::new(Shared {
            program: name,
            max_answer: options.max_answer,
            waiting: Mutex::default(),
            noise: Mutex::default(),
            stderr: Mutex::default(),
            legacy: AtomicBool::new(false),
            on_progress: options.on_progress.clone(),
        });
        let (lines, queue) = mpsc::channel(QUEUE);
        let (stderr_ended, stderr_end) = oneshot::channel();
        let pipes = Pipes {
            stdin: process.stdin.take(),
            stdout: process.stdout.take(),
            queue,
            replies: lines.downgrade(),
            stderr_end,
        };
        let mut tasks = JoinSet::new();
        if let Some(pipe) = process.stderr.take() {
            tasks.spawn(keep_stderr(pipe, Arc::clone(&shared), stderr_ended));
        }
        tasks.spawn(supervise(process, pipes, Arc::clone(&shared)));
        Ok(Self { lines, shared, tasks })
    }

    /// Returns the program's name.
    pub(crate) fn shown(&self) -> &str {
        &self.shared.program
    }

    /// Answers requests of the server from now on, as the handshake era wants it.
    pub(crate) fn expect_legacy(&self) {
        self.shared.legacy.store(true, Ordering::Relaxed);
    }

    /// Returns the last lines of the output that were no messages, shortened.
    pub(crate) fn noise(&self) -> Vec<String> {
        lock(&self.shared.noise).iter().cloned().collect()
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Cancel safety
    /// A dropped call tells the server, unless it must not be cancelled, and forgets the answer.
    pub(crate) async fn exchange(&self, request: &Prepared) -> Result<Answer, ClientError> {
        let gone = || self.shared.error(request.method);
        let (answer, answered) = oneshot::channel();
        if !self.shared.expect(request.id, answer) {
            return Err(gone());
        }
        let mut call = Call { child: self, id: request.id, cancels: false };
        // A line that cannot be queued any more is left to the supervisor, which is about to say why to all waiting calls.
        call.cancels = self.lines.send(line(request.body.clone())).await.is_ok() && request.cancels;
        let answer = answered.await.map_err(|_| gone());
        call.cancels = false;
        answer
    }

    /// Sends a notification.
    pub(crate) async fn notify(&self, method: &'static str, body: Vec<u8>) -> Result<(), ClientError> {
        self.lines.send(line(body)).await.map_err(|_| self.shared.error(method))
    }

    /// Closes the input and waits until the process has ended, by itself or by force.
    pub(crate) async fn close(self) {
        let Self { lines, mut tasks, .. } = self;
        drop(lines);
        // The supervisor bounds every step; this bound is for a process that cannot even be killed.
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(GRACE * 3, all).await.is_err() {
            tracing::debug!("the child process did not end in time");
        }
    }
}

/// One waiting call; dropping it forgets the call.
struct Call<'a> {
    child: &'a Child,
    id: u64,
    cancels: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        lock(&self.child.shared.waiting).calls.remove(&self.id);
        // With a full queue the server is not reading and would not learn of the cancellation in time anyway.
        if self.cancels && self.child.lines.try_send(line(request::cancelled(self.id))).is_err() {
            tracing::debug!("a cancellation could not be sent");
        }
    }
}

/// Makes one line of a message.
fn line(mut body: Vec<u8>) -> Vec<u8> {
    write::without_line_breaks(&mut body);
    body.push(b'\n');
    body
}

// ---------------------------------------------------------------- Shared

impl Shared {
    /// Enters a call; `false` when nothing will be answered any more.
    fn expect(&self, id: u64, answer: oneshot::Sender<Answer>) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.end.is_some() {
            return false;
        }
        waiting.calls.insert(id, answer);
        true
    }

    /// Fails all waiting calls and those to come. The first reason stays.
    fn end(&self, end: End) {
        let mut waiting = lock(&self.waiting);
        waiting.end.get_or_insert(end);
        waiting.calls.clear();
    }

    fn error(&self, method: &'static str) -> ClientError {
        let end = lock(&self.waiting).end.clone();
        match end {
            Some(End::TooLarge) => {
                ClientError::TooLarge { target: self.program.clone(), method, limit: self.max_answer }
            }
            Some(End::Gone { how, status }) => self.ended(method, how, status),
            None => self.ended(method, "was stopped".to_owned(), None),
        }
    }

    fn ended(&self, method: &'static str, how: String, status: Option<ExitStatus>) -> ClientError {
        let last_line = lock(&self.noise).back().cloned();
        let stderr: Vec<u8> = lock(&self.stderr).iter().copied().collect();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        ClientError::Ended { program: self.program.clone(), how, status, method, last_line, stderr }
    }

    /// Deals with one line of output.
    fn take(&self, line: &[u8], replies: &mpsc::WeakSender<Vec<u8>>) {
        let Ok(messages) = message::read(line) else { return self.keep_noise(line) };
        for message in messages {
            match message {
                Incoming::Response { id, answer } => {
                    let call =
                        id.and_then(message::own_id).and_then(|id| lock(&self.waiting).calls.remove(&id));
                    match call {
                        // Nobody listens when the call was dropped this very moment.
                        Some(call) => drop(call.send(answer)),
                        None => tracing::debug!("an answer to no request of ours was ignored"),
                    }
                }
                Incoming::Request { id, method } if self.legacy.load(Ordering::Relaxed) => {
                    let reply = self::line(message::reply_to(id, &method));
                    if replies.upgrade().is_none_or(|replies| replies.try_send(reply).is_err()) {
                        tracing::debug!(
                            "a request of the server was left unanswered, it does not read its input"
                        );
                    }
                }
                Incoming::Request { .. } => tracing::debug!("a request of the server was ignored"),
                Incoming::Notification { method, params } if method == "notifications/progress" => {
                    let known = |token| lock(&self.waiting).calls.contains_key(&token);
                    request::tell_progress(self.on_progress.as_ref(), params, known);
                }
                Incoming::Notification { .. } => {}
            }
        }
    }

    fn keep_noise(&self, line: &[u8]) {
        let head = line.get(..NOISE.1 * 4).unwrap_or(line);
        let text: String = String::from_utf8_lossy(head)
            .chars()
            .filter(|character| !character.is_control())
            .take(NOISE.1)
            .collect();
        if text.trim().is_empty() {
            return;
        }
        tracing::debug!(bytes = line.len(), "a line of output that is no message was ignored");
        let text = if line.len() > text.len() { format!("{text}...") } else { text };
        let mut noise = lock(&self.noise);
        if noise.len() == NOISE.0 {
            noise.pop_front();
        }
        noise.push_back(text);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("program", &self.program).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---------------------------------------------------------------- the task

struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    queue: mpsc::Receiver<Vec<u8>>,
    /// For answers to the server's requests; weak, so that the queue ends when the client is closed.
    replies: mpsc::WeakSender<Vec<u8>>,
    stderr_end: oneshot::Receiver<()>,
}

/// What happened first.
enum First {
    Exited(std::io::Result<ExitStatus>),
    Output(OutputEnd),
    /// The client was closed (`Ok`), or the process no longer reads.
    Input(std::io::Result<()>),
}

enum OutputEnd {
    Closed,
    TooLarge,
}

/// Moves lines until the process, one of its pipes or the client ends, then sees to it that the process has ended.
async fn supervise(mut process: Process, pipes: Pipes, shared: Arc<Shared>) {
    let Pipes { stdin, stdout, queue, replies, stderr_end } = pipes;
    let reading = read(stdout, &shared, &replies);
    let mut reading = std::pin::pin!(reading);
    let first = {
        let mut writing = std::pin::pin!(write(stdin, queue));
        tokio::select! {
            status = process.wait() => First::Exited(status),
            end = &mut reading => First::Output(end),
            end = &mut writing => First::Input(end),
        }
    };
    let gone = |how: &str| End::Gone { how: how.to_owned(), status: None };
    match first {
        First::Exited(status) => {
            // Answers and reasons may still be in the pipes; a grandchild may hold them open, so the wait is short.
            let _ = timeout(SETTLE, reading).await;
            let _ = timeout(SETTLE, stderr_end).await;
            shared.end(exited(status.ok()));
        }
        First::Output(OutputEnd::TooLarge) => shared.end(End::TooLarge),
        First::Output(OutputEnd::Closed) => match timeout(SETTLE, process.wait()).await {
            Ok(status) => {
                let _ = timeout(SETTLE, stderr_end).await;
                shared.end(exited(status.ok()));
            }
            Err(_) => shared.end(gone("closed its output and was stopped")),
        },
        // A process that no longer reads usually ends now; its exit status says more.
        First::Input(Err(_)) => {
            let status =
                timeout(SETTLE, async { tokio::join!(process.wait(), timeout(SETTLE, reading)).0 }).await;
            let _ = timeout(SETTLE / 4, stderr_end).await;
            shared.end(
                status
                    .map_or_else(|_| gone("closed its input and was stopped"), |status| exited(status.ok())),
            );
        }
        First::Input(Ok(())) => {
            tokio::select! {
                _ = process.wait() => {}
                () = async { reading.await; std::future::pending::<()>().await } => {}
                () = tokio::time::sleep(GRACE) => {}
            }
            shared.end(gone("was stopped"));
        }
    }
    stop(&mut process).await;
}

fn exited(status: Option<ExitStatus>) -> End {
    let how = status.map_or_else(|| "ended".to_owned(), |status| format!("ended ({status})"));
    End::Gone { how, status }
}

/// Ends the process if it still runs: first a request to terminate, then by force.
async fn stop(process: &mut Process) {
    if matches!(process.try_wait(), Ok(Some(_))) {
        return;
    }
    #[cfg(unix)]
    if let Some(id) =
        process.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    {
        // The process was not waited for yet, so the number is still its own.
        let told = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        if told.is_ok() && timeout(GRACE, process.wait()).await.is_ok() {
            return;
        }
    }
    if process.kill().await.is_err() {
        tracing::debug!("the child process could not be stopped");
    }
}

async fn write(stdin: Option<ChildStdin>, mut queue: mpsc::Receiver<Vec<u8>>) -> std::io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    while let Some(line) = queue.recv().await {
        stdin.write_all(&line).await?;
        stdin.flush().await?;
    }
    Ok(())
}

async fn read(
    stdout: Option<ChildStdout>,
    shared: &Shared,
    replies: &mpsc::WeakSender<Vec<u8>>,
) -> OutputEnd {
    let Some(stdout) = stdout else { return OutputEnd::Closed };
    let mut reader = BufReader::with_capacity(64 * 1024, stdout);
    let mut line = Vec::new();
    loop {
        match read_line(&mut reader, &mut line, shared.max_answer).await {
            Ok(true) => shared.take(&line, replies),
            Ok(false) => return OutputEnd::Closed,
            Err(end) => return end,
        }
        // One huge answer does not keep its memory.
        line.clear();
        line.shrink_to(1024 * 1024);
    }
}

/// Reads one line without its end; `false` at the end of the output, where an unfinished line does not count.
async fn read_line<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    line: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, OutputEnd> {
    loop {
        let buffer = match reader.fill_buf().await {
            Ok(buffer) if !buffer.is_empty() => buffer,
            _ => return Ok(false),
        };
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        if line.len() + part.len() > limit {
            return Err(OutputEnd::TooLarge);
        }
        line.extend_from_slice(part);
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Keeps the end of the standard error.
async fn keep_stderr(mut pipe: Stderr, shared: Arc<Shared>, ended: oneshot::Sender<()>) {
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let mut kept = lock(&shared.stderr);
        kept.extend(buffer.iter().take(count));
        let excess = kept.len().saturating_sub(STDERR);
        kept.drain(..excess);
    }
    // Nobody waits when the process ended long ago.
    let _ = ended.send(());
}
