//! Two nodes and the store between them: a real one, which is killed, frozen and lied in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use trunkline_service::Service;
use trunkline_service::seal::Sealer;
use trunkline_service::store::{Store, StoreConfig, StoreUrl};
use trunkline_testkit::redis::Server;

use super::source::{Answers, Source, call, caller, local, plan, status, text};
use super::*;

/// Nodes with one source behind them, so that what each fetched can be told.
struct Nodes {
    server: Server,
    source: Arc<Source>,
    caches: Vec<Arc<Cache>>,
    readers: Vec<Arc<dyn Service>>,
    writers: Vec<Arc<dyn Service>>,
}

const KEY: [u8; 32] = [7; 32];

fn node(server: &Server, key: [u8; 32]) -> Arc<Cache> {
    let store = Store::open(StoreConfig::new(&StoreUrl::new(server.url())).unwrap()).unwrap();
    Cache::with_store(DEFAULT_SIZE, store, Arc::new(Sealer::new(&[key]).unwrap()))
}

fn tagged() -> Plan {
    Plan { tags: vec!["customers".into()], ..plan("1h") }
}

impl Nodes {
    async fn start(count: usize) -> Self {
        let server = Server::start().await;
        let source = Source::new(Answers::Counted);
        let caches: Vec<_> = (0..count).map(|_| node(&server, KEY)).collect();
        let readers = caches.iter().map(|cache| kept(cache, &source, &tagged())).collect();
        let writes = Source::new(Answers::Counted);
        let writers =
            caches.iter().map(|cache| cache.invalidate(writes.clone(), &["customers".into()])).collect();
        let nodes = Self { server, source, caches, readers, writers };
        nodes.hearing().await;
        nodes
    }

    async fn hearing(&self) {
        eventually(|| self.caches.iter().all(|cache| !cache.is_deaf())).await;
    }

    async fn read(&self, node: usize) -> (String, String) {
        let reply = self.readers[node].call(call(&local(), "{}")).await.unwrap();
        (text(&reply), status(&reply).0)
    }

    async fn write(&self, node: usize) {
        self.writers[node].call(call(&local(), "{}")).await.unwrap();
    }

    /// Waits until the store has an answer.
    async fn shared(&self, count: usize) {
        eventually(|| self.keys().len() == count).await;
    }

    fn keys(&self) -> Vec<String> {
        let told = self.server.ask(&["EVAL", "return #redis.call('KEYS', '*cache:v:*')", "0"]);
        let count = told.trim().trim_start_matches(':').parse().unwrap_or(0);
        vec![String::new(); count]
    }

    async fn close(self) {
        for cache in &self.caches {
            cache.close().await;
        }
    }
}

async fn eventually(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "it did not come to that");
        sleep(Duration::from_millis(5)).await;
    }
}

fn words(text: &str, status: &str) -> (String, String) {
    (text.to_owned(), status.to_owned())
}

#[tokio::test]
async fn what_one_node_fetched_the_others_have() {
    let nodes = Nodes::start(3).await;
    assert_eq!(nodes.read(0).await, words("1", "miss"));
    nodes.shared(1).await;
    assert_eq!(nodes.read(1).await, words("1", "hit"));
    assert_eq!(nodes.read(1).await, words("1", "hit"));
    assert_eq!(nodes.read(2).await, words("1", "hit"));
    assert_eq!(nodes.source.count(), 1);
    // Nothing of arguments or answers can be read there.
    let look = "for _, k in ipairs(redis.call('KEYS', '*cache:v:*')) do local v = redis.call('GET', k) \
                if #v < 60 or string.find(k .. v, 'content') or string.find(k .. v, 'search') then return 1 end end return 0";
    assert_eq!(nodes.server.ask(&["EVAL", look, "0"]).trim(), ":0");
    nodes.close().await;
}

#[tokio::test]
async fn a_write_is_seen_by_the_next_read_here_and_within_a_tenth_of_a_second_on_every_node() {
    let nodes = Nodes::start(3).await;
    let mut longest = Duration::ZERO;
    for round in 0..60_usize {
        let writer = round % 3;
        for node in 0..3 {
            nodes.read(node).await;
        }
        let before = nodes.source.count();
        nodes.write(writer).await;
        let answered = Instant::now();
        // At once where it was written.
        let fetched = nodes.read(writer).await.0.parse::<u64>().unwrap();
        assert!(fetched > before, "round {round}");
        for node in 0..3 {
            while nodes.read(node).await.0.parse::<u64>().unwrap() <= before {
                assert!(answered.elapsed() < Duration::from_secs(5), "round {round}, node {node}");
            }
            longest = longest.max(answered.elapsed());
        }
    }
    println!("a write was seen on every node within {longest:?}");
    assert!(longest < Duration::from_millis(100) * 5, "{longest:?}");
    nodes.close().await;
}

#[tokio::test]
async fn what_was_fetched_before_a_write_on_another_node_is_not_kept_anywhere() {
    let nodes = Nodes::start(2).await;
    let held = Source::new(Answers::Held);
    let reader = kept(&nodes.caches[0], &held, &tagged());
    let early = reader.call(call(&caller("ann", &[]), "{}"));
    tokio::pin!(early);
    // Until its generations are read and the source is asked.
    let asked = async { eventually(|| held.count() == 1).await };
    tokio::select! {
        _ = &mut early => panic!("it is answered already"),
        () = asked => {}
    }
    nodes.write(1).await;
    held.release();
    assert_eq!(text(&early.await.unwrap()), "1");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(text(&reader.call(call(&caller("ann", &[]), "{}")).await.unwrap()), "2");
    nodes.close().await;
}

