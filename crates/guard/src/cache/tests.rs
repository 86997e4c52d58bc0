//! What callers see of a tool whose answers are kept.

mod nodes;
mod notices;
mod reads;
mod source;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, advance};
use trunkline_service::meter::{Meter as _, Page};
use trunkline_service::{Fault, Outcome, Service};

use super::*;
use source::{Answers, Source, call, caller, local, numbered, plan, status, text};

const SHOP: Origin<'_> = Origin { connector: "shop", configuration: b"configuration", lag: Duration::ZERO };

fn kept(cache: &Arc<Cache>, source: &Arc<Source>, plan: &Plan) -> Arc<dyn Service> {
    let mut entry = source.entry("search");
    cache.keep_answers(&mut entry, &SHOP, plan).unwrap();
    entry.service
}

async fn settled(condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come to that");
}

#[tokio::test(start_paused = true)]
async fn an_equal_question_is_answered_from_what_is_kept() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Counted));
    let service = kept(&cache, &source, &plan("10s"));
    let first = service.call(call(&local(), r#"{"q":"a"}"#)).await.unwrap();
    assert_eq!((text(&first), status(&first)), ("1".into(), ("miss".into(), 0)));
    advance(Duration::from_secs(3)).await;
    let again = service.call(call(&local(), r#"{ "limit": 10, "\u0071": "a" }"#)).await.unwrap();
    assert_eq!((text(&again), status(&again)), ("1".into(), ("hit".into(), 3000)));
    assert_eq!(again.hints(), None);
    assert_eq!(text(&service.call(call(&local(), r#"{"q":"b"}"#)).await.unwrap()), "2");
    advance(Duration::from_secs(8)).await;
    assert_eq!(text(&service.call(call(&local(), r#"{"q":"a"}"#)).await.unwrap()), "3");
    cache.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_service_is_asked_in_the_one_spelling_of_a_key() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Arguments));
    let service = kept(&cache, &source, &plan("10s"));
    let reply = service.call(call(&local(), r#"{ "q": "\u0061", "limit": 2.0 }"#)).await.unwrap();
    assert_eq!(text(&reply), r#"{"limit":2,"q":"a"}"#);
}

#[tokio::test]
async fn a_thousand_equal_questions_at_once_are_asked_once() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Held));
    let service = kept(&cache, &source, &plan("10s"));
    let mut calls: Vec<_> = (0..1000).map(|_| service.call(call(&local(), r#"{"q":"a"}"#))).collect();
    assert!(calls.iter_mut().all(|call| call.now_or_never().is_none()));
    source.release();
    for outcome in join_all(calls).await {
        assert_eq!(text(&outcome.unwrap()), "1");
    }
    assert_eq!(source.count(), 1);
    let mut page = Page::new();
    cache.read(&mut page);
    let page = page.into_text();
    let joined = r#"trunkline_cache_requests_total{tool="search",result="joined"} 999"#;
    assert!(page.contains(joined), "{page}");
}

#[tokio::test]
async fn a_question_whose_asker_left_is_asked_by_the_next() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Held));
    let service = kept(&cache, &source, &plan("10s"));
    let mut first = service.call(call(&local(), "{}"));
    let mut others: Vec<_> = (0..3).map(|_| service.call(call(&local(), "{}"))).collect();
    assert!((&mut first).now_or_never().is_none());
    assert!(others.iter_mut().all(|call| call.now_or_never().is_none()));
    drop(first);
    source.release();
    let outcomes: Vec<Outcome> = join_all(others).await;
    assert!(outcomes.into_iter().all(|outcome| text(&outcome.unwrap()) == "2"));
    assert_eq!((source.count(), source.dropped()), (2, 1));
}

#[tokio::test]
async fn a_failure_of_the_source_is_everybodys_and_is_not_kept() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Held));
    source.fail(Some(Fault::NotDone));
    let service = kept(&cache, &source, &plan("10s"));
    let mut calls: Vec<_> = (0..10).map(|_| service.call(call(&local(), "{}"))).collect();
    assert!(calls.iter_mut().all(|call| call.now_or_never().is_none()));
    source.release();
    for outcome in join_all(calls).await {
        assert_eq!(outcome.unwrap().fault(), Some(Fault::NotDone));
    }
    assert_eq!(source.count(), 1);
    service.call(call(&local(), "{}")).await.unwrap();
    assert_eq!(source.count(), 2);
}

#[tokio::test]
async fn a_deadline_that_passed_was_the_leaders_own() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Held));
    source.fail(Some(Fault::Late));
    let service = kept(&cache, &source, &plan("10s"));
    let mut first = service.call(call(&local(), "{}"));
    let mut second = service.call(call(&local(), "{}"));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    source.release();
    assert_eq!(first.await.unwrap().fault(), Some(Fault::Late));
    source.fail(None);
    assert_eq!(text(&second.await.unwrap()), "2");
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_is_given_out_while_one_new_one_is_fetched() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Counted));
    let service = kept(&cache, &source, &Plan { stale: Duration::from_secs(60), ..plan("10s") });
    assert_eq!(text(&service.call(call(&local(), "{}")).await.unwrap()), "1");
    advance(Duration::from_secs(11)).await;
    for _ in 0..5 {
        let reply = service.call(call(&local(), "{}")).now_or_never().unwrap().unwrap();
        assert_eq!((text(&reply), status(&reply)), ("1".into(), ("stale".into(), 11_000)));
    }
    settled(|| source.count() == 2).await;
    settled(|| cache.renewals.available_permits() == MOST_RENEWALS).await;
    let reply = service.call(call(&local(), "{}")).await.unwrap();
    assert_eq!((text(&reply), status(&reply)), ("2".into(), ("hit".into(), 0)));
    assert_eq!(source.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_goes_on_while_the_source_is_down_but_not_for_ever() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Counted));
    let service = kept(&cache, &source, &Plan { stale: Duration::from_secs(60), ..plan("10s") });
    service.call(call(&local(), "{}")).await.unwrap();
    source.fail(Some(Fault::NotDone));
    for second in 1..=60_u64 {
        advance(Duration::from_secs(1)).await;
        let reply = service.call(call(&local(), "{}")).await.unwrap();
        assert_eq!((text(&reply), status(&reply).1), ("1".into(), second * 1000));
        settled(|| cache.renewals.available_permits() == MOST_RENEWALS).await;
    }
    // Once a second at most.
    assert!((40..=52).contains(&source.count()), "{}", source.count());
    advance(Duration::from_secs(10)).await;
    assert!(service.call(call(&local(), "{}")).await.unwrap().is_error());
}

