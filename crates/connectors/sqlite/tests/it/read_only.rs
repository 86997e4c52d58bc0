//! What a statement that may only read cannot do.

use trunkline_sql::{Database, DatabaseError, StatementSource};

use crate::support::{Folder, query};

#[tokio::test]
async fn sl_01_read_only_means_no_file_changes_anywhere() {
    let folder = Folder::with("CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES (1), (2)");
    let before = folder.contents();
    let database = folder.database();
    let other = folder.directory.path().join("e.db");
    let attempts = [
        format!("ATTACH DATABASE '{}' AS e", other.display()),
        "CREATE TABLE e.x(a)".into(),
        "CREATE TABLE x(a)".into(),
        "CREATE TEMP TABLE x(a)".into(),
        "CREATE VIRTUAL TABLE v USING fts5(a)".into(),
        format!("VACUUM INTO '{}'", folder.directory.path().join("c.db").display()),
        "VACUUM".into(),
        "PRAGMA user_version(7)".into(),
        "PRAGMA user_version = 7".into(),
        "PRAGMA journal_mode=DELETE".into(),
        "PRAGMA journal_mode".into(),
        "PRAGMA wal_checkpoint".into(),
        "PRAGMA writable_schema=ON".into(),
        "PRAGMA temp_store_directory = '/tmp'".into(),
        "PRAGMA query_only=OFF".into(),
        "DELETE FROM t".into(),
        "WITH x AS (SELECT 1) DELETE FROM t".into(),
        "INSERT INTO t VALUES (3) RETURNING a".into(),
        "EXPLAIN DELETE FROM t".into(),
        "SELECT 1; DELETE FROM t".into(),
        "SELECT 1; SELECT 2".into(),
        "SELECT load_extension('x')".into(),
        "SELECT fts3_tokenizer('simple')".into(),
        "BEGIN".into(),
        "SAVEPOINT s".into(),
        "DETACH DATABASE main".into(),
        "ANALYZE".into(),
        "REINDEX".into(),
        "UPDATE sqlite_schema SET sql = ''".into(),
    ];
    for sql in attempts {
        let outcome = query(&database, &sql).await;
        assert!(
            matches!(outcome, Err(DatabaseError::Refused { .. } | DatabaseError::Statement { .. })),
            "{sql}: {outcome:?}"
        );
    }
    for sql in [
        "PRAGMA table_info(t)",
        "EXPLAIN QUERY PLAN SELECT 1",
        "SELECT * FROM pragma_table_info('t')",
        "SELECT 1;  -- x",
    ] {
        assert_eq!(
            query(&database, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).len(),
            1,
            "{sql}"
        );
    }
    assert_eq!(query(&database, "SELECT count(*) FROM t").await.unwrap(), [serde_json::json!([2])]);
    assert_eq!(folder.contents(), before);
    drop(database);
    assert_eq!(folder.contents(), before);
}

#[tokio::test]
async fn a_refusal_says_what_the_statement_would_do() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let table = [
        ("ATTACH 'x' AS y", "the statement would open another database file, by ATTACH or VACUUM INTO"),
        ("DELETE FROM t", "the statement would delete from `t`, but it may only read"),
        ("VACUUM INTO 'x'", "the statement would write to a file, but it may only read"),
        (
            "SELECT load_extension('x')",
            "the statement would call `load_extension`, which reaches beyond the database",
        ),
        (
            "SELECT 1; DELETE FROM t",
            "there is more than one statement; only one is allowed, with nothing after its `;`",
        ),
        ("COMMIT", "the statement would begin or end a transaction; each statement runs in one of its own"),
        ("DROP TABLE t", "the statement would change the schema, which no statement here does"),
        ("CREATE TABLE u(a)", "the statement would change the schema, which no statement here does"),
    ];
    for (sql, wanted) in table {
        assert_eq!(query(&database, sql).await.unwrap_err().to_string(), wanted, "{sql}");
    }
}

#[tokio::test]
async fn a_wrong_statement_is_told_with_its_place() {
    let folder = Folder::with("CREATE TABLE t(name)");
    let database = folder.database();
    let error = query(&database, "SELECT 'é', nmae FROM t").await.unwrap_err();
    let DatabaseError::Statement { message, position, code, .. } = error else { panic!("{error:?}") };
    assert_eq!(
        (message.as_str(), position, code.as_deref()),
        ("no such column: nmae", Some(13), Some("SQLITE_ERROR"))
    );
    let error = query(&database, "SELEC 1").await.unwrap_err();
    assert!(matches!(error, DatabaseError::Statement { position: Some(0), .. }), "{error:?}");
    for empty in ["", " -- nothing"] {
        assert!(matches!(query(&database, empty).await, Err(DatabaseError::Statement { .. })));
    }
    let error = query(&database, "SELECT 1\0; DELETE FROM t").await.unwrap_err();
    assert!(matches!(error, DatabaseError::Statement { position: Some(8), .. }), "{error:?}");
}

#[tokio::test]
async fn double_quotes_are_names_and_never_strings() {
    let folder = Folder::with("CREATE TABLE t(name)");
    assert!(query(&folder.database(), "SELECT \"nmae\" FROM t").await.is_err());
}

#[tokio::test]
async fn full_text_tables_can_be_read() {
    let folder =
        Folder::with("CREATE VIRTUAL TABLE v USING fts5(a); INSERT INTO v VALUES ('one two'), ('three')");
    let before = folder.contents();
    let rows = query(&folder.database(), "SELECT a FROM v WHERE v MATCH 'two'").await.unwrap();
    assert_eq!(rows, [serde_json::json!(["one two"])]);
    assert_eq!(folder.contents(), before);
}

#[tokio::test]
async fn a_hostile_schema_cannot_write_through_a_view_or_call_out() {
    let folder = Folder::with(
        "CREATE TABLE t(a); CREATE VIEW v AS SELECT a FROM t; \
         CREATE VIEW out AS SELECT load_extension('x') AS a; \
         CREATE TRIGGER tr INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES (new.a); END",
    );
    let database = folder.database();
    assert!(matches!(
        query(&database, "SELECT * FROM out").await,
        Err(DatabaseError::Refused { .. } | DatabaseError::Statement { .. })
    ));
    assert!(matches!(query(&database, "INSERT INTO v VALUES (1)").await, Err(DatabaseError::Refused { .. })));
}

#[tokio::test]
async fn a_callers_statement_cannot_make_huge_values() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let source = |ad_hoc| StatementSource {
        sql: "SELECT length(zeroblob(2000000))".into(),
        ad_hoc,
        ..StatementSource::default()
    };
    let (declared, _) = database.prepare(&source(false)).await.unwrap();
    crate::support::run(&database, &declared, Vec::new()).await.unwrap();
    let (ad_hoc, _) = database.prepare(&source(true)).await.unwrap();
    let error = crate::support::run(&database, &ad_hoc, Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "string or blob too big");
}
