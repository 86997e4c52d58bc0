//! What parameters take, and how their types are found.

use serde_json::json;
use trunkline_sql::{Database, DatabaseError, JsonKind, StatementSource, Value, WrittenType};
use trunkline_testkit::postgres;

use crate::support::{open, prepare, reading, run};

async fn count(postgres: &trunkline_postgres::Postgres, source: &StatementSource, value: Value) -> i64 {
    let (statement, _) = postgres.prepare(source).await.unwrap();
    let ran = run(postgres, &statement, vec![value]).await.unwrap();
    ran.rows.rows[0][0].as_i64().unwrap()
}

#[tokio::test]
async fn pg_08_missing_null_and_the_word_null() {
    let database = postgres::database().await;
    database
        .run("create table t (s text, id int); insert into t values ('a', 1), ('null', 2), (null, 3)")
        .await;
    let postgres = open(&database.url, "");
    let sql = "SELECT count(*) FROM t WHERE ($1 IS NULL OR s = $1)";
    for written in [WrittenType::Json(JsonKind::String), WrittenType::Database("text".into())] {
        let source = StatementSource { parameters: vec![written], ..reading(sql) };
        assert_eq!(count(&postgres, &source, Value::Null).await, 3);
        assert_eq!(count(&postgres, &source, Value::Text("null".into())).await, 1);
        assert_eq!(count(&postgres, &source, Value::Text(String::new())).await, 0);
    }
    // PostgreSQL itself settles the type only where the comparison comes first.
    let first = reading("SELECT count(*) FROM t WHERE (s = $1 OR $1 IS NULL)");
    assert_eq!(count(&postgres, &first, Value::Null).await, 3);
    match postgres.prepare(&reading(sql)).await {
        Err(DatabaseError::Statement { hint: Some(hint), position: Some(_), .. }) => {
            assert!(hint.contains("`type`"))
        }
        other => panic!("{other:?}"),
    }
    let any = reading("select count(*) from t where id = any($1)");
    let list = |values: &[Option<i64>]| {
        Value::List(values.iter().map(|value| value.map_or(Value::Null, Value::Integer)).collect())
    };
    assert_eq!(count(&postgres, &any, list(&[Some(1), Some(2)])).await, 2);
    assert_eq!(count(&postgres, &any, list(&[])).await, 0);
    assert_eq!(count(&postgres, &any, list(&[Some(1), None])).await, 1);
    let (_, description) = prepare(&postgres, &any.sql).await;
    assert_eq!(description.parameters[0].kind, JsonKind::Array(Box::new(JsonKind::Integer)));
}

#[tokio::test]
async fn a_json_kind_is_sent_only_where_the_database_cannot_infer() {
    let database = postgres::database().await;
    database.run("create table t (id int2)").await;
    let postgres = open(&database.url, "");
    let source = StatementSource {
        parameters: vec![WrittenType::Json(JsonKind::Integer), WrittenType::Json(JsonKind::Boolean)],
        ..reading("select 1 from t where id = $1 and ($2 is null or id > 0)")
    };
    let (_, description) = postgres.prepare(&source).await.unwrap();
    let names: Vec<_> =
        description.parameters.iter().map(|parameter| parameter.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["int2", "bool"]);
    assert_eq!(description.parameters[0].range, Some((-32768, 32767)));
    let untyped = postgres.prepare(&reading("select 1 where $1 is null")).await.unwrap_err();
    assert!(
        matches!(&untyped, DatabaseError::Statement { code: Some(code), .. } if code == "42P18"),
        "{untyped:?}"
    );
    let source =
        StatementSource { parameters: vec![WrittenType::Database("nope".into())], ..reading("select $1") };
    assert!(postgres.prepare(&source).await.unwrap_err().to_string().contains("`nope` does not exist"));
}

#[tokio::test]
async fn values_travel_in_the_notation_of_their_type() {
    let database = postgres::database().await;
    database.run("create type mood as enum ('sad', 'ok')").await;
    let postgres = open(&database.url, "");
    let text = |text: &str| Value::Text(text.to_owned());
    let sql = "select $1::uuid, $2::timestamptz, $3::mood, $4::bytea, $5::jsonb, $6::inet, $7::float8, $8::interval, $9::date[]";
    let (statement, description) = prepare(&postgres, sql).await;
    assert_eq!(
        description.parameters[2].labels.as_deref(),
        Some(["sad".to_owned(), "ok".to_owned()].as_slice())
    );
    let sent = vec![
        text("7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f01"),
        text("2024-03-10T02:30:00+01:00"),
        text("ok"),
        text("AP8="),
        Value::Json("{\"a\": [1.50]}".into()),
        text("10.0.0.1"),
        Value::Decimal("0.1".into()),
        text("P1M-1D"),
        Value::List(vec![text("2024-02-29"), text("infinity")]),
    ];
    let ran = run(&postgres, &statement, sent).await.unwrap();
    assert_eq!(
        ran.rows.rows[0],
        [
            json!("7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f01"),
            json!("2024-03-10T01:30:00Z"),
            json!("ok"),
            json!("00ff"),
            json!({ "json": "{\"a\": [1.50]}" }),
            json!("10.0.0.1"),
            json!(0.1),
            json!("P1M-1D"),
            json!(["2024-02-29", "infinity"]),
        ]
    );
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_a_fault_of_the_data() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "");
    for (sql, value, code) in [
        ("select $1::int4", Value::Integer(1 << 40), Some("22003")),
        ("select $1::uuid", Value::Text("x".into()), Some("22P02")),
        ("select 1 / $1::int4", Value::Integer(0), Some("22012")),
        ("select $1::text", Value::Text("a\0b".into()), None),
        ("select $1::bytea", Value::Text("?".into()), None),
    ] {
        let (statement, _) = prepare(&postgres, sql).await;
        match run(&postgres, &statement, vec![value]).await {
            Err(DatabaseError::Data { code: found, .. }) => assert_eq!(found.as_deref(), code, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_typo_is_shown_at_its_byte() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "");
    let sql = "select 'ä', nmae from pg_class";
    match postgres.prepare(&reading(sql)).await {
        Err(DatabaseError::Statement { position: Some(at), code: Some(code), .. }) => {
            assert_eq!(&sql[at..at + 4], "nmae");
            assert_eq!(code, "42703");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn elements_of_an_array_have_the_bounds_and_labels_of_their_type() {
    let database = postgres::database().await;
    database.run("create type mood as enum ('sad', 'ok'); create domain small as int2").await;
    let postgres = open(&database.url, "");
    let (_, description) =
        prepare(&postgres, "select $1::int4[], $2::mood[], $3::small[], $4::uuid[], $5::bytea").await;
    let range = |at: usize| description.parameters[at].range;
    assert_eq!(range(0), Some((i64::from(i32::MIN), i64::from(i32::MAX))));
    assert_eq!(range(2), Some((i64::from(i16::MIN), i64::from(i16::MAX))));
    assert_eq!(description.parameters[1].labels.as_ref().unwrap(), &["sad", "ok"]);
    assert_eq!(
        (description.parameters[3].format, description.parameters[4].format),
        (Some("uuid"), Some("base64"))
    );
    assert_eq!(description.parameters[0].name.as_deref(), Some("int4[]"));
}
