//! Several hosts in an address.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use trunkline_sql::{Database, DatabaseError, Run, Value};
use trunkline_testkit::postgres::{Client, PrivatePostgres};
use trunkline_testkit::within;

use crate::support::{Collector, open, prepare, rows, run, writing};

const PORT: &str = "select current_setting('port')";

/// A port that nobody listens on.
fn dead_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn url(ports: &[u16], options: &str) -> String {
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://postgres@{}/postgres?{options}", hosts.join(","))
}

#[tokio::test]
async fn the_second_host_is_taken_when_the_first_is_dead_or_silent() {
    let server = PrivatePostgres::start().await;
    let dead = open(&url(&[dead_port(), server.port()], ""), "");
    assert_eq!(rows(&dead, PORT, Vec::new()).await, [[json!(server.port().to_string())]]);
    // Takes connections and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let started = Instant::now();
    let postgres =
        open(&url(&[silent.local_addr().unwrap().port(), server.port()], ""), "connect-timeout = '3s'");
    postgres.ping().await.unwrap();
    // Half of it for each.
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn each_host_that_failed_is_told_to_the_operator() {
    let ports = [dead_port(), dead_port()];
    let error = open(&url(&ports, ""), "").ping().await.unwrap_err();
    let DatabaseError::Unreachable { source, .. } = &error else { panic!("{error:?}") };
    for port in ports {
        assert!(source.to_string().contains(&port.to_string()), "{source}");
    }
}

#[tokio::test]
async fn only_a_host_of_the_wanted_role_is_taken() {
    let server = PrivatePostgres::start().await;
    let at = |options: &str| url(&[dead_port(), server.port()], options);
    for wanted in ["any", "read-write", "primary", "prefer-standby"] {
        open(&at(&format!("target_session_attrs={wanted}")), "").ping().await.unwrap();
    }
    for wanted in ["read-only", "standby"] {
        let error = open(&at(&format!("target_session_attrs={wanted}")), "").ping().await.unwrap_err();
        let DatabaseError::Unreachable { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("takes writes"), "{source}");
    }
}

#[tokio::test]
async fn a_write_finds_the_primary_of_several_hosts() {
    let primary = PrivatePostgres::start().await;
    let standby = standby_alone().await;
    let postgres = open(&url(&[standby.port(), primary.port()], ""), "access = 'read-write'");
    let (statement, _) = postgres.prepare(&writing("create table written (a int)")).await.unwrap();
    run(&postgres, &statement, Vec::new()).await.unwrap();
    // Reads alone take the first.
    let reading = open(&url(&[standby.port(), primary.port()], ""), "");
    assert_eq!(rows(&reading, PORT, Vec::new()).await, [[json!(standby.port().to_string())]]);
    let preferring = open(&url(&[primary.port(), standby.port()], "target_session_attrs=prefer-standby"), "");
    assert_eq!(rows(&preferring, PORT, Vec::new()).await, [[json!(standby.port().to_string())]]);
}

#[tokio::test]
async fn a_write_follows_its_server_to_another_host() {
    let mut old = PrivatePostgres::start().await;
    let new = PrivatePostgres::start().await;
    let postgres = open(&url(&[old.port(), new.port()], ""), "access = 'read-write'\npool = 1");
    let (statement, _) = postgres.prepare(&writing("create table if not exists t (a int)")).await.unwrap();
    run(&postgres, &statement, Vec::new()).await.unwrap();
    old.make_standby();
    old.restart().await;
    // The connection to the old one is found closed; no write is sent twice, so one call may fail.
    let outcome = run(&postgres, &statement, Vec::new()).await;
    if outcome.is_err() {
        run(&postgres, &statement, Vec::new()).await.unwrap();
    }
    let (reading, _) = prepare(&postgres, "select count(*) from t where random() < 2").await;
    let run = Run::new(Vec::new(), Collector::default());
    assert_eq!(postgres.run(&reading, run).await.unwrap().rows.rows, [[json!(0)]]);
    assert_eq!(rows(&postgres, "select pg_is_in_recovery()", Vec::new()).await, [[json!(false)]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_turns_everyone_away_is_not_stormed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let knocks = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&knocks);
    // Ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
            drop(stream);
        }
    });
    let postgres = Arc::new(open(&url(&[port], "sslmode=disable"), ""));
    let end = Instant::now() + Duration::from_millis(1500);
    let mut callers = JoinSet::new();
    for _ in 0..200 {
        let postgres = Arc::clone(&postgres);
        callers.spawn(async move {
            while Instant::now() < end {
                let started = Instant::now();
                assert!(matches!(postgres.ping().await, Err(DatabaseError::Unreachable { .. })));
                assert!(started.elapsed() < within(Duration::from_secs(1)), "{:?}", started.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    // A few at once in the beginning, then one after 250, 500 and 1000 ms.
    let knocks = knocks.load(Ordering::Relaxed);
    assert!((3..=10).contains(&knocks), "{knocks}");
}

#[tokio::test]
async fn the_first_call_after_learning_opens_no_connection() {
    let server = PrivatePostgres::start().await;
    let postgres = open(&server.url("postgres"), "");
    let (shared, _) = prepare(&postgres, "select $1::int8 + 1").await;
    let (exclusive, _) = prepare(&postgres, "select $1::int8 + 1, random() < 2").await;
    let watcher = Client::connect(&server.url("postgres")).await;
    let sessions = "select string_agg(pid::text, ' ' order by pid) from pg_stat_activity \
                    where application_name = 'trunkline'";
    let before = watcher.value(sessions).await.unwrap();
    // Four that are shared, and the one that was learned on.
    assert_eq!(before.split(' ').count(), 5, "{before}");
    for statement in [&shared, &exclusive] {
        for number in 0..8 {
            let ran = run(&postgres, statement, vec![Value::Integer(number)]).await.unwrap();
            assert_eq!(ran.rows.rows[0][0], json!(number + 1));
        }
    }
    assert_eq!(watcher.value(sessions).await.unwrap(), before);
}

/// A server that is in recovery, waiting for a primary that never comes.
async fn standby_alone() -> PrivatePostgres {
    let mut server = PrivatePostgres::start().await;
    server.make_standby();
    server.restart().await;
    server
}
