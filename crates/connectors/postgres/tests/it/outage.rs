//! The database goes away and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use trunkline_postgres::{Postgres, PostgresStatement};
use trunkline_sql::{Database, DatabaseError, Run, Value};
use trunkline_testkit::postgres::{self, PrivatePostgres};
use trunkline_testkit::within;

use crate::support::{Collector, eventually, open, prepare, reading, run};

const SHARED: &str = "select $1::int8 + 1";
const EXCLUSIVE: &str = "select $1::int8 + 1, random() < 2";

#[tokio::test]
async fn pg_09_ended_backends_are_replaced_without_a_failed_call() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "pool = 2");
    let watcher = database.client().await;
    let (shared, _) = prepare(&postgres, SHARED).await;
    let (exclusive, _) = prepare(&postgres, EXCLUSIVE).await;
    for round in 0..5 {
        for statement in [&shared, &exclusive] {
            for _ in 0..5 {
                let ran = run(&postgres, statement, vec![Value::Integer(round)]).await.unwrap();
                assert_eq!(ran.rows.rows[0][0], json!(round + 1));
            }
        }
        let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        assert_ne!(watcher.value(kill).await.unwrap(), "0");
    }
}

#[tokio::test]
async fn pg_09_a_database_that_is_down_is_said_at_once_and_found_when_it_is_back() {
    let mut server = PrivatePostgres::start().await;
    let postgres = open(&server.url("postgres"), "");
    server.stop();
    // The product starts while the database is down.
    let started = Instant::now();
    let error = postgres.prepare(&reading(SHARED)).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable { .. }), "{error:?}");
    assert!(matches!(postgres.ping().await, Err(DatabaseError::Unreachable { .. })));
    assert!(started.elapsed() < within(Duration::from_secs(1)), "{:?}", started.elapsed());
    server.restart().await;
    eventually(Duration::from_secs(3), async || postgres.prepare(&reading(SHARED)).await.is_ok()).await;
    let (statement, _) = prepare(&postgres, SHARED).await;
    run(&postgres, &statement, vec![Value::Integer(1)]).await.unwrap();
    server.stop();
    let started = Instant::now();
    for _ in 0..8 {
        let error = run(&postgres, &statement, vec![Value::Integer(1)]).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Unreachable { .. }), "{error:?}");
    }
    let error = run(&postgres, &statement, vec![Value::Integer(1)]).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable { sent: false, .. }), "{error:?}");
    assert!(started.elapsed() < within(Duration::from_secs(1)), "{:?}", started.elapsed());
    server.restart().await;
    eventually(Duration::from_secs(3), async || {
        run(&postgres, &statement, vec![Value::Integer(1)]).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn pg_09_a_frozen_server_holds_no_call_past_its_deadline() {
    let server = PrivatePostgres::start().await;
    let postgres = open(&server.url("postgres"), "connect-timeout = '500ms'");
    let (shared, _) = prepare(&postgres, SHARED).await;
    let (exclusive, _) = prepare(&postgres, EXCLUSIVE).await;
    for statement in [&shared, &exclusive] {
        run(&postgres, statement, vec![Value::Integer(1)]).await.unwrap();
    }
    server.stop_process();
    for statement in [&shared, &exclusive] {
        let started = Instant::now();
        let deadline = Some(started + Duration::from_millis(300));
        let values = vec![Value::Integer(1)];
        let ran = postgres.run(statement, Run { deadline, ..Run::new(values, Collector::default()) }).await;
        assert!(ran.is_err());
        assert!(started.elapsed() < within(Duration::from_millis(600)), "{:?}", started.elapsed());
    }
    // Without a near deadline the shared connection is given up, and connecting anew fails in its own time.
    let started = Instant::now();
    let error = run(&postgres, &shared, vec![Value::Integer(1)]).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable { .. }), "{error:?}");
    assert!(started.elapsed() < within(Duration::from_secs(3)), "{:?}", started.elapsed());
    server.cont();
    for statement in [&shared, &exclusive] {
        let ran = async || {
            run(&postgres, statement, vec![Value::Integer(4)])
                .await
                .is_ok_and(|ran| ran.rows.rows[0][0] == json!(5))
        };
        eventually(Duration::from_secs(3), ran).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_leaves_no_call_unanswered_and_is_found_again() {
    let mut server = PrivatePostgres::start().await;
    let postgres = Arc::new(open(&server.url("postgres"), ""));
    let statements: Arc<[PostgresStatement]> =
        Arc::new([prepare(&postgres, SHARED).await.0, prepare(&postgres, EXCLUSIVE).await.0]);
    let mut callers = JoinSet::new();
    let end = Instant::now() + Duration::from_millis(1200);
    for caller in 0..200_usize {
        let (postgres, statements) = (Arc::clone(&postgres), Arc::clone(&statements));
        callers.spawn(async move { call_until(&postgres, &statements[caller % 2], end).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.kill();
    let (mut answered, mut failed) = (0, 0);
    while let Some(counted) = callers.join_next().await {
        let (ok, err) = counted.unwrap();
        answered += ok;
        failed += err;
    }
    assert!(answered > 200 && failed >= 200, "{answered} answered, {failed} failed");
    server.restart().await;
    let back = Instant::now();
    for statement in statements.iter() {
        eventually(Duration::from_secs(5), async || {
            run(&postgres, statement, vec![Value::Integer(1)]).await.is_ok()
        })
        .await;
    }
    assert!(back.elapsed() < within(Duration::from_secs(5)), "{:?}", back.elapsed());
}

/// Calls again and again; each call ends by its deadline, in an answer or in a clear fault.
async fn call_until(postgres: &Postgres, statement: &PostgresStatement, end: Instant) -> (u64, u64) {
    let (mut answered, mut failed) = (0, 0);
    while Instant::now() < end {
        let started = Instant::now();
        let deadline = Some(started + Duration::from_secs(4));
        let run = Run { deadline, ..Run::new(vec![Value::Integer(1)], Collector::default()) };
        match postgres.run(statement, run).await {
            Ok(_) => answered += 1,
            Err(
                DatabaseError::Unreachable { .. }
                | DatabaseError::TimedOut { .. }
                | DatabaseError::PoolExhausted { .. },
            ) => {
                failed += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
        assert!(
            started.elapsed() < Duration::from_secs(4) + within(Duration::from_millis(500)),
            "{:?}",
            started.elapsed()
        );
    }
    (answered, failed)
}
