//! A replica that is frozen: its connections stay open and nothing answers. Reads leave it, whichever way they run, and a
//! statement that only takes its time is not left.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use trunkline_postgres::Postgres;
use trunkline_testkit::postgres::{Client, PrivatePostgres};

use crate::pages::{call, caller, connector, content, numbers, with_cursor};
use crate::replicas::{open_all, port, servers};
use crate::support::{eventually, prepare, run};

/// Tells on which server it ran, with a connection of its own.
const EXCLUSIVE: &str = "select inet_server_port(), random() < 2";
const SLOW: &str = "select inet_server_port(), pg_sleep(2.5)::text";
const LASTING: &str = "select inet_server_port(), pg_sleep(30)::text";
const COUNT_LASTING: &str = "select count(*) from pg_stat_activity where query like '%pg_sleep(30)%' \
    and state = 'active' and pid <> pg_backend_pid()";

/// Waits until reads go to the replica.
async fn settled(postgres: &Postgres, replica: &PrivatePostgres) {
    let (read, _) = prepare(postgres, EXCLUSIVE).await;
    eventually(Duration::from_secs(5), async || port(postgres, &read).await == replica.port()).await;
}

#[tokio::test]
async fn reads_with_a_connection_of_their_own_leave_a_frozen_replica_within_two_seconds() {
    let (primary, replicas) = servers(1).await;
    // The bounds on connecting and on statements are far off.
    let postgres = open_all(&primary, &replicas, "pool = 2\nconnect-timeout = '8s'");
    let (read, _) = prepare(&postgres, EXCLUSIVE).await;
    settled(&postgres, &replicas[0]).await;
    replicas[0].stop_process();
    let started = Instant::now();
    // More than the pool has places: some wait for one that a silent statement has.
    let ports = join_all((0..5).map(|_| port(&postgres, &read))).await;
    assert_eq!(ports, [primary.port(); 5]);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(port(&postgres, &read).await, primary.port());
    }
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    replicas[0].cont();
    settled(&postgres, &replicas[0]).await;
}

#[tokio::test]
async fn a_statement_under_way_leaves_a_replica_that_freezes_and_does_not_go_on_there_later() {
    let (primary, replicas) = servers(1).await;
    let postgres = open_all(&primary, &replicas, "pool = 1\nstatement-timeout = '60s'");
    let (lasting, _) = prepare(&postgres, LASTING).await;
    settled(&postgres, &replicas[0]).await;
    let on_primary = Client::connect(&primary.url("postgres")).await;
    let on_replica = Client::connect(&replicas[0].url("postgres")).await;
    let watched = async {
        eventually(Duration::from_secs(2), async || on_replica.value(COUNT_LASTING).await.unwrap() == "1")
            .await;
        replicas[0].stop_process();
        eventually(Duration::from_secs(2), async || on_primary.value(COUNT_LASTING).await.unwrap() == "1")
            .await;
        replicas[0].cont();
        eventually(Duration::from_secs(3), async || on_replica.value(COUNT_LASTING).await.unwrap() == "0")
            .await;
    };
    tokio::select! {
        ran = run(&postgres, &lasting, Vec::new()) => panic!("it lasts longer: {ran:?}"),
        () = watched => {}
    }
}

#[tokio::test]
async fn a_replica_is_not_left_by_a_statement_that_takes_its_time() {
    let (primary, replicas) = servers(1).await;
    let postgres = open_all(&primary, &replicas, "");
    let (slow, _) = prepare(&postgres, SLOW).await;
    settled(&postgres, &replicas[0]).await;
    let hiccup = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        replicas[0].stop_process();
        tokio::time::sleep(Duration::from_millis(300)).await;
        replicas[0].cont();
    };
    let (port, ()) = futures_util::join!(port(&postgres, &slow), hiccup);
    assert_eq!(port, replicas[0].port());
}

#[tokio::test]
async fn a_first_page_leaves_a_frozen_replica_within_two_seconds() {
    let (primary, replicas) = servers(1).await;
    let keys = format!("max-rows = 100\nreplicas = [{:?}]", replicas[0].url("postgres"));
    let connector = connector(&primary.url("postgres"), &keys, &[]).await;
    let ann = caller("ann");
    let read = json!({ "sql": "select n, inet_server_port() port from generate_series(1, 250) n" });
    let port = async || content(&call(&connector, &ann, 0, &read).await)["rows"][99]["port"].clone();
    eventually(Duration::from_secs(5), async || port().await == replicas[0].port()).await;
    replicas[0].stop_process();
    let started = Instant::now();
    assert_eq!(port().await, primary.port());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_page_whose_cursor_is_on_a_frozen_replica_goes_on_elsewhere() {
    let (primary, replicas) = servers(1).await;
    let keys = format!("max-rows = 100\nreplicas = [{:?}]", replicas[0].url("postgres"));
    let connector = connector(&primary.url("postgres"), &keys, &[]).await;
    let ann = caller("ann");
    let read = json!({ "sql": "select n from generate_series(1, 450) n" });
    let watcher = Client::connect(&replicas[0].url("postgres")).await;
    let is_open = "select count(*) from pg_stat_activity where state = 'idle in transaction'";
    let mut pages = Vec::new();
    // Two cursors on the replica: one is asked for at once, the other when the replica is known to be silent.
    eventually(Duration::from_secs(5), async || {
        call(&connector, &ann, 0, &read).await;
        watcher.value(is_open).await.unwrap() != "0"
    })
    .await;
    for _ in 0..2 {
        pages.push(call(&connector, &ann, 0, &read).await);
    }
    replicas[0].stop_process();
    for first in pages {
        let started = Instant::now();
        let next = with_cursor(&read, &content(&first)["nextCursor"]);
        let second = call(&connector, &ann, 0, &next).await;
        assert_eq!(numbers(content(&second)), (101..=200).collect::<Vec<i64>>());
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
}
