//! What one caller leaves on a connection never reaches the next, however its call ended.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use trunkline_postgres::Postgres;
use trunkline_sql::{Database, DatabaseError, Run};
use trunkline_testkit::postgres::{self, TestDatabase};

use crate::support::{Collector, open, prepare, reading, rows, run, writing};

/// Everything of a session that a statement can change, as the next caller finds it.
const STATE: &str = "select coalesce(current_setting('app.x', true), '') as setting, current_setting('role') as role, \
    session_user::text, current_user::text, current_setting('search_path'), current_setting('statement_timeout'), \
    current_setting('lock_timeout'), current_setting('default_transaction_read_only'), \
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks, \
    (select count(*) from pg_prepared_statements where from_sql) as prepared, \
    (select count(*) from pg_cursors where is_holdable) as cursors, \
    (select count(*) from pg_listening_channels()) as listening, \
    (select count(*) from pg_class where relnamespace = pg_my_temp_schema()) as temporary, clock_timestamp() > now() as later";

async fn fixture() -> TestDatabase {
    let database = postgres::database().await;
    database
        .run(
            "do $$ begin create role trunkline_other; exception when duplicate_object or unique_violation then null; end $$;
             create sequence s;
             create table t (a int);
             create function do_it(text) returns int language plpgsql volatile as $f$ begin execute $1; return 1; end $f$;
             create view quiet as select do_it('select pg_advisory_lock(9)') as a",
        )
        .await;
    database
}

/// Looks at the only connection of the pool.
async fn state(postgres: &Postgres) -> Vec<Json> {
    rows(postgres, STATE, vec![]).await.remove(0)
}

/// What leaves something behind although its transaction only reads and is rolled back, or would if it were not undone.
const READS: &[&str] = &[
    "select set_config('app.x', 'mine', false)",
    "select set_config('app.x', 'mine', true)",
    "select set_config('role', 'trunkline_other', false)",
    "select set_config('session_authorization', 'trunkline_other', false)",
    "select set_config('search_path', 'pg_temp', false)",
    "select set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)",
    "select set_config('default_transaction_read_only', 'off', false)",
    "select pg_advisory_lock(1)",
    "select pg_advisory_lock(g) from generate_series(1, 3) g",
    "select pg_try_advisory_lock_shared(1)",
    "select do_it('prepare leak as select 42')",
    "select do_it('listen c')",
    "select do_it('set role trunkline_other')",
    "select do_it('set session authorization trunkline_other')",
    "select do_it('set session characteristics as transaction read write')",
    "select do_it('declare c cursor with hold for select 1')",
    "select a from quiet",
];

#[tokio::test]
async fn nothing_of_a_reading_call_reaches_the_next_caller() {
    let database = fixture().await;
    let postgres = open(&database.url, "pool = 1");
    let before = state(&postgres).await;
    for sql in READS {
        let (statement, _) = prepare(&postgres, sql).await;
        // Twice, since what is prepared stays with the connection and must go on working.
        for _ in 0..2 {
            run(&postgres, &statement, vec![]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            assert_eq!(state(&postgres).await, before, "{sql}");
        }
    }
}

#[tokio::test]
async fn nothing_of_a_writing_call_reaches_the_next_caller() {
    let database = fixture().await;
    let postgres = open(&database.url, "pool = 1\naccess = 'read-write'");
    let before = state(&postgres).await;
    let writes = [
        "create temp table leak (a int)",
        "set app.x = 'mine'",
        "set role trunkline_other",
        "set session authorization trunkline_other",
        "listen c",
        "prepare leak as select 42",
        "declare c cursor with hold for select 1",
        "insert into t select nextval('s')",
    ];
    for sql in READS.iter().copied().chain(writes) {
        let (statement, _) = postgres.prepare(&writing(sql)).await.unwrap();
        for _ in 0..2 {
            run(&postgres, &statement, vec![]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            assert_eq!(state(&postgres).await, before, "{sql}");
        }
    }
    // What a sequence gave last is the caller's alone.
    let (statement, _) = prepare(&postgres, "select currval('s'), clock_timestamp()").await;
    let error = run(&postgres, &statement, vec![]).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Data { code: Some(code), .. } if code == "55000"), "{error:?}");
}

#[tokio::test]
async fn a_seed_that_a_caller_sets_gives_the_next_one_no_known_numbers() {
    let database = fixture().await;
    let postgres = open(&database.url, "pool = 1");
    let (seed, _) = prepare(&postgres, "select setseed(0.5)").await;
    let (random, _) = prepare(&postgres, "select random(), random()").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        run(&postgres, &seed, vec![]).await.unwrap();
        let found = run(&postgres, &random, vec![]).await.unwrap().rows.rows;
        assert!(!seen.contains(&found), "{found:?}");
        seen.push(found);
    }
}

