//! One connection that all commands of this node share: they are sent one after another without waiting, and answers come in the
//! same order.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::dial::{Duplex, READ, Wire};
use super::error::{Code, StoreError};
use super::resp::{Command, Decoder, MAX_COMMAND, Value};

/// Most commands that wait to be sent.
const MAX_QUEUED: usize = 1024;
/// Most bytes of them.
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Most commands whose answers are awaited.
const MAX_AWAITED: usize = 8192;
/// Above so many bytes that are not sent yet no further command is taken.
const MAX_UNSENT: usize = 256 * 1024;
/// Commands taken at a time.
const BATCH: usize = 64;
/// After so long without a command the server is asked whether it is there.
const QUIET: Duration = Duration::from_secs(1);

/// Where commands are given to the connection.
#[derive(Debug)]
pub(super) struct Link {
    jobs: mpsc::Sender<Job>,
    /// Bytes that wait to be sent.
    queued: Arc<AtomicUsize>,
}

/// A command that waits to be sent.
#[derive(Debug)]
pub(super) struct Job {
    command: Vec<u8>,
    answer: oneshot::Sender<Answer>,
    queued: Arc<AtomicUsize>,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.command.len(), Ordering::Relaxed);
    }
}

/// What became of a command.
#[derive(Debug)]
enum Answer {
    Reply(Result<Value, Code>),
    /// The connection ended before it was sent.
    NotSent,
}

impl Link {
    /// Makes a link, and the end that [`drive`] takes.
    pub(super) fn new() -> (Self, mpsc::Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel(MAX_QUEUED);
        (Self { jobs, queued: Arc::default() }, receiver)
    }

