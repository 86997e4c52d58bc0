//! Which lane a statement runs on, and what happens to one that takes too long or is dropped.

use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_sql::{Database, DatabaseError, PlanMode, Run, StatementSource, Value};
use trunkline_testkit::{postgres, within};

use crate::support::{Collector, eventually, open, prepare, reading, rows, run, writing};

#[tokio::test]
async fn only_reads_without_volatile_functions_share_connections() {
    let database = postgres::database().await;
    database
        .run(
            "create table t (a int); create function mine(int) returns int language sql volatile as 'select 1';
             create view harmless as select a, lower('x') from t; create view further as select * from harmless;
             create view loud as select mine(1) a; create schema other; create view other.\"Behind\" as select * from loud;
             create materialized view stored as select a from other.\"Behind\";
             create view setting as select set_config('app.x', 'y', false);
             create function same(int, int) returns bool language sql volatile as 'select true';
             create operator === (leftarg = int, rightarg = int, function = same);
             create view operated as select a from t where a === 1;
             create type pair as (a int); create function paired(int) returns pair language sql volatile as 'select row($1)::pair';
             create cast (int as pair) with function paired(int);
             create function of_row(t) returns int language sql volatile as 'select 1';
             create table guarded (a int); alter table guarded enable row level security;
             create policy p on guarded using (mine(a) = 1);
             create function odd_add(int, int) returns int language sql volatile as 'select 1';
             create aggregate odd_sum(int) (sfunc = odd_add, stype = int, initcond = '0')",
        )
        .await;
    let postgres = open(&database.url, "");
    for (sql, shared) in [
        ("select a, count(*), max(lower('x')) from t where a in (1, 2) group by a", true),
        ("with x(n) as (select 1) select n, now(), coalesce(n, 0) from x, generate_series(1, 2) g(i)", true),
        ("values (1), (2)", true),
        ("select random()", false),
        ("select pg_sleep(0)", false),
        ("select mine(1)", false),
        ("select \"mine\"(1)", false),
        ("select current_setting('timezone')", false),
        ("select 1 from pg_sleep(0)", false),
        ("show timezone", false),
        ("select * from harmless join further using (a)", true),
        ("select datname from pg_stat_activity", true),
        ("select table_name from information_schema.tables", true),
        ("select * from loud", false),
        ("select * from other.\"Behind\"", false),
        ("table stored", false),
        ("select 1 from SETTING", false),
        ("select a from t where a === 1", false),
        ("select * from operated", false),
        ("select (a::pair).a from t", false),
        ("select t.of_row from t", false),
        ("select a from guarded", false),
        ("select odd_sum(a) from t", false),
    ] {
        assert_eq!(prepare(&postgres, sql).await.0.is_shared(), shared, "{sql}");
    }
}

#[tokio::test]
async fn a_statement_that_asks_for_it_is_planned_once_on_either_lane() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "");
    for (sql, shared) in [
        ("select setting from pg_settings where name = 'plan_cache_mode'", true),
        ("select current_setting('plan_cache_mode')", false),
    ] {
        for (plan, mode) in [(PlanMode::Auto, "auto"), (PlanMode::Generic, "force_generic_plan")] {
            let source = StatementSource { plan, ..reading(sql) };
            let (statement, _) = postgres.prepare(&source).await.unwrap();
            assert_eq!(statement.is_shared(), shared, "{sql}");
            assert_eq!(run(&postgres, &statement, vec![]).await.unwrap().rows.rows, [[json!(mode)]], "{sql}");
        }
    }
}

#[tokio::test]
async fn rows_sent_before_the_shared_timeout_are_not_told_twice() {
    let database = postgres::database().await;
    // Small rows at once, and then one that takes long: the first are sent while the last is made.
    database.run("create table t as select g a, repeat('x', 100) b from generate_series(1, 1000) g").await;
    database.run(NAP).await;
    let postgres = open(&database.url, "");
    let sql = "select a, b from t union all select nap(1.5), ''";
    let (statement, _) = prepare(&postgres, sql).await;
    let ran = run(&postgres, &statement, vec![]).await.unwrap();
    assert!(!statement.is_shared());
    assert_eq!(ran.rows.rows.len(), 1001);
}

/// Takes its time, and says of itself that it only reads, so that it may share a connection.
pub(crate) const NAP: &str =
    "create function nap(float8) returns int language sql stable as 'select 1 from pg_sleep($1)'";

#[tokio::test]
async fn a_statement_that_hits_the_shared_timeout_is_run_again_and_stays_exclusive() {
    let database = postgres::database().await;
    database.run(NAP).await;
    let postgres = open(&database.url, "");
    let (statement, _) = prepare(&postgres, "select nap(1.5) + $1::int").await;
    assert!(statement.is_shared());
    let ran = run(&postgres, &statement, vec![Value::Integer(6)]).await.unwrap();
    assert_eq!(ran.rows.rows, [[json!(7)]]);
    assert!(!statement.is_shared());
}

