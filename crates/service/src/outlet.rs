//! The stream of one request: what a service may tell the client before its answer, and how a slow reader is met.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{LogLevel, write};

/// What leaves on the stream of a request before its answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// One whole JSON-RPC message without line breaks.
    Message(Bytes),
    /// The same, with the position of the change notice it came from, for streams that can be resumed.
    Positioned(Bytes, u64),
    /// The stream ends here although the request goes on; the client takes it up again. Clients of 2025-11-25 over HTTP
    /// can, for all others it means nothing. Spec: 2025-11-25 basic/transports#sending-messages-to-the-server.
    CloseStream,
}

/// Looks through what leaves on the stream of a request before it does, as for what its reader must not see.
pub trait Veil: fmt::Debug + Send + Sync + 'static {
    /// Returns what leaves in the place of a message: whole JSON-RPC messages without line breaks, both.
    fn veil(&self, message: Bytes) -> Bytes;
}

/// The way to the client of one request, beside its answer.
#[derive(Debug, Clone)]
pub struct Outlet {
    events: mpsc::Sender<Event>,
    closing: CancellationToken,
    veil: Option<Arc<dyn Veil>>,
}

impl Outlet {
    /// Makes an outlet; `closing` tells when a stream without end should end gracefully.
    #[must_use]
    pub fn new(events: mpsc::Sender<Event>, closing: CancellationToken) -> Self {
        Self { events, closing, veil: None }
    }

    /// Sends an event if there is room; `false` when the queue is full or the client has left.
    pub fn try_send(&self, event: Event) -> bool {
        self.events.try_send(self.veiled(event)).is_ok()
    }

    /// Sends an event, waiting for room; `false` when the client has left.
    ///
    /// # Cancel safety
    /// Nothing is sent unless the future completes.
    pub async fn send(&self, event: Event) -> bool {
        self.events.send(self.veiled(event)).await.is_ok()
    }

    /// Returns the same outlet with another word for when a stream without end should end.
    #[must_use]
    pub fn closing_on(&self, closing: CancellationToken) -> Self {
        Self { events: self.events.clone(), closing, veil: self.veil.clone() }
    }

    /// Returns the same outlet, whose messages pass through a veil; through one that it has already after that.
    #[must_use]
    pub fn veiled_by(&self, veil: Arc<dyn Veil>) -> Self {
        let veil = match &self.veil {
            Some(outer) => Arc::new(Both { inner: veil, outer: Arc::clone(outer) }),
            None => veil,
        };
        Self { veil: Some(veil), ..self.clone() }
    }

    fn veiled(&self, event: Event) -> Event {
        match (&self.veil, event) {
            (Some(veil), Event::Message(message)) => Event::Message(veil.veil(message)),
            (Some(veil), Event::Positioned(message, position)) => {
                Event::Positioned(veil.veil(message), position)
            }
            (_, event) => event,
        }
    }

    /// Returns what is cancelled when a stream without end should end gracefully.
    #[must_use]
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }
}

/// Two veils, one after the other.
#[derive(Debug)]
struct Both {
    inner: Arc<dyn Veil>,
    outer: Arc<dyn Veil>,
}

impl Veil for Both {
    fn veil(&self, message: Bytes) -> Bytes {
        self.outer.veil(self.inner.veil(message))
    }
}

/// What an edge attaches to a request whose client can take a stream.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The stream itself.
    pub outlet: Outlet,
    /// Where progress goes, when the client asked for it.
    pub progress: Option<Progress>,
    /// Where log messages go, when the client set a level.
    pub log: Option<Log>,
    /// The position after which change notices are wanted, for a stream that is taken up again.
    pub after: Option<u64>,
}

impl Attached {
    /// Lets all that leaves pass through a veil.
    pub fn veil(&mut self, veil: &Arc<dyn Veil>) {
        let veiled = |outlet: &Outlet| outlet.veiled_by(Arc::clone(veil));
        self.outlet = veiled(&self.outlet);
        if let Some(progress) = &mut self.progress {
            progress.outlet = veiled(&progress.outlet);
        }
        if let Some(log) = &mut self.log {
            log.outlet = veiled(&log.outlet);
        }
    }

    /// Makes an attachment of an outlet alone.
    #[must_use]
    pub fn new(outlet: Outlet) -> Self {
        Self { outlet, progress: None, log: None, after: None }
    }
}

/// Sends `notifications/progress` on the stream of one request.
///
/// Values must rise; one that does not is dropped. Spec: 2026-07-28 basic/utilities/progress.
#[derive(Debug, Clone)]
pub struct Progress {
    token: Bytes,
    outlet: Outlet,
    /// The bits of the last value sent, plus one for the first zero; positive floats order as their bits do.
    last: Arc<AtomicU64>,
}

impl Progress {
    /// Makes a sender for the given token (raw JSON, string or integer).
    #[must_use]
    pub fn new(token: Bytes, outlet: Outlet) -> Self {
        Self { token, outlet, last: Arc::new(AtomicU64::new(0)) }
    }

