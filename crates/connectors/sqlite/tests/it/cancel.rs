//! Calls that are dropped or late.

use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_sql::{Database, DatabaseError, Run};

use crate::support::{Collected, Folder, prepare, query};

const ENDLESS: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10000000000) SELECT count(*) FROM c";

#[tokio::test]
async fn a_dropped_call_stops_its_statement_and_no_other() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let (endless, _) = prepare(&database, ENDLESS).await.unwrap();
    // Every connection is kept busy, so the next query can only be answered by one whose statement was stopped.
    let calls = (0..4).map(|_| database.run(&endless, Run::new(Vec::new(), Collected::default())));
    let all = futures_util::future::join_all(calls);
    assert!(tokio::time::timeout(Duration::from_millis(200), all).await.is_err());
    let dropped = Instant::now();
    for number in 0..20 {
        assert_eq!(query(&database, &format!("SELECT {number}")).await.unwrap(), [json!([number])]);
    }
    assert!(dropped.elapsed() < Duration::from_secs(5), "{:?}", dropped.elapsed());
}

#[tokio::test]
async fn a_call_dropped_at_any_moment_leaves_the_next_one_alone() {
    let folder = Folder::with("CREATE TABLE t(a); INSERT INTO t VALUES (7)");
    let database = folder.database();
    let (statement, _) = prepare(&database, "SELECT a FROM t").await.unwrap();
    for microseconds in 0..200 {
        let call = database.run(&statement, Run::new(Vec::new(), Collected::default()));
        let _ = tokio::time::timeout(Duration::from_micros(microseconds), call).await;
        let run = Run::new(Vec::new(), Collected::default());
        assert_eq!(database.run(&statement, run).await.unwrap().rows.rows, [json!([7])]);
    }
}

#[tokio::test]
async fn a_statement_ends_at_its_deadline() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let (endless, _) = prepare(&database, ENDLESS).await.unwrap();
    let started = Instant::now();
    let deadline = Some(started + Duration::from_millis(150));
    let run = Run { deadline, ..Run::new(Vec::new(), Collected::default()) };
    let error = database.run(&endless, run).await.unwrap_err();
    assert!(
        matches!(error, DatabaseError::TimedOut { after } if after <= Duration::from_millis(150)),
        "{error:?}"
    );
    assert!((140..5000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!(query(&database, "SELECT 1").await.unwrap(), [json!([1])]);
}

#[tokio::test]
async fn a_call_that_finds_no_free_connection_says_so() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let (endless, _) = prepare(&database, ENDLESS).await.unwrap();
    let calls = [400, 400, 400, 400, 100].map(|milliseconds| {
        let deadline = Some(Instant::now() + Duration::from_millis(milliseconds));
        database.run(&endless, Run { deadline, ..Run::new(Vec::new(), Collected::default()) })
    });
    let mut outcomes = futures_util::future::join_all(calls).await;
    let last = outcomes.pop().unwrap();
    assert!(
        matches!(last, Err(DatabaseError::PoolExhausted { after }) if after.as_millis() < 350),
        "{last:?}"
    );
    for outcome in outcomes {
        assert!(matches!(outcome, Err(DatabaseError::TimedOut { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_writer_of_rows_that_is_full_ends_the_statement() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let sql = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c";
    let (statement, _) = prepare(&database, sql).await.unwrap();
    let rows = Collected { most: Some(3), ..Collected::default() };
    let ran = database.run(&statement, Run::new(Vec::new(), rows)).await.unwrap();
    assert_eq!(ran.rows.rows, [json!([1]), json!([2]), json!([3])]);
}

#[tokio::test]
async fn a_dropped_database_ends_its_threads() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let (endless, _) = prepare(&database, ENDLESS).await.unwrap();
    let run = Run::new(Vec::new(), Collected::default());
    let _ = tokio::time::timeout(Duration::from_millis(50), database.run(&endless, run)).await;
    let started = Instant::now();
    drop(database);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
