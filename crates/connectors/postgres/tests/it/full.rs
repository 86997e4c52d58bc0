//! A server that takes no more connections: calls make do with those that there are, in turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;
use trunkline_sql::{Database, DatabaseError, Value};
use trunkline_testkit::postgres::{Client, PrivatePostgres};

use crate::support::{eventually, open, prepare, reading, run};

/// A server with five places, and so many others that have one each.
async fn server(others: usize) -> (PrivatePostgres, Vec<Client>) {
    let settings = ["max_connections=5", "superuser_reserved_connections=0", "max_wal_senders=0"];
    let server = PrivatePostgres::start_with(&settings).await;
    let mut clients = Vec::new();
    for _ in 0..others {
        clients.push(Client::connect(&server.url("postgres")).await);
    }
    (server, clients)
}

#[tokio::test]
async fn calls_wait_in_the_order_of_asking_for_the_connections_that_a_full_server_gave() {
    let (server, others) = server(3).await;
    let postgres = Arc::new(open(&server.url("postgres"), "pool = 8\nconnect-timeout = '8s'"));
    let sql = "select $1::int, pg_backend_pid(), extract(epoch from clock_timestamp())::float8, pg_sleep(0.1)::text";
    let statement = Arc::new(prepare(&postgres, sql).await.0);
    let mut calls = JoinSet::new();
    for number in 0..12 {
        let (postgres, statement) = (Arc::clone(&postgres), Arc::clone(&statement));
        calls.spawn(async move {
            let ran = run(&postgres, &statement, vec![Value::Integer(number)]).await.unwrap();
            (ran.rows.rows[0][2].as_f64().unwrap(), number, ran.rows.rows[0][1].clone())
        });
        // The order of asking is that of the calls only where none is made together with the next.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut served = calls.join_all().await;
    served.sort_by(|left, right| left.0.total_cmp(&right.0));
    for (place, (_, number, _)) in served.iter().enumerate() {
        let overtaken = number.abs_diff(i64::try_from(place).unwrap());
        assert!(overtaken <= 1, "call {number} was served as number {place}: {served:?}");
    }
    let mut backends: Vec<_> = served.iter().map(|(_, _, backend)| backend.to_string()).collect();
    backends.sort();
    backends.dedup();
    assert!(backends.len() <= 2, "{backends:?}");
    // Once the others are gone the pool grows as it may.
    drop(others);
    let (long, _) = prepare(&postgres, "select pg_backend_pid(), pg_sleep(0.2)::text").await;
    eventually(Duration::from_secs(5), async || {
        let started = Instant::now();
        let all = join_all((0..4).map(|_| run(&postgres, &long, Vec::new()))).await;
        assert!(all.iter().all(Result::is_ok));
        started.elapsed() < Duration::from_millis(390)
    })
    .await;
}

#[tokio::test]
async fn shared_reads_go_on_over_what_connections_there_are() {
    for others in [3, 4] {
        let (server, others) = server(others).await;
        let postgres = open(&server.url("postgres"), "connect-timeout = '2s'");
        let (statement, _) = prepare(&postgres, "select $1::int").await;
        assert!(statement.is_shared());
        // With one place left, the connection on which it was learned has it.
        for round in 0..5 {
            let ran = join_all((0..20).map(|n| run(&postgres, &statement, vec![Value::Integer(n)]))).await;
            for (n, ran) in ran.into_iter().enumerate() {
                assert_eq!(ran.unwrap().rows.rows[0][0], json!(n), "round {round}, {} others", others.len());
            }
        }
    }
}

#[tokio::test]
async fn who_gets_no_connection_in_time_is_told_that_the_server_is_full() {
    let (server, mut others) = server(4).await;
    let postgres = Arc::new(open(&server.url("postgres"), "pool = 4\nconnect-timeout = '400ms'"));
    let (long, _) = prepare(&postgres, "select pg_sleep(1.5)::text").await;
    let (short, _) = prepare(&postgres, "select random() < 2").await;
    let busy = run(&postgres, &long, Vec::new());
    let refused = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let started = Instant::now();
        let error = run(&postgres, &short, Vec::new()).await.unwrap_err();
        (error, started.elapsed())
    };
    let (ran, (error, after)) = futures_util::join!(busy, refused);
    ran.unwrap();
    assert!(matches!(error, DatabaseError::Full { .. }), "{error:?}");
    assert!(after > Duration::from_millis(300) && after < Duration::from_secs(1), "{after:?}");
    assert_eq!(error.to_string(), "the database takes no more connections");
    run(&postgres, &short, Vec::new()).await.unwrap();
    assert!(postgres.pool_wait().waits >= 1);

    // Where there is no connection at all there is nothing to wait for. The pool above has the last place.
    let late = open(&server.url("postgres"), "connect-timeout = '5s'");
    let started = Instant::now();
    let error = late.prepare(&reading("select 1")).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Full { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    others.pop();
    eventually(Duration::from_secs(5), async || late.prepare(&reading("select 1")).await.is_ok()).await;
}
