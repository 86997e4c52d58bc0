//! What is known of columns before there are rows.

use serde_json::json;
use trunkline_sql::DatabaseError;

use crate::support::{Folder, prepare, query, run};

#[tokio::test]
async fn declared_types_bind_only_in_strict_tables() {
    let folder = Folder::with(
        "CREATE TABLE loose(id INTEGER PRIMARY KEY, name TEXT NOT NULL); \
         CREATE TABLE firm(id INTEGER PRIMARY KEY, name TEXT NOT NULL, note TEXT, price REAL, data BLOB, any ANY) STRICT; \
         CREATE VIEW seen AS SELECT * FROM firm",
    );
    let database = folder.database();
    let text = Some(json!({ "type": "string" }));
    let integer = Some(json!({ "type": ["integer", "string"] }));
    let number = Some(json!({ "type": ["number", "string"] }));
    let blob = Some(json!({ "type": "string", "contentEncoding": "base64" }));
    let table = [
        ("SELECT id, name FROM loose", vec![(None, true), (None, true)]),
        (
            "SELECT id, name FROM firm WHERE lower(name) LIKE 'a%'",
            vec![(integer.clone(), false), (text.clone(), false)],
        ),
        (
            "SELECT note, price, data, \"any\" FROM firm",
            vec![(text.clone(), true), (number, true), (blob, true), (None, true)],
        ),
        ("SELECT f.name AS n FROM firm f JOIN loose l ON l.id = f.id", vec![(text.clone(), false)]),
        ("SELECT f.name FROM loose l LEFT JOIN firm f ON l.id = f.id", vec![(text.clone(), true)]),
        ("SELECT name, max(price) FROM firm", vec![(text.clone(), true), (None, true)]),
        ("SELECT (SELECT name FROM firm)", vec![(text.clone(), true)]),
        ("SELECT name FROM firm UNION ALL SELECT 1", vec![(None, true)]),
        ("SELECT name FROM seen", vec![(None, true)]),
        ("SELECT name || '' FROM firm", vec![(None, true)]),
        ("SELECT n FROM (SELECT name AS n FROM firm)", vec![(text, true)]),
        ("SELECT 1 AS one", vec![(None, true)]),
    ];
    for (sql, wanted) in table {
        let (_, description) = prepare(&database, sql).await.unwrap();
        let columns: Vec<_> =
            description.columns.into_iter().map(|column| (column.schema, column.nullable)).collect();
        assert_eq!(columns, wanted, "{sql}");
    }
}

#[tokio::test]
async fn a_name_that_is_gone_makes_the_statement_wrong_and_not_the_data() {
    let folder = Folder::with("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    let database = folder.database();
    let (statement, _) = prepare(&database, "SELECT a FROM t").await.unwrap();
    assert!(run(&database, &statement, Vec::new()).await.is_ok());
    folder.fill("ALTER TABLE t RENAME COLUMN a TO b");
    let error = run(&database, &statement, Vec::new()).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Statement { .. }), "{error:?}");
}

#[tokio::test]
async fn a_changed_schema_is_noticed() {
    let folder = Folder::with("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    let database = folder.database();
    let (statement, _) = prepare(&database, "SELECT * FROM t").await.unwrap();
    run(&database, &statement, Vec::new()).await.unwrap();
    folder.fill("ALTER TABLE t ADD COLUMN b DEFAULT 2");
    let error = run(&database, &statement, Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("schema of the database changed"), "{error}");
    assert_eq!(query(&database, "SELECT * FROM t").await.unwrap(), [json!([1, 2])]);
}
