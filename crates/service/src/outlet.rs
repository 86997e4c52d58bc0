//! The stream of one request: what a service may tell the client before its answer, and how a slow reader is met.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
/// Numbers rise on the stream whoever tells them and whatever they are: each is looked at and sent in one step. Spec: 2026-07-28
/// basic/utilities/progress.
#[derive(Debug, Clone)]
pub struct Progress {
    token: Bytes,
    outlet: Outlet,
    /// The last number sent. Who holds it is the one who sends.
    last: Arc<Mutex<Option<f64>>>,
}

/// The least step from one number to the next, where it is ours to choose: short to write, and less than tools count in.
const STEP: f64 = 1e-6;
/// The highest number that is sent: there is always one above it.
const HIGHEST: f64 = f64::MAX / 2.0;

impl Progress {
    /// Makes a sender for the given token (raw JSON, string or integer).
    #[must_use]
    pub fn new(token: Bytes, outlet: Outlet) -> Self {
        Self { token, outlet, last: Arc::default() }
    }

    /// Reports that `progress` of `total` (if known) is done. News, not data: a report whose number is not finite, is negative
    /// or not greater than the last one sent is dropped, and so is one that finds the client's queue full.
    pub fn report(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        let mut last = self.lock();
        if (0.0..=HIGHEST).contains(&progress) && last.is_none_or(|last| progress > last) {
            self.try_send(&mut last, progress, total, message);
        }
    }

    /// Reports that the work goes on where nobody knows how far it is: with a number just above the last one, so that it stands
    /// in the way of none that the tool tells later.
    pub(crate) fn go_on(&self, message: &str) {
        let mut last = self.lock();
        let progress = last.map_or(0.0, above);
        self.try_send(&mut last, progress, None, Some(message));
    }

    /// Reports as [`report`](Self::report) does, waiting for room in the client's queue: for parts of a result that must not
    /// be lost. A number that does not rise is raised just above the last one. Returns `false` when the client has left.
    ///
    /// # Cancel safety
    /// Nothing is sent unless the future completes.
    pub async fn deliver(&self, progress: f64, total: Option<f64>, message: Option<&str>) -> bool {
        // Room comes first: while it waits others may tell more.
        let Ok(room) = self.outlet.events.reserve().await else { return false };
        let mut last = self.lock();
        // What is no number becomes the least.
        let progress = progress.clamp(0.0, HIGHEST).max(last.map_or(0.0, above));
        room.send(self.outlet.veiled(Event::Message(self.write(progress, total, message))));
        *last = Some(progress);
        true
    }

    /// Returns the last number sent; zero before the first.
    #[must_use]
    pub fn last(&self) -> f64 {
        self.lock().unwrap_or(0.0)
    }

    /// Returns a mark that is another one once something was sent.
    #[must_use]
    pub fn mark(&self) -> u64 {
        // Positive numbers order as their bits do; one more tells a zero from nothing.
        self.lock().map_or(0, |last| last.to_bits() + 1)
    }

