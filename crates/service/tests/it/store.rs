//! What the store does while nothing goes wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trunkline_service::Change;
use trunkline_service::meter::{Meter as _, Page};
use trunkline_service::seal::{Sealer, now};
use trunkline_service::shared::{Cell, Followed, InRedis, Keep, SettingsChange, Shared as _, Space, Topic};
use trunkline_service::store::{Event, Script, Store, StoreConfig, StoreError, StoreUrl, Value};
use trunkline_testkit::postgres::Certificates;
use trunkline_testkit::redis::{Server, free_port};

use crate::support::{open, until};

#[tokio::test]
async fn values_are_written_read_removed_and_forgotten_under_the_prefix() {
    let redis = Server::start().await;
    let store = open(&redis.url());
    let binary = [0, 13, 10, 255];
    store.set(b"a", &binary, Duration::from_secs(60)).await.unwrap();
    assert_eq!(store.get(b"a").await, Ok(Some(Bytes::copy_from_slice(&binary))));
    assert!(redis.ask(&["KEYS", "*"]).contains("\r\ntrunkline:{test}:a\r\n"));
    assert!(
        redis.ask(&["PTTL", "trunkline:{test}:a"]).trim_start_matches(':').trim().parse::<u64>().unwrap()
            > 50_000
    );
    store.set(b"b", b"x", Duration::from_millis(1)).await.unwrap();
    until("the value is forgotten", async || store.get(b"b").await == Ok(None)).await;
    store.delete(&[b"a", b"b"]).await.unwrap();
    assert_eq!(store.get(b"a").await, Ok(None));
    store.set(b"big", &vec![7; 4 << 20], Duration::from_secs(60)).await.unwrap();
    assert_eq!(store.get(b"big").await.unwrap().unwrap().len(), 4 << 20);
    assert!(store.is_up());
    store.close().await;
    assert!(matches!(store.get(b"a").await, Err(StoreError::Down(_))));
}

#[tokio::test]
async fn scripts_run_with_keys_and_arguments_and_are_given_again_after_they_were_forgotten() {
    let redis = Server::start().await;
    let store = open(&redis.url());
    let script = Script::new("redis.call('set', KEYS[1], ARGV[1]) return {KEYS[1], ARGV[1], 7, false}");
    for _ in 0..2 {
        let answer = store.run(&script, &[b"k"], &[b"v"]).await.unwrap();
        let text = |text: &'static str| Value::Text(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            answer,
            Value::Array(vec![text("trunkline:{test}:k"), text("v"), Value::Int(7), Value::Nil])
        );
        let _ = redis.ask(&["SCRIPT", "FLUSH"]);
    }
    let wrong = Script::new("return redis.call('get')");
    assert!(matches!(store.run(&wrong, &[], &[b"hunter2"]).await, Err(StoreError::Refused(_))));
    let error = store.run(&Script::new("return redis.error_reply('hunter2')"), &[], &[]).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_thousand_commands_at_once_share_one_connection_and_each_has_its_own_answer() {
    let redis = Server::start().await;
    let store = open(&redis.url());
    let echo = Script::new("return ARGV[1]");
    let calls = (0..1000_u32).map(|number| {
        let (store, echo) = (&store, &echo);
        async move {
            let text = number.to_string();
            (store.run(echo, &[], &[text.as_bytes()]).await.unwrap().as_int(), number)
        }
    });
    for (answer, number) in futures_util::future::join_all(calls).await {
        assert_eq!(answer, Some(i64::from(number)));
    }
    assert_eq!(store.generation(), 1);
    let mut page = Page::new();
    store.read(&mut page);
    let text = page.into_text();
    assert!(text.contains("trunkline_store_commands_total{outcome=\"done\"} 1000\n"), "{text}");
    assert!(text.contains("trunkline_store_up 1\n"), "{text}");
}

#[tokio::test]
async fn what_is_published_on_one_node_is_heard_on_another_and_only_on_its_channel() {
    let redis = Server::start().await;
    let (one, other) = (open(&redis.url()), open(&redis.url()));
    let mut news = other.subscribe("news");
    let mut rest = other.subscribe("rest");
    assert_eq!((news.next().await, rest.next().await), (Event::Gap, Event::Gap));
    one.publish("news", b"a\r\nb").await.unwrap();
    one.publish("rest", b"c").await.unwrap();
    assert_eq!(news.next().await, Event::Message(Bytes::from_static(b"a\r\nb")));
    assert_eq!(rest.next().await, Event::Message(Bytes::from_static(b"c")));
    assert!(other.hears() && news.is_live() && !one.hears());
    drop(rest);
    until("the channel is given up", async || redis.ask(&["PUBSUB", "CHANNELS"]).contains("*1\r\n")).await;
    drop(news);
    until("both are", async || redis.ask(&["PUBSUB", "CHANNELS"]).contains("*0\r\n")).await;
}

