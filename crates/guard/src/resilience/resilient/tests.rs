//! What a caller sees of a source that fails, is busy, or hangs.

use std::sync::Mutex;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use trunkline_protocol::{Revision, scan};
use trunkline_service::meter::{Meter as _, Page};
use trunkline_service::{Attached, Caller, Outlet, Progress, TimeAllowed};

use super::*;
use crate::resilience::{BreakerConfig, SourceConfig, SourceState};

/// Answers with one thing after another, and with text once there are no more.
struct Script(Mutex<Vec<Said>>);

#[derive(Clone, Copy)]
enum Said {
    Fault(Fault),
    /// It tells of progress, and fails.
    Progress(Fault),
    Hangs,
}

impl Service for Script {
    fn call(&self, request: Request) -> Answer<'_> {
        let said = self.0.lock().unwrap().pop();
        let failed = |fault| ready(Ok(Reply::tool_error("it failed").with_fault(fault)));
        match said {
            None => ready(Ok(Reply::text("done"))),
            Some(Said::Fault(fault)) => failed(fault),
            Some(Said::Progress(fault)) => {
                request.progress().unwrap().report(1.0, None, None);
                failed(fault)
            }
            Some(Said::Hangs) => Answer::later(std::future::pending()),
        }
    }
}

fn request() -> Request {
    let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    let (_, envelope) = scan(&body).unwrap();
    Request::new(body, &envelope, Method::ToolsCall, Revision::LATEST, Caller::local(), 0xabc)
}

fn config() -> SourceConfig {
    SourceConfig::new("shop", 1024)
}

fn resilient(config: SourceConfig, script: &[Said], repeatable: Repeatable) -> Resilient {
    let script = script.iter().rev().copied().collect();
    Resilient::new(Arc::new(Script(Mutex::new(script))), Source::new(config), repeatable)
}

fn metrics(of: &Resilient) -> String {
    let mut page = Page::new();
    of.source.read(&mut page);
    page.into_text()
}

#[tokio::test(start_paused = true)]
async fn a_read_is_tried_again_and_a_write_only_when_nothing_was_done() {
    for (fault, repeatable, succeeds) in [
        (Fault::Unknown, Repeatable::Always, true),
        (Fault::Unknown, Repeatable::IfNotDone, false),
        (Fault::NotDone, Repeatable::IfNotDone, true),
        (Fault::Late, Repeatable::Always, false),
    ] {
        let script = [Said::Fault(fault), Said::Fault(fault)];
        let service = resilient(config(), &script, repeatable);
        let started = tokio::time::Instant::now();
        let reply = service.call(request()).await.unwrap();
        assert_eq!(!reply.is_error(), succeeds, "{fault:?} {repeatable:?}");
        let waited = started.elapsed().as_millis();
        assert!(if succeeds { (150..=452).contains(&waited) } else { waited == 0 }, "{waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_not_tried_for_ever_nor_beyond_the_deadline_nor_after_the_client_was_told_something() {
    let always = [Said::Fault(Fault::Unknown); 9];
    let service = resilient(config(), &always, Repeatable::Always);
    assert_eq!(service.call(request()).await.unwrap().fault(), Some(Fault::Unknown));
    assert!(metrics(&service).contains("trunkline_resilience_retries_total{connector=\"shop\"} 2"));

    let service = resilient(config(), &always, Repeatable::Always);
    let soon = TimeAllowed::Within(Duration::from_millis(40));
    assert!(service.call(request().with_time(soon)).await.unwrap().is_error());
    assert!(metrics(&service).contains("trunkline_resilience_retries_total{connector=\"shop\"} 0"));

    let (sender, _events) = mpsc::channel(4);
    let outlet = Outlet::new(sender, Default::default());
    let progress = Progress::new(Bytes::from_static(b"1"), outlet.clone());
    let attached = Attached { progress: Some(progress), ..Attached::new(outlet) };
    let service = resilient(config(), &[Said::Progress(Fault::NotDone)], Repeatable::Always);
    let reply = service.call(request().with_attached(Some(Box::new(attached)))).await.unwrap();
    assert!(reply.is_error());
}

#[tokio::test(start_paused = true)]
async fn tries_end_with_their_budget() {
    let always = [Said::Fault(Fault::Unknown); 200];
    let service = resilient(SourceConfig { breaker: None, ..config() }, &always, Repeatable::Always);
    for _ in 0..50 {
        service.call(request()).await.unwrap();
    }
    let text = metrics(&service);
    let retries = text
        .lines()
        .find_map(|line| line.strip_prefix("trunkline_resilience_retries_total{connector=\"shop\"} "));
    // Ten to begin with, and a tenth of what was asked.
    assert!((12..=18).contains(&retries.unwrap().parse::<u32>().unwrap()), "{text}");
}

#[tokio::test(start_paused = true)]
async fn want_of_room_is_503_and_not_tried_again() {
    let service = resilient(config(), &[Said::Fault(Fault::Busy)], Repeatable::Always);
    let failure = service.call(request()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Overloaded);
    assert_eq!(failure.retry_after(), Some(Duration::from_secs(1)));
    assert!(!service.call(request()).await.unwrap().is_error());
}

#[tokio::test]
async fn a_source_that_fails_is_left_alone_and_asked_again_by_one_call() {
    let breaker = Some(BreakerConfig { pause: Duration::from_millis(160), ..BreakerConfig::default() });
    let config = SourceConfig { retry: None, breaker, ..config() };
    let service = resilient(config, &[Said::Fault(Fault::NotDone); 10], Repeatable::Always);
    for _ in 0..10 {
        assert_eq!(service.source.state(), SourceState::Works);
        assert!(service.call(request()).await.unwrap().is_error());
    }
    let reply = service.call(request()).now_or_never().expect("at once").unwrap();
    assert_eq!((reply.is_error(), reply.fault()), (true, Some(Fault::NotDone)));
    let text = String::from_utf8(reply.members().to_vec()).unwrap();
    assert!(
        text.contains("`shop` failed several times") && text.contains("request 0000000000000abc"),
        "{text}"
    );
    assert!(matches!(service.source.state(), SourceState::LeftAlone(_)));
    let text = metrics(&service);
    assert!(text.contains("trunkline_resilience_breaker_state{connector=\"shop\"} 2"), "{text}");
    assert!(
        text.contains("trunkline_resilience_faults_total{connector=\"shop\",fault=\"not-done\"} 10"),
        "{text}"
    );
    while service.call(request()).await.unwrap().is_error() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(service.source.state(), SourceState::Works);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_takes_no_more_than_its_places() {
    let config = SourceConfig { concurrent: 2, ..config() };
    let service = resilient(config, &[Said::Hangs; 40], Repeatable::Always);
    let mut hanging: Vec<_> = (0..18).map(|_| service.call(request())).collect();
    assert!(hanging.iter_mut().all(|call| call.now_or_never().is_none()));
    let refused = service.call(request()).now_or_never().expect("at once").unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Overloaded);
    hanging.truncate(2);
    let refused = service.call(request()).await.unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Overloaded);
    assert!(metrics(&service).contains("connector_refused_total{connector=\"shop\",reason=\"late\"} 1"));
}
