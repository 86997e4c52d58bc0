//! MCP over stdin and stdout: one message a line, both eras in one process.
//!
//! A reader thread hands over whole chunks of lines, one task polls each request once and gathers what is ready into one
//! buffer, a writer thread writes it. Only requests that have to wait become tasks. Nothing but messages is written.
//! Spec: 2026-07-28 basic/transports/stdio.

mod lines;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{Code, Envelope, Message, Method, Revision, scan, write};
use trunkline_service::endpoint::Live;
use trunkline_service::{Caller, Endpoint, Failure, FailureKind, Request};

use crate::admit;
use crate::batch::{self, Part};
use crate::legacy::{Session, Tells, answer_here};
use lines::{Line, Lines};

/// How the stdio edge behaves.
#[derive(Debug, Clone, Copy)]
pub struct StdioOptions {
    /// Most bytes of one line; a longer one is answered with an error and skipped.
    pub max_line: usize,
    /// How long requests in flight may go on after the end of the input, or after the edge was told to stop; at most
    /// [`MAX_GRACE`] after the end of the input, as clients wait two seconds before they kill.
    pub grace: Duration,
}

/// The longest that requests may go on after the end of the input.
pub const MAX_GRACE: Duration = Duration::from_millis(1500);
/// Chunks that wait between the threads and the task, each way.
const QUEUE: usize = 4;
/// Progress messages that wait to be written.
const EVENTS: usize = 256;

/// Serves this process's stdin and stdout until the input ends or `cancel`.
///
/// # Errors
/// What reading stdin reports. A closed stdout ends serving without an error.
///
/// # Cancel safety
/// Dropping the future stops every request; the threads end with the process.
pub async fn serve(live: Live, options: StdioOptions, cancel: CancellationToken) -> io::Result<()> {
    serve_on(live, options, cancel, io::stdin(), io::stdout()).await
}

/// Serves one pair of byte streams, as [`serve`] does stdin and stdout. Both are used from threads of their own.
///
/// # Errors
/// What reading `input` reports.
pub async fn serve_on<R, W>(
    live: Live,
    options: StdioOptions,
    cancel: CancellationToken,
    input: R,
    output: W,
) -> io::Result<()>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    let (chunks_in, chunks) = mpsc::channel(QUEUE);
    let (out, out_of) = mpsc::channel(QUEUE);
    let (written, all_written) = oneshot::channel::<()>();
    // The reader says so at once, past all that waits in the queue: whoever is stuck writing has to know.
    let ended = CancellationToken::new();
    let at_end = ended.clone().drop_guard();
    // Plain threads: a blocked read of stdin must not keep the runtime from shutting down.
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        read(input, options.max_line, &chunks_in);
        drop(at_end);
    })?;
    std::thread::Builder::new().name("stdout".to_owned()).spawn(move || {
        write_all(output, out_of);
        drop(written);
    })?;
    let mut dialogue = Dialogue::new(live, out);
    let result = tokio::select! {
        result = dialogue.run(chunks) => result,
        () = cancel.cancelled() => Ok(()),
        () = stuck(&ended) => Ok(()),
    };
    let grace = if ended.is_cancelled() { options.grace.min(MAX_GRACE) } else { options.grace };
    let rest = async {
        dialogue.drain().await;
        // With the dialogue goes the sender: the writer ends once all is written.
        drop(dialogue);
        let _ = all_written.await;
    };
    // A client that reads no more is not waited for.
    let _ = tokio::time::timeout(grace, rest).await;
    result
}

/// Comes true when the input has ended and still the dialogue did not get to its end: nobody reads the answers.
async fn stuck(ended: &CancellationToken) {
    ended.cancelled().await;
    tokio::time::sleep(MAX_GRACE / 3).await;
}

/// What the reader thread hands over: lines, or why there are no more.
type Chunk = io::Result<Vec<Line>>;

