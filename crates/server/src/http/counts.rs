//! What the HTTP edge counts: connections, bytes, answers by their status, and refusals by their reason.

use std::sync::Arc;

use http::{Response, StatusCode};
use trunkline_service::meter::{Counter, Gauge, Meter, Page};

use super::Answer;

/// The numbers of one edge. Every label is one of a fixed list: nothing of a request becomes a series.
#[derive(Debug, Default)]
pub struct Counts {
    accepted: Counter,
    open: Gauge,
    bytes_in: Counter,
    bytes_out: Counter,
    responses: [Counter; STATUSES.len() + 1],
    refused: [Counter; WHY.len()],
}

/// Why the edge itself refused a request, before any service saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Host,
    Origin,
    Peer,
    Forwarded,
    Path,
    Method,
    Header,
    MediaType,
    NotAcceptable,
    TooLarge,
    SlowBody,
    CutShort,
    NoCredentials,
    BadCredentials,
    Unjudged,
    RateLimited,
    Busy,
    Session,
    Message,
    Other,
}

/// The words for all of them, in their order.
const WHY: [(Why, &str); 20] = [
    (Why::Host, "host"),
    (Why::Origin, "origin"),
    (Why::Peer, "peer"),
    (Why::Forwarded, "forwarded"),
    (Why::Path, "path"),
    (Why::Method, "method"),
    (Why::Header, "header"),
    (Why::MediaType, "media-type"),
    (Why::NotAcceptable, "not-acceptable"),
    (Why::TooLarge, "too-large"),
    (Why::SlowBody, "slow-body"),
    (Why::CutShort, "cut-short"),
    (Why::NoCredentials, "no-credentials"),
    (Why::BadCredentials, "bad-credentials"),
    (Why::Unjudged, "authentication-unavailable"),
    (Why::RateLimited, "rate-limited"),
    (Why::Busy, "busy"),
    (Why::Session, "session"),
    (Why::Message, "message"),
    (Why::Other, "other"),
];

/// Statuses that are counted each; whatever else there may be is one more.
const STATUSES: [u16; 22] = [
    200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 415, 429, 431, 500, 501, 502, 503, 504,
    206,
];

impl Why {
    /// The reason that a status tells where nobody says more.
    pub(super) fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::Path,
            StatusCode::METHOD_NOT_ALLOWED => Self::Method,
            StatusCode::NOT_ACCEPTABLE => Self::NotAcceptable,
            StatusCode::REQUEST_TIMEOUT => Self::SlowBody,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::MediaType,
            StatusCode::UNAUTHORIZED => Self::BadCredentials,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited,
            StatusCode::SERVICE_UNAVAILABLE => Self::Busy,
            StatusCode::GONE => Self::Session,
            StatusCode::BAD_REQUEST => Self::Message,
            _ => Self::Other,
        }
    }

    /// Tells whether a response refuses a message that was read and not counted: for what it is, or for its session.
    pub(super) fn is_of_message(response: &Response<Answer>) -> bool {
        let why = response.extensions().get::<Self>();
        why.is_some_and(|why| matches!(why, Self::Message | Self::Session))
            && response.status() != StatusCode::TOO_MANY_REQUESTS
    }

    /// Says of a refusal why it is one. It travels with the response and not on the wire.
    pub(super) fn mark(self, mut refusal: Response<Answer>) -> Response<Answer> {
        refusal.extensions_mut().insert(self);
        refusal
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Open(Arc<Counts>);

impl Open {
    /// Counts a connection.
    pub(super) fn count(counts: &Arc<Counts>) -> Self {
        counts.accepted.add_one();
        counts.open.add(1);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.add(-1);
    }
}

impl Counts {
    /// Counts an answer.
    pub(super) fn answered(&self, response: &Response<Answer>) {
        let status = response.status().as_u16();
        let place = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len());
        if let Some(counter) = self.responses.get(place) {
            counter.add_one();
        }
        // Nothing else is carried by a response of ours, so that one without any is looked at no further.
        if let Some(why) = response.extensions().get::<Why>() {
            let place = WHY.iter().position(|(known, _)| known == why);
            if let Some(counter) = place.and_then(|place| self.refused.get(place)) {
                counter.add_one();
            }
        }
    }

    pub(super) fn read(&self, bytes: usize) {
        self.bytes_in.add(bytes as u64);
    }

    pub(super) fn written(&self, bytes: usize) {
        self.bytes_out.add(bytes as u64);
    }
}

impl Meter for Counts {
    fn read(&self, page: &mut Page) {
        let help = "Connections that were accepted.";
        page.counter("trunkline_http_connections_total", help, &[], self.accepted.sum());
        #[expect(clippy::cast_precision_loss, reason = "there are never 2^53 connections")]
        let open = self.open.value() as f64;
        page.gauge("trunkline_http_connections_open", "Connections that are open.", &[], open);
        let help = "Bytes that were read from connections.";
        page.counter("trunkline_http_read_bytes_total", help, &[], self.bytes_in.sum());
        let help = "Bytes that were written to connections.";
        page.counter("trunkline_http_written_bytes_total", help, &[], self.bytes_out.sum());
        let statuses = STATUSES.iter().map(u16::to_string).chain(["other".to_owned()]);
        for (status, counter) in statuses.zip(&self.responses) {
            let count = counter.sum();
            if count > 0 || status == "200" {
                let help = "Answers by their HTTP status.";
                page.counter("trunkline_http_responses_total", help, &[("status", &status)], count);
            }
        }
        for ((why, word), counter) in WHY.iter().zip(&self.refused) {
            let count = counter.sum();
            if count > 0 || *why == Why::Other {
                let help = "Requests that were refused before any service saw them.";
                page.counter("trunkline_http_refused_total", help, &[("reason", word)], count);
            }
        }
    }
}