#[tokio::test]
async fn a_failure_that_many_share_tells_each_the_number_of_their_own_request() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Held));
    let service = kept(&cache, &source, &plan("10s"));
    let begin = |log_id: u64| service.call(numbered(&local(), "{}", log_id));
    let mut calls: Vec<_> = (0xa0..0xa8).map(begin).collect();
    assert!(calls.iter_mut().all(|call| call.now_or_never().is_none()));
    source.fail(Some(Fault::NotDone));
    source.release();
    for (log_id, outcome) in (0xa0..).zip(join_all(calls).await) {
        let reply = outcome.unwrap();
        assert_eq!(text(&reply), format!("it failed (request 00000000000000{log_id:x})"));
        assert_eq!((reply.is_error(), reply.fault()), (true, Some(Fault::NotDone)));
    }
    assert_eq!(source.count(), 1);
}

#[tokio::test]
async fn a_source_that_is_down_is_so_for_all_who_wait_and_nobodys_number_is_told() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Down));
    let service = kept(&cache, &source, &plan("10s"));
    let mut calls: Vec<_> = (0..8).map(|log_id| service.call(numbered(&local(), "{}", log_id))).collect();
    assert!(calls.iter_mut().all(|call| call.now_or_never().is_none()));
    source.release();
    for outcome in join_all(calls).await {
        let failure = outcome.unwrap_err();
        assert_eq!((failure.public(), failure.fault()), ("it is down", Some(Fault::NotDone)));
        assert_eq!(failure.retry_after(), Some(Duration::from_secs(2)));
    }
    assert_eq!(source.count(), 1);
}

