//! Files that are missing, come, and are replaced.

use serde_json::json;
use trunkline_sql::DatabaseError;
use trunkline_sqlite::Sqlite;

use crate::support::{Folder, query};

#[tokio::test]
async fn a_missing_file_is_found_when_it_appears() {
    let folder = Folder::empty();
    let database = folder.database();
    for outcome in [database.ping().await, query(&database, "SELECT 1").await.map(drop)] {
        assert!(matches!(outcome, Err(DatabaseError::Unreachable { .. })), "{outcome:?}");
    }
    assert!(folder.contents().is_empty());
    folder.fill("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    database.ping().await.unwrap();
    assert_eq!(query(&database, "SELECT a FROM t").await.unwrap(), [json!([1])]);
}

#[tokio::test]
async fn a_replaced_file_is_opened_anew() {
    let folder = Folder::with("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    let database = folder.database();
    assert_eq!(query(&database, "SELECT a FROM t").await.unwrap(), [json!([1])]);
    let next = Folder::with("CREATE TABLE t(a); INSERT INTO t VALUES (2)");
    std::fs::rename(&next.path, &folder.path).unwrap();
    let started = std::time::Instant::now();
    while query(&database, "SELECT a FROM t").await.unwrap() != [json!([2])] {
        assert!(started.elapsed().as_secs() < 3);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_is_no_database_is_not_opened() {
    let folder = Folder::empty();
    std::fs::write(
        &folder.path,
        "this is a text file, not a database, and long enough to look at".repeat(20),
    )
    .unwrap();
    let error = folder.database().ping().await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable { .. }), "{error:?}");
    let error = Sqlite::new("test", folder.directory.path()).ping().await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable { .. }), "{error:?}");
}

#[test]
fn the_file_section_is_strict_and_has_defaults() {
    use trunkline_sqlite::SqliteFile;
    let parse = |json| serde_json::from_value::<SqliteFile>(json);
    let (_, options) = parse(json!({ "path": "a.db" })).unwrap().resolve("shop").unwrap();
    assert_eq!(options, trunkline_sql::Options::default());
    let file = parse(
        json!({ "path": "a.db", "access": "read-write", "statement-timeout": "5s", "max-bytes": "150KB" }),
    )
    .unwrap();
    let (_, options) = file.resolve("shop").unwrap();
    assert_eq!((options.statement_timeout.as_secs(), options.max_bytes), (5, 150_000));
    assert!(parse(json!({ "path": "a.db", "pool": 8 })).is_err());
    for path in ["", ":memory:", "file:a.db?mode=rw"] {
        let problems = parse(json!({ "path": path, "max-rows": 0 })).unwrap().resolve("shop").unwrap_err();
        assert_eq!(
            problems.iter().map(|problem| problem.path.join(".")).collect::<Vec<_>>(),
            ["connectors.shop.path", "connectors.shop.max-rows"]
        );
    }
}