    fn lock(&self) -> MutexGuard<'_, Option<f64>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_send(&self, last: &mut Option<f64>, progress: f64, total: Option<f64>, message: Option<&str>) {
        if self.outlet.try_send(Event::Message(self.write(progress, total, message))) {
            *last = Some(progress);
        }
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

/// Returns a number just above another one.
fn above(last: f64) -> f64 {
    (last + STEP).max(last.next_up())
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

    /// The numbers of all progress that was sent.
    fn numbers(events: &mut mpsc::Receiver<Event>) -> Vec<f64> {
        let number = |message: String| {
            serde_json::from_str::<serde_json::Value>(&message).unwrap()["params"]["progress"]
                .as_f64()
                .unwrap()
        };
        std::iter::from_fn(|| next(events)).map(number).collect()
    }

    fn progress(room: usize) -> (Progress, mpsc::Receiver<Event>) {
        let (outlet, events) = outlet(room);
        (Progress::new(Bytes::from_static(b"\"p\""), outlet), events)
    }

    fn rise(numbers: &[f64]) -> bool {
        numbers.windows(2).all(|pair| pair[0] < pair[1])
    }

    #[test]
    fn progress_starts_at_zero_and_only_rises() {
        let (progress, mut events) = progress(16);
        for value in [0.0, 0.0, 50.0, 20.0, f64::NAN, -1.0, f64::INFINITY, 100.0] {
            progress.report(value, Some(100.0), None);
        }
        assert_eq!(numbers(&mut events), [0.0, 50.0, 100.0]);
        assert!((progress.last() - 100.0).abs() < f64::EPSILON);
    }

    #[test]
    fn work_that_goes_on_is_told_above_the_last_number_and_below_the_next() {
        let (progress, mut events) = progress(16);
        progress.go_on("still running");
        progress.go_on("still running");
        progress.report(0.001, None, None);
        progress.report(7e15, None, None);
        progress.go_on("still running");
        let numbers = numbers(&mut events);
        assert!(numbers.len() == 5 && rise(&numbers), "{numbers:?}");
    }

    #[tokio::test]
    async fn a_part_is_delivered_whatever_its_number() {
        let (progress, mut events) = progress(16);
        for value in [3.0, 1.0, f64::NAN, -2.0, 3.0, 4.0, f64::INFINITY, f64::MAX] {
            assert!(progress.deliver(value, None, Some("a part")).await);
        }
        let sent = numbers(&mut events);
        assert!(sent.len() == 8 && rise(&sent), "{sent:?}");
        assert!(sent[5] == 4.0 && sent[7].is_finite(), "{sent:?}");
        drop(events);
        assert!(!progress.deliver(9.0, None, None).await);
    }

    #[tokio::test]
    async fn what_finds_no_room_was_not_told() {
        let (progress, mut events) = progress(1);
        progress.report(1.0, None, None);
        let mark = progress.mark();
        progress.report(2.0, None, None);
        progress.go_on("still running");
        let mut waiting = Box::pin(progress.deliver(3.0, None, None));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(progress.mark(), mark);
        drop(waiting);
        assert_eq!(numbers(&mut events), [1.0]);
        // So the number is free yet.
        progress.report(2.0, None, None);
        assert_ne!(progress.mark(), mark);
        assert_eq!(numbers(&mut events), [2.0]);
    }

    /// Holds the first message back until another one was sent, if one can be.
    #[derive(Debug, Default)]
    struct Hesitant {
        held: Mutex<(bool, bool)>,
        changed: std::sync::Condvar,
    }

    impl Hesitant {
        fn set(&self, set: impl FnOnce(&mut (bool, bool))) {
            set(&mut self.held.lock().unwrap());
            self.changed.notify_all();
        }
    }

    impl Veil for Hesitant {
        fn veil(&self, message: Bytes) -> Bytes {
            if message.windows(13).any(|bytes| bytes == b"\"progress\":1,") || message.ends_with(b":1}}") {
                self.set(|(is_held, _)| *is_held = true);
                let held = self.held.lock().unwrap();
                drop(self.changed.wait_timeout_while(
                    held,
                    std::time::Duration::from_millis(100),
                    |(_, was_passed)| !*was_passed,
                ));
            }
            message
        }
    }

    #[test]
    fn a_number_that_was_looked_at_is_sent_before_a_greater_one() {
        let (outlet, mut events) = outlet(16);
        let veil = Arc::new(Hesitant::default());
        let progress =
            Progress::new(Bytes::from_static(b"0"), outlet.veiled_by(Arc::<Hesitant>::clone(&veil)));
        std::thread::scope(|scope| {
            scope.spawn(|| progress.report(1.0, None, None));
            // It has been looked at.
            let held = veil.held.lock().unwrap();
            drop(veil.changed.wait_while(held, |(is_held, _)| !*is_held));
            progress.report(2.0, None, None);
            veil.set(|(_, was_passed)| *was_passed = true);
        });
        assert_eq!(numbers(&mut events), [1.0, 2.0]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn numbers_rise_however_many_tell_them_at_once() {
        const EACH: u32 = 2000;
        let (progress, mut events) = progress(16);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let progress = progress.clone();
            tasks.spawn(async move {
                for number in 0..EACH {
                    assert!(progress.deliver(number.into(), None, None).await);
                    progress.go_on("still running");
                    progress.report((number + 1).into(), None, None);
                }
            });
        }
        drop(progress);
        let (mut last, mut parts) = (-1.0, 0);
        while let Some(Event::Message(message)) = events.recv().await {
            let message: serde_json::Value = serde_json::from_slice(&message).unwrap();
            let number = message["params"]["progress"].as_f64().unwrap();
            assert!(number > last, "{number} after {last}");
            (last, parts) = (number, parts + 1);
        }
        assert!(parts >= 2 * EACH, "{parts}");
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
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
