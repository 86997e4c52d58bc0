//! What nodes say of what they share while the store is away, was emptied, or was written by somebody else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trunkline_protocol::LogLevel;
use trunkline_service::Change;
use trunkline_service::seal::{Sealer, now, now_ms};
use trunkline_service::shared::{
    Away, Cell, Followed, InRedis, Keep, NoRoom, PutError, SettingsChange, Shared as _, Space, Topic,
};
use trunkline_testkit::redis::Server;

use crate::shared::node;
use crate::support::{open, until};

const KEEP: Keep =
    Keep { messages: 4, bytes: 1000, closed_for: Duration::from_secs(60), at_most: Duration::from_secs(60) };

fn cell() -> Cell {
    Cell { space: Space::Task, id: [1].into() }
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn without_the_store_nothing_is_promised_and_what_is_known_goes_on_to_count() {
    let mut redis = Server::start().await;
    let (one, other) = (node(&redis).await, node(&redis).await);
    let topic = Topic::Stream(1, 2);
    one.open(topic, KEEP).await.unwrap();
    one.end_session(1, now() + 600).await.unwrap();
    one.change_settings(2, now() + 600, SettingsChange::Level(LogLevel::Error)).await.unwrap();
    until("the other heard", async || other.is_ended(1) && other.settings(2).is_some()).await;
    redis.kill();
    until("it is known", async || !other.is_current()).await;
    assert_eq!(other.end_session(3, now() + 600).await, Err(NoRoom::OfAll));
    assert!(!other.is_ended(3));
    let subscribe = SettingsChange::Subscribe("a".into());
    assert_eq!(other.change_settings(2, now() + 600, subscribe).await, Err(NoRoom::OfAll));
    assert_eq!(other.open(Topic::Task(1), KEEP).await, Err(NoRoom::OfAll));
    assert_eq!(other.append(topic, text("x")).await, Err(Away));
    assert!(matches!(other.follow(topic, None).await, Err(Away)));
    assert_eq!(other.get(&cell()).await, Err(Away));
    assert_eq!(other.put(&cell(), 0, text("x"), now_ms() + 60_000).await, Err(PutError::Away(Away)));
    assert_eq!(other.remove(&cell()).await, Err(Away));
    assert!(other.is_ended(1) && other.settings(2).is_some());
    assert!(other.vouches_for(now()), "not for long enough to doubt it");
    redis.restart().await;
    until("it is current", async || other.is_current() && one.is_current()).await;
    assert!(other.is_ended(1), "what a node knows outlives the store");
    assert!(node(&redis).await.is_ended(1), "and the store learns it again, for who begins after that");
    assert_eq!(other.end_session(3, now() + 600).await, Ok(true));
    until("the other heard", async || one.is_ended(3)).await;
}

#[tokio::test]
async fn what_happened_while_a_node_was_away_is_read_when_it_is_back() {
    let redis = Server::start().await;
    let one = node(&redis).await;
    for session in 0..600 {
        one.end_session(session, now() + 600).await.unwrap();
    }
    one.change_settings(1000, now() + 600, SettingsChange::Subscribe("a".into())).await.unwrap();
    let late = node(&redis).await;
    assert!((0..600).all(|session| late.is_ended(session)));
    assert!(late.settings(1000).is_some_and(|settings| settings.subscriptions.contains("a")));
    let mut changes = late.changes(None);
    let _ = redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    one.announce(Change::Tools);
    one.end_session(2000, now() + 600).await.unwrap();
    until("it heard of it all the same", async || late.is_ended(2000)).await;
    let heard = changes.next().await;
    assert!(matches!(heard, Followed::Message(..) | Followed::Lagged(_)), "{heard:?}");
}

#[tokio::test]
async fn a_change_that_could_not_be_told_is_told_when_the_store_is_back_and_heard_here_at_once() {
    let mut redis = Server::start().await;
    let (one, other) = (node(&redis).await, node(&redis).await);
    redis.kill();
    until("it is known", async || !other.is_current() && !one.is_current()).await;
    let (mut here, mut there) = (one.changes(None), other.changes(None));
    one.announce(Change::Tools);
    assert!(matches!(here.next().await, Followed::Lagged(_)), "who subscribes here looks at everything");
    redis.restart().await;
    let heard = tokio::time::timeout(Duration::from_secs(20), there.next()).await.unwrap();
    assert!(matches!(heard, Followed::Message(..) | Followed::Lagged(_)), "{heard:?}");
    until("the change itself is in the log", async || {
        redis.ask(&["LLEN", "trunkline:{test}:changes"]).starts_with(":1")
    })
    .await;
}

#[tokio::test]
async fn positions_and_versions_rise_over_a_loss_of_everything() {
    let redis = Server::start().await;
    let one = node(&redis).await;
    let mut changes = one.changes(None);
    one.announce(Change::Tools);
    let Followed::Message(before, _) = changes.next().await else { panic!("lagged") };
    let version = one.put(&cell(), 0, text("a"), now_ms() + 60_000).await.unwrap();
    let topic = Topic::Stream(1, 2);
    one.open(topic, KEEP).await.unwrap();
    let mut reader = one.follow(topic, Some(0)).await.unwrap().unwrap();
    let _ = redis.ask(&["FLUSHALL"]);
    one.announce(Change::Tools);
    let (Followed::Message(after, _) | Followed::Lagged(after)) = changes.next().await else {
        panic!("closed")
    };
    assert!(after > before, "{after} {before}");
    assert_eq!(one.get(&cell()).await, Ok(None));
    assert!(one.put(&cell(), 0, text("b"), now_ms() + 60_000).await.unwrap() > version);
    assert_eq!(one.append(topic, text("x")).await, Ok(None));
    let _ = redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let over = tokio::time::timeout(Duration::from_secs(40), reader.next()).await.unwrap();
    assert_eq!(over, Followed::Closed, "what is gone is not waited for");
}

#[tokio::test]
async fn nothing_of_a_client_stands_in_the_store_readably_and_what_was_moved_does_not_open() {
    let redis = Server::start().await;
    let one = node(&redis).await;
    let topic = Topic::Stream(1, 2);
    one.open(topic, KEEP).await.unwrap();
    one.append(topic, text("hunter2")).await.unwrap();
    one.put(&cell(), 0, text("hunter2"), now_ms() + 60_000).await.unwrap();
    one.change_settings(7, now() + 600, SettingsChange::Subscribe("hunter2".into())).await.unwrap();
    one.announce(Change::Resource("hunter2".into()));
    until("it is told", async || redis.ask(&["LLEN", "trunkline:{test}:changes"]).starts_with(":1")).await;
    for (command, key) in [
        ("LRANGE", "topic:s:00000000000000000000000000000001:00000000000000000000000000000002:list"),
        ("LRANGE", "changes"),
    ] {
        let kept = redis.ask(&[command, &format!("trunkline:{{test}}:{key}"), "0", "-1"]);
        assert!(kept.len() > 40 && !kept.contains("hunter2"));
    }
    let other = Cell { space: Space::Task, id: [2].into() };
    let copy = "redis.call('SET', KEYS[2], redis.call('GET', KEYS[1])) return 1";
    let keys = ["trunkline:{test}:cell:t:\u{1}", "trunkline:{test}:cell:t:\u{2}"];
    assert_eq!(redis.ask(&["EVAL", copy, "2", keys[0], keys[1]]), ":1\r\n");
    assert!(one.get(&cell()).await.unwrap().is_some());
    assert_eq!(one.get(&other).await, Err(Away), "sealed for another key");
    let stranger = InRedis::open(open(&redis.url()), Arc::new(Sealer::random().unwrap()));
    until("it is current", async || stranger.is_current()).await;
    assert_eq!(stranger.settings(7), None);
    assert_eq!(stranger.get(&cell()).await, Err(Away));
    assert!(matches!(
        stranger.follow(topic, Some(0)).await.unwrap().unwrap().next().await,
        Followed::Lagged(1)
    ));
}
