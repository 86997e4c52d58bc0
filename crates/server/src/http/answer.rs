//! Response bodies: one buffer of known length for nearly every answer, a stream of events where there is something to
//! stream.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use trunkline_protocol::{Code, write};
use trunkline_service::Failure;
use trunkline_service::failure::RateLimit;

use super::counts::Why;
use super::events::Events;
use crate::legacy::replay;
use crate::outgoing::{Leaving, Outgoing, Watch};

/// The body of a response.
#[derive(Debug)]
pub enum Answer {
    /// All of it, taken when it is sent.
    Full(Option<Bytes>),
    /// All of it, in pieces as its reader takes them.
    Pieces(Box<Leaving>, Watch),
    /// Messages as they come.
    Events(Box<Events>),
}

/// What a request came to.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The response message; empty when the request was cancelled and nothing is owed.
    pub(super) message: Outgoing,
    /// The status it travels with, unless a stream has begun.
    pub(super) status: StatusCode,
    /// When to try again.
    pub(super) retry_after: Option<Duration>,
    /// Which limit refused it.
    pub(super) limit: Option<Box<RateLimit>>,
    /// What the caller has to get first.
    pub(super) challenge: Option<HeaderValue>,
}

/// The work behind a request.
pub(super) type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

impl Answer {
    fn pieces(leaving: Leaving) -> Self {
        let watch = Watch::default();
        watch.begin(leaving.left());
        Self::Pieces(Box::new(leaving), watch)
    }

    /// Returns what tells how much of it waits for its reader, where that may be much.
    pub(super) fn watch(&self) -> Option<&Watch> {
        match self {
            Self::Full(_) => None,
            Self::Pieces(_, watch) => Some(watch),
            Self::Events(events) => Some(events.watch()),
        }
    }
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
            Self::Pieces(leaving, _) => Poll::Ready(leaving.next().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => {
                events.poll_next(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Pieces(leaving, _) => leaving.left() == 0,
            Self::Events(events) => events.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Pieces(leaving, _) => SizeHint::with_exact(leaving.left() as u64),
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

/// Returns a JSON response, to be marked as such by [`mark_as_json`].
pub(super) fn json(status: StatusCode, body: impl Into<Outgoing>) -> Response<Answer> {
    let mut response = Response::new(match body.into() {
        Outgoing::Whole(body) => Answer::Full(Some(body.into())),
        large => Answer::pieces(Leaving::new(Vec::new(), large, b"")),
    });
    *response.status_mut() = status;
    response
}

/// Says of a body that it is JSON, if nothing else was said of it.
///
/// The table of the request's headers becomes that of the response, and hyper keeps it for the next request: one table
/// serves a connection.
pub(super) fn mark_as_json(response: &mut Response<Answer>, mut of_request: HeaderMap) {
    let is_message = matches!(response.body(), Answer::Full(Some(_)) | Answer::Pieces(..));
    if !is_message || response.headers().contains_key(CONTENT_TYPE) {
        return;
    }
    if response.headers().is_empty() {
        of_request.clear();
        *response.headers_mut() = of_request;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

/// Returns one message in the form the client takes.
pub(super) fn message(status: StatusCode, body: impl Into<Outgoing>, as_event: bool) -> Response<Answer> {
    if !as_event {
        return json(status, body);
    }
    let mut response = Response::new(match body.into() {
        Outgoing::Whole(body) => Answer::Full(Some(replay::event(None, &body).into())),
        large => Answer::pieces(replay::leaving(None, large)),
    });
    *response.status_mut() = status;
    mark_as_events(&mut response);
    response
}

/// Returns a stream of events.
pub(super) fn events(events: Events) -> Response<Answer> {
    let mut response = Response::new(Answer::Events(Box::new(events)));
    mark_as_events(&mut response);
    response
}

fn mark_as_events(response: &mut Response<Answer>) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Kept by nobody, and not compressed on the way, which would hold events back.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
}

/// Returns a refusal that carries no id: it was decided before the body was read.
pub(super) fn refusal(status: StatusCode, code: Code, text: &str) -> Response<Answer> {
    let mut body = Vec::with_capacity(text.len() + 64);
    write::error(&mut body, None, code, text, None);
    Why::of(status).mark(json(status, body))
}

/// Returns the answer to a request that was refused before its body was read.
pub(super) fn refused(failure: &Failure) -> Response<Answer> {
    let row = failure.kind().row();
    let mut body = Vec::new();
    write::error(&mut body, None, row.code, failure.public(), failure.data());
    let status = StatusCode::from_u16(row.http).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = Why::of(status).mark(json(status, body));
    if let Some(wait) = failure.retry_after() {
        retry_after(&mut response, wait);
    }
    if let Some(limit) = failure.rate_limit() {
        rate_limit(&mut response, limit);
    }
    response
}

/// Says which limit refused the request. Source: draft-ietf-httpapi-ratelimit-headers-10.
pub(super) fn rate_limit(response: &mut Response<Answer>, limit: &RateLimit) {
    for (name, value) in [("ratelimit-policy", &limit.policy), ("ratelimit", &limit.state)] {
        // What is no value of a header is left out, and the status says enough.
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// Returns 405 with the methods that are served.
pub(super) fn method_not_allowed(methods: &'static str) -> Response<Answer> {
    let mut response = Why::Method.mark(empty(StatusCode::METHOD_NOT_ALLOWED));
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
