//! Sources that tell of their changes, and answers fetched ahead.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::advance;
use trunkline_service::notices::{FollowNotices, Notice, Notices};
use trunkline_service::shared::Later;
use trunkline_service::{Fault, Service};

use super::source::{Answers, Source, call, caller, local, plan, status, text};
use super::*;

/// A source whose words the test has.
#[derive(Debug)]
struct Told(Mutex<Option<mpsc::Receiver<Notice>>>);

struct Following(mpsc::Receiver<Notice>);

impl Notices for Told {
    fn follow(&self) -> Box<dyn FollowNotices> {
        Box::new(Following(self.0.try_lock().unwrap().take().unwrap()))
    }
}

impl FollowNotices for Following {
    fn next(&mut self) -> Later<'_, Notice> {
        Box::pin(async {
            match self.0.recv().await {
                Some(notice) => notice,
                None => std::future::pending().await,
            }
        })
    }
}

async fn number(service: &Arc<dyn Service>) -> u64 {
    text(&service.call(call(&local(), "{}")).await.unwrap()).parse().unwrap()
}

async fn pass(time: Duration) {
    // Some steps, so that what wakes others is woken in turn.
    for _ in 0..20 {
        tokio::task::yield_now().await;
        advance(time / 20).await;
    }
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_source_says_has_changed_is_asked_anew() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Counted));
    let tagged = kept(&cache, &source, &Plan { tags: vec!["customers".into()], ..plan("1h") });
    let (words, told) = mpsc::channel(512);
    let listening = cache.listen("shop", &Told(Mutex::new(Some(told))));
    // Not heard yet.
    assert_eq!((number(&tagged).await, number(&tagged).await), (1, 2));
    words.send(Notice::Heard).await.unwrap();
    pass(Duration::from_millis(10)).await;
    assert_eq!((number(&tagged).await, number(&tagged).await), (3, 3));
    words.send(Notice::Changed(Some("customers".into()))).await.unwrap();
    pass(Duration::from_millis(50)).await;
    assert_eq!((number(&tagged).await, number(&tagged).await), (4, 4));
    words.send(Notice::Changed(Some("nobody's".into()))).await.unwrap();
    pass(Duration::from_millis(50)).await;
    assert_eq!((number(&tagged).await, number(&tagged).await), (5, 5));
    // A flood is one change.
    let before = cache.meter.invalidated[Teller::Source as usize].sum();
    for _ in 0..500 {
        words.send(Notice::Changed(None)).await.unwrap();
    }
    pass(Duration::from_millis(50)).await;
    assert_eq!(cache.meter.invalidated[Teller::Source as usize].sum(), before + 1);
    assert_eq!((number(&tagged).await, number(&tagged).await), (6, 6));
    words.send(Notice::Lost).await.unwrap();
    pass(Duration::from_millis(10)).await;
    assert_eq!((number(&tagged).await, number(&tagged).await), (7, 8));
    words.send(Notice::Heard).await.unwrap();
    pass(Duration::from_millis(10)).await;
    assert_eq!((number(&tagged).await, number(&tagged).await), (9, 9));
    words.send(Notice::Lost).await.unwrap();
    pass(Duration::from_millis(10)).await;
    // Nobody listens any more, so that nobody is missed.
    drop(listening);
    pass(Duration::from_millis(10)).await;
    assert_eq!((number(&tagged).await, number(&tagged).await), (9, 9));
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_warm_is_there_before_somebody_asks_and_stays() {
    let (cache, source) = (Cache::new(DEFAULT_SIZE), Source::new(Answers::Counted));
    let mut entry = source.entry("search");
    let warm = vec![serde_json::from_str(r#"{"q":"smith"}"#).unwrap()];
    let plan = Plan { scope: Scope::Role, warm, ..plan("100s") };
    let warmable = cache.keep_answers(&mut entry, &SHOP, &plan).unwrap();
    let schema = entry.definition.input_schema.clone();
    assert_eq!(warm_problems(&["tools", "search"], &plan, &schema), []);
    let warming = cache.warm(vec![warmable], &[caller("", &["a"]), caller("", &["a", "b"])]);
    pass(Duration::from_millis(10)).await;
    assert_eq!(source.count(), 2);
    for _ in 0..50 {
        for roles in [&["a"][..], &["b", "a"]] {
            let asked = call(&caller("ann", roles), r#"{ "limit": 10, "q": "smith" }"#);
            let reply = entry.service.call(asked).await.unwrap();
            assert_eq!(status(&reply).0, "hit");
        }
        pass(Duration::from_secs(10)).await;
    }
    // Each every 81 to 99 seconds.
    assert!((10..=16).contains(&source.count()), "{}", source.count());
    source.fail(Some(Fault::NotDone));
    drop(warming);
    let before = source.count();
    pass(Duration::from_secs(300)).await;
    assert_eq!(source.count(), before);
}

#[test]
fn a_warm_call_that_does_not_fit_is_told() {
    let schema = Source::new(Answers::Counted).entry("search").definition.input_schema;
    let warm = ["{}", r#"{"q":5}"#].map(|call| serde_json::from_str(call).unwrap()).into();
    let problems = warm_problems(&["tools", "search"], &Plan { warm, ..plan("100s") }, &schema);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, ["tools", "search", "cache", "warm"]);
    assert!(problems[0].message.starts_with("call 2"), "{}", problems[0].message);
}
