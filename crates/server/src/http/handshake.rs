//! Sessions of the handshake era over HTTP: their POSTs, the GET of their streams, and the DELETE that ends them.
//!
//! Spec: 2025-11-25 basic/transports#streamable-http and its predecessors.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::time::Instant;
use trunkline_protocol::{Code, Envelope, Message, Method, Refusal, Revision, revision, write};
use trunkline_service::seal::now;
use trunkline_service::shared::{Follow, Followed, NoRoom, Topic};
use trunkline_service::trace::Mark;
use trunkline_service::{Caller, Endpoint, Failure, FailureKind};

use super::Http;
use super::answer::{self, Answer, Work, busy, empty, message, method_not_allowed, refusal};
use super::calls::Started;
use super::counts::Why;
use super::events::Events;
use super::heads::Heads;
use super::line::{self, Piece};
use super::post::{Form, done, ended, failed, finished, refused_message, status_of};
use super::streams::Place as Seat;
use crate::admit;
use crate::batch::{self, Part};
use crate::legacy::replay::{self, Place};
use crate::legacy::{Call, Session, Standing, UnknownSession, may_tell, take_answer};
use crate::outgoing::Watch;

/// The longest that a stand-alone stream lasts, in seconds; sessions end before.
const MAX_STANDING: u64 = 7 * 24 * 60 * 60;

/// Why a request has no session.
pub(super) enum NoSession {
    Unknown,
    Refused(&'static str),
}

impl NoSession {
    /// The answer to a request without an id.
    fn answer(self) -> Response<Answer> {
        match self {
            Self::Unknown => unknown_session(None),
            Self::Refused(text) => refusal(StatusCode::BAD_REQUEST, Code::INVALID_REQUEST, text),
        }
    }
}

// ---- POST ----

impl Http {
    pub(super) async fn legacy_request(
        &self,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        body: Bytes,
        envelope: &Envelope,
        method: Method,
        form: Form<'_>,
    ) -> Response<Answer> {
        let endpoint = self.live.load_full();
        let id = admit::slice(&body, envelope.id.span);
        if method == Method::Initialize {
            if let Some(failure) = admit::count(&endpoint, form.caller).await {
                return failed(&endpoint, &id, failure, form);
            }
            return self.initialize(&endpoint, &body, envelope, &id, form);
        }
        let session = match self.legacy_session(headers, heads, form.caller) {
            Ok(session) => session,
            Err(NoSession::Unknown) => return unknown_session(Some(&id)),
            Err(NoSession::Refused(text)) => {
                return failed(&endpoint, &id, Failure::new(FailureKind::InvalidRequest, text), form);
            }
        };
        let (outlet, events) = match form.may_stream && may_tell(method) {
            true => {
                let (outlet, events) = admit::outlet(&self.stopping.token);
                (Some(outlet), Some(events))
            }
            false => (None, None),
        };
        let shared = self.live.shared();
        let (caller, message) = (Arc::clone(form.caller), (body, *envelope, method));
        let call = Call::new(endpoint, shared, session.clone(), caller, message, outlet)
            .with_trace(heads.trace(headers));
        let endpoint = Arc::clone(&call.endpoint);
        let started = match self.calls.start(shared, &session, &id, work(call), events) {
            Ok(started) => started,
            Err(failure) => return failed(&endpoint, &id, failure, form),
        };
        match started {
            Started::Ended(done, events) => ended(done, events, form),
            Started::Running(mut pieces) => match pieces.recv().await {
                // Cancelled by a notification: nothing is owed.
                None => empty(StatusCode::ACCEPTED),
                Some(Piece::End(_, done)) => finished(done, form),
                Some(first) => {
                    let watch = Watch::default();
                    answer::events(Events::watched(line::stream(first, pieces, watch.clone()), watch))
                }
            },
        }
    }

