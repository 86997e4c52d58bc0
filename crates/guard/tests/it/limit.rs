//! Limits that several processes share: three of them with eight tasks each over one Redis, and what one decision costs.
//!
//! The processes are this test itself, run again for one of its tests.

use std::env;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::task::JoinSet;
use trunkline_guard::limit::{Counted, LimitState, Limited, Limits, LimitsSpec, Rate, RoleSpec, Unit};
use trunkline_protocol::{Method, Revision, scan};
use trunkline_service::meter::{Meter as _, Page};
use trunkline_service::store::file::OnStoreFailure;
use trunkline_service::store::{Store, StoreConfig, StoreUrl};
use trunkline_service::{Answer, Caller, Reply, Request, Service, ready};
use trunkline_testkit::redis::Server;

/// Names the Redis to a process that is one of three.
const NODE: &str = "TRUNKLINE_LIMIT_NODE";
/// How long they ask, in seconds; `scripts/soak` sets more.
const SECONDS: &str = "TRUNKLINE_LIMIT_SECONDS";
const PROCESSES: usize = 3;
const TASKS: usize = 8;

/// One that holds for each question, and one that is leased.
const RATES: [(u32, u32); 2] = [(300, 100), (3000, 1000)];

struct Done;

impl Service for Done {
    fn call(&self, _: Request) -> Answer<'_> {
        ready(Ok(Reply::from_shared(Bytes::from_static(b"\"content\":[]"))))
    }
}

fn request(caller: &Arc<Caller>) -> Request {
    let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    let (_, envelope) = scan(&body).unwrap();
    Request::new(body, &envelope, Method::ToolsCall, Revision::LATEST, Arc::clone(caller), 1)
}

fn caller() -> Arc<Caller> {
    Arc::new(Caller {
        issuer: Some("https://login.example.com".into()),
        subject: "somebody@example.com".into(),
        roles: vec!["support".into()],
        role_set: 1,
        ..Caller::default()
    })
}

fn seconds() -> u64 {
    env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

/// Asks as fast as it can from eight tasks; the time of the first and the last that passed, and how many did.
async fn ask(state: &LimitState, (count, burst): (u32, u32), until: Instant) -> (u128, u128, u64) {
    let rate = Rate::new(count, Unit::Second, Some(burst)).ok();
    let spec = LimitsSpec { caller: rate, ..LimitsSpec::default() };
    let limits = Arc::new(Limits::new(&spec, state, Caller::local()));
    let service = Arc::new(Limited::new(Done, limits, Counted::AtTheDoor));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (service, caller) = (Arc::clone(&service), caller());
        tasks.spawn(async move {
            let (mut first, mut last, mut passed) = (u128::MAX, 0, 0);
            while Instant::now() < until {
                let before = micros();
                match service.call(request(&caller)).await {
                    Ok(_) => {
                        (first, last, passed) = (first.min(before), micros(), passed + 1);
                        tokio::task::yield_now().await;
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
            (first, last, passed)
        });
    }
    let all = tasks.join_all().await;
    all.into_iter().fold((u128::MAX, 0, 0), |sum, one| (sum.0.min(one.0), sum.1.max(one.1), sum.2 + one.2))
}

/// One of the three processes, when the test below runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_of_three() {
    let Ok(url) = env::var(NODE) else { return };
    let store = Store::open(StoreConfig::new(&StoreUrl::new(url)).unwrap()).unwrap();
    while !store.is_up() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let state = LimitState::with_store(store, OnStoreFailure::Deny);
    let half = Duration::from_secs(seconds()) / 2;
    for rate in RATES {
        let (first, last, passed) = ask(&state, rate, Instant::now() + half).await;
        println!("node {} {first} {last} {passed}", rate.0);
    }
    let mut page = Page::new();
    state.read(&mut page);
    println!("{}", page.into_text());
}

#[tokio::test]
async fn three_processes_that_share_a_redis_never_pass_more_than_the_limit() {
    let server = Server::start().await;
    let spawn = |_| {
        Command::new(env::current_exe().unwrap())
            .args(["limit::one_node_of_three", "--exact", "--nocapture"])
            .env(NODE, server.url())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let nodes: Vec<_> = (0..PROCESSES).map(spawn).collect();
    let said: Vec<String> = nodes
        .into_iter()
        .map(|node| String::from_utf8(node.wait_with_output().unwrap().stdout).unwrap())
        .collect();
    for (count, burst) in RATES {
        let numbers = said.iter().map(|said| {
            let line = said.split(&format!("node {count} ")).nth(1).unwrap_or_else(|| panic!("{said}"));
            let mut numbers = line.split_whitespace().map(|text| text.parse::<u128>().unwrap_or_default());
            [(); 3].map(|()| numbers.next().unwrap())
        });
        let numbers: Vec<[u128; 3]> = numbers.collect();
        let first = numbers.iter().map(|one| one[0]).min().unwrap();
        let last = numbers.iter().map(|one| one[1]).max().unwrap();
        let passed: u128 = numbers.iter().map(|one| one[2]).sum();
        let most = (last - first) * u128::from(count) / 1_000_000 + u128::from(burst);
        println!("{count} a second: {passed} of {most} passed in {} ms", (last - first) / 1000);
        assert!(passed * 100 <= most * 101, "{passed} of {most}\n{}", said.join("\n"));
        // And what there is is used.
        assert!(passed * 100 >= most * 70, "{passed} of {most}\n{}", said.join("\n"));
    }
}

#[test]
fn a_decision_of_this_node_takes_less_than_a_microsecond_or_two() {
    let rate = |count| Rate::new(count, Unit::Second, None).ok();
    let role = RoleSpec { limit: rate(1_000_000), ..RoleSpec::default() };
    let spec = LimitsSpec {
        server: rate(1_000_000),
        caller: rate(1_000_000),
        roles: vec![("support".into(), role)],
        ..LimitsSpec::default()
    };
    let limits = Arc::new(Limits::new(&spec, &LimitState::new(), Caller::local()));
    let (with, without) = (Limited::new(Done, limits, Counted::Here), Done);
    let caller = caller();
    let run = |service: &dyn Service| {
        let requests: Vec<Request> = (0..50_000).map(|_| request(&caller)).collect();
        let start = Instant::now();
        for request in requests {
            drop(std::hint::black_box(service.call(request)));
        }
        start.elapsed().as_nanos() / 50_000
    };
    let best = |service: &dyn Service| (0..5).map(|_| run(service)).min().unwrap();
    let (with, without) = (best(&with), best(&without));
    println!("server, caller and role: {} ns a request (unoptimized)", with.saturating_sub(without));
    // Not optimized, and beside other tests: optimized it is a tenth. `benches` has the figure.
    assert!(with - without < 20_000, "{with} {without}");
}