    /// Reports that `progress` of `total` (if known) is done. `progress` must be finite, not negative and greater than
    /// before. News, not data: a report that finds the client's queue full is dropped.
    pub fn report(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        if self.rises(progress) {
            self.outlet.try_send(Event::Message(self.write(progress, total, message)));
        }
    }

    /// Reports as [`report`](Self::report) does, waiting for room in the client's queue: for parts of a result that must not
    /// be lost. Returns `false` when the client has left.
    ///
    /// # Cancel safety
    /// Nothing is sent unless the future completes.
    pub async fn deliver(&self, progress: f64, total: Option<f64>, message: Option<&str>) -> bool {
        !self.rises(progress) || self.outlet.send(Event::Message(self.write(progress, total, message))).await
    }

    /// Returns the last value reported; zero before the first.
    #[must_use]
    pub fn last(&self) -> f64 {
        f64::from_bits(self.last.load(Ordering::Relaxed).saturating_sub(1))
    }

    /// Returns a mark that is another one once something was reported.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    fn rises(&self, progress: f64) -> bool {
        if !progress.is_finite() || progress.is_sign_negative() {
            return false;
        }
        let bits = progress.to_bits() + 1;
        self.last.fetch_max(bits, Ordering::Relaxed) < bits
    }

    fn write(&self, progress: f64, total: Option<f64>, message: Option<&str>) -> Bytes {
        let mut out = Vec::with_capacity(160 + message.map_or(0, str::len));
        out.extend_from_slice(
            br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"#,
        );
        out.extend_from_slice(&self.token);
        out.extend_from_slice(format!(r#","progress":{progress}"#).as_bytes());
        if let Some(total) = total.filter(|total| total.is_finite()) {
            out.extend_from_slice(format!(r#","total":{total}"#).as_bytes());
        }
        if let Some(message) = message {
            out.extend_from_slice(br#","message":"#);
            write::string(&mut out, message);
        }
        out.extend_from_slice(b"}}");
        out.into()
    }
}

/// Sends `notifications/message` on the stream of one request, from the level on that its client set.
///
/// Spec: 2026-07-28 server/utilities/logging.
#[derive(Debug, Clone)]
pub struct Log {
    level: LogLevel,
    outlet: Outlet,
}

impl Log {
    /// Makes a sender of messages of `level` and above.
    #[must_use]
    pub fn new(level: LogLevel, outlet: Outlet) -> Self {
        Self { level, outlet }
    }

    /// Returns the lowest level that is sent.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        self.level
    }

    /// Sends a message of `level`, unless that is below what the client wants or its queue is full. `data` is raw JSON
    /// without line breaks outside strings.
    pub fn message(&self, level: LogLevel, logger: Option<&str>, data: &[u8]) {
        if level < self.level {
            return;
        }
        let mut out = Vec::with_capacity(128 + data.len());
        out.extend_from_slice(br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":""#);
        out.extend_from_slice(level.as_str().as_bytes());
        out.push(b'"');
        if let Some(logger) = logger {
            out.extend_from_slice(br#","logger":"#);
            write::string(&mut out, logger);
        }
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(data);
        out.extend_from_slice(b"}}");
        write::without_line_breaks(&mut out);
        self.outlet.try_send(Event::Message(out.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlet(room: usize) -> (Outlet, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(room);
        (Outlet::new(sender, CancellationToken::new()), receiver)
    }

    fn next(events: &mut mpsc::Receiver<Event>) -> Option<String> {
        match events.try_recv() {
            Ok(Event::Message(message)) => Some(String::from_utf8_lossy(&message).into_owned()),
            _ => None,
        }
    }

    #[test]
    fn progress_starts_at_zero_and_only_rises() {
        let (outlet, mut events) = outlet(16);
        let progress = Progress::new(Bytes::from_static(b"\"p\""), outlet);
        for value in [0.0, 0.0, 50.0, 20.0, f64::NAN, -1.0, 100.0] {
            progress.report(value, Some(100.0), None);
        }
        let mut values = Vec::new();
        while let Some(message) = next(&mut events) {
            values.push(
                serde_json::from_str::<serde_json::Value>(&message).unwrap()["params"]["progress"].as_f64(),
            );
        }
        assert_eq!(values, [Some(0.0), Some(50.0), Some(100.0)]);
        assert!((progress.last() - 100.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_full_queue_drops_news_and_a_low_level_is_silent() {
        let (outlet, mut events) = outlet(1);
        let log = Log::new(LogLevel::Warning, outlet);
        log.message(LogLevel::Info, None, b"\"no\"");
        log.message(LogLevel::Error, Some("db"), b"{\n\"a\":1}");
        log.message(LogLevel::Error, None, b"\"dropped\"");
        assert_eq!(
            next(&mut events).unwrap(),
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","logger":"db","data":{"a":1}}}"#
        );
        assert_eq!(next(&mut events), None);
    }
}
