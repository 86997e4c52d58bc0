//! What the types of PostgreSQL look like in a result.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::json;
use trunkline_sql::Value;
use trunkline_testkit::postgres;

use crate::support::{open, prepare, rows};

#[tokio::test]
async fn pg_01_integers_and_decimals_are_exact() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "");
    let sql = "SELECT 9007199254740993::int8 a, (-9223372036854775808)::int8 b, 0.10::numeric c, \
               123456789012345678901234567890.5::numeric d, ARRAY[9007199254740993,NULL]::int8[] e";
    assert_eq!(
        rows(&postgres, sql, vec![]).await,
        [[
            json!("9007199254740993"),
            json!("-9223372036854775808"),
            json!("0.10"),
            json!("123456789012345678901234567890.5"),
            json!(["9007199254740993", null]),
        ]]
    );
    let (_, description) = prepare(&postgres, sql).await;
    let schemas: Vec<_> = description.columns.iter().map(|column| column.schema.clone().unwrap()).collect();
    assert_eq!(schemas[0], json!({ "type": ["integer", "string"] }));
    assert_eq!(schemas[2], json!({ "type": "string" }));
    assert_eq!(
        schemas[4],
        json!({ "type": "array", "items": { "type": ["integer", "string", "array", "null"] } })
    );
}

#[tokio::test]
async fn pg_02_unfamiliar_types_come_as_their_text() {
    let database = postgres::database().await;
    database.run("create type mood as enum ('sad', 'ok'); create domain five as int check (value = 5); create type pair as (a int, b text)").await;
    let postgres = open(&database.url, "");
    let sql = r#"select '7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f01'::uuid, '\x00ff'::bytea, '10.0.0.1/8'::inet, '10.0.0.0/8'::cidr,
        '08:00:2b:01:02:03'::macaddr, '101'::bit(3), '[1,5)'::int4range, '1 mon -1 day'::interval, '04:05:06+05:30'::timetz,
        'ok'::mood, 5::five, 'a b'::tsvector, '(1.5,2)'::point, 42::oid, row(1, 'x')::pair, row(1, 'y'), array['10.0.0.1'::inet, null],
        array['ok'::mood], array[5::five], '<a/>'::xml, 'pg_class'::regclass, 'x'::name, 'c'::"char", array[array[1,2],array[3,4]],
        '{[1,3),[5,7)}'::int4multirange, null::inet, '{"a":1.0}'::json, '1 2'::int2vector, pg_sleep(0)"#;
    assert_eq!(
        rows(&postgres, sql, vec![]).await,
        [[
            json!("7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f01"),
            json!("00ff"),
            json!("10.0.0.1/8"),
            json!("10.0.0.0/8"),
            json!("08:00:2b:01:02:03"),
            json!("101"),
            json!("[1,5)"),
            json!("P1M-1D"),
            json!("04:05:06+05:30"),
            json!("ok"),
            json!(5),
            json!("'a' 'b'"),
            json!("(1.5,2)"),
            json!(42),
            json!({ "a": 1, "b": "x" }),
            json!("(1,y)"),
            json!(["10.0.0.1", null]),
            json!(["ok"]),
            json!([5]),
            json!("<a/>"),
            json!("pg_class"),
            json!("x"),
            json!("c"),
            json!([[1, 2], [3, 4]]),
            json!("{[1,3),[5,7)}"),
            json!(null),
            json!({ "json": "{\"a\":1.0}" }),
            json!([1, 2]),
            json!(""),
        ]]
    );
    let (_, description) = prepare(&postgres, sql).await;
    assert_eq!(description.columns[9].schema, Some(json!({ "type": "string", "enum": ["sad", "ok"] })));
}

#[tokio::test]
async fn pg_02_rows_changed_by_a_write_come_as_text_too() {
    let database = postgres::database().await;
    database.run("create table hosts (at macaddr not null, n int)").await;
    let postgres = open(&database.url, "access = 'read-write'");
    let source = crate::support::writing(
        "insert into hosts values ($1, 1), ('08:00:2b:01:02:04', 2) returning at, n; -- all\n",
    );
    let (statement, description) = trunkline_sql::Database::prepare(&postgres, &source).await.unwrap();
    assert_eq!(description.columns.iter().map(|column| column.nullable).collect::<Vec<_>>(), [false, true]);
    let ran =
        crate::support::run(&postgres, &statement, vec![Value::Text("08002b010203".into())]).await.unwrap();
    assert_eq!(
        ran.rows.rows,
        [[json!("08:00:2b:01:02:03"), json!(1)], [json!("08:00:2b:01:02:04"), json!(2)]]
    );
    assert_eq!(ran.affected, Some(2));
}

