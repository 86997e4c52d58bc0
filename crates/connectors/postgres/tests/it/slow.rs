//! Reads that are too slow for the shared lane: alone on a connection, with no transaction around them, and back when they are
//! quick again.

use serde_json::json;
use trunkline_sql::Value;
use trunkline_testkit::postgres::{self, Client, PrivatePostgres};

use crate::support::{open, prepare, run};

const NAP: &str = "create function nap(seconds float8) returns int language plpgsql stable \
                   as 'begin perform pg_sleep(seconds); return 1; end'";

#[tokio::test]
async fn a_slow_read_runs_alone_in_a_session_that_reads_only() {
    let server = PrivatePostgres::start_with(&["log_statement=all"]).await;
    Client::connect(&server.url("postgres")).await.run(NAP).await;
    let postgres = open(&server.url("postgres"), "");
    let sql = "select setting, nap($1) from pg_settings where name = 'transaction_read_only'";
    let (statement, _) = prepare(&postgres, sql).await;
    assert!(statement.is_shared());
    let mut before = 0;
    // Longer than the timeout of the shared lane.
    for seconds in [0.6, 0.0] {
        before = server.log().len();
        let ran = run(&postgres, &statement, vec![Value::Float(seconds)]).await.unwrap();
        assert_eq!(ran.rows.rows, [[json!("on"), json!(1)]]);
        assert!(!statement.is_shared());
    }
    let log = server.log();
    let ran = log.get(before..).unwrap();
    assert!(ran.contains("execute") && ran.contains("nap($1)"), "{ran}");
    assert!(!ran.contains("begin") && !ran.contains("rollback"), "{ran}");
}

#[tokio::test]
async fn a_read_that_is_slow_for_a_while_leaves_the_shared_lane_and_comes_back() {
    let database = postgres::database().await;
    database.run(NAP).await;
    let postgres = open(&database.url, "");
    let (statement, _) = prepare(&postgres, "select nap($1)").await;
    let nap = async |seconds| run(&postgres, &statement, vec![Value::Float(seconds)]).await.unwrap();
    let mut runs = 0;
    while statement.is_shared() {
        nap(0.03).await;
        runs += 1;
        assert!(runs <= 2048, "it stays, though every run is slow");
    }
    let mut runs = 0;
    while !statement.is_shared() {
        nap(0.0).await;
        runs += 1;
        assert!(runs <= 1_000_000, "it stays away, though every run is quick");
    }
    assert!(runs >= 512, "it comes back after no more than {runs} runs");
}
