//! What a read-only statement cannot do, and what a writing one does.

use serde_json::json;
use trunkline_sql::{Database, DatabaseError, Value};
use trunkline_testkit::postgres;

use crate::support::{Collector, open, prepare, reading, rows, run, writing};

#[tokio::test]
async fn no_reading_statement_writes() {
    let database = postgres::database().await;
    database
        .run(
            "create table t (a int); insert into t values (1);
             create function wipe() returns int language sql as 'delete from t returning a';
             create function sneak() returns int language plpgsql stable as $$ begin
                perform set_config('default_transaction_read_only', 'off', false); return 1; end $$;
             create procedure escape() language plpgsql as $$ begin commit; delete from t; end $$",
        )
        .await;
    let postgres = open(&database.url, "pool = 1");
    for sql in [
        "with x as (delete from t returning *) select * from x",
        "delete from t",
        "select * into u from t",
        "select wipe()",
        "call escape()",
        "do $$ begin delete from t; end $$",
        "set transaction read write",
        "commit",
        "explain (analyze) delete from t",
        "select 1; delete from t",
        "select 1 from t for update",
        "select set_config('transaction_read_only', 'off', true), wipe()",
        "copy t to program 'true'",
        "create temp table x (a int)",
    ] {
        match postgres.prepare(&reading(sql)).await {
            Ok((statement, _)) => {
                let ran = run(&postgres, &statement, vec![]).await;
                assert!(ran.is_err(), "`{sql}` ran: {ran:?}");
            }
            Err(error) => {
                assert!(
                    matches!(error, DatabaseError::Refused { .. } | DatabaseError::Statement { .. }),
                    "{sql}: {error:?}"
                );
            }
        }
        assert_eq!(rows(&postgres, "select count(*) from t", vec![]).await, [[json!(1)]], "{sql}");
    }
    // A setting that a statement changes does not reach the next one.
    let setting = "select set_config('default_transaction_read_only', 'off', false)";
    assert_eq!(rows(&postgres, setting, vec![]).await, [[json!("off")]]);
    let shown = rows(&postgres, "select current_setting('default_transaction_read_only')", vec![]).await;
    assert_eq!(shown, [[json!("on")]]);
    assert_eq!(rows(&postgres, "select sneak()", vec![]).await, [[json!(1)]]);
    let (statement, _) = prepare(&postgres, "select wipe()").await;
    let refused = run(&postgres, &statement, vec![]).await.unwrap_err();
    assert!(
        matches!(&refused, DatabaseError::Refused { message } if message.contains("read-write")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn locks_and_temporary_tables_do_not_outlive_their_call() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "pool = 1");
    rows(&postgres, "select pg_advisory_lock(7)::text", vec![]).await;
    assert_eq!(
        database
            .client()
            .await
            .value("select count(*) from pg_locks where locktype = 'advisory'")
            .await
            .unwrap(),
        "0"
    );
}

#[tokio::test]
async fn a_write_is_committed_and_tells_how_many_rows_it_changed() {
    let database = postgres::database().await;
    database.run("create table t (a int primary key, b text)").await;
    let postgres = open(&database.url, "access = 'read-write'");
    let (insert, _) = postgres
        .prepare(&writing("insert into t select g, $1 from generate_series(1, 5) g returning a"))
        .await
        .unwrap();
    assert!(!insert.is_shared());
    let rows = Collector::limited(2);
    let ran =
        postgres.run(&insert, trunkline_sql::Run::new(vec![Value::Text("x".into())], rows)).await.unwrap();
    assert_eq!((ran.affected, ran.rows.rows.len()), (Some(5), 2));
    assert_eq!(database.client().await.value("select count(*) from t").await.unwrap(), "5");
    let again = run(&postgres, &insert, vec![Value::Text("x".into())]).await.unwrap_err();
    assert!(matches!(&again, DatabaseError::Data { code: Some(code), .. } if code == "23505"), "{again:?}");
    let (update, description) =
        postgres.prepare(&writing("update t set b = null where a < $1")).await.unwrap();
    assert_eq!(description.columns, []);
    assert_eq!(run(&postgres, &update, vec![Value::Integer(3)]).await.unwrap().affected, Some(2));
}