    fn initialize(
        &self,
        endpoint: &Endpoint,
        body: &[u8],
        envelope: &Envelope,
        id: &[u8],
        form: Form<'_>,
    ) -> Response<Answer> {
        let session = match Session::agree(body, envelope, form.caller) {
            Ok(session) => session,
            Err(failure) => {
                let revision = Revision::LATEST_LEGACY;
                return finished(
                    done(endpoint, id, revision, &mut Err(failure), Mark::of(admit::next_log_id())),
                    form,
                );
            }
        };
        let sealed = session.seal(&self.options.sealer, form.caller).ok();
        let Some(sealed) = sealed.and_then(|sealed| HeaderValue::from_str(&sealed).ok()) else {
            let text = "no session can be made now; try again later";
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, Code::INTERNAL_ERROR, text);
        };
        let mut out = Vec::new();
        session.initialize_reply(endpoint, form.caller).write(&mut out, id, session.revision, &[]);
        let mut response = message(StatusCode::OK, out, form.as_event);
        response.headers_mut().insert("mcp-session-id", sealed);
        response
    }

    /// Takes in a notification or an answer. Neither is ever answered with a message.
    pub(super) async fn no_request(
        &self,
        heads: &Heads<'_>,
        kind: Message,
        body: &Bytes,
        envelope: &Envelope,
        method: Method,
        caller: &Arc<Caller>,
    ) -> Response<Answer> {
        let is_modern = heads.version.once().is_some_and(revision::is_modern_date);
        let session = heads.session.filter(|_| !is_modern).map(|id| self.session(caller, id)).transpose();
        let Ok(session) = session else { return unknown_session(None) };
        // An answer was asked for, and those who wait for it are bounded.
        if kind == Message::Notification
            && let Some(refused) = self.count(caller).await
        {
            return refused;
        }
        let Some(session) = session else { return empty(StatusCode::ACCEPTED) };
        if kind == Message::Response {
            if let Err(away) = take_answer(&**self.live.shared(), &session, body).await {
                return busy(&away.to_string());
            }
        } else if method == Method::Cancelled {
            self.calls.cancel(self.live.shared(), session.number, envelope.request_id.raw(body));
        }
        empty(StatusCode::ACCEPTED)
    }

    /// Runs a batch, which sessions of 2025-03-26 alone may send.
    pub(super) async fn batch(
        &self,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        body: &Bytes,
        refused: Refusal,
        form: Form<'_>,
    ) -> Response<Answer> {
        let session = match self.legacy_session(headers, heads, form.caller) {
            Ok(session) if batch::is_batch(body, Some(&session)) => session,
            Err(NoSession::Unknown) => return unknown_session(None),
            _ => return refused_message(body, &refused, form),
        };
        let endpoint = self.live.load_full();
        let parts = match batch::parts(body, &session, &endpoint, self.live.shared(), form.caller) {
            Ok(parts) => parts,
            Err(refused) => return refused_message(body, &refused, form),
        };
        let answers = parts.into_iter().map(|part| self.batch_part(&session, form.caller, part));
        let answers: Vec<Vec<u8>> =
            futures_util::future::join_all(answers).await.into_iter().flatten().collect();
        match batch::join(&answers) {
            Some(whole) => message(StatusCode::OK, whole, form.as_event),
            None => empty(StatusCode::ACCEPTED),
        }
    }

    async fn batch_part(&self, session: &Session, caller: &Arc<Caller>, part: Part) -> Option<Vec<u8>> {
        let shared = self.live.shared();
        match part {
            Part::Nothing => {
                // Nothing is owed for it.
                let _ = self.count(caller).await;
                None
            }
            Part::Cancel(id) => {
                if self.count(caller).await.is_some() {
                    return None;
                }
                self.calls.cancel(shared, session.number, &id);
                None
            }
            Part::Response(body) => {
                // A batch has no answer of its own that could say so.
                let _ = take_answer(&**shared, session, &body).await;
                None
            }
            Part::Answered(id, answer) => {
                Some(batch::counted(&self.live.load_full(), caller, id.as_deref(), answer).await)
            }
            Part::Call(call) => {
                let (id, endpoint) = (call.id(), Arc::clone(&call.endpoint));
                let ended = self.calls.run(shared, session, &id, work(*call)).await;
                let refused = |failure| {
                    Some(done(
                        &endpoint,
                        &id,
                        session.revision,
                        &mut Err(failure),
                        Mark::of(admit::next_log_id()),
                    ))
                };
                ended.unwrap_or_else(refused).map(|done| done.message.into_whole())
            }
        }
    }
}

