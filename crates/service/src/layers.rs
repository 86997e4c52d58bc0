//! What surrounds every request whatever it asks for: a bound on the work in flight, a deadline, and a wall against panics.

mod subscriptions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use trunkline_protocol::Method;

use crate::failure::{Failure, FailureKind};
use crate::meter::{Meter, Page};
use crate::outlet::Progress;
use crate::queue::{self, LineBounds, Place, Places};
use crate::reply::Reply;
use crate::request::Request;
use crate::{Answer, Outcome, Service, ready};

use subscriptions::{Listening, Subscriptions};
pub use subscriptions::{MAX_SUBSCRIPTIONS, MAX_SUBSCRIPTIONS_OF_CALLER};

/// How often a client that asked for progress hears of a call that has none to report.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How many requests are in flight, and the line before them. One count lasts as long as the server, however often its endpoint
/// is replaced.
#[derive(Debug)]
pub struct InFlight {
    requests: Places,
    subscriptions: Subscriptions,
}

/// What may wait for a place among the requests in flight: a hiccup passes in that time, and what does not pass is no hiccup.
const LINE: LineBounds = LineBounds { waiting: 256, longest: Duration::from_millis(100) };

impl Default for InFlight {
    /// Without room; who bounds requests with it says how much there is.
    fn default() -> Self {
        Self { requests: Places::new(0, LINE), subscriptions: Subscriptions::default() }
    }
}

impl Meter for InFlight {
    fn read(&self, page: &mut Page) {
        let number = |count| u32::try_from(count).map_or(f64::MAX, f64::from);
        let (requests, help) = (&self.requests, "Requests in flight now.");
        page.gauge("trunkline_resilience_in_flight", help, &[], number(requests.in_use()));
        let help = "Requests that wait for a place among those in flight now.";
        page.gauge("trunkline_resilience_waiting", help, &[], number(requests.waiting()));
        let help = "Subscriptions open now.";
        page.gauge("trunkline_resilience_subscriptions", help, &[], number(self.subscriptions.count()));
        let counts = requests.counts();
        let help = "Requests that had to wait for a place among those in flight.";
        page.counter("trunkline_resilience_waited_total", help, &[], counts.waited);
        let help = "Requests refused with 503 for want of a place among those in flight.";
        for (reason, count) in counts.refused() {
            page.counter("trunkline_resilience_refused_total", help, &[("reason", reason)], count);
        }
    }
}

/// Bounds requests in number and time, and turns a panic into an answer.
#[derive(Debug)]
pub struct Bounded<S> {
    inner: S,
    in_flight: Arc<InFlight>,
}

impl<S> Bounded<S> {
    /// Wraps `inner`. Over `max_in_flight` requests at a time, a request waits a moment in a short line that is fair between
    /// callers; where that is full, or the moment is over, its answer is 503.
    #[must_use]
    pub fn new(inner: S, max_in_flight: usize, in_flight: Arc<InFlight>) -> Self {
        in_flight.requests.set_places(max_in_flight);
        Self { inner, in_flight }
    }
}

/// A place among the requests or subscriptions in flight, given back however the request ends.
#[expect(dead_code, reason = "held, not read")]
enum Held<'a> {
    Request(Place<'a>),
    Subscription(Listening<'a>),
}

impl<S: Service> Service for Bounded<S> {
    fn call(&self, request: Request) -> Answer<'_> {
        if request.method() == Method::SubscriptionsListen {
            return match self.in_flight.subscriptions.open(request.caller()) {
                Ok(listening) => self.run(request, Held::Subscription(listening)),
                Err(failure) => ready(Err(failure)),
            };
        }
        match self.in_flight.requests.try_take() {
            Some(place) => self.run(request, Held::Request(place)),
            None => Answer::later(self.wait_for_place(request)),
        }
    }
}

impl<S: Service> Bounded<S> {
    async fn wait_for_place(&self, mut request: Request) -> Outcome {
        match self.in_flight.requests.take(queue::who(request.caller())).await {
            Ok(place) => {
                request.let_in();
                self.run(request, Held::Request(place)).await
            }
            Err(crowded) => Err(busy().with_retry_after(crowded.retry_after)),
        }
    }

