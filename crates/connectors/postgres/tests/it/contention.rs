//! Two transactions in each other's way: what the real server reports of it is told as something that a second try helps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_postgres::{Postgres, PostgresFile};
use trunkline_protocol::{Method, Revision, envelope};
use trunkline_service::{Caller, Request, Service, TimeAllowed};
use trunkline_sql::file::ToolFile;
use trunkline_sql::{Database, SqlConnector, Tool};
use trunkline_testkit::postgres::{self, TestDatabase};

use crate::bypass::{ask, connector as ad_hoc};
use crate::support::{assert_learned, eventually};

/// A connector that may write, with one tool.
async fn writing(database: &TestDatabase, sql: &str) -> Arc<SqlConnector<Postgres>> {
    let file = format!("url = {:?}\naccess = 'read-write'", database.url);
    let file: PostgresFile = toml::from_str(&file).unwrap();
    let (postgres, options) = file.resolve("shop").unwrap();
    let tool = json!({ "connector": "shop", "sql": sql, "access": "read-write" });
    let tool: ToolFile = serde_json::from_value(tool).unwrap();
    let tool = Tool::resolve("write", tool, &options, Postgres::DIALECT).unwrap();
    let connector = SqlConnector::new("shop", postgres, options, vec![tool]);
    assert_learned(&connector).await;
    connector
}

/// Calls the tool; whether it failed, and its text.
async fn call(connector: &SqlConnector<Postgres>) -> (bool, String) {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "write" } });
    let body = Bytes::from(body.to_string());
    let (_, scanned) = envelope::scan(&body).unwrap();
    let mut request = Request::new(body, &scanned, Method::ToolsCall, Revision::LATEST, Caller::local(), 1)
        .with_time(TimeAllowed::Within(Duration::from_secs(20)));
    request.set_target(0);
    let reply = connector.call(request).await.unwrap();
    let members = format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap());
    let members: Json = serde_json::from_str(&members).unwrap();
    (reply.is_error(), members["content"][0]["text"].as_str().unwrap().to_owned())
}

/// How many statements of the connector sleep in this database.
const ASLEEP: &str = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' \
                      and datname = current_database() and application_name = 'trunkline'";

/// Has every transaction of the database be of that level.
async fn isolate(database: &TestDatabase, level: &str) {
    let set = "do $$ begin execute format('alter database %I set default_transaction_isolation = %L', \
               current_database(), '{level}'); end $$";
    database.run(&set.replace("{level}", level)).await;
}

#[tokio::test]
async fn a_write_that_another_overtook_is_told_to_be_tried_again_and_changed_nothing() {
    let database = postgres::database().await;
    database.run("create table t (a int); insert into t values (1)").await;
    isolate(&database, "repeatable read").await;
    let sql = "with slow as materialized (select pg_sleep(0.5)) update t set a = a * 2 from slow";
    let connector = writing(&database, sql).await;
    let other = database.client().await;
    let overtakes = async {
        eventually(Duration::from_secs(5), async || other.value(ASLEEP).await.unwrap() == "1").await;
        other.run("update t set a = a + 10").await;
    };
    let ((failed, text), ()) = tokio::join!(call(&connector), overtakes);
    let told = "the database refused: another change was made at the same time; try again (40001)";
    assert!(failed && text.starts_with(told), "{text}");
    assert_eq!(other.value("select a from t").await.unwrap(), "11");
    // And so it is: the second try succeeds.
    let (failed, text) = call(&connector).await;
    assert!(!failed, "{text}");
    assert_eq!(other.value("select a from t").await.unwrap(), "22");
}

#[tokio::test]
async fn a_write_that_finds_a_row_locked_is_told_to_be_tried_again() {
    let database = postgres::database().await;
    database.run("create table t (a int); insert into t values (1)").await;
    let connector = writing(&database, "select a from t for update nowait").await;
    let holder = database.client().await;
    holder.run("begin; update t set a = 2").await;
    let (failed, text) = call(&connector).await;
    let told = "the database refused: another change was made at the same time; try again (55P03)";
    assert!(failed && text.starts_with(told), "{text}");
    holder.run("commit").await;
    let (failed, text) = call(&connector).await;
    assert!(!failed && text.contains('2'), "{text}");
}

#[tokio::test]
async fn a_callers_own_statement_that_waits_for_a_lock_is_told_to_be_tried_again() {
    let database = postgres::database().await;
    // Its own bound on locks, since the connector's would take the test seconds.
    database
        .run(
            "create table t (a int); insert into t values (7);
             create function peek() returns int language plpgsql stable set lock_timeout = '50ms' as
                $$ begin return (select a from t); end $$",
        )
        .await;
    let connector = ad_hoc(&database.url, "");
    assert_eq!(ask(&connector, "select peek() as a").await, (false, json!([{ "a": 7 }])));
    let holder = database.client().await;
    holder.run("begin; lock table t").await;
    let (failed, told) = ask(&connector, "select peek() as a").await;
    let told = told.as_str().unwrap();
    assert!(failed && told.contains("(55P03)"), "{told}");
    assert!(told.ends_with("\nnothing is wrong with the statement; try it again"), "{told}");
    holder.run("rollback").await;
    assert_eq!(ask(&connector, "select peek() as a").await, (false, json!([{ "a": 7 }])));
}

#[tokio::test]
async fn a_callers_own_statement_that_sees_no_order_of_two_writes_is_told_to_be_tried_again() {
    let database = postgres::database().await;
    database
        .run("create table batch (n int); insert into batch values (1); create table receipts (n int)")
        .await;
    isolate(&database, "serializable").await;
    let connector = ad_hoc(&database.url, "");
    let (first, second) = (database.client().await, database.client().await);
    // The first reads the batch that the second closes; whoever reads then and does not see the first saw no order of both.
    first.run("begin; select n from batch").await;
    second.run("update batch set n = 2").await;
    let sql = "select count(*) as n from receipts where (select pg_sleep(0.5)::text) is not null";
    let goes_on = async {
        eventually(Duration::from_secs(5), async || second.value(ASLEEP).await.unwrap() == "1").await;
        first.run("insert into receipts values (1); commit").await;
    };
    let ((failed, told), ()) = tokio::join!(ask(&connector, sql), goes_on);
    let told_text = told.as_str().unwrap_or_default();
    assert!(failed && told_text.contains("(40001)"), "{told}");
    assert!(told_text.ends_with("\nnothing is wrong with the statement; try it again"), "{told}");
    assert_eq!(ask(&connector, sql).await, (false, json!([{ "n": 1 }])));
}