/// The whole of one request of a session as work that owns all it needs.
fn work(call: Call) -> Work {
    Box::pin(async move {
        let (mut outcome, mark) = call.run().await;
        done(&call.endpoint, &call.id(), call.session.revision, &mut outcome, mark)
    })
}

// ---- GET ----

impl Http {
    /// Opens the stand-alone stream of a session, or takes up a stream that was lost.
    ///
    /// A session has one stand-alone stream on a node: a second one takes the place of the first, whose connection the client
    /// has most likely lost.
    pub(super) async fn get(
        &self,
        caller: &Arc<Caller>,
        headers: &HeaderMap,
        heads: &Heads<'_>,
    ) -> Response<Answer> {
        if heads.version.once().is_some_and(revision::is_modern_date) {
            return method_not_allowed(self.methods());
        }
        if let Some(refused) = self.count(caller).await {
            return refused;
        }
        let session = match self.legacy_session(headers, heads, caller) {
            Ok(session) => session,
            Err(none) => return none.answer(),
        };
        if !heads.accepts().event_stream {
            let text = "`Accept` must allow text/event-stream";
            return refusal(StatusCode::NOT_ACCEPTABLE, Code::INVALID_REQUEST, text);
        }
        match heads.last_event_id.filter(|id| !id.is_empty()) {
            None => self.standing(session, caller, None),
            Some(id) => match Place::parse(id) {
                Some(Place::Standing(position)) => self.standing(session, caller, Some(position)),
                Some(Place::Call(stream, position)) => self.resume(&session, stream, position).await,
                None => {
                    let text = "`Last-Event-ID` is none that was given here";
                    refusal(StatusCode::BAD_REQUEST, Code::INVALID_REQUEST, text)
                }
            },
        }
    }

    fn standing(&self, session: Session, caller: &Arc<Caller>, after: Option<u64>) -> Response<Answer> {
        let (number, revision) = (session.number, session.revision);
        let closing = self.stopping.token.child_token();
        let left = Duration::from_secs(session.expires.saturating_sub(now()).min(MAX_STANDING));
        match Standing::open(&self.live, session, Arc::clone(caller), closing.clone(), after) {
            // Only now: the stream before goes on if this one cannot be.
            Ok(standing) => {
                let seat = self.streams.take(number, closing);
                answer::events(Events::written(notices(standing, seat, Instant::now() + left)))
            }
            Err(failure) if status_of(&failure, revision) == StatusCode::OK => {
                refusal(StatusCode::BAD_REQUEST, failure.kind().row().code, failure.public())
            }
            Err(failure) => busy(failure.public()),
        }
    }

    /// Takes up the stream of one call after so many of its messages, wherever the call runs.
    async fn resume(&self, session: &Session, stream: u128, position: u64) -> Response<Answer> {
        let topic = Topic::Stream(session.number, stream);
        let messages = match self.live.shared().follow(topic, Some(position)).await {
            Ok(Some(messages)) => messages,
            Ok(None) => {
                let text = "this stream is kept no longer: send the request again";
                return refusal(StatusCode::GONE, Code::INVALID_REQUEST, text);
            }
            Err(away) => return busy(&away.to_string()),
        };
        answer::events(Events::written(replayed(messages, stream, self.stopping.token.clone())))
    }
}

/// The notices of a stand-alone stream as events, for as long as its session lasts.
fn notices(standing: Standing, seat: Seat, until: Instant) -> impl Stream<Item = Bytes> + Send + 'static {
    futures_util::stream::unfold((standing, seat), move |(mut standing, seat)| async move {
        let (position, message) = tokio::time::timeout_at(until, standing.next()).await.ok()??;
        Some((replay::event(Some(Place::Standing(position)), &message).into(), (standing, seat)))
    })
}