#[tokio::test]
async fn a_password_a_user_and_a_database_are_used_and_a_wrong_password_is_down() {
    let redis = Server::start_with(&["--requirepass", "hunter2"]).await;
    let _ = redis.ask(&["ACL", "SETUSER", "ann", "on", ">pa ss", "~*", "&*", "+@all"]);
    let port = redis.port();
    let store = open(&format!("redis://ann:pa%20ss@127.0.0.1:{port}/3"));
    store.set(b"a", b"x", Duration::from_secs(60)).await.unwrap();
    assert!(redis.ask(&["INFO", "keyspace"]).contains("db3:keys=1"));
    assert!(open(&redis.url()).get(b"a").await.is_ok());
    for wrong in [format!("redis://:wrong@127.0.0.1:{port}"), format!("redis://127.0.0.1:{port}")] {
        let store = open(&wrong);
        let error = store.get(b"a").await.unwrap_err();
        assert!(matches!(error, StoreError::Down(_)), "{error}");
        assert!(!format!("{error} {error:?} {store:?}").contains("wrong"));
    }
}

#[tokio::test]
async fn over_tls_only_a_certificate_that_a_trusted_authority_signed_is_taken() {
    let certificates = Certificates::make();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (certificate, key, authority) =
        (path(&certificates.server), path(&certificates.server_key), path(&certificates.authority));
    let tls = free_port().to_string();
    let redis = Server::start_with(&[
        "--tls-port",
        &tls,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let config = |host: &str| StoreConfig::new(&StoreUrl::new(format!("rediss://{host}:{tls}"))).unwrap();
    let pem = std::fs::read(&certificates.authority).unwrap();
    let trusting = Store::open(config("localhost").namespace("test").trust(&pem).unwrap()).unwrap();
    let mut news = trusting.subscribe("news");
    until("it is reached", async || trusting.set(b"a", &[7; 300_000], Duration::from_secs(60)).await.is_ok())
        .await;
    assert_eq!(trusting.get(b"a").await.unwrap().unwrap().len(), 300_000);
    assert_eq!(news.next().await, Event::Gap);
    assert!(redis.ask(&["EXISTS", "trunkline:{test}:a"]).starts_with(":1"));
    let other = Certificates::make();
    let wrong = std::fs::read(&other.authority).unwrap();
    for strange in [config("localhost").trust(&wrong).unwrap(), config("127.0.0.1").trust(&pem).unwrap()] {
        let store = Store::open(strange.timeout(Duration::from_secs(2))).unwrap();
        assert!(matches!(store.get(b"a").await, Err(StoreError::Down(_))));
    }
    assert!(config("localhost").trust(b"nothing").is_err());
}

/// As docs/store.md has them.
#[tokio::test]
async fn the_rights_that_the_manual_names_are_enough() {
    let redis = Server::start().await;
    let manual = include_str!("../../../../docs/store.md");
    let line = manual.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap();
    let rule: Vec<_> = line.split(' ').map(|word| if word == ">PASSWORD" { ">x" } else { word }).collect();
    assert_eq!(redis.ask(&rule), "+OK\r\n");
    let store = open(&format!("redis://trunkline:x@127.0.0.1:{}", redis.port()));
    store.set(b"a", b"x", Duration::from_secs(60)).await.unwrap();
    assert!(store.get(b"a").await.unwrap().is_some());
    store.delete(&[b"a"]).await.unwrap();
    let node = InRedis::open(store, Arc::new(Sealer::random().unwrap()));
    node.until_current().await;
    let mut changes = node.changes(None);
    node.announce(Change::Tools);
    assert!(matches!(changes.next().await, Followed::Message(..)));
    assert_eq!(node.end_session(1, now() + 60).await, Ok(true));
    node.change_settings(2, now() + 60, SettingsChange::Subscribe("a".into())).await.unwrap();
    let topic = Topic::Answer(1, 1);
    let second = Duration::from_secs(1);
    node.open(topic, Keep { messages: 1, bytes: 1, closed_for: second, at_most: second }).await.unwrap();
    assert_eq!(node.append(topic, Bytes::from_static(b"x")).await, Ok(Some(1)));
    assert!(node.follow(topic, Some(0)).await.unwrap().is_some());
    node.close(topic);
    until("it is closed", async || node.append(topic, Bytes::new()).await == Ok(None)).await;
    let cell = Cell { space: Space::Task, id: [1].into() };
    assert!(node.put(&cell, 0, Bytes::new(), u64::MAX).await.is_ok());
    assert!(node.get(&cell).await.unwrap().is_some());
    node.remove(&cell).await.unwrap();
    assert!(redis.ask(&["ACL", "LOG"]).starts_with("*0"), "{}", redis.ask(&["ACL", "LOG"]));
}
