//! Response bodies: one buffer of known length for nearly every answer, a stream of events where there is something to
//! stream.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use trunkline_protocol::{Code, write};

/// The body of a response.
#[derive(Debug)]
pub enum Answer {
    /// All of it, taken when it is sent.
    Full(Option<Bytes>),
    /// Messages as they come.
    Events(Box<Events>),
}

/// What a request came to.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The response message; empty when the request was cancelled and nothing is owed.
    pub(super) message: Vec<u8>,
    /// The status it travels with, unless a stream has begun.
    pub(super) status: StatusCode,
    /// When to try again.
    pub(super) retry_after: Option<Duration>,
}

/// The work behind a request.
pub(super) type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// A stream of messages of one request: what `receiver` brings, then what `work` comes to.
pub struct Events {
    first: Option<Bytes>,
    receiver: mpsc::Receiver<Bytes>,
    work: Option<Work>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("ended", &self.work.is_none()).finish_non_exhaustive()
    }
}

impl Events {
    pub(super) fn new(first: Bytes, receiver: mpsc::Receiver<Bytes>, work: Work) -> Self {
        Self { first: Some(first), receiver, work: Some(work) }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(event(&first)));
        }
        if let Poll::Ready(Some(message)) = self.receiver.poll_recv(context) {
            return Poll::Ready(Some(event(&message)));
        }
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let Poll::Ready(last) = work.as_mut().poll(context) else { return Poll::Pending };
        self.work = None;
        // What was reported while the work ended goes out before its result, and nothing after it.
        let mut out = Vec::with_capacity(last.message.len() + 16);
        while let Ok(message) = self.receiver.try_recv() {
            append_event(&mut out, &message);
        }
        if !last.message.is_empty() {
            append_event(&mut out, &last.message);
        }
        self.receiver.close();
        Poll::Ready(Some(out.into()))
    }
}

fn event(message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 16);
    append_event(&mut out, message);
    out.into()
}

/// Appends one event. Messages have no line breaks.
fn append_event(out: &mut Vec<u8>, message: &[u8]) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(message);
    out.extend_from_slice(b"\n\n");
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => {
                events.poll_next(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Events(events) => events.work.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// Returns a response without a body.
pub(super) fn empty(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::Full(None));
    *response.status_mut() = status;
    response
}

/// Returns a JSON response.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response<Answer> {
    let mut response = Response::new(Answer::Full(Some(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns one message in the form the client takes.
pub(super) fn message(status: StatusCode, body: Vec<u8>, as_event: bool) -> Response<Answer> {
    if !as_event {
        return json(status, body);
    }
    let mut response = Response::new(Answer::Full(Some(event(&body))));
    *response.status_mut() = status;
    mark_as_events(&mut response);
    response
}

/// Returns a stream of messages.
pub(super) fn events(events: Events) -> Response<Answer> {
    let mut response = Response::new(Answer::Events(Box::new(events)));
    mark_as_events(&mut response);
    response
}

fn mark_as_events(response: &mut Response<Answer>) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
}

/// Returns a refusal that carries no id: it was decided before the body was read.
pub(super) fn refusal(status: StatusCode, code: Code, text: &str) -> Response<Answer> {
    let mut body = Vec::with_capacity(text.len() + 64);
    write::error(&mut body, None, code, text, None);
    json(status, body)
}

/// Returns 405 with the methods that are served.
pub(super) fn method_not_allowed(methods: &'static str) -> Response<Answer> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// Returns 503 for want of room, to be tried again in a second.
pub(super) fn busy(text: &str) -> Response<Answer> {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, Code::OVERLOADED, text);
    retry_after(&mut response, Duration::from_secs(1));
    response
}

/// Adds `Retry-After` in whole seconds, at least one.
pub(super) fn retry_after(response: &mut Response<Answer>, wait: Duration) {
    let seconds = wait.as_secs_f64().ceil().max(1.0);
    if let Ok(value) = HeaderValue::from_str(&format!("{seconds:.0}")) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
}
