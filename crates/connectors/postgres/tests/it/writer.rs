//! The connection apart from the lanes: what is written is committed, and nothing half done is left behind.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use trunkline_postgres::Writer;
use trunkline_postgres::writer::{Step, Value, WriteError};
use trunkline_testkit::pgbouncer::PgBouncer;
use trunkline_testkit::postgres::{self, PrivatePostgres};

use crate::support::open;

const WITHIN: Duration = Duration::from_secs(3);

const TABLE: &str = "create table kept (n bigint primary key, t text, b bytea, at timestamptz default now())";

async fn number(writer: &Writer, sql: &str) -> i64 {
    writer.run(sql, &[]).await.unwrap()[0].get(0)
}

#[tokio::test]
async fn what_is_run_is_committed_on_a_connector_that_is_read_only() {
    let database = postgres::database().await;
    let writer = open(&database.url, "").writer(WITHIN);
    writer.script(TABLE).await.unwrap();
    let values = [Value::Int(Some(1)), Value::Text(Some("é")), Value::Bytes(Some(&[0, 255]))];
    let rows = writer.run("insert into kept (n, t, b) values ($1, $2, $3) returning n, t, b", &values).await;
    let row = rows.unwrap().remove(0);
    let found: (i64, &str, &[u8]) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(found, (1, "é", &[0, 255][..]));
    let client = database.client().await;
    assert_eq!(client.value("select count(*) from kept").await.as_deref(), Some("1"));
    // A login that is set to read only by itself is no hindrance.
    let (role, url) = login(&database.url);
    let rights = "create role {} login; alter role {} set default_transaction_read_only = on; grant select, insert on kept to {}";
    client.run(&rights.replace("{}", &role)).await;
    let reader = open(&url, "").writer(WITHIN);
    reader.run("insert into kept (n) values ($1)", &[Value::Int(Some(2))]).await.unwrap();
    let denied = reader.run("delete from kept", &[]).await.unwrap_err();
    assert_eq!(denied.code(), Some("42501"), "{denied}");
}

#[tokio::test]
async fn tables_are_made_by_many_at_once_and_a_missing_right_is_told() {
    let database = postgres::database().await;
    let tables = "create table if not exists trunkline.kept (n bigint)";
    let writers: Vec<_> = (0..6).map(|_| open(&database.url, "").writer(WITHIN)).collect();
    let made = futures_util::future::join_all(writers.iter().map(|writer| writer.establish(tables))).await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    assert_eq!(number(&writers[0], "select count(*) from trunkline.kept").await, 0);

    let database = postgres::database().await;
    let (role, url) = login(&database.url);
    let client = database.client().await;
    client.run(&format!("create role {role} login")).await;
    let writer = open(&url, "").writer(WITHIN);
    let missing = writer.run("select from trunkline.kept", &[]).await.unwrap_err();
    assert!(missing.is_missing_table(), "{missing}");
    let denied = writer.establish(tables).await.unwrap_err();
    assert!(
        denied.help().is_some_and(|help| help.contains("create schema if not exists trunkline")),
        "{denied}"
    );
    client.run(&format!("create schema trunkline authorization {role}")).await;
    writer.establish(tables).await.unwrap();
    writer.establish(tables).await.unwrap();
}

/// A role for a database of its own, and the address with it: roles belong to the whole server.
fn login(url: &str) -> (String, String) {
    let (base, database) = url.rsplit_once('/').unwrap();
    let role = format!("{database}_login");
    let (scheme, host) = (base.split_once("//").unwrap().0, base.rsplit_once(['@', '/']).unwrap().1);
    (role.clone(), format!("{scheme}//{role}@{host}/{database}"))
}

#[tokio::test]
async fn a_batch_is_one_statement_and_may_come_twice() {
    let database = postgres::database().await;
    let writer = open(&database.url, "").writer(WITHIN);
    writer.script(TABLE).await.unwrap();
    let numbers: Vec<i64> = (0..5000).collect();
    let texts: Vec<Option<&str>> = numbers.iter().map(|n| (n % 2 == 0).then_some("even")).collect();
    let bytes: Vec<&[u8]> = numbers.iter().map(|_| &b"x"[..]).collect();
    let sql = "insert into kept (n, t, b) select * from unnest($1, $2, $3) on conflict (n) do nothing";
    let values = [Value::Ints(&numbers), Value::NullableTexts(&texts), Value::ByteStrings(&bytes)];
    for _ in 0..2 {
        writer.run(sql, &values).await.unwrap();
    }
    assert_eq!(number(&writer, "select count(*) from kept").await, 5000);
    assert_eq!(number(&writer, "select count(t) from kept").await, 2500);
}