/// The messages of a stream that was taken up again, the missed ones and then the rest as it comes.
fn replayed(
    messages: Box<dyn Follow>,
    stream: u128,
    closing: tokio_util::sync::CancellationToken,
) -> impl Stream<Item = Bytes> + Send + 'static {
    futures_util::stream::unfold((messages, closing), move |(mut messages, closing)| async move {
        loop {
            let next = tokio::select! {
                biased;
                next = messages.next() => next,
                () = closing.cancelled() => return None,
            };
            match next {
                Followed::Message(position, message) => {
                    let event = replay::event(Some(Place::Call(stream, position)), &message);
                    return Some((event.into(), (messages, closing)));
                }
                Followed::Lagged(_) => {}
                Followed::Closed => return None,
            }
        }
    })
}

// ---- sessions ----

impl Http {
    /// Ends a legacy session.
    pub(super) async fn delete(&self, caller: &Arc<Caller>, heads: &Heads<'_>) -> Response<Answer> {
        if let Some(refused) = self.count(caller).await {
            return refused;
        }
        let Some(id) = heads.session else {
            return refusal(StatusCode::BAD_REQUEST, Code::INVALID_REQUEST, "`Mcp-Session-Id` is missing");
        };
        let Ok(session) = self.session(caller, id) else { return unknown_session(None) };
        match self.live.shared().end_session(session.number, session.expires).await {
            Ok(true) => {
                self.calls.end_session(session.number);
                empty(StatusCode::NO_CONTENT)
            }
            Ok(false) => unknown_session(None),
            Err(NoRoom::OfCaller) => {
                let text = "as many ended sessions are remembered of you as of one caller may be; this one ends by itself, a day after it began";
                let failure = Failure::new(FailureKind::RateLimited, text);
                answer::refused(&failure.with_retry_after(Duration::from_secs(60)))
            }
            Err(error @ NoRoom::OfAll) => busy(&error.to_string()),
        }
    }

    /// Counts what this edge answers by itself; returns the answer where it is too much.
    pub(super) async fn count(&self, caller: &Arc<Caller>) -> Option<Response<Answer>> {
        let endpoint = self.live.load_full();
        admit::count(&endpoint, caller).await.map(|failure| answer::refused(&failure))
    }

    /// Opens a session id and makes sure that nobody ended the session.
    fn session(&self, caller: &Caller, id: &[u8]) -> Result<Session, UnknownSession> {
        let session = Session::open(&self.options.sealer, caller, id)?;
        let shared = self.live.shared();
        let is_known = !shared.is_ended(session.number) && shared.vouches_for(session.began());
        if is_known { Ok(session) } else { Err(UnknownSession) }
    }

    fn legacy_session(
        &self,
        headers: &HeaderMap,
        heads: &Heads<'_>,
        caller: &Caller,
    ) -> Result<Session, NoSession> {
        let Some(id) = heads.session else {
            return Err(NoSession::Refused(
                "`Mcp-Session-Id` is missing: send `initialize` first, or use 2026-07-28 with `_meta` on every request",
            ));
        };
        let session = self.session(caller, id).map_err(|_| NoSession::Unknown)?;
        match heads.legacy_version(headers) {
            Ok(None) => Ok(session),
            Ok(Some(version))
                if Revision::parse(version).is_some() || version == Revision::STRAY_HEADER.as_bytes() =>
            {
                Ok(session)
            }
            _ => Err(NoSession::Refused("`MCP-Protocol-Version` names no revision that is served")),
        }
    }
}

fn unknown_session(id: Option<&[u8]>) -> Response<Answer> {
    let mut body = Vec::with_capacity(160);
    write::error(&mut body, id, Code::INVALID_REQUEST, &UnknownSession.to_string(), None);
    Why::Session.mark(answer::json(StatusCode::NOT_FOUND, body))
}