#[tokio::test]
async fn a_dropped_exclusive_call_is_cancelled_in_the_server() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "pool = 1");
    let watcher = database.client().await;
    let (statement, _) = prepare(&postgres, "select pg_sleep(30)").await;
    let active = async || {
        let sql = "select count(*) from pg_stat_activity where query like '%pg_sleep(30)%' and state = 'active' and pid <> pg_backend_pid()";
        watcher.value(sql).await.unwrap() == "1"
    };
    for _ in 0..2 {
        let call = run(&postgres, &statement, vec![]);
        tokio::select! {
            ran = call => panic!("it ended: {ran:?}"),
            _ = eventually(Duration::from_secs(2), &active) => {}
        }
        eventually(Duration::from_secs(2), async || !active().await).await;
        // The only connection serves its next caller, with that caller's own result.
        assert_eq!(rows(&postgres, "select 7, random() < 2", vec![]).await, [[json!(7), json!(true)]]);
    }
}

#[tokio::test]
async fn a_connection_whose_statement_was_cancelled_is_used_again() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "pool = 1\nconnect-timeout = '20s'");
    let (slow, _) = prepare(&postgres, "select pg_sleep(30), set_config('app.x', 'mine', false)").await;
    let (who, _) = prepare(
        &postgres,
        "select pg_backend_pid(), coalesce(current_setting('app.x', true), ''), clock_timestamp() > now()",
    )
    .await;
    let who = async || run(&postgres, &who, vec![]).await.unwrap().rows.rows;
    // Prepared on the connection that is dropped later.
    assert!(tokio::time::timeout(Duration::from_millis(300), run(&postgres, &slow, vec![])).await.is_err());
    let mut seen = Vec::new();
    for wait in [5, 20, 100, 300] {
        let call = run(&postgres, &slow, vec![]);
        assert!(tokio::time::timeout(Duration::from_millis(wait), call).await.is_err());
        let found = who().await;
        assert_eq!(found[0][1..], [json!(""), json!(true)]);
        seen.push(found[0][0].clone());
    }
    // A cancel that was not certain to have arrived may have cost one of them.
    seen.dedup();
    assert!(seen.len() <= 2, "{seen:?}");
}

#[tokio::test]
async fn a_dropped_write_changes_nothing() {
    let database = postgres::database().await;
    database.run("create table t (a int)").await;
    let postgres = open(&database.url, "access = 'read-write'\npool = 1");
    let sql = "with slow as (select pg_sleep(3)) insert into t select 1 from slow";
    let (statement, _) = postgres.prepare(&writing(sql)).await.unwrap();
    for wait in [20, 100, 200] {
        let call =
            tokio::time::timeout(Duration::from_millis(wait), run(&postgres, &statement, vec![])).await;
        assert!(call.is_err(), "{call:?}");
    }
    assert_eq!(
        rows(&postgres, "select count(*), random() < 2 from t", vec![]).await,
        [[json!(0), json!(true)]]
    );
}

#[tokio::test]
async fn the_server_itself_holds_sessions_of_either_lane_to_their_bounds() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "statement-timeout = '6s'\naccess = 'read-write'");
    let shared = "select setting from pg_settings where name in ('statement_timeout', 'lock_timeout', \
                  'idle_in_transaction_session_timeout') order by name";
    let exclusive = "select unnest(array[current_setting('idle_in_transaction_session_timeout'), \
                     current_setting('lock_timeout'), current_setting('statement_timeout')])";
    let (shared, _) = prepare(&postgres, shared).await;
    let (reads, _) = prepare(&postgres, exclusive).await;
    let (writes, _) = postgres.prepare(&writing(exclusive)).await.unwrap();
    assert!(shared.is_shared() && !reads.is_shared() && !writes.is_shared());
    // More often than there are connections, so that each tells its own.
    for _ in 0..8 {
        for (statement, [idle, lock, timeout]) in [
            (&shared, ["10500", "500", "500"]),
            (&reads, ["16s", "5s", "6s"]),
            (&writes, ["16s", "5s", "6s"]),
        ] {
            let found = run(&postgres, statement, vec![]).await.unwrap().rows.rows;
            assert_eq!(found, [[json!(idle)], [json!(lock)], [json!(timeout)]]);
        }
    }
}