fn read(mut input: impl Read, max_line: usize, chunks: &mpsc::Sender<Chunk>) {
    let mut lines = Lines::new(max_line);
    loop {
        let chunk = match lines.read_from(&mut input) {
            Ok(None) => return,
            Ok(Some(chunk)) => Ok(chunk),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let ended = chunk.is_err();
        if chunks.blocking_send(chunk).is_err() || ended {
            return;
        }
    }
}

/// Writes what comes, all that waits in one piece.
fn write_all(mut output: impl Write, mut chunks: mpsc::Receiver<Vec<u8>>) {
    while let Some(mut chunk) = chunks.blocking_recv() {
        while let Ok(more) = chunks.try_recv() {
            chunk.extend_from_slice(&more);
        }
        if output.write_all(&chunk).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

/// The process's one dialogue.
struct Dialogue {
    live: Live,
    out: mpsc::Sender<Vec<u8>>,
    /// What `initialize` agreed on; replaced by a second one.
    session: Option<Session>,
    pending: JoinSet<Vec<u8>>,
    /// Requests that wait, by the raw JSON of their id.
    running: HashMap<Bytes, AbortHandle>,
    events_in: mpsc::Sender<Bytes>,
    events: mpsc::Receiver<Bytes>,
    /// Messages gathered for the next write.
    gathered: Vec<u8>,
}

impl Dialogue {
    fn new(live: Live, out: mpsc::Sender<Vec<u8>>) -> Self {
        let (events_in, events) = mpsc::channel(EVENTS);
        Self {
            live,
            out,
            session: None,
            pending: JoinSet::new(),
            running: HashMap::new(),
            events_in,
            events,
            gathered: Vec::new(),
        }
    }

    async fn run(&mut self, mut chunks: mpsc::Receiver<Chunk>) -> io::Result<()> {
        let mut tools = self.live.tools_changed();
        loop {
            tokio::select! {
                biased;
                Ok(()) = tools.changed() => self.tell_changed(),
                Some(event) = self.events.recv() => self.gather_event(&event),
                Some(ended) = self.pending.join_next() => self.gather_ended(ended),
                chunk = chunks.recv() => match chunk {
                    None => break,
                    Some(Err(error)) => return Err(error),
                    Some(Ok(lines)) => lines.into_iter().for_each(|line| self.line(line)),
                },
            }
            if !self.send().await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for what is in flight: a client that piped its requests still gets its answers.
    async fn drain(&mut self) {
        while self.send().await {
            match self.pending.join_next().await {
                Some(ended) => self.gather_ended(ended),
                None => return,
            }
        }
    }

    /// Takes along whatever else is ready and hands it to the writer; `false` when nobody reads any more.
    async fn send(&mut self) -> bool {
        while let Ok(event) = self.events.try_recv() {
            self.gather_event(&event);
        }
        while let Some(ended) = self.pending.try_join_next() {
            self.gather_ended(ended);
        }
        if self.gathered.is_empty() {
            return true;
        }
        let capacity = self.gathered.len();
        let full = std::mem::replace(&mut self.gathered, Vec::with_capacity(capacity));
        self.out.send(full).await.is_ok()
    }

    /// Tells a client of a handshake that the list of tools is another; modern clients ask by a subscription of their own.
    fn tell_changed(&mut self) {
        if self.session.is_some() {
            self.gather_event(br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
        }
    }

    /// Gathers one message as a line.
    fn gather_event(&mut self, event: &[u8]) {
        self.gathered.extend_from_slice(event);
        self.gathered.push(b'\n');
    }

    /// A cancelled request comes to nothing: no answer is ever sent for it.
    fn gather_ended(&mut self, ended: Result<Vec<u8>, tokio::task::JoinError>) {
        if let Ok(message) = ended {
            self.gather(&message);
        }
        if self.running.len() > 2 * self.pending.len() + 16 {
            self.running.retain(|_, handle| !handle.is_finished());
        }
    }

    fn line(&mut self, line: Line) {
        match line {
            Line::Message(body) => self.message(body),
            Line::TooLong(max) => {
                let text = format!("the line is longer than {max} bytes, the most that `max-body` allows");
                self.refuse(None, Code::INVALID_REQUEST, &text);
            }
        }
    }

    fn message(&mut self, body: Bytes) {
        let (kind, envelope) = match scan(&body) {
            Ok(scanned) => scanned,
            Err(_) if batch::is_batch(&body, self.session.as_ref()) => return self.batch(&body),
            Err(refused) if refused.notification => return,
            Err(refused) => {
                return self.refuse(refused.id.map(|id| id.of(&body)), refused.code, refused.message);
            }
        };
        let method = admit::method_of(&body, &envelope);
        match kind {
            Message::Request => self.request(body, &envelope, method),
            Message::Notification if method == Method::Cancelled => {
                self.cancel(envelope.request_id.raw(&body))
            }
            Message::Notification | Message::Response => {}
        }
    }

    /// Runs a batch as one piece of work, answered by one line.
    fn batch(&mut self, body: &Bytes) {
        let endpoint = self.live.load_full();
        let Some(session) = &self.session else { return };
        let parts = match batch::parts(body, session, &endpoint, &Caller::local()) {
            Ok(parts) => parts,
            Err(refused) => return self.refuse(None, refused.code, refused.message),
        };
        let (mut answers, mut calls) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Part::Nothing => {}
                Part::Cancel(id) => self.cancel(&id),
                Part::Answer(answer) => answers.push(answer),
                Part::Call(request, id) => calls.push(call(Arc::clone(&endpoint), *request, id)),
            }
        }
        self.start(None, async move {
            answers.extend(futures_util::future::join_all(calls).await);
            batch::join(&answers).unwrap_or_default()
        });
    }

    fn request(&mut self, body: Bytes, envelope: &Envelope, method: Method) {
        let endpoint = self.live.load_full();
        let id = admit::slice(&body, envelope.id.span);
        let admitted = if let Err(failure) = admit::check_is_no_notification(&body, envelope, method) {
            Err(failure)
        } else if admit::is_modern(envelope, method, None) {
            admit::check_meta(envelope)
                .and_then(|()| admit::check_version(&body, envelope))
                .map(|()| Some(admit::modern(body.clone(), envelope, method, Caller::local())))
        } else {
            self.legacy_request(&endpoint, &body, envelope, method, &id)
        };
        match admitted {
            Ok(None) => {}
            Ok(Some(request)) => {
                let progress =
                    admit::progress(&body, envelope, Some(&self.events_in)).map(|(progress, _)| progress);
                let request = request.with_progress(progress).with_time(endpoint.time);
                self.start(Some(id.clone()), call(endpoint, request, id));
            }
            Err(failure) => {
                let revision =
                    self.session.as_ref().map_or(Revision::LATEST_LEGACY, |session| session.revision);
                admit::write_outcome(
                    &mut self.gathered,
                    &id,
                    revision,
                    &endpoint,
                    &Err(failure),
                    admit::next_log_id(),
                );
                self.gathered.push(b'\n');
            }
        }
    }

    /// Answers what the handshake era answers by itself; everything else becomes a request.
    fn legacy_request(
        &mut self,
        endpoint: &Endpoint,
        body: &Bytes,
        envelope: &Envelope,
        method: Method,
        id: &[u8],
    ) -> Result<Option<Request>, Failure> {
        if method == Method::Initialize {
            let session = Session::agree(body, envelope)?;
            self.answer(&session.initialize_reply(endpoint, Tells::Changes), id, session.revision);
            self.session = Some(session);
            return Ok(None);
        }
        if let Some(reply) = answer_here(method) {
            self.answer(&reply, id, Revision::LATEST_LEGACY);
            return Ok(None);
        }
        match &self.session {
            Some(session) => {
                Ok(Some(admit::legacy(body.clone(), envelope, method, session, Caller::local())))
            }
            None => Err(Failure::new(
                FailureKind::InvalidParams,
                "`_meta` needs `io.modelcontextprotocol/protocolVersion`, a string; clients of a handshake send `initialize` first",
            )),
        }
    }

    fn answer(&mut self, reply: &trunkline_service::Reply, id: &[u8], revision: Revision) {
        reply.write(&mut self.gathered, id, revision, &[]);
        self.gathered.push(b'\n');
    }

    /// Polls the work once; what is ready is gathered, what has to wait becomes a task, to be cancelled by `id`.
    fn start(&mut self, id: Option<Bytes>, work: impl Future<Output = Vec<u8>> + Send + 'static) {
        let mut work = Box::pin(work);
        match (&mut work).now_or_never() {
            Some(message) => self.gather(&message),
            None => {
                let handle = self.pending.spawn(work);
                if let Some(id) = id {
                    self.running.insert(id, handle);
                }
            }
        }
    }

    /// Gathers the answer of a request, after the progress that was reported before it.
    fn gather(&mut self, message: &[u8]) {
        while let Ok(event) = self.events.try_recv() {
            self.gather_event(&event);
        }
        if !message.is_empty() {
            self.gather_event(message);
        }
    }

    fn cancel(&mut self, id: &[u8]) {
        if let Some(handle) = self.running.remove(id) {
            handle.abort();
        }
    }

    fn refuse(&mut self, id: Option<&[u8]>, code: Code, text: &str) {
        write::error(&mut self.gathered, id, code, text, None);
        self.gathered.push(b'\n');
    }
}

/// One request as work that owns all it needs; comes to the response message.
async fn call(endpoint: Arc<Endpoint>, request: Request, id: Bytes) -> Vec<u8> {
    let (revision, log_id) = (request.revision(), request.log_id());
    let outcome = endpoint.service.call(request).await;
    let mut message = Vec::new();
    admit::write_outcome(&mut message, &id, revision, &endpoint, &outcome, log_id);
    message
}