    fn run<'s>(&'s self, request: Request, held: Held<'s>) -> Answer<'s> {
        let is_listening = matches!(held, Held::Subscription(_));
        let (method, log_id) = (request.method(), request.log_id());
        // A subscription lasts as long as its client wants.
        let ends = if is_listening { None } else { request.ends() };
        // Nor has it progress: what it tells is all there is to tell.
        let progress = request.progress().filter(|_| !is_listening).cloned();
        // A handler may panic before there is a future, and in it. Polled once before memory is asked for and a timer armed: many
        // calls are ready at once.
        let answer = match catch_unwind(AssertUnwindSafe(|| self.inner.call(request).now())) {
            Ok(Ok(outcome)) => return ready(outcome),
            Ok(Err(answer)) => AssertUnwindSafe(answer).catch_unwind(),
            Err(_) => return ready(panicked(method, log_id)),
        };
        Answer::later(async move {
            let _held = held;
            match wait(answer, ends, progress).await {
                Some(outcome) => outcome.unwrap_or_else(|_| panicked(method, log_id)),
                None => late(method, log_id),
            }
        })
    }
}

fn busy() -> Failure {
    let text = "the server is busy; try again in a second";
    Failure::new(FailureKind::Overloaded, text).with_retry_after(Duration::from_secs(1))
}

/// Waits for the answer, telling the client every few seconds that the call goes on; `None` when the deadline passed.
async fn wait<F: Future + Unpin>(
    mut answer: F,
    deadline: Option<Instant>,
    progress: Option<Progress>,
) -> Option<F::Output> {
    let started = tokio::time::Instant::now();
    let end = deadline.map(tokio::time::Instant::from_std);
    loop {
        let beat = progress.as_ref().map(|_| tokio::time::Instant::now() + HEARTBEAT);
        let Some(next) = end.into_iter().chain(beat).min() else { return Some(answer.await) };
        if let Ok(outcome) = tokio::time::timeout_at(next, &mut answer).await {
            return Some(outcome);
        }
        if Some(next) == end {
            return None;
        }
        if let Some(progress) = &progress {
            // The seconds are told in words: as a number they would be above what a tool tells that counts in something else.
            progress.go_on(&format!("still running after {} s", started.elapsed().as_secs()));
        }
    }
}

/// The caller learns that it was our fault and under which number; the panic's own text is for the log.
fn panicked(method: Method, log_id: u64) -> Outcome {
    tracing::error!(request = %format_args!("{log_id:016x}"), method = method.as_str(), "a handler panicked");
    Err(Failure::new(FailureKind::Internal, "internal error"))
}

