//! MCP over stdin and stdout: one message a line, both eras in one process.
//!
//! A reader thread hands over whole chunks of lines, one task polls each request once and gathers what is ready into one
//! buffer, a writer thread writes it. Only requests that have to wait become tasks. Nothing but messages is written.
//! Spec: 2026-07-28 basic/transports/stdio.

mod lines;
mod own;
mod threads;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{Code, Envelope, Message, Method, Revision, scan};
use trunkline_service::endpoint::Live;
use trunkline_service::seal::now;
use trunkline_service::{Endpoint, Event, Failure, FailureKind, Outlet, Reply, Request};

use crate::admit;
use crate::batch;
use crate::legacy::{self, Call, Session, Standing};
use lines::Line;
use own::{Handshake, Own};
use threads::{Chunk, read, write_all};

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
/// Messages of calls that wait to be written; whoever has more to tell waits.
const EVENTS: usize = 16;
/// Bytes that are gathered for one write; one message may pass it.
const GATHER: usize = 256 * 1024;

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

/// The process's one dialogue.
struct Dialogue {
    live: Live,
    out: mpsc::Sender<Vec<u8>>,
    /// Ends subscriptions.
    closing: CancellationToken,
    /// What `initialize` agreed on; replaced by a second one.
    session: Option<Session>,
    /// What tells that session of changes.
    standing: JoinSet<()>,
    pending: JoinSet<Vec<u8>>,
    /// Requests that wait, by the raw JSON of their id.
    running: HashMap<Bytes, AbortHandle>,
    events_in: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    /// Messages gathered for the next write.
    gathered: Vec<u8>,
}

impl Dialogue {
    fn new(live: Live, out: mpsc::Sender<Vec<u8>>) -> Self {
        let (events_in, events) = mpsc::channel(EVENTS);
        Self {
            live,
            out,
            closing: CancellationToken::new(),
            session: None,
            standing: JoinSet::new(),
            pending: JoinSet::new(),
            running: HashMap::new(),
            events_in,
            events,
            gathered: Vec::new(),
        }
    }