#[tokio::test]
async fn a_value_that_is_altered_foreign_or_in_anothers_place_is_a_miss() {
    let nodes = Nodes::start(2).await;
    for q in ["a", "b"] {
        nodes.readers[0].call(call(&local(), &format!(r#"{{"q":"{q}"}}"#))).await.unwrap();
    }
    nodes.shared(2).await;
    let swap = "local k = redis.call('KEYS', '*cache:v:*') local a, b = redis.call('GET', k[1]), redis.call('GET', k[2]) \
                redis.call('SET', k[1], b, 'PX', 3600000) redis.call('SET', k[2], a, 'PX', 3600000) return #k";
    assert_eq!(nodes.server.ask(&["EVAL", swap, "0"]).trim(), ":2");
    for (q, number) in [("a", "3"), ("b", "4")] {
        let reply = nodes.readers[1].call(call(&local(), &format!(r#"{{"q":"{q}"}}"#))).await.unwrap();
        assert_eq!((text(&reply).as_str(), status(&reply).0.as_str()), (number, "miss"));
    }
    assert_eq!(nodes.caches[1].meter.store_bad.sum(), 2);
    // A node with another key, and one whose values were cut.
    let foreign = node(&nodes.server, [8; 32]);
    let reader = kept(&foreign, &nodes.source, &tagged());
    assert_eq!(text(&reader.call(call(&local(), r#"{"q":"a"}"#)).await.unwrap()), "5");
    let cut = "for _, k in ipairs(redis.call('KEYS', '*cache:v:*')) do redis.call('SET', k, 'x', 'PX', 1000000) end return 1";
    let _ = nodes.server.ask(&["EVAL", cut, "0"]);
    let third = node(&nodes.server, KEY);
    let reader = kept(&third, &nodes.source, &tagged());
    assert_eq!(text(&reader.call(call(&local(), r#"{"q":"a"}"#)).await.unwrap()), "6");
    assert_eq!((foreign.meter.store_bad.sum(), third.meter.store_bad.sum()), (1, 1));
    foreign.close().await;
    third.close().await;
    nodes.close().await;
}

#[tokio::test]
async fn without_the_store_nothing_tagged_is_given_out_and_no_write_is_forgotten() {
    let mut nodes = Nodes::start(2).await;
    assert_eq!(nodes.read(0).await.0, "1");
    assert_eq!(nodes.read(1).await.1, if nodes.source.count() == 1 { "hit" } else { "miss" });
    nodes.server.kill();
    let caches = nodes.caches.clone();
    eventually(|| caches.iter().all(|cache| cache.is_deaf())).await;
    // Nobody would hear of a change: each read asks.
    let before = nodes.source.count();
    nodes.read(0).await;
    nodes.read(0).await;
    assert_eq!(nodes.source.count(), before + 2);
    // What has no tags goes on.
    let plain = kept(&nodes.caches[0], &nodes.source, &plan("1h"));
    let first = text(&plain.call(call(&local(), r#"{"q":"plain"}"#)).await.unwrap());
    assert_eq!(text(&plain.call(call(&local(), r#"{"q":"plain"}"#)).await.unwrap()), first);
    nodes.read(1).await;
    let before = nodes.source.count();
    nodes.write(0).await;
    assert_eq!(nodes.caches[0].meter.untold.sum(), 1);
    nodes.server.restart().await;
    nodes.hearing().await;
    // The other node hears of the write, and nobody has what was before.
    let end = Instant::now() + Duration::from_secs(5);
    while nodes.read(1).await.0.parse::<u64>().unwrap() <= before {
        assert!(Instant::now() < end);
    }
    assert!(nodes.read(0).await.0.parse::<u64>().unwrap() > before);
    nodes.close().await;
}

#[tokio::test]
async fn a_store_that_lost_its_memory_makes_no_old_answer_good_again() {
    let nodes = Nodes::start(2).await;
    assert_eq!(nodes.read(0).await.0, "1");
    nodes.shared(1).await;
    let _ = nodes.server.ask(&[
        "EVAL",
        "for _, k in ipairs(redis.call('KEYS', '*cache:g:*')) do redis.call('DEL', k) end return 1",
        "0",
    ]);
    // The answer is still there; the generations begin anew above all that were.
    let (number, status) = nodes.read(1).await;
    assert_eq!((number.as_str(), status.as_str()), ("2", "miss"));
    nodes.write(0).await;
    assert_eq!(nodes.read(0).await.0, "3");
    nodes.close().await;
}

#[tokio::test]
async fn a_store_that_hangs_costs_a_miss_and_not_an_answer() {
    let nodes = Nodes::start(1).await;
    assert_eq!(nodes.read(0).await.0, "1");
    nodes.server.pause();
    let began = Instant::now();
    let reply = nodes.readers[0].call(call(&local(), r#"{"q":"other"}"#)).await.unwrap();
    assert_eq!(text(&reply), "2");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    nodes.server.resume();
    nodes.close().await;
}

#[tokio::test]
async fn a_purge_reaches_every_node() {
    let nodes = Nodes::start(2).await;
    for what in [
        Purge::All,
        Purge::Tool("search".to_owned()),
        Purge::Connector("shop".to_owned()),
        Purge::Tag("customers".to_owned()),
    ] {
        nodes.read(0).await;
        nodes.read(1).await;
        let before = nodes.source.count();
        nodes.caches[0].purge(&what).await.unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        for node in 0..2 {
            while nodes.read(node).await.0.parse::<u64>().unwrap() <= before {
                assert!(Instant::now() < end, "{what:?}");
            }
        }
    }
    let unknown = nodes.caches[0].purge(&Purge::Tag("custmers".to_owned())).await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "no tag whose answers are kept is named `custmers`; did you mean `customers`?"
    );
    nodes.close().await;
}
