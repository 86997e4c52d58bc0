//! Limits of several nodes against a real Redis: nodes are states of their own over connections of their own.

use std::num::NonZeroU32;
use std::time::Instant;

use tokio::task::JoinSet;
use trunkline_service::Caller;
use trunkline_service::store::{StoreConfig, StoreUrl};
use trunkline_testkit::redis::Server;

use super::super::rate::{Rate, Unit};
use super::super::spec::BudgetSpec;
use super::super::state::LimitState;
use super::*;

/// One node: what it counts, and its connection.
struct Node {
    state: LimitState,
    store: Store,
}

impl Node {
    async fn new(server: &Server, on_failure: OnStoreFailure) -> Self {
        let store = Store::open(StoreConfig::new(&StoreUrl::new(server.url())).unwrap()).unwrap();
        let node = Self { state: LimitState::with_store(store.clone(), on_failure), store };
        node.is_up(true).await;
        node
    }

    async fn is_up(&self, wanted: bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.store.is_up() != wanted {
            assert!(Instant::now() < end, "the store is not {}", if wanted { "up" } else { "down" });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        self.state.shared().unwrap()
    }

    fn bucket(&self, rate: Rate, whose: Whose) -> Arc<Bucket> {
        self.state.bucket("limits.caller", "caller", rate, whose)
    }

    /// Asks for one request of a caller; what refused it.
    async fn ask(&self, stage: Stage<'_>, caller: &Caller) -> Result<(), (String, Duration)> {
        let refused = match self.state.settle(stage, Subject::Caller(caller), Instant::now()) {
            Settled::Passed => None,
            Settled::Refused(refused) => Some(refused),
            Settled::Waiting(waiting) => waiting.await,
        };
        match refused {
            None => Ok(()),
            Some(refused) => Err((refused.path().to_owned(), refused.wait)),
        }
    }

    async fn take(&self, bucket: &Arc<Bucket>, caller: &Caller) -> bool {
        let mut stage = Stage::new(self.state.key(caller));
        stage.take(Some(bucket), 1);
        self.ask(stage, caller).await.is_ok()
    }

    async fn count(&self, bucket: &Arc<Bucket>, caller: &Caller, tries: usize) -> usize {
        let mut passed = 0;
        for _ in 0..tries {
            passed += usize::from(self.take(bucket, caller).await);
        }
        passed
    }
}

fn caller(subject: &str) -> Caller {
    Caller { issuer: Some("i".into()), subject: subject.into(), ..Caller::default() }
}

fn rate(count: u32, unit: Unit, burst: u32) -> Rate {
    Rate::new(count, unit, Some(burst)).unwrap()
}

/// Asks the script at a time of the test's.
async fn at(node: &Node, bucket: &Bucket, time: u64, owed: u64) -> i64 {
    let mut question = Question::new(Some(time));
    question.limit(bucket, b"", (1, 1), owed);
    let answer = node.shared().run(&question).await.unwrap();
    answer[1]
}

#[tokio::test]
async fn two_nodes_share_one_limit_and_each_caller_has_its_own() {
    let server = Server::start().await;
    let (one, two) =
        (Node::new(&server, OnStoreFailure::Deny).await, Node::new(&server, OnStoreFailure::Deny).await);
    let rate = rate(10, Unit::Hour, 10);
    let buckets = (one.bucket(rate, Whose::Each), two.bucket(rate, Whose::Each));
    let (a, b) = (caller("alice-the-caller"), caller("b"));
    assert_eq!(one.count(&buckets.0, &a, 6).await, 6);
    assert_eq!(two.count(&buckets.1, &a, 9).await, 4);
    assert_eq!(two.count(&buckets.1, &b, 9).await, 9);
    // What a node knows to be refused is not asked for.
    let before = two.shared().asked.sum();
    assert_eq!(two.count(&buckets.1, &a, 100).await, 0);
    assert_eq!(two.shared().asked.sum(), before);
    // The store knows nobody's name.
    let keys = server.ask(&["KEYS", "*"]);
    assert!(keys.contains("limit:") && !keys.contains("alice") && !keys.contains("caller"), "{keys}");
}

#[tokio::test]
async fn all_limits_of_a_stage_grant_or_none_is_charged() {
    let server = Server::start().await;
    let node = Node::new(&server, OnStoreFailure::Deny).await;
    let wide = node.state.bucket("wide", "wide", rate(10, Unit::Hour, 10), Whose::Each);
    let narrow = node.state.bucket("narrow", "narrow", rate(2, Unit::Hour, 2), Whose::Everybodys);
    let leased = node.state.bucket("leased", "leased", rate(1000, Unit::Second, 1000), Whose::Everybodys);
    let (a, b) = (caller("a"), caller("b"));
    let stage = |caller: &Caller| {
        let mut stage = Stage::new(node.state.key(caller));
        [&wide, &narrow, &leased].into_iter().for_each(|bucket| stage.take(Some(bucket), 1));
        stage
    };
    assert!(node.ask(stage(&a), &a).await.is_ok() && node.ask(stage(&a), &a).await.is_ok());
    for _ in 0..5 {
        let (path, wait) = node.ask(stage(&b), &b).await.unwrap_err();
        assert_eq!(path, "narrow");
        assert!((1790..=1800).contains(&wait.as_secs()), "{wait:?}");
    }
    // Of another node, which asks the store alone.
    let other = Node::new(&server, OnStoreFailure::Deny).await;
    let wide = other.state.bucket("wide", "wide", rate(10, Unit::Hour, 10), Whose::Each);
    assert_eq!(other.count(&wide, &b, 20).await, 10);
    assert_eq!(other.count(&wide, &a, 20).await, 8);
}

#[tokio::test]
async fn a_budget_is_one_for_all_nodes_with_what_results_weigh() {
    let server = Server::start().await;
    let (one, two) =
        (Node::new(&server, OnStoreFailure::Deny).await, Node::new(&server, OnStoreFailure::Deny).await);
    let spec = BudgetSpec { calls: Some(5), bytes: Some(1000), per: Unit::Hour };
    let budget = |node: &Node| node.state.budget("roles.r.budget", "role r", spec);
    let ask = async |node: &Node, caller: &Caller| {
        let budget = budget(node);
        let mut stage = Stage::new(node.state.key(caller));
        stage.uses.push(Use { budget: &budget, calls: 1, bytes: Some(10) });
        node.ask(stage, caller).await
    };
    let (a, b) = (caller("a"), caller("b"));
    for node in [&one, &two, &one, &two, &one] {
        assert!(ask(node, &a).await.is_ok());
    }
    let (path, wait) = ask(&two, &a).await.unwrap_err();
    assert_eq!(path, "roles.r.budget");
    assert!((3590..=3600).contains(&wait.as_secs()), "{wait:?}");
    // The result of the first weighs 990 bytes; the store hears of it with the next request, wherever it is refused.
    assert!(ask(&one, &b).await.is_ok());
    budget(&one).add_bytes(one.state.key(&b), 990, cell::now());
    assert!(ask(&one, &b).await.is_err());
    assert!(ask(&two, &b).await.is_err());
}

#[tokio::test]
async fn a_time_that_begins_anew_owes_nothing_of_the_one_before() {
    let server = Server::start().await;
    let node = Node::new(&server, OnStoreFailure::Deny).await;
    let spec = BudgetSpec { calls: Some(5), bytes: None, per: Unit::Hour };
    let budget = node.state.budget("roles.r.budget", "role r", spec);
    let ask = async |time: u64, known: Account| {
        let mut question = Question::new(Some(time));
        question.budget(&budget, b"", (1, Some(0)), known);
        let answer = node.shared().run(&question).await.unwrap();
        (answer[1], answer[3])
    };
    let (start, hour) = (1_800_000_000_000_000, 3_600_000_000);
    for calls in 0..5 {
        assert_eq!(ask(start, Account::default()).await, (0, calls));
    }
    assert_eq!(ask(start, Account::default()).await, (1, 5));
    // Another node asked first and began the next hour; this one still knows of the last moment of the one before.
    assert_eq!(ask(start + hour, Account::default()).await, (0, 0));
    let late = Account { left: 5_000_000, calls: 5, bytes: 0, untold: 0 };
    assert_eq!(ask(start + hour + 1, late).await, (0, 1));
    // Of the same hour it counts.
    let same = Account { left: 3_599_000_000_000, calls: 4, bytes: 0, untold: 0 };
    assert_eq!(ask(start + hour + 1_000_000, same).await, (0, 4));
}

#[tokio::test]
async fn a_clock_that_jumps_does_not_open_the_gate() {
    const HOURS: u64 = 5 * 3_600_000_000;
    let server = Server::start().await;
    let node = Node::new(&server, OnStoreFailure::Deny).await;
    let bucket = |path: &str| node.state.bucket(path, path, rate(10, Unit::Minute, 10), Whose::Everybodys);
    let count = async |bucket: &Bucket, time: u64, owed: u64| {
        let mut passed = 0;
        for _ in 0..50 {
            passed += at(&node, bucket, time, owed).await;
        }
        passed
    };
    let start = 1_800_000_000_000_000;
    // Back: what is owed is cut to the burst, so nothing passes, and a minute later all of it again.
    let back = bucket("back");
    assert_eq!(count(&back, start, 0).await, 10);
    assert_eq!(count(&back, start - HOURS, 0).await, 0);
    assert_eq!(count(&back, start - HOURS + 60_000_000, 0).await, 10);
    // Forward: a node that knows what is owed says so, and nothing passes.
    let forward = bucket("forward");
    assert_eq!(count(&forward, start, 0).await, 10);
    assert_eq!(count(&forward, start + HOURS, forward.pace.room).await, 0);
    // Nobody knows, as after a start: never more than the burst.
    assert_eq!(count(&forward, start + 2 * HOURS, 0).await, 10);
}

#[tokio::test]
async fn a_store_that_lost_all_is_told_what_is_owed() {
    let server = Server::start().await;
    let node = Node::new(&server, OnStoreFailure::Deny).await;
    let bucket = node.bucket(rate(10, Unit::Hour, 10), Whose::Each);
    let a = caller("a");
    assert_eq!(node.count(&bucket, &a, 8).await, 8);
    assert_eq!(server.ask(&["FLUSHALL"]).trim(), "+OK");
    assert_eq!(node.count(&bucket, &a, 20).await, 2);
}

#[tokio::test]
async fn common_calls_of_a_large_limit_make_no_round_trip() {
    let server = Server::start().await;
    let node = Node::new(&server, OnStoreFailure::Deny).await;
    let bucket = node.bucket(rate(10_000, Unit::Second, 10_000), Whose::Everybodys);
    let a = caller("a");
    let (start, mut calls) = (Instant::now(), 0_u64);
    // 5,000 a second for two seconds, in bursts of what is due.
    while start.elapsed() < Duration::from_secs(2) {
        let due = u64::try_from(start.elapsed().as_millis()).unwrap() * 5;
        while calls < due {
            assert!(node.take(&bucket, &a).await);
            calls += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let asked = node.shared().leased.sum();
    println!("{calls} calls made {asked} round trips ({:.2} %)", asked as f64 * 100.0 / calls as f64);
    assert!(calls > 8000 && asked * 50 <= calls, "{asked} of {calls}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_of_three_nodes_never_pass_more_than_the_limit() {
    let server = Server::start().await;
    let rate = rate(2000, Unit::Second, 500);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..3 {
        let node = Arc::new(Node::new(&server, OnStoreFailure::Deny).await);
        for _ in 0..8 {
            let node = Arc::clone(&node);
            tasks.spawn(async move {
                let bucket = node.bucket(rate, Whose::Everybodys);
                let mut passed = 0;
                while start.elapsed() < Duration::from_secs(2) {
                    passed += u64::from(node.take(&bucket, &caller("a")).await);
                    tokio::task::yield_now().await;
                }
                passed
            });
        }
    }
    let passed: u64 = tasks.join_all().await.into_iter().sum();
    let most = 500 + u64::try_from(start.elapsed().as_millis() * 2).unwrap();
    println!("{passed} of {most} passed");
    assert!(passed <= most, "{passed} of {most}");
    assert!(passed * 100 >= most * 80, "{passed} of {most}");
}

#[tokio::test]
async fn each_rule_does_what_it_says_while_the_store_is_away_and_the_limit_is_shared_again_when_it_is_back() {
    let mut server = Server::start().await;
    let rate = rate(10, Unit::Hour, 10);
    let rules = [OnStoreFailure::Allow, OnStoreFailure::Deny, OnStoreFailure::Local];
    let a = caller("a");
    let mut nodes = Vec::new();
    for (number, rule) in rules.into_iter().enumerate() {
        let node = Node::new(&server, rule).await;
        let path = format!("limit.{number}");
        let bucket = node.state.bucket(&path, &path, rate, Whose::Each);
        assert_eq!(node.count(&bucket, &a, 4).await, 4);
        nodes.push((node, bucket, path));
    }
    server.kill();
    let mut away = Vec::new();
    for (node, bucket, _) in &nodes {
        node.is_up(false).await;
        let start = Instant::now();
        away.push(node.count(bucket, &a, 50).await);
        assert!(start.elapsed() < Duration::from_millis(500), "calls waited: {:?}", start.elapsed());
    }
    // All, none, and what this node had left of the whole limit by itself.
    assert_eq!(away, [50, 0, 6]);
    server.restart().await;
    let (mut back, mut others) = (Vec::new(), Vec::new());
    for (node, bucket, path) in &nodes {
        node.is_up(true).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        back.push(node.count(bucket, &a, 20).await);
        // Of what was asked there the store knows, though it had lost all: another node has nothing left. Where a node refuses by
        // itself it does not ask, and the other has the whole limit as it had while each counted by itself.
        let other = Node::new(&server, OnStoreFailure::Deny).await;
        let bucket = other.state.bucket(path, path, rate, Whose::Each);
        others.push(other.count(&bucket, &a, 20).await);
    }
    // What was let through without counting is not made up for.
    assert_eq!((back, others), (vec![6, 6, 0], vec![0, 0, 10]));
}

#[tokio::test]
async fn a_frozen_store_is_waited_for_once() {
    let server = Server::start().await;
    let node = Node::new(&server, OnStoreFailure::Local).await;
    let bucket = node.bucket(rate(100, Unit::Hour, 100), Whose::Each);
    let leased = node.state.bucket("leased", "leased", rate(5000, Unit::Second, 5000), Whose::Everybodys);
    let a = caller("a");
    assert!(node.take(&bucket, &a).await);
    server.pause();
    let start = Instant::now();
    assert_eq!(node.count(&bucket, &a, 30).await, 30);
    assert_eq!(node.count(&leased, &a, 500).await, 500);
    let took = start.elapsed();
    server.resume();
    assert!(took < Duration::from_millis(900), "{took:?}");
    assert!(node.shared().without.sum() >= 500);
    node.is_up(true).await;
}

#[tokio::test]
async fn a_cost_beyond_the_burst_takes_all_of_it() {
    let server = Server::start().await;
    let node = Node::new(&server, OnStoreFailure::Deny).await;
    let bucket = node.bucket(rate(10, Unit::Hour, 3), Whose::Each);
    let (a, cost) = (caller("a"), NonZeroU32::new(50).unwrap());
    let stage = || {
        let mut stage = Stage::new(node.state.key(&a));
        stage.take(Some(&bucket), cost.get());
        stage
    };
    assert!(node.ask(stage(), &a).await.is_ok());
    assert!(node.ask(stage(), &a).await.is_err());
    assert!(!node.take(&bucket, &a).await);
}