#[tokio::test]
async fn nothing_reaches_the_next_caller_when_a_call_does_not_end_well() {
    let database = fixture().await;
    let keys = "pool = 1\nstatement-timeout = '400ms'\naccess = 'read-write'";
    let postgres = open(&database.url, keys);
    let before = state(&postgres).await;
    let slow = "select do_it('prepare leak as select 42'), set_config('app.x', 'mine', false), pg_advisory_lock(1), \
                set_config('role', 'trunkline_other', false), do_it($$ select pg_sleep(30) $$)";
    let broken = "select do_it('prepare leak as select 42'), set_config('app.x', 'mine', false), pg_advisory_lock(1), \
                  do_it($$ select 1/0 $$)";
    let many = "select do_it('prepare leak' || g || ' as select 42'), set_config('app.x', 'mine', false), pg_advisory_lock(g) \
                from generate_series(1, 2000) g";
    for source in [reading, writing] {
        for sql in [slow, broken, many] {
            let (statement, _) = postgres.prepare(&source(sql)).await.unwrap();
            // To its end, whichever that is: a timeout of the statement, an error in the middle, or all rows.
            let ran = run(&postgres, &statement, vec![]).await;
            assert_eq!(ran.is_ok(), sql == many, "{ran:?}");
            assert_eq!(state(&postgres).await, before, "{sql}");
            // Until the deadline of the call.
            let deadline = Some(Instant::now() + Duration::from_millis(50));
            let _ =
                postgres.run(&statement, Run { deadline, ..Run::new(vec![], Collector::default()) }).await;
            assert_eq!(state(&postgres).await, before, "{sql}");
            // Dropped, at several moments.
            for wait in [1, 10, 100] {
                let call = run(&postgres, &statement, vec![]);
                let _ = tokio::time::timeout(Duration::from_millis(wait), call).await;
                assert_eq!(state(&postgres).await, before, "{sql} after {wait} ms");
            }
            // With the first rows only.
            let few = Run::new(vec![], Collector::limited(1));
            let _ = postgres.run(&statement, few).await;
            assert_eq!(state(&postgres).await, before, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_reading_transaction_cannot_be_made_a_writing_one() {
    let database = fixture().await;
    let postgres = open(&database.url, "pool = 1");
    for sql in [
        "set transaction read write",
        "set local transaction_read_only = off",
        "set session characteristics as transaction read write",
        "rollback",
        "begin read write",
        "start transaction read write",
        "savepoint a",
        "end",
        "abort",
        "prepare transaction 'a'",
        "reset transaction_read_only",
        "discard all",
        "select do_it('set transaction read write')",
        "select do_it('commit')",
        "select do_it('rollback')",
        "select set_config('transaction_read_only', 'off', false)",
        "select set_config('transaction_read_only', 'off', true), do_it('delete from t')",
        "select set_config('default_transaction_read_only', 'off', false), do_it('insert into t values (1)')",
        "select do_it('set session characteristics as transaction read write; insert into t values (1)')",
    ] {
        let outcome = match postgres.prepare(&reading(sql)).await {
            Ok((statement, _)) => run(&postgres, &statement, vec![]).await.map(|ran| ran.rows.rows),
            Err(error) => Err(error),
        };
        assert!(outcome.is_err(), "`{sql}` gave {outcome:?}");
        // And so it is for the next.
        let (insert, _) = prepare(&postgres, "select do_it('insert into t values (1)')").await;
        let error = run(&postgres, &insert, vec![]).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Refused { .. }), "{sql}: {error:?}");
    }
    assert_eq!(rows(&postgres, "select count(*) from t", vec![]).await, [[json!(0)]]);
}

#[tokio::test]
async fn who_waits_for_a_lock_is_told_before_long() {
    let database = fixture().await;
    let postgres = open(&database.url, "access = 'read-write'\nstatement-timeout = '9s'");
    let (insert, _) = postgres.prepare(&writing("insert into t values (1)")).await.unwrap();
    // Opens the connection and prepares on it: that, too, needs a lock.
    run(&postgres, &insert, vec![]).await.unwrap();
    let holder = database.client().await;
    holder.run("begin; lock table t").await;
    let started = Instant::now();
    let error = run(&postgres, &insert, vec![]).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Data { code: Some(code), .. } if code == "55P03"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    holder.run("rollback").await;
    run(&postgres, &insert, vec![]).await.unwrap();
}