#[tokio::test]
async fn pg_03_values_that_json_or_a_date_cannot_hold() {
    let database = postgres::database().await;
    let name = database.url.rsplit('/').next().unwrap();
    database.run(&format!("alter database {name} set timezone = 'America/New_York'")).await;
    let postgres = open(&database.url, "");
    let sql = "SELECT 'NaN'::float8, 'Infinity'::float8, 'NaN'::numeric, '-infinity'::timestamp, 'infinity'::date, \
        '0044-03-15 BC'::date, '294276-12-31 23:59:59.999999'::timestamp, '24:00:00'::time, \
        '2024-03-10 02:30:00+00'::timestamptz, '2024-03-10 02:30:00.12+00'::timestamptz, \
        '0044-03-15 00:00:00+00 BC'::timestamptz, '-Infinity'::numeric, 0.1::float4";
    let found = rows(&postgres, sql, vec![]).await;
    let texts: Vec<String> =
        found[0].iter().map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect();
    assert_eq!(
        texts,
        [
            "NaN",
            "inf",
            "NaN",
            "-infinity",
            "infinity",
            "0044-03-15 BC",
            "294276-12-31T23:59:59.999999",
            "24:00:00",
            "2024-03-10T02:30:00Z",
            "2024-03-10T02:30:00.12Z",
            "0044-03-15 00:00:00+00 BC",
            "-Infinity",
            "0.1",
        ]
    );
}

#[tokio::test]
async fn dates_intervals_and_numerics_are_written_as_the_server_writes_them() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "");
    database.run("create table samples (d date, i interval, n numeric, t timestamp)").await;
    database
        .run(
            "set intervalstyle = 'iso_8601'; select setseed(0.5);
             insert into samples select
                date '2000-01-01' + (random() * 4000000 - 2000000)::int % 730000,
                make_interval(months => (random() * 100 - 50)::int, days => (random() * 100 - 50)::int,
                              secs => round((random() * 1e6 - 5e5)::numeric, 3)::float8),
                round((random() - 0.5)::numeric * (10 ^ (random() * 40 - 20))::numeric, (random() * 30)::int),
                timestamp '1999-06-01' + make_interval(secs => random() * 1e10 - 5e9)
             from generate_series(1, 2000);
             insert into samples (n) values (0), (10000), (0.0001), (100000000.00000001), (-0.5), (0.00000000)",
        )
        .await;
    // The server's own text, brought to the same notation.
    let sql = "select d, d::text, i, i::text, n, n::text, t, replace(t::text, ' ', 'T') from samples \
               where t is null or t > '0001-01-01' and d > '0001-01-01'";
    let name = database.url.rsplit('/').next().unwrap();
    database.run(&format!("alter database {name} set intervalstyle = 'iso_8601'")).await;
    let (statement, _) = prepare(&postgres, sql).await;
    let ran = crate::support::run(&postgres, &statement, vec![]).await.unwrap();
    assert!(ran.rows.rows.len() > 1000);
    for row in &ran.rows.rows {
        for pair in row.chunks(2) {
            assert_eq!(pair[0], pair[1]);
        }
    }
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "");
    let sql = "select $1::int8, $2::numeric, $3::text, $4::int8[], $5::text[]";
    let (statement, _) = prepare(&postgres, sql).await;
    let mut runner = TestRunner::deterministic();
    let text = "[^\\x00]{0,20}";
    let values = (
        proptest::num::i64::ANY,
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?",
        text,
        proptest::collection::vec(proptest::num::i64::ANY, 0..4),
        proptest::collection::vec(text, 0..4),
    );
    for _ in 0..300 {
        let (integer, decimal, text, integers, texts) = values.new_tree(&mut runner).unwrap().current();
        let sent = vec![
            Value::Integer(integer),
            Value::Decimal(decimal.clone()),
            Value::Text(text.clone()),
            Value::List(integers.iter().map(|value| Value::Integer(*value)).collect()),
            Value::List(texts.iter().map(|value| Value::Text(value.clone())).collect()),
        ];
        let ran = crate::support::run(&postgres, &statement, sent).await.unwrap();
        let row = &ran.rows.rows[0];
        let plain = |cell: &serde_json::Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
        assert_eq!(plain(&row[0]), integer.to_string());
        // There is no negative zero.
        let zero = decimal.bytes().all(|byte| !byte.is_ascii_digit() || byte == b'0');
        assert_eq!(row[1], json!(if zero { decimal.trim_start_matches('-') } else { &decimal }));
        assert_eq!(row[2], json!(text));
        let list: Vec<String> = row[3].as_array().unwrap().iter().map(plain).collect();
        assert_eq!(list, integers.iter().map(i64::to_string).collect::<Vec<_>>());
        assert_eq!(row[4], json!(texts));
    }
}

#[tokio::test]
async fn a_column_is_not_null_only_when_nothing_can_make_it_null() {
    let database = postgres::database().await;
    database.run("create table a (id int primary key, n int); create table b (id int not null)").await;
    let postgres = open(&database.url, "");
    let nullable = async |sql: &str| {
        let (_, description) = prepare(&postgres, sql).await;
        description.columns.iter().map(|column| column.nullable).collect::<Vec<_>>()
    };
    assert_eq!(
        nullable("select id, n, id + 1, (select id from b limit 1) from a").await,
        [false, true, true, true]
    );
    assert_eq!(nullable("select a.id, b.id from a left join b using (id)").await, [true, true]);
    assert_eq!(nullable("select id from a union all select n from a").await, [true]);
    assert_eq!(nullable("select q.id from (select id from a) q join b using (id)").await, [false]);
}
