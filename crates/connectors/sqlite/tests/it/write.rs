//! Statements that may write.

use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_sql::{Access, Database, DatabaseError, Run, Value};

use crate::support::{Collected, Folder, query, source, write};

#[tokio::test]
async fn a_writing_statement_tells_what_it_changed() {
    let folder = Folder::with("CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    let database = folder.database();
    let ran = write(
        &database,
        "INSERT INTO t(a) VALUES (?1), (?2) RETURNING id, a",
        vec![Value::Text("x".into()), Value::Null],
    )
    .await;
    let ran = ran.unwrap();
    assert_eq!((ran.rows.rows, ran.affected), (vec![json!([1, "x"]), json!([2, null])], Some(2)));
    assert_eq!(write(&database, "UPDATE t SET a = 1", Vec::new()).await.unwrap().affected, Some(2));
    assert_eq!(write(&database, "DELETE FROM t WHERE id = 9", Vec::new()).await.unwrap().affected, Some(0));
    assert_eq!(write(&database, "SELECT count(*) FROM t", Vec::new()).await.unwrap().affected, None);
    assert_eq!(query(&database, "SELECT id, a FROM t").await.unwrap(), [json!([1, 1]), json!([2, 1])]);
}

#[tokio::test]
async fn a_failed_statement_changes_nothing() {
    let folder = Folder::with("CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES (3)");
    let database = folder.database();
    let error = write(&database, "INSERT INTO t VALUES (1), (2), (3)", Vec::new()).await.unwrap_err();
    let DatabaseError::Data { message, code } = error else { panic!("{error:?}") };
    assert_eq!(
        (message.as_str(), code.as_deref()),
        ("UNIQUE constraint failed: t.a", Some("SQLITE_CONSTRAINT_UNIQUE"))
    );
    assert_eq!(query(&database, "SELECT a FROM t").await.unwrap(), [json!([3])]);
    write(&database, "INSERT INTO t VALUES (4)", Vec::new()).await.unwrap();
}

#[tokio::test]
async fn a_dropped_write_is_taken_back() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let sql = "INSERT INTO t WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000000) SELECT n FROM c";
    let (endless, _) = database.prepare(&source(sql, 0, Access::ReadWrite)).await.unwrap();
    let call = database.run(&endless, Run::new(Vec::new(), Collected::default()));
    assert!(tokio::time::timeout(Duration::from_millis(100), call).await.is_err());
    let started = Instant::now();
    assert_eq!(write(&database, "INSERT INTO t VALUES (0)", Vec::new()).await.unwrap().affected, Some(1));
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(query(&database, "SELECT count(*), max(a) FROM t").await.unwrap(), [json!([1, 0])]);
}

#[tokio::test]
async fn writing_statements_have_bounds_too() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let before = folder.contents();
    let database = folder.database();
    let elsewhere = folder.directory.path().join("c.db");
    for sql in [
        "CREATE TABLE x(a)".to_owned(),
        "CREATE TEMP TABLE x(a)".to_owned(),
        "DROP TABLE t".to_owned(),
        "ALTER TABLE t ADD COLUMN b".to_owned(),
        format!("ATTACH '{}' AS c", elsewhere.display()),
        format!("VACUUM INTO '{}'", elsewhere.display()),
        "VACUUM".to_owned(),
        "PRAGMA journal_mode=OFF".to_owned(),
        "PRAGMA user_version=7".to_owned(),
        "BEGIN".to_owned(),
        "SELECT load_extension('x')".to_owned(),
        "DELETE FROM sqlite_schema".to_owned(),
        "DELETE FROM t; DELETE FROM t".to_owned(),
    ] {
        let outcome = write(&database, &sql, Vec::new()).await;
        assert!(
            matches!(outcome, Err(DatabaseError::Refused { .. } | DatabaseError::Statement { .. })),
            "{sql}: {outcome:?}"
        );
    }
    assert_eq!(folder.contents(), before);
}

#[tokio::test]
async fn a_lock_of_another_program_is_waited_for_until_the_deadline() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let other = rusqlite::Connection::open(&folder.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (insert, _) =
        database.prepare(&source("INSERT INTO t VALUES (1)", 0, Access::ReadWrite)).await.unwrap();
    let started = Instant::now();
    let deadline = Some(started + Duration::from_millis(200));
    let error = database
        .run(&insert, Run { deadline, ..Run::new(Vec::new(), Collected::default()) })
        .await
        .unwrap_err();
    assert!(matches!(error, DatabaseError::TimedOut { .. }), "{error:?}");
    assert!((190..450).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    let release = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.execute_batch("COMMIT").unwrap();
    };
    let deadline = Some(Instant::now() + Duration::from_secs(5));
    let call = database.run(&insert, Run { deadline, ..Run::new(Vec::new(), Collected::default()) });
    let (ran, ()) = futures_util::future::join(call, release).await;
    assert_eq!(ran.unwrap().affected, Some(1));
}

#[tokio::test]
async fn triggers_and_full_text_tables_work_for_writers() {
    let folder = Folder::with(
        "CREATE TABLE t(a); CREATE VIRTUAL TABLE v USING fts5(a); \
         CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO v VALUES (new.a); END",
    );
    let database = folder.database();
    assert_eq!(
        write(&database, "INSERT INTO t VALUES ('one two')", Vec::new()).await.unwrap().affected,
        Some(1)
    );
    assert_eq!(query(&database, "SELECT a FROM v WHERE v MATCH 'two'").await.unwrap(), [json!(["one two"])]);
}

#[tokio::test]
async fn a_writer_in_wal_mode_is_seen_by_the_readers() {
    let folder = Folder::with("PRAGMA journal_mode=WAL; CREATE TABLE t(a)");
    let database = folder.database();
    for count in 0..20 {
        assert_eq!(query(&database, "SELECT count(*) FROM t").await.unwrap(), [json!([count])]);
        write(&database, "INSERT INTO t VALUES (1)", Vec::new()).await.unwrap();
    }
}
