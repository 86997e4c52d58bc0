//! Values on their way in and out.

use serde_json::json;
use trunkline_sql::{Access, Database, DatabaseError, StatementSource, Value, WrittenType};

use crate::support::{Folder, query, run, source};

#[tokio::test]
async fn sl_02_dynamic_types() {
    let folder = Folder::with(
        "CREATE TABLE t(i INTEGER, r REAL, b BLOB, s TEXT); \
         INSERT INTO t VALUES (9007199254740993, 9e999, x'00ff10', 'x'), ('abc', 1.0, 'txt', 'é'); \
         CREATE TABLE stray(s TEXT); INSERT INTO stray VALUES ('a'), (CAST(x'c3' AS TEXT))",
    );
    let database = folder.database();
    assert_eq!(
        query(&database, "SELECT * FROM t").await.unwrap(),
        [json!(["9007199254740993", "Infinity", { "base64": "AP8Q" }, "x"]), json!(["abc", 1.0, "txt", "é"]),]
    );
    let error = query(&database, "SELECT s FROM stray").await.unwrap_err();
    assert!(matches!(error, DatabaseError::Encoding { .. }), "{error:?}");
    assert!(error.to_string().contains("row 2, column `s`"), "{error}");
    assert_eq!(
        query(&database, "SELECT hex(s), CAST(s AS blob) FROM stray").await.unwrap(),
        [json!(["61", { "base64": "YQ==" }]), json!(["C3", { "base64": "ww==" }])]
    );
    assert_eq!(
        query(&database, "SELECT 9223372036854775807+1").await.unwrap(),
        [json!([9.223372036854776e18])]
    );
    assert_eq!(query(&database, "SELECT 1/0").await.unwrap(), [json!([null])]);
    let (statement, description) = crate::support::prepare(&database, "SELECT 1 AS a, 2 AS a").await.unwrap();
    assert_eq!(description.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["a", "a"]);
    assert_eq!(run(&database, &statement, Vec::new()).await.unwrap().rows.rows, [json!([1, 2])]);
}

#[tokio::test]
async fn values_are_bound_by_their_kind() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let table = [
        (Value::Null, json!(["null", null])),
        (Value::Boolean(true), json!(["integer", 1])),
        (Value::Integer(i64::MIN), json!(["integer", i64::MIN.to_string()])),
        (Value::Float(0.5), json!(["real", 0.5])),
        (Value::Decimal("0.10".into()), json!(["real", 0.1])),
        (Value::Decimal("12".into()), json!(["integer", 12])),
        (Value::Text("null".into()), json!(["text", "null"])),
        (Value::Json("{\"a\": 1}".into()), json!(["text", "{\"a\": 1}"])),
        (Value::List(vec![Value::Integer(1), Value::Null]), json!(["text", "[1,null]"])),
        (
            Value::List(vec![
                Value::Decimal("0.10".into()),
                Value::Text("\"".into()),
                Value::Json("{\"b\":1.50}".into()),
                Value::List(vec![Value::Boolean(true)]),
            ]),
            json!(["text", "[0.10,\"\\\"\",{\"b\":1.50},[true]]"]),
        ),
    ];
    let (statement, _) =
        database.prepare(&source("SELECT typeof(?1), ?1", 1, Access::ReadOnly)).await.unwrap();
    for (value, wanted) in table {
        let shown = format!("{value:?}");
        assert_eq!(run(&database, &statement, vec![value]).await.unwrap().rows.rows, [wanted], "{shown}");
    }
}

#[tokio::test]
async fn missing_null_and_the_word_null_are_three_things() {
    let folder = Folder::with("CREATE TABLE t(s); INSERT INTO t VALUES ('a'), ('null'), (NULL)");
    let database = folder.database();
    let sql = "SELECT count(*) FROM t WHERE (?1 IS NULL OR s = ?1)";
    let (statement, _) = database.prepare(&source(sql, 1, Access::ReadOnly)).await.unwrap();
    for (value, count) in [(Value::Null, 3), (Value::Text("null".into()), 1), (Value::Text(String::new()), 0)]
    {
        assert_eq!(run(&database, &statement, vec![value]).await.unwrap().rows.rows, [json!([count])]);
    }
    let sql = "SELECT s FROM t WHERE s IN (SELECT value FROM json_each(?1))";
    let (statement, _) = database.prepare(&source(sql, 1, Access::ReadOnly)).await.unwrap();
    let list = Value::List(vec![Value::Text("a".into()), Value::Null]);
    assert_eq!(run(&database, &statement, vec![list]).await.unwrap().rows.rows, [json!(["a"])]);
    assert!(run(&database, &statement, vec![Value::List(Vec::new())]).await.unwrap().rows.rows.is_empty());
}

#[tokio::test]
async fn a_blob_parameter_comes_as_base64() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    let blob = |name: &str| StatementSource {
        sql: "SELECT hex(?1), typeof(?1)".into(),
        parameters: vec![WrittenType::Database(name.into())],
        ..StatementSource::default()
    };
    let (statement, _) = database.prepare(&blob("BLOB")).await.unwrap();
    let rows = run(&database, &statement, vec![Value::Text("AP8Q".into())]).await.unwrap().rows.rows;
    assert_eq!(rows, [json!(["00FF10", "blob"])]);
    let error = run(&database, &statement, vec![Value::Text("?".into())]).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Data { .. }), "{error:?}");
    assert!(database.prepare(&blob("uuid")).await.unwrap_err().to_string().contains("`uuid` is no type"));
}

#[tokio::test]
async fn a_count_of_values_other_than_of_placeholders_is_refused() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let database = folder.database();
    assert!(database.prepare(&source("SELECT ?1", 2, Access::ReadOnly)).await.is_err());
    let (statement, _) = database.prepare(&source("SELECT ?1", 1, Access::ReadOnly)).await.unwrap();
    assert!(run(&database, &statement, Vec::new()).await.is_err());
}