#[tokio::test]
async fn deadline_and_statement_timeout_end_a_call() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "statement-timeout = '300ms'");
    let (statement, _) = prepare(&postgres, "select pg_sleep(30)").await;
    let started = Instant::now();
    let error = run(&postgres, &statement, vec![]).await.unwrap_err();
    assert!(
        matches!(error, DatabaseError::TimedOut { after } if after == Duration::from_millis(300)),
        "{error:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // With nothing but the deadline to end it.
    let postgres = open(&database.url, "statement-timeout = '60s'");
    let (statement, _) = prepare(&postgres, "select pg_sleep(30)").await;
    let deadline = Some(Instant::now() + Duration::from_millis(100));
    let call = postgres.run(&statement, Run { deadline, ..Run::new(vec![], Collector::default()) });
    let error = call.await.unwrap_err();
    assert!(
        matches!(error, DatabaseError::TimedOut { after } if after < Duration::from_secs(5)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_result_nobody_wants_to_its_end_holds_up_nobody() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "pool = 1");
    let endless = "from pg_class a, pg_class b, pg_class c";
    for (sql, shared) in [
        (format!("select a.relname {endless}"), true),
        (format!("select a.relname, random() {endless}"), false),
    ] {
        let (statement, _) = prepare(&postgres, &sql).await;
        assert_eq!(statement.is_shared(), shared);
        let started = Instant::now();
        let run = Run::new(vec![], Collector::limited(10));
        assert_eq!(postgres.run(&statement, run).await.unwrap().rows.rows.len(), 10);
        // Well before the shared lane's own bound would end it, half a second after it began.
        assert!(started.elapsed() < within(Duration::from_millis(400)), "{shared} {:?}", started.elapsed());
        assert_eq!(statement.is_shared(), shared, "it was not found to be slow");
        for _ in 0..4 {
            assert_eq!(rows(&postgres, "select 7", vec![]).await, [[json!(7)]]);
            assert_eq!(rows(&postgres, "select 7, random() < 2", vec![]).await, [[json!(7), json!(true)]]);
        }
        // An exclusive one would go on for half a minute, and the next wait for it.
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_full_pool_is_said_after_the_wait() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "pool = 1\nconnect-timeout = '300ms'");
    let (slow, _) = prepare(&postgres, "select pg_sleep(30)").await;
    let (quick, _) = prepare(&postgres, "select random() < 2").await;
    tokio::select! {
        ran = run(&postgres, &slow, vec![]) => panic!("it ended: {ran:?}"),
        () = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let error = run(&postgres, &quick, vec![]).await.unwrap_err();
            assert!(matches!(error, DatabaseError::PoolExhausted { .. }), "{error:?}");
        } => {}
    }
}

#[tokio::test]
async fn a_changed_table_is_prepared_again_or_said_to_have_changed() {
    let database = postgres::database().await;
    database.run("create table t (a int, b int); insert into t values (1, 2)").await;
    let postgres = open(&database.url, "");
    let (shared, _) = prepare(&postgres, "select * from t").await;
    let (exclusive, _) = prepare(&postgres, "select *, random() < 2 as r from t").await;
    for statement in [&shared, &exclusive] {
        for _ in 0..5 {
            run(&postgres, statement, vec![]).await.unwrap();
        }
    }
    // The same columns in new clothes: nobody notices.
    database
        .run("alter table t rename to u; create table t (a int, b int); insert into t values (3, 4)")
        .await;
    for statement in [&shared, &exclusive] {
        for _ in 0..5 {
            assert_eq!(run(&postgres, statement, vec![]).await.unwrap().rows.rows[0][0], json!(3));
        }
    }
    database.run("alter table t add c text").await;
    for statement in [&shared, &exclusive] {
        let error = run(&postgres, statement, vec![]).await.unwrap_err();
        assert!(
            matches!(&error, DatabaseError::Statement { code: Some(code), .. } if code == "0A000"),
            "{error:?}"
        );
        assert!(error.to_string().contains("changed"), "{error}");
    }
    let (again, _) = prepare(&postgres, "select * from t").await;
    assert_eq!(run(&postgres, &again, vec![]).await.unwrap().rows.rows, [[json!(3), json!(4), json!(null)]]);
}

#[tokio::test]
async fn a_connection_that_read_a_huge_row_is_not_kept() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "");
    for (sql, shared) in [
        ("select pg_backend_pid(), repeat('y', $1::int)", true),
        ("select pg_backend_pid(), repeat('y', $1::int), random()", false),
    ] {
        let (statement, _) = prepare(&postgres, sql).await;
        assert_eq!(statement.is_shared(), shared, "{sql}");
        let pid = async |length: i64| {
            let ran = run(&postgres, &statement, vec![Value::Integer(length)]).await.unwrap();
            ran.rows.rows[0][0].as_i64().unwrap()
        };
        let mut small = Vec::new();
        for _ in 0..8 {
            small.push(pid(1000).await);
        }
        let huge = pid(2_000_000).await;
        assert!(small.contains(&huge), "connections are kept after small rows");
        for _ in 0..8 {
            assert_ne!(pid(1000).await, huge, "{sql}");
        }
    }
}