#[tokio::test]
async fn nothing_is_kept_of_answers_that_are_none() {
    for answers in [Answers::InputRequired, Answers::Failure, Answers::Error] {
        let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(answers));
        let service = kept(&cache, &source, &plan("10s"));
        for _ in 0..3 {
            let _ = service.call(call(&local(), "{}")).await;
        }
        assert_eq!(source.count(), 3, "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sealed_for_a_caller_is_kept_for_that_caller_alone_and_not_long() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Bound));
    let service = kept(&cache, &source, &plan("1h"));
    service.call(call(&local(), "{}")).await.unwrap();
    assert_eq!(text(&service.call(call(&local(), "{}")).await.unwrap()), "1");
    advance(Duration::from_secs(301)).await;
    assert_eq!(text(&service.call(call(&local(), "{}")).await.unwrap()), "2");
    for scope in [Scope::Role, Scope::Public] {
        let source = Source::new(Answers::Bound);
        let service = kept(&Cache::new(DEFAULT_SIZE), &source, &Plan { scope, ..plan("1h") });
        let calls = (0..10).map(|_| service.call(call(&local(), "{}")));
        let texts: Vec<String> =
            join_all(calls).await.into_iter().map(|outcome| text(&outcome.unwrap())).collect();
        assert_eq!(texts.len(), 10);
        assert_eq!(source.count(), 10);
    }
}

#[tokio::test]
async fn a_cursor_is_looked_at_by_the_service_alone() {
    let source = Source::new(Answers::Counted);
    let service = kept(&Cache::new(DEFAULT_SIZE), &source, &Plan { scope: Scope::Public, ..plan("1h") });
    for _ in 0..2 {
        service.call(call(&local(), r#"{"cursor":"sealed for somebody"}"#)).await.unwrap();
    }
    assert_eq!(source.count(), 2);
}

#[tokio::test]
async fn answers_are_shared_as_far_as_the_scope_says() {
    let (ann, bob) = (caller("ann", &["a", "b"]), caller("bob", &["b", "a"]));
    let eve = caller("eve", &["a"]);
    for (scope, expected) in [(Scope::Caller, 3), (Scope::Role, 2), (Scope::Public, 1)] {
        let source = Source::new(Answers::Counted);
        let service = kept(&Cache::new(DEFAULT_SIZE), &source, &Plan { scope, ..plan("1h") });
        for who in [&ann, &bob, &eve, &ann, &bob, &eve] {
            service.call(call(who, "{}")).await.unwrap();
        }
        assert_eq!(source.count(), expected, "{scope:?}");
    }
}

#[tokio::test]
async fn what_changes_while_an_answer_is_fetched_makes_it_one_that_is_not_kept() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Held));
    let service = kept(&cache, &source, &Plan { tags: vec!["customers".into()], ..plan("1h") });
    let writer = cache.invalidate(Source::new(Answers::Counted).clone(), &["customers".into()]);
    let mut before = service.call(call(&local(), "{}"));
    assert!((&mut before).now_or_never().is_none());
    writer.call(call(&local(), "{}")).await.unwrap();
    // Asked after the answer of the write: not by the same question.
    let mut after = service.call(call(&local(), "{}"));
    assert!((&mut after).now_or_never().is_none());
    assert_eq!(source.count(), 2);
    source.release();
    assert_eq!(text(&before.await.unwrap()), "1");
    assert_eq!(text(&after.await.unwrap()), "2");
    assert_eq!(text(&service.call(call(&local(), "{}")).await.unwrap()), "2");
}

