//! What the store says while its server is killed, frozen, emptied, or another one takes over.

use std::time::{Duration, Instant};

use bytes::Bytes;
use trunkline_service::store::{Event, Script, StoreError};
use trunkline_testkit::redis::{Server, Watched};
use trunkline_testkit::within;

use crate::support::{open, open_within, until};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_server_that_was_killed_is_down_at_once_and_back_by_itself() {
    let mut redis = Server::start().await;
    let store = open(&redis.url());
    let script = Script::new("return redis.call('incr', KEYS[1])");
    let mut news = store.subscribe("news");
    assert_eq!(news.next().await, Event::Gap);
    assert_eq!(store.run(&script, &[b"n"], &[]).await.unwrap().as_int(), Some(1));
    redis.kill();
    until("it is down", async || matches!(store.get(b"a").await, Err(StoreError::Down(_)))).await;
    let began = Instant::now();
    for _ in 0..100 {
        assert!(store.get(b"a").await.is_err());
    }
    assert!(began.elapsed() < within(Duration::from_secs(2)), "nobody waits for a store that is down");
    assert!(!store.is_up());
    until("it hears nothing", async || !news.is_live()).await;
    redis.restart().await;
    until("it is back", async || store.get(b"a").await == Ok(None)).await;
    assert_eq!(
        store.run(&script, &[b"n"], &[]).await.unwrap().as_int(),
        Some(1),
        "the script is given again"
    );
    assert_eq!(news.next().await, Event::Gap, "what was published meanwhile is missing");
    store.publish("news", b"x").await.unwrap();
    assert_eq!(news.next().await, Event::Message(Bytes::from_static(b"x")));
    assert!(store.is_up() && store.generation() == 2);
}

#[tokio::test]
async fn a_server_that_is_frozen_costs_each_command_its_time_and_no_more() {
    let redis = Server::start().await;
    let store = open_within(&redis.url(), Duration::from_millis(100));
    let mut news = store.subscribe("news");
    assert_eq!(news.next().await, Event::Gap);
    store.set(b"a", b"x", LONG).await.unwrap();
    redis.pause();
    let began = Instant::now();
    assert_eq!(store.set(b"a", b"y", LONG).await, Err(StoreError::Late));
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert!(began.elapsed() < within(Duration::from_secs(1)));
    until("it is known to be down", async || matches!(store.get(b"a").await, Err(StoreError::Down(_)))).await;
    assert!(!store.is_up());
    redis.resume();
    until("it is back", async || store.get(b"a").await.is_ok()).await;
    let value = store.get(b"a").await.unwrap().unwrap();
    assert_eq!(value, Bytes::from_static(b"y"), "`Late` may have been done, and here it was");
}

#[tokio::test]
async fn a_server_that_was_emptied_goes_on_and_a_connection_that_was_cut_is_made_anew() {
    let redis = Server::start().await;
    let store = open(&redis.url());
    let script = Script::new("return 5");
    store.set(b"a", b"x", LONG).await.unwrap();
    assert!(store.run(&script, &[], &[]).await.is_ok());
    let _ = redis.ask(&["FLUSHALL"]);
    let _ = redis.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(store.get(b"a").await, Ok(None));
    assert_eq!(store.run(&script, &[], &[]).await.unwrap().as_int(), Some(5));
    let _ = redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    until("it is back", async || store.get(b"a").await.is_ok() && store.generation() == 2).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_does_not_stop_a_start() {
    let mut redis = Server::start().await;
    redis.kill();
    let store = open(&redis.url());
    assert!(matches!(store.get(b"a").await, Err(StoreError::Down(_))));
    let mut news = store.subscribe("news");
    redis.restart().await;
    until("it is there", async || store.get(b"a").await == Ok(None)).await;
    assert_eq!(news.next().await, Event::Gap);
}

#[tokio::test]
async fn the_primary_that_sentinels_name_is_followed_after_a_failover() {
    let mut redis = Watched::start().await;
    let store = open(&redis.url());
    let mut news = store.subscribe("news");
    assert_eq!(news.next().await, Event::Gap);
    store.set(b"a", b"x", LONG).await.unwrap();
    until("the replica has it", async || redis.second.ask(&["GET", "trunkline:{test}:a"]).contains('x'))
        .await;
    redis.fail_over().await;
    until("the other one takes writes", async || store.set(b"b", b"y", LONG).await.is_ok()).await;
    assert_eq!(store.get(b"a").await, Ok(Some(Bytes::from_static(b"x"))));
    assert!(redis.second.ask(&["GET", "trunkline:{test}:b"]).contains('y'));
    assert_eq!(news.next().await, Event::Gap);
    assert!(store.run(&Script::new("return 1"), &[], &[]).await.is_ok());
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_left_and_one_that_is_none_is_not_taken() {
    let (redis, other) = (Server::start().await, Server::start().await);
    let store = open(&redis.url());
    assert!(store.set(b"a", b"x", LONG).await.is_ok());
    let _ = redis.ask(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let error = store.set(b"a", b"y", LONG).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_) | StoreError::Down(_)), "{error}");
    until("it is down", async || matches!(store.get(b"a").await, Err(StoreError::Down(_)))).await;
    let _ = redis.ask(&["REPLICAOF", "NO", "ONE"]);
    until("it is back", async || store.set(b"a", b"y", LONG).await.is_ok()).await;
}