#[tokio::test]
async fn several_steps_are_done_together_or_not_at_all() {
    let database = postgres::database().await;
    let writer = open(&database.url, "").writer(WITHIN);
    writer.script(TABLE).await.unwrap();
    let one = [Value::Int(Some(1))];
    let step = Step { sql: "insert into kept (n) values ($1)", values: &one };
    let refused = writer.transact(&[step, step]).await.unwrap_err();
    assert_eq!(refused.code(), Some("23505"));
    assert!(!refused.to_string().contains("(n)=(1)"), "{refused}");
    // The same connection is good for more.
    let count = Step { sql: "select count(*) from kept", values: &[] };
    let rows = writer.transact(&[step, count]).await.unwrap();
    assert_eq!(rows[1][0].get::<_, i64>(0), 1);
    writer.script("create table a (n int); create table kept (n int)").await.unwrap_err();
    assert_eq!(number(&writer, "select count(*) from pg_tables where tablename = 'a'").await, 0);
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_nothing_open() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "");
    let writer = postgres.writer(WITHIN);
    writer.script(TABLE).await.unwrap();
    let one = [Value::Int(Some(1))];
    let steps = [
        Step { sql: "insert into kept (n) values ($1)", values: &one },
        Step { sql: "select pg_sleep(30)", values: &[] },
    ];
    let dropped = tokio::time::timeout(Duration::from_millis(300), writer.transact(&steps)).await;
    assert!(dropped.is_err());
    // The next has another connection; the row of the first is not there.
    assert_eq!(number(&writer, "select count(*) from kept").await, 0);
    assert!(writer.run("select 1", &[]).now_or_never().is_none());
    assert_eq!(number(&writer, "select count(*) from kept").await, 0);
}

#[tokio::test]
async fn a_server_that_goes_away_is_told_and_comes_back_by_itself() {
    let mut server = PrivatePostgres::start().await;
    let database = server.create_database().await;
    let writer = open(&database.url, "").writer(WITHIN);
    writer.script(TABLE).await.unwrap();
    server.kill();
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match writer.run("select 1", &[]).await.unwrap_err() {
            // Found on the connection that there was.
            WriteError::Unclear { .. } => assert!(Instant::now() < end),
            WriteError::Unreached(_) => break,
            other => panic!("{other}"),
        }
    }
    server.restart().await;
    let end = Instant::now() + Duration::from_secs(10);
    while let Err(error) = writer.run("insert into kept (n) values (7)", &[]).await {
        assert!(Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // One that says nothing at all is given up in time, and what was asked is unclear.
    server.stop_process();
    let began = Instant::now();
    let unclear = open(&database.url, "").writer(Duration::from_millis(500));
    let error = unclear.run("select 1", &[]).await.unwrap_err();
    assert!(matches!(error, WriteError::Unclear { .. } | WriteError::Unreached(_)), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
    server.cont();
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_told_as_such() {
    let mut server = PrivatePostgres::start().await;
    let database = server.create_database().await;
    server.make_standby();
    server.restart().await;
    let error = open(&database.url, "").writer(WITHIN).script(TABLE).await.unwrap_err();
    assert!(matches!(error, WriteError::ReadOnly), "{error}");
}

#[tokio::test]
async fn behind_a_pooler_each_run_brings_what_it_needs() {
    let server = PrivatePostgres::start().await;
    let bouncer = PgBouncer::start(server.port(), "").await;
    let writer = open(&bouncer.url("postgres"), "statement-timeout = '1s'").writer(Duration::from_secs(5));
    writer.script(TABLE).await.unwrap();
    for n in 0..20 {
        writer.run("insert into kept (n) values ($1)", &[Value::Int(Some(n))]).await.unwrap();
    }
    assert_eq!(number(&writer, "select count(*) from kept").await, 20);
    let late = writer.run("select pg_sleep(3)", &[]).await.unwrap_err();
    assert_eq!(late.code(), Some("57014"), "{late}");
    assert_eq!(number(&writer, "select count(*) from kept").await, 20);
}