#[tokio::test]
async fn a_write_is_seen_by_the_next_read_however_the_write_ends() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Counted));
    let service = kept(&cache, &source, &Plan { tags: vec!["customers".into()], ..plan("1h") });
    let writes = Source::new(Answers::Held);
    let writer = cache.invalidate(writes.clone(), &["customers".into()]);
    let read = || service.call(call(&local(), "{}")).map(|outcome| text(&outcome.unwrap()));
    assert_eq!((read().await, read().await), ("1".into(), "1".into()));
    let mut write = writer.call(call(&local(), "{}"));
    assert!((&mut write).now_or_never().is_none());
    drop(write);
    settled(|| cache.meter.invalidated[Teller::Tool as usize].sum() == 1).await;
    assert_eq!(read().await, "2");
    writes.release();
    writes.fail(Some(Fault::NotDone));
    writer.call(call(&local(), "{}")).await.unwrap();
    assert_eq!(read().await, "2");
    writes.fail(Some(Fault::Unknown));
    writer.call(call(&local(), "{}")).await.unwrap();
    assert_eq!(read().await, "3");
}

#[tokio::test]
async fn a_call_that_never_came_to_the_source_changes_nothing() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Counted));
    let service = kept(&cache, &source, &Plan { tags: vec!["customers".into()], ..plan("1h") });
    service.call(call(&local(), "{}")).await.unwrap();
    let crowded = cache.invalidate(Source::new(Answers::Crowded), &["customers".into()]);
    assert!(crowded.call(call(&local(), "{}")).await.is_err());
    assert_eq!(text(&service.call(call(&local(), "{}")).await.unwrap()), "1");
}

#[tokio::test(start_paused = true)]
async fn what_a_replica_may_not_have_heard_of_is_not_kept() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Counted));
    let mut entry = source.entry("search");
    let plan = Plan { scope: Scope::Public, tags: vec!["customers".into()], ..plan("1h") };
    cache.keep_answers(&mut entry, &Origin { lag: Duration::from_secs(4), ..SHOP }, &plan).unwrap();
    let writer = cache.invalidate(Source::new(Answers::Counted), &["customers".into()]);
    let read = async || text(&entry.service.call(call(&local(), "{}")).await.unwrap());
    assert_eq!((read().await, read().await), ("1".into(), "1".into()));
    writer.call(call(&local(), "{}")).await.unwrap();
    assert_eq!((read().await, read().await), ("2".into(), "3".into()));
    advance(Duration::from_secs(5)).await;
    assert_eq!((read().await, read().await), ("4".into(), "4".into()));
}

#[tokio::test]
async fn a_source_that_is_not_heard_is_still_asked_once_by_many() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Held));
    let service = kept(&cache, &source, &plan("10s"));
    cache.tags.find(Named::Connector("shop")).unwrap().suspect();
    let mut calls: Vec<_> = (0..100).map(|_| service.call(call(&local(), "{}"))).collect();
    assert!(calls.iter_mut().all(|call| call.now_or_never().is_none()));
    source.release();
    join_all(calls).await;
    assert_eq!(source.count(), 1);
}

#[tokio::test]
async fn a_tool_that_does_not_say_what_its_answers_depend_on_keeps_none() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Counted));
    let mut entry = source.entry("search");
    entry.facts.definition = Box::default();
    assert!(cache.keep_answers(&mut entry, &SHOP, &plan("1h")).is_none());
    let mut entry = source.entry("search");
    entry.definition.annotations = trunkline_service::Annotations::WRITES;
    assert!(cache.keep_answers(&mut entry, &SHOP, &plan("1h")).is_none());
}

#[tokio::test]
async fn a_hit_takes_microseconds() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Counted));
    let service = kept(&cache, &source, &plan("1h"));
    let arguments = json!({ "q": "smith", "limit": 10 }).to_string();
    service.call(call(&local(), &arguments)).await.unwrap();
    let requests: Vec<_> = (0..2000).map(|_| call(&local(), &arguments)).collect();
    let start = Instant::now();
    for request in requests {
        service.call(request).now_or_never().unwrap().unwrap();
    }
    // Unoptimised and beside other tests; told for whoever looks.
    let each = start.elapsed() / 2000;
    println!("a hit takes {each:?}");
    assert!(each < Duration::from_micros(500), "{each:?}");
}