    /// Sends a command and waits for its answer, as long as it takes.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have sent the command.
    pub(super) async fn ask(&self, command: Command) -> Result<Value, StoreError> {
        let command = command.into_bytes();
        if command.len() > MAX_COMMAND {
            return Err(StoreError::Down("the command is longer than 16 MiB"));
        }
        let (answer, answered) = oneshot::channel();
        self.queued.fetch_add(command.len(), Ordering::Relaxed);
        let job = Job { command, answer, queued: Arc::clone(&self.queued) };
        if self.queued.load(Ordering::Relaxed) > MAX_QUEUED_BYTES {
            return Err(StoreError::Down("too much waits to be sent"));
        }
        self.jobs.try_send(job).map_err(|error| {
            StoreError::Down(match error {
                mpsc::error::TrySendError::Full(_) => "too much waits to be sent",
                mpsc::error::TrySendError::Closed(_) => "the connection just ended",
            })
        })?;
        match answered.await {
            Ok(Answer::Reply(reply)) => reply.map_err(StoreError::Refused),
            Ok(Answer::NotSent) => Err(StoreError::Down("the connection just ended")),
            Err(_) => Err(StoreError::Unknown),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It was closed or broke.
    Closed(io::ErrorKind),
    /// What came over it is not Redis.
    Malformed,
    /// No answer came any more.
    Stalled,
    /// The server takes no writes any more.
    NotPrimary,
}

/// Moves commands and answers until the connection ends.
///
/// `patience` is how long a command may take; no answer for twice that long ends the connection. `is_up` tells meanwhile whether
/// the server answers.
///
/// # Cancel safety
/// When the future is dropped, commands that were sent end as [`StoreError::Unknown`] and those that were not as
/// [`StoreError::Down`].
pub(super) async fn drive(
    wire: Wire,
    jobs: mpsc::Receiver<Job>,
    patience: Duration,
    is_up: &AtomicBool,
) -> End {
    let (read, write) = tokio::io::split(wire.stream);
    let mut driver = Driver {
        read,
        write,
        input: wire.input,
        decoder: wire.decoder,
        output: BytesMut::new(),
        is_unflushed: false,
        awaited: VecDeque::new(),
        last: Instant::now(),
        jobs: Queue(jobs),
    };
    driver.run(patience, is_up).await
}

/// The commands that wait; those that never left are told so.
struct Queue(mpsc::Receiver<Job>);

impl Drop for Queue {
    fn drop(&mut self) {
        self.0.close();
        while let Ok(mut job) = self.0.try_recv() {
            let (unheard, _) = oneshot::channel();
            let answer = std::mem::replace(&mut job.answer, unheard);
            // Nobody waits any more when that fails.
            let _ = answer.send(Answer::NotSent);
        }
    }
}

struct Driver {
    read: ReadHalf<Box<dyn Duplex>>,
    write: WriteHalf<Box<dyn Duplex>>,
    input: BytesMut,
    decoder: Decoder,
    /// What is not sent yet.
    output: BytesMut,
    is_unflushed: bool,
    /// Who waits for answers, in the order of commands; `None` for our own question whether the server is there.
    awaited: VecDeque<(Option<oneshot::Sender<Answer>>, Instant)>,
    /// When something was last sent or heard.
    last: Instant,
    jobs: Queue,
}

impl Driver {
    async fn run(&mut self, patience: Duration, is_up: &AtomicBool) -> End {
        let mut check = interval(patience.clamp(Duration::from_millis(20), QUIET / 2));
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.input.reserve(READ);
            let has_room = self.output.len() < MAX_UNSENT && self.awaited.len() < MAX_AWAITED;
            tokio::select! {
                count = self.read.read_buf(&mut self.input) => match count {
                    Ok(0) => return End::Closed(io::ErrorKind::UnexpectedEof),
                    Ok(_) => {
                        if let Err(end) = self.answer() {
                            return end;
                        }
                        is_up.store(true, Ordering::Relaxed);
                    }
                    Err(error) => return End::Closed(error.kind()),
                },
                sent = push(&mut self.write, &self.output), if !self.output.is_empty() || self.is_unflushed => match sent {
                    Ok(sent) => {
                        self.is_unflushed = !self.output.is_empty();
                        self.output.advance(sent);
                    }
                    Err(error) => return End::Closed(error.kind()),
                },
                // The sender ends with the link, which whoever drives it holds.
                _ = self.jobs.0.recv_many(&mut batch, BATCH), if has_room => batch.drain(..).for_each(|job| self.send(job)),
                _ = check.tick() => {
                    let waited = self.awaited.front().map_or(Duration::ZERO, |(_, since)| since.elapsed());
                    if waited >= patience {
                        is_up.store(false, Ordering::Relaxed);
                    }
                    if waited >= patience * 2 {
                        return End::Stalled;
                    }
                    if self.awaited.is_empty() && self.last.elapsed() >= QUIET {
                        self.write(&Command::of(&[b"PING"]).into_bytes(), None);
                    }
                }
            }
        }
    }

    fn send(&mut self, mut job: Job) {
        // Who gave up waiting before it was sent does not want it done any more.
        if job.answer.is_closed() {
            return;
        }
        let (unheard, _) = oneshot::channel();
        let answer = std::mem::replace(&mut job.answer, unheard);
        self.write(&job.command, Some(answer));
    }

    fn write(&mut self, command: &[u8], answer: Option<oneshot::Sender<Answer>>) {
        self.output.extend_from_slice(command);
        self.last = Instant::now();
        self.awaited.push_back((answer, self.last));
    }

    /// Gives answers that have come to who waits for them.
    fn answer(&mut self) -> Result<(), End> {
        while let Some(reply) = self.decoder.next(&mut self.input).map_err(|_| End::Malformed)? {
            self.last = Instant::now();
            let is_over = matches!(&reply, Err(code) if matches!(code.as_str(), "READONLY" | "NOAUTH" | "LOADING" | "MASTERDOWN"));
            // An answer that nobody asked for: what follows would go to the wrong ones.
            let (answer, _) = self.awaited.pop_front().ok_or(End::Malformed)?;
            if let Some(answer) = answer {
                // Nobody waits any more when that fails.
                let _ = answer.send(Answer::Reply(reply));
            }
            if is_over {
                return Err(End::NotPrimary);
            }
        }
        Ok(())
    }
}

/// Writes some of `output`, or where there is none, makes sure that what was written leaves. Returns how many bytes were taken.
///
/// # Cancel safety
/// Nothing was taken when the future is dropped.
async fn push(write: &mut WriteHalf<Box<dyn Duplex>>, output: &[u8]) -> io::Result<usize> {
    if output.is_empty() {
        write.flush().await?;
        return Ok(0);
    }
    match write.write(output).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}