    async fn run(&mut self, mut chunks: mpsc::Receiver<Chunk>) -> io::Result<()> {
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.gather_told(event),
                Some(ended) = self.pending.join_next() => self.gather_ended(ended),
                chunk = chunks.recv() => match chunk {
                    None => break,
                    Some(Err(error)) => return Err(error),
                    Some(Ok(lines)) => {
                        for line in lines {
                            if let Some(own) = self.line(line) {
                                self.settle(own).await;
                            }
                            if self.is_full() && !self.send().await {
                                return Ok(());
                            }
                        }
                    }
                },
            }
            if !self.send().await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for what is in flight: a client that piped its requests still gets its answers. Subscriptions end.
    async fn drain(&mut self) {
        self.closing.cancel();
        while self.send().await {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.gather_told(event),
                ended = self.pending.join_next() => match ended {
                    Some(ended) => self.gather_ended(ended),
                    None => return,
                },
            }
        }
    }

    /// Takes along what else is ready, as much as goes into one write, and hands it to the writer; `false` when nobody reads
    /// any more. Nothing more is taken in while the writer is busy.
    async fn send(&mut self) -> bool {
        while !self.is_full()
            && let Ok(event) = self.events.try_recv()
        {
            self.gather_told(event);
        }
        while !self.is_full()
            && let Some(ended) = self.pending.try_join_next()
        {
            self.gather_ended(ended);
        }
        if self.gathered.is_empty() {
            return true;
        }
        let capacity = self.gathered.len().min(GATHER);
        let full = std::mem::replace(&mut self.gathered, Vec::with_capacity(capacity));
        self.out.send(full).await.is_ok()
    }

    fn is_full(&self) -> bool {
        self.gathered.len() >= GATHER
    }

    fn gather_told(&mut self, event: Event) {
        if let Event::Message(message) | Event::Positioned(message, _) = event {
            self.gather_event(&message);
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

    /// Takes in a line; what no service is to see is left to [`settle`](Self::settle).
    fn line(&mut self, line: Line) -> Option<Own> {
        match line {
            Line::Message(body) => self.message(body),
            Line::TooLong(max) => {
                let text = format!("the line is longer than {max} bytes, the most that is taken");
                Some(Own::Answered(None, batch::error(None, Code::INVALID_REQUEST, &text)))
            }
        }
    }

    fn message(&mut self, body: Bytes) -> Option<Own> {
        let (kind, envelope) = match scan(&body) {
            Ok(scanned) => scanned,
            Err(_) if batch::is_batch(&body, self.session.as_ref()) => return Some(Own::Batch(body)),
            Err(refused) if refused.notification => return Some(Own::Notification),
            Err(refused) => {
                let id = refused.id.map(|id| admit::slice(&body, id));
                let answer = batch::error(id.as_deref(), refused.code, refused.message);
                return Some(Own::Answered(id, answer));
            }
        };
        let method = admit::method_of(&body, &envelope);
        match kind {
            Message::Request => return self.request(body, &envelope, method),
            Message::Response => {
                // It was asked for.
                self.take_answer(body);
                return None;
            }
            Message::Notification if method == Method::Cancelled => {
                self.cancel(envelope.request_id.raw(&body));
            }
            Message::Notification => {}
        }
        Some(Own::Notification)
    }

    /// Takes in the answer to a request of ours.
    fn take_answer(&mut self, body: Bytes) {
        let Some(session) = self.session.clone() else { return };
        let shared = Arc::clone(self.live.shared());
        self.start(None, async move {
            // Nobody can be told; what is shared over stdio is in this process.
            let _ = legacy::take_answer(&*shared, &session, &body).await;
            Vec::new()
        });
    }

    fn request(&mut self, body: Bytes, envelope: &Envelope, method: Method) -> Option<Own> {
        let endpoint = self.live.load_full();
        let id = admit::slice(&body, envelope.id.span);
        let is_running = self.running.get(&id).is_some_and(|call| !call.is_finished());
        let done = if let Err(failure) = admit::check_is_no_notification(&body, envelope, method) {
            Err(failure)
        } else if is_running {
            let text = "a request with this `id` is still running; give each request an `id` of its own";
            Err(Failure::new(FailureKind::InvalidRequest, text))
        } else if admit::is_modern(envelope, method, None, self.session.is_some()) {
            self.modern(&endpoint, &body, envelope, method, &id).map(|()| None)
        } else {
            self.legacy(&endpoint, body, envelope, method, &id)
        };
        done.unwrap_or_else(|failure| {
            let answer = self.failed(&endpoint, &id, failure);
            Some(Own::Answered(Some(id), answer))
        })
    }

    /// The revision that answers are written in where nothing else says one.
    fn revision(&self) -> Revision {
        self.session.as_ref().map_or(Revision::LATEST_LEGACY, |session| session.revision)
    }

    fn modern(
        &mut self,
        endpoint: &Arc<Endpoint>,
        body: &Bytes,
        envelope: &Envelope,
        method: Method,
        id: &Bytes,
    ) -> Result<(), Failure> {
        admit::check_meta(body, envelope)?;
        admit::check_version(body, envelope)?;
        let input = admit::input(body, envelope, method)?;
        let attached =
            admit::wants_stream(envelope, method).then(|| admit::attached(body, envelope, self.outlet()));
        let request = admit::modern(body.clone(), envelope, method, endpoint.local())
            .with_attached(attached)
            .with_input(input)
            .with_time(endpoint.time);
        self.start(Some(id.clone()), call(Arc::clone(endpoint), request, id.clone()));
        Ok(())
    }

    /// Leaves the handshake and `ping` to the edge; everything else in a session becomes a call.
    fn legacy(
        &mut self,
        endpoint: &Arc<Endpoint>,
        body: Bytes,
        envelope: &Envelope,
        method: Method,
        id: &Bytes,
    ) -> Result<Option<Own>, Failure> {
        if method == Method::Initialize {
            return Ok(Some(Own::Handshake(Box::new(Handshake { body, envelope: *envelope }))));
        }
        if method == Method::Ping {
            let mut answer = Vec::new();
            Reply::from_members(Vec::new()).write(&mut answer, id, Revision::LATEST_LEGACY, &[]);
            return Ok(Some(Own::Answered(Some(id.clone()), answer)));
        }
        let Some(session) = self.session.clone() else {
            return Err(Failure::new(
                FailureKind::InvalidParams,
                "`_meta` needs `io.modelcontextprotocol/protocolVersion`, a string; clients of a handshake send `initialize` first",
            ));
        };
        let message = (body, *envelope, method);
        let outlet = legacy::may_tell(method).then(|| self.outlet());
        let call =
            Call::new(Arc::clone(endpoint), self.live.shared(), session, endpoint.local(), message, outlet);
        self.start(Some(id.clone()), legacy_call(call));
        Ok(None)
    }

    fn initialize(
        &mut self,
        endpoint: &Endpoint,
        body: &[u8],
        envelope: &Envelope,
        id: &[u8],
    ) -> Result<(), Failure> {
        // It lasts as long as the process.
        let session = Session { expires: u64::MAX, ..Session::agree(body, envelope, &endpoint.local())? };
        self.answer(&session.initialize_reply(endpoint, &endpoint.local()), id, session.revision);
        self.standing = JoinSet::new();
        if let Some(before) = self.session.take() {
            let shared = Arc::clone(self.live.shared());
            self.start(None, async move {
                // Remembered while calls of it may still run.
                let _ = shared.end_session(before.number, now() + 60).await;
                Vec::new()
            });
        }
        let closing = self.closing.clone();
        if let Ok(mut standing) =
            Standing::open(&self.live, session.clone(), self.live.load().local(), closing, None)
        {
            let events = self.events_in.clone();
            self.standing.spawn(async move {
                while let Some((_, message)) = standing.next().await {
                    if events.send(Event::Message(message)).await.is_err() {
                        return;
                    }
                }
            });
        }
        self.session = Some(session);
        Ok(())
    }

    fn outlet(&self) -> Outlet {
        Outlet::new(self.events_in.clone(), self.closing.clone())
    }

    fn answer(&mut self, reply: &Reply, id: &[u8], revision: Revision) {
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

    /// Gathers the answer of a request, after what it told before: no more than the queue holds.
    fn gather(&mut self, message: &[u8]) {
        for _ in 0..EVENTS {
            let Ok(event) = self.events.try_recv() else { break };
            self.gather_told(event);
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
}

/// One modern request as work that owns all it needs; comes to the response message.
async fn call(endpoint: Arc<Endpoint>, request: Request, id: Bytes) -> Vec<u8> {
    let (revision, mark, method) = (request.revision(), request.mark(), request.method());
    let outcome = endpoint.service.call(request).await;
    let mut message = Vec::new();
    admit::write_outcome(&mut message, &id, revision, &endpoint, &outcome, mark);
    if method == Method::SubscriptionsListen && outcome.is_ok() {
        message.push(b'\n');
        message.extend_from_slice(&admit::cancelled(&id));
    }
    message
}

/// One request of a session as work that owns all it needs; comes to the response message.
async fn legacy_call(call: Call) -> Vec<u8> {
    let (outcome, mark) = call.run().await;
    let mut message = Vec::new();
    admit::write_outcome(&mut message, &call.id(), call.session.revision, &call.endpoint, &outcome, mark);
    message
}
