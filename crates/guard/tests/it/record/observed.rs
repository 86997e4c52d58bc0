//! What is counted of requests, whatever becomes of them, and whose the lines of the log are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt as _;
use trunkline_guard::record::{Observations, Observed};
use trunkline_service::meter::{Meter as _, Page};
use trunkline_service::trace::{self, Mark};
use trunkline_service::{
    Answer, Caller, Failure, FailureKind, Outcome, Reply, Request, Service, TimeAllowed, ready,
};
use trunkline_testkit::metrics::Metrics;

use super::support::{catalog, request, search};

/// Is dropped while its thread works for the request.
struct Dropped(Mark);

impl Drop for Dropped {
    fn drop(&mut self) {
        // A failure while another panic unwinds would end the process.
        assert!(trace::current() == Some(self.0) || std::thread::panicking(), "when it is dropped");
    }
}

/// Answers as the test says, and says whose request it works for.
struct Says<F>(F);

impl<F: Fn(Request) -> Option<Outcome> + Send + Sync + 'static> Service for Says<F> {
    fn call(&self, request: Request) -> Answer<'_> {
        assert_eq!(trace::current(), Some(request.mark()), "in the call");
        let mark = request.mark();
        match (self.0)(request) {
            None => {
                let dropped = Dropped(mark);
                Answer::later(async move {
                    let _dropped = dropped;
                    std::future::pending().await
                })
            }
            Some(outcome) => Answer::later(async move {
                assert_eq!(trace::current(), Some(mark), "in the first poll");
                tokio::task::yield_now().await;
                assert_eq!(trace::current(), Some(mark), "in the next one");
                outcome
            }),
        }
    }
}

fn observed<F>(says: F) -> (Observed<Says<F>>, Arc<Observations>)
where
    F: Fn(Request) -> Option<Outcome> + Send + Sync + 'static,
{
    let observations = Arc::<Observations>::default();
    (Observed::new(Says(says), Arc::clone(&observations), Arc::new(catalog())), observations)
}

fn page(observations: &Observations) -> Metrics {
    let mut page = Page::new();
    observations.read(&mut page);
    let text = page.into_text();
    Metrics::parse(&text).unwrap_or_else(|wrong| panic!("{wrong}\nin\n{text}"))
}

fn of(method: &str, params: Value) -> Request {
    request(method, params, Caller::local(), 1)
}

fn total(page: &Metrics, outcome: &str) -> f64 {
    page.sum("trunkline_requests_total", &[&format!("outcome={outcome:?}")])
}

#[tokio::test]
async fn every_end_counts_under_its_own_word() {
    let (service, observations) = observed(|request| {
        Some(match request.log_id() {
            1 => Ok(Reply::text("fine").with_rows(3)),
            2 => Ok(Reply::tool_error("no")),
            3 => Ok(Reply::input_required(b"", Some("state"))),
            4 => Err(Failure::new(FailureKind::Forbidden, "no")),
            5 => Err(Failure::new(FailureKind::DeadlinePassed, "late")),
            _ => Ok(Reply::tool_error("late")),
        })
    });
    for id in 1..=5 {
        let _ = service.call(search(id)).await;
    }
    // A tool that could not, and its time is over: that it was late is why.
    let late = search(6).with_time(TimeAllowed::Within(Duration::ZERO));
    assert!(service.call(late).await.unwrap().is_error());
    let page = page(&observations);
    for (outcome, count) in [
        ("ok", 1.0),
        ("tool-error", 1.0),
        ("input-required", 1.0),
        ("forbidden", 1.0),
        ("deadline-passed", 2.0),
    ] {
        assert_eq!(total(&page, outcome), count, "{outcome}");
    }
    let tool = ["method=\"tools/call\"", "name=\"search\""];
    assert_eq!(page.sum("trunkline_request_duration_seconds_count", &tool), 6.0);
    assert_eq!(page.sum("trunkline_result_rows_total", &tool), 3.0);
    assert_eq!(page.sum("trunkline_requests_in_flight", &tool), 0.0);
    let bytes = search(1).body().len() * 6;
    assert_eq!(page.sum("trunkline_request_bytes_total", &tool), f64::from(u32::try_from(bytes).unwrap()));
    assert!(page.sum("trunkline_result_bytes_total", &tool) > 100.0);
}