/// Inside `tools/call` a source that is late is a result the model can act on.
fn late(method: Method, log_id: u64) -> Outcome {
    let text = "the deadline of this call passed before an answer came; ask for less, or try again later";
    if method != Method::ToolsCall {
        return Err(Failure::new(FailureKind::DeadlinePassed, text));
    }
    tracing::warn!(request = %format_args!("{log_id:016x}"), "the deadline of a call passed");
    Ok(Reply::tool_error(&format!("{text} (request {log_id:016x})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tokio::sync::mpsc;
    use trunkline_protocol::{Revision, scan};

    use crate::caller::Caller;
    use crate::outlet::{Attached, Event, Outlet};
    use crate::request::TimeAllowed;

    struct Never;

    impl Service for Never {
        fn call(&self, _: Request) -> Answer<'_> {
            Answer::later(std::future::pending())
        }
    }

    fn request(method: Method) -> Request {
        let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"x"}"#);
        let (_, envelope) = scan(&body).unwrap();
        Request::new(body, &envelope, method, Revision::LATEST, Caller::local(), 0xabc)
    }

    fn in_seconds(seconds: u64) -> TimeAllowed {
        TimeAllowed::Until(tokio::time::Instant::now().into_std() + Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_takes_long_says_so_every_five_seconds_until_its_deadline() {
        let (sender, mut events) = mpsc::channel(16);
        let outlet = Outlet::new(sender, Default::default());
        let progress = Progress::new(Bytes::from_static(b"0"), outlet.clone());
        // The tool counts in something else than seconds: what comes after still rises.
        progress.report(7.0, None, None);
        let attached = Attached { progress: Some(progress), ..Attached::new(outlet) };
        let request =
            request(Method::ToolsCall).with_attached(Some(Box::new(attached))).with_time(in_seconds(13));
        let started = tokio::time::Instant::now();
        let reply = Bounded::new(Never, 1, Arc::default()).call(request).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 13);
        assert!(reply.is_error());
        let text = String::from_utf8_lossy(reply.members()).into_owned();
        assert!(text.contains("deadline") && text.contains("request 0000000000000abc"), "{text}");
        let mut last = 0.0;
        let mut seen = 0;
        while let Ok(Event::Message(event)) = events.try_recv() {
            let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
            let value = event["params"]["progress"].as_f64().unwrap();
            assert!(value > last, "{event}");
            (last, seen) = (value, seen + 1);
        }
        assert_eq!(seen, 3);
    }

    /// A tool that tells of something every three seconds.
    struct Slow;

    impl Service for Slow {
        fn call(&self, request: Request) -> Answer<'_> {
            Answer::later(async move {
                for part in 1..=4_u32 {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    request.progress().unwrap().report((f64::from(part)) / 4.0, Some(1.0), Some("own"));
                }
                Ok(Reply::text("done"))
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn that_a_call_goes_on_hides_nothing_that_its_tool_tells() {
        let (sender, mut events) = mpsc::channel(16);
        let outlet = Outlet::new(sender, Default::default());
        let progress = Progress::new(Bytes::from_static(b"0"), outlet.clone());
        let attached = Attached { progress: Some(progress), ..Attached::new(outlet) };
        let request = request(Method::ToolsCall).with_attached(Some(Box::new(attached)));
        Bounded::new(Slow, 1, Arc::default()).call(request).await.unwrap();
        let mut told = Vec::new();
        while let Ok(Event::Message(event)) = events.try_recv() {
            let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
            told.push(event["params"]["message"].as_str().unwrap().to_owned());
        }
        let beats = ["still running after 5 s", "still running after 10 s"];
        assert_eq!(told, ["own", beats[0], "own", "own", beats[1], "own"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_has_no_deadline_and_no_progress() {
        let (sender, mut events) = mpsc::channel(16);
        let outlet = Outlet::new(sender, Default::default());
        let progress = Progress::new(Bytes::from_static(b"0"), outlet.clone());
        let attached = Attached { progress: Some(progress), ..Attached::new(outlet) };
        let request = request(Method::SubscriptionsListen).with_attached(Some(Box::new(attached)));
        let service = Bounded::new(Never, 0, Arc::default());
        let listening = service.call(request.with_time(in_seconds(1)));
        assert!(tokio::time::timeout(Duration::from_secs(60), listening).await.is_err());
        assert!(events.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_method_without_a_tool_result_fails_with_its_own_code() {
        let request = request(Method::ToolsList).with_time(in_seconds(1));
        let failure = Bounded::new(Never, 1, Arc::default()).call(request).await.unwrap_err();
        assert_eq!(failure.kind(), FailureKind::DeadlinePassed);
    }

    #[tokio::test(start_paused = true)]
    async fn one_count_holds_across_services_and_a_dropped_call_gives_its_place_back() {
        let in_flight = Arc::<InFlight>::default();
        let (old, new) = (Bounded::new(Never, 1, Arc::clone(&in_flight)), Bounded::new(Never, 1, in_flight));
        let mut held = old.call(request(Method::ToolsCall));
        assert!((&mut held).now_or_never().is_none());
        let started = tokio::time::Instant::now();
        let refused = new.call(request(Method::ToolsCall)).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.retry_after()),
            (FailureKind::Overloaded, Some(Duration::from_secs(1)))
        );
        assert_eq!(started.elapsed(), LINE.longest);
        let mut waiting = new.call(request(Method::ToolsCall));
        assert!((&mut waiting).now_or_never().is_none());
        drop(held);
        // It runs now, and never ends.
        assert!(tokio::time::timeout(LINE.longest * 3, waiting).await.is_err());
        let mut page = Page::new();
        new.in_flight.read(&mut page);
        let text = page.into_text();
        assert!(text.contains("trunkline_resilience_refused_total{reason=\"late\"} 1"), "{text}");
        assert!(text.contains("trunkline_resilience_in_flight 0"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_full_refuses_at_once() {
        let service = Bounded::new(Never, 1, Arc::default());
        let mut all: Vec<_> = (0..=LINE.waiting).map(|_| service.call(request(Method::ToolsCall))).collect();
        assert!(all.iter_mut().all(|call| call.now_or_never().is_none()));
        let refused = service.call(request(Method::ToolsCall)).now_or_never().expect("at once");
        assert_eq!(refused.unwrap_err().kind(), FailureKind::Overloaded);
    }
}