#[tokio::test]
async fn what_is_dropped_is_cancelled_and_what_panics_has_panicked() {
    let (service, observations) = observed(|request| match request.log_id() {
        1 => None,
        _ => panic!("a handler that panics where nothing catches it"),
    });
    let mut call = service.call(search(1));
    assert!((&mut call).now_or_never().is_none());
    let in_flight = ["name=\"search\""];
    assert_eq!(page(&observations).sum("trunkline_requests_in_flight", &in_flight), 1.0);
    drop(call);
    // Never polled: it began all the same.
    drop(service.call(search(1)));
    let panicked = catch_unwind(AssertUnwindSafe(|| drop(service.call(search(2)))));
    assert!(panicked.is_err());
    assert_eq!(trace::current(), None, "nobody's any more");
    let page = page(&observations);
    assert_eq!((total(&page, "cancelled"), total(&page, "panicked")), (2.0, 1.0));
    assert_eq!(page.sum("trunkline_requests_in_flight", &in_flight), 0.0);
}

struct AtOnce;

impl Service for AtOnce {
    fn call(&self, _: Request) -> Answer<'_> {
        ready(Ok(Reply::text("fine")))
    }
}

/// Remembers whose the lines of the log are.
#[derive(Clone, Default)]
struct Whose(Arc<Mutex<Vec<Option<u64>>>>);

impl<S: tracing::Subscriber> Layer<S> for Whose {
    fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.lock().unwrap().push(trace::current().map(|mark| mark.log_id));
    }
}

#[test]
fn the_line_of_an_answer_that_was_there_at_once_is_that_of_its_request() {
    let service = Observed::new(AtOnce, Arc::default(), Arc::new(catalog()));
    let whose = Whose::default();
    let subscriber = tracing_subscriber::registry().with(whose.clone());
    tracing::subscriber::with_default(subscriber, || {
        assert!(service.call(search(7)).now().is_ok());
    });
    assert_eq!(*whose.0.lock().unwrap(), [Some(7)]);
}

#[tokio::test]
async fn subscriptions_are_counted_apart_and_have_no_duration() {
    let (service, observations) = observed(|request| (request.log_id() != 1).then(|| Ok(Reply::text(""))));
    let listen = |id| request("subscriptions/listen", json!({ "notifications": {} }), Caller::local(), id);
    let mut open = service.call(listen(1));
    assert!((&mut open).now_or_never().is_none());
    assert_eq!(page(&observations).value("trunkline_subscriptions_open"), Some(1.0));
    drop(open);
    service.call(listen(2)).await.unwrap();
    let page = page(&observations);
    assert_eq!(page.value("trunkline_subscriptions_open"), Some(0.0));
    assert_eq!((total(&page, "cancelled"), total(&page, "ended")), (1.0, 1.0));
    assert_eq!(page.sum("trunkline_request_duration_seconds_count", &[]), 0.0);
}

#[tokio::test]
async fn names_that_nobody_configured_share_one_series() {
    let (service, observations) =
        observed(|_| Some(Err(Failure::new(FailureKind::InvalidParams, "unknown"))));
    for number in 0..100 {
        let name = format!("made-up-{number}");
        let _ = service.call(of("tools/call", json!({ "name": name }))).await;
        let _ = service.call(of("prompts/get", json!({ "name": name }))).await;
        let _ = service.call(of("resources/read", json!({ "uri": name }))).await;
        let _ = service.call(of(&name, json!({ "name": "search" }))).await;
    }
    let _ = service.call(of("tools/call", json!({ "name": 7 }))).await;
    let page = page(&observations);
    let unknown = |method: &str| {
        page.sum("trunkline_requests_total", &[&format!("method={method:?}"), "name=\"(unknown)\""])
    };
    assert_eq!((unknown("tools/call"), unknown("prompts/get")), (101.0, 100.0));
    assert_eq!(page.sum("trunkline_requests_total", &["method=\"unknown\""]), 100.0);
    assert_eq!(page.sum("trunkline_requests_total", &["method=\"resources/read\""]), 100.0);
    assert_eq!(page.sum("trunkline_requests_total", &["name=\"search\""]), 0.0);
    assert!(!page.series.keys().any(|series| series.contains("made-up")));
}

#[tokio::test]
async fn what_was_counted_goes_on_in_the_next_state_of_an_endpoint() {
    let (service, observations) = observed(|_| Some(Ok(Reply::text("fine"))));
    service.call(search(1)).await.unwrap();
    let held = Mark::of(9);
    let next = Observed::new(
        Says(|_| Some(Ok(Reply::text("fine")))),
        Arc::clone(&observations),
        Arc::new(catalog()),
    );
    let _entered = held.enter();
    next.call(search(2)).await.unwrap();
    // One under way in the old state counts there.
    service.call(search(3)).await.unwrap();
    assert_eq!(trace::current(), Some(held), "whose thread it was before");
    assert_eq!(total(&page(&observations), "ok"), 3.0);
}
