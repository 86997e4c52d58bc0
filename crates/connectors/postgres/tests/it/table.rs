//! One row with every type, as the bytes of a result; and what its schema and its parameters say.

use serde_json::{Value as Json, json};
use trunkline_sql::{Database as _, JsonKind, WrittenType};
use trunkline_testkit::postgres;

use crate::support::{open, prepare, reading};
use crate::tool::{call, connector};

/// A row of the table: the expression, and the cell to the letter.
type Expected = (&'static str, &'static str);

const CELLS: &[Expected] = &[
    ("9223372036854775807::int8", r#""9223372036854775807""#),
    ("(-9007199254740991)::int8", "-9007199254740991"),
    ("12345678901234567890123456789.00::numeric", r#""12345678901234567890123456789.00""#),
    ("'NaN'::float8", r#""NaN""#),
    ("'-Infinity'::float4", r#""-Infinity""#),
    ("'Infinity'::numeric", r#""Infinity""#),
    ("0.1::real", "0.1"),
    ("'2024-02-29'::date", r#""2024-02-29""#),
    ("'2024-02-29 12:34:56.123456'::timestamp", r#""2024-02-29T12:34:56.123456""#),
    ("'2024-02-29 12:34:56.123456+02'::timestamptz", r#""2024-02-29T10:34:56.123456Z""#),
    ("'infinity'::date", r#""infinity""#),
    ("'-infinity'::timestamptz", r#""-infinity""#),
    ("'0044-03-15 BC'::date", r#""0044-03-15 BC""#),
    ("'24:00'::time", r#""24:00:00""#),
    ("'04:05:06+05:30'::timetz", r#""04:05:06+05:30""#),
    ("'1 mon 2 days 03:04:05.5'::interval", r#""P1M2DT3H4M5.5S""#),
    ("'7f9c24e52a314d0b9c8e5b6a7d8e9f01'::uuid", r#""7f9c24e5-2a31-4d0b-9c8e-5b6a7d8e9f01""#),
    (r#"'{"n": 9007199254740993, "n": 1.0}'::json"#, r#"{"n": 9007199254740993, "n": 1.0}"#),
    ("'[1.50]'::jsonb", "[1.50]"),
    ("array[1, null, 3]", "[1,null,3]"),
    ("array[[1, 2], [3, 4]]", "[[1,2],[3,4]]"),
    ("'[0:1][-1:0]={{1,2},{3,4}}'::int4[]", "[[1,2],[3,4]]"),
    ("'{}'::text[]", "[]"),
    ("'[1,5)'::int4range", r#""[1,5)""#),
    ("'[2024-01-01 00:00+00,)'::tstzrange", r#""[\"2024-01-01 00:00:00+00\",)""#),
    ("'{[1,3),[5,7)}'::int4multirange", r#""{[1,3),[5,7)}""#),
    ("row(1, 'x')::pair", r#"{"a":1,"b":"x"}"#),
    ("array[row(null, 'y')::pair, null]", r#"[{"a":null,"b":"y"},null]"#),
    ("row(row(1, null)::pair, '{ok}')::nest", r#"{"one":{"a":1,"b":null},"moods":["ok"]}"#),
    ("row(1, 'x')", r#""(1,x)""#),
    ("array[row(1, 'x'), row(2, 'y')]", r#""{\"(1,x)\",\"(2,y)\"}""#),
    ("'101'::bit(3)", r#""101""#),
    (r"'\x00ff10'::bytea", r#""AP8Q""#),
    ("'10.0.0.1/8'::inet", r#""10.0.0.1/8""#),
    ("'10.0.0.1'::inet", r#""10.0.0.1""#),
    ("'10.0.0.0/8'::cidr", r#""10.0.0.0/8""#),
    ("'08002b010203'::macaddr", r#""08:00:2b:01:02:03""#),
    ("'ok'::mood", r#""ok""#),
    ("5::few", "5"),
    ("'<a/>'::xml", r#""<a/>""#),
    ("1234.5::money", r#""$1,234.50""#),
    (r#"'a=>1, "b c"=>NULL'::hstore"#, r#"{"a":"1","b c":null}"#),
    ("'(1.5,2)'::point", r#""(1.5,2)""#),
    ("'a:1A b'::tsvector", r#""'a':1A 'b'""#),
    ("42::oid", "42"),
    ("'pg_class'::regclass", r#""pg_class""#),
    ("'16/B374D848'::pg_lsn", r#""16/B374D848""#),
    ("'c'::\"char\"", r#""c""#),
    ("'Ab'::citext", r#""Ab""#),
    ("'a.b'::ltree", r#""a.b""#),
    ("'1.2.3'::cube_like", r#""1.2.3""#),
    ("null::int4", "null"),
];

#[tokio::test]
async fn one_row_with_every_type_is_exact() {
    let database = postgres::database().await;
    database
        .run(
            "create extension hstore; create extension citext; create extension ltree;
             create type mood as enum ('ok'); create domain few as int; create domain cube_like as text;
             create type pair as (a int, gone int, b text); alter type pair drop attribute gone;
             create type nest as (one pair, moods mood[])",
        )
        .await;
    // A column may have the name of an alias that a wrapped statement could have.
    let names = ["t", "q", "c1"];
    let name = |at: usize| names.get(at).map_or_else(|| format!("x{at}"), |name| (*name).to_owned());
    let columns = CELLS.iter().enumerate().map(|(at, (sql, _))| format!("{sql} as {}", name(at)));
    let sql = format!("select {}", columns.collect::<Vec<_>>().join(", "));
    let none = json!({ "sql": "select 1 as a where false" });
    let connector = connector(&database.url, &[("all", json!({ "sql": sql })), ("none", none)]).await;
    let cells = CELLS.iter().enumerate().map(|(at, (_, cell))| format!("\"{}\":{cell}", name(at)));
    let expected = format!(r#"{{"rows":[{{{}}}],"rowCount":1}}"#, cells.collect::<Vec<_>>().join(","));
    let told = call(&connector, 0, "{}").await.unwrap();
    assert_eq!(told, expected);
    let schema = connector.definitions()[0].output_schema.clone().unwrap();
    let schema: Json = serde_json::from_str(&schema.to_string()).unwrap();
    jsonschema::validate(&schema, &serde_json::from_str(&told).unwrap()).unwrap();
    assert_eq!(call(&connector, 1, "{}").await.unwrap(), r#"{"rows":[],"rowCount":0}"#);
}

#[tokio::test]
async fn a_schema_says_what_the_catalogue_knows() {
    let database = postgres::database().await;
    database
        .run(
            "create type mood as enum ('sad', 'ok');
             create domain few as int check (value between -5 and 5) check (value <> 0);
             create domain later as int;
             create domain code as varchar(8) check (value ~ '^[a-z]+$') check (length(value) > 1);
             create domain side as text check (value in ('left', 'right'));
             create domain outer_few as few check (value > 0) not null;
             create type pair as (m mood, f few);
             create table t (few few not null, code code, side side, outer_few outer_few, sides side[], pair pair,
                             moods mood[], v varchar(10), c char(3), b bit(4), later later, n numeric(5, 2));
             insert into t (few, outer_few, later) values (1, 1, -1);
             alter domain later add constraint positive check (value > 0) not valid",
        )
        .await;
    let postgres = open(&database.url, "");
    let (_, description) = prepare(&postgres, "select * from t").await;
    let of = |name: &str| {
        let column = description.columns.iter().find(|column| column.name == name).unwrap();
        column.schema.clone().unwrap()
    };
    assert_eq!(of("few"), json!({ "type": "integer", "minimum": -5, "maximum": 5 }));
    let code = json!({ "type": "string", "maxLength": 8, "minLength": 2, "pattern": "^[a-z]+$" });
    assert_eq!(of("code"), code);
    assert_eq!(of("side"), json!({ "type": "string", "enum": ["left", "right"] }));
    assert_eq!(of("outer_few"), json!({ "type": "integer", "minimum": 1, "maximum": 5 }));
    let either = |labels: Json| json!({ "anyOf": [{ "type": ["string", "null"], "enum": labels }, { "type": "array" }] });
    assert_eq!(of("sides"), json!({ "type": "array", "items": either(json!(["left", "right", null])) }));
    assert_eq!(of("moods"), json!({ "type": "array", "items": either(json!(["sad", "ok", null])) }));
    assert_eq!(
        of("pair"),
        json!({
            "type": "object",
            "properties": {
                "m": { "type": ["string", "null"], "enum": ["sad", "ok", null] },
                "f": { "type": ["integer", "null"], "minimum": -5, "maximum": 5 },
            },
            "required": ["m", "f"],
            "additionalProperties": false,
        })
    );
    assert_eq!(of("v"), json!({ "type": "string", "maxLength": 10 }));
    assert_eq!(of("c"), json!({ "type": "string", "maxLength": 3 }));
    assert_eq!(of("b"), json!({ "type": "string", "minLength": 4, "maxLength": 4 }));
    assert_eq!(
        of("later"),
        json!({ "type": "integer" }),
        "what is stored need not fit a check that is not valid"
    );
    assert!(!description.columns[0].nullable && description.columns[3].nullable);
    // Another branch gives what the domain does not hold.
    let (_, union) = prepare(&postgres, "select few from t union all select 99").await;
    assert_eq!(union.columns[0].schema, Some(json!({ "type": "integer" })));
    let (_, taken) = prepare(&postgres, "select $1::few, $2::side[], $3::pair, $4::outer_few").await;
    assert_eq!(taken.parameters[0].range, Some((-5, 5)));
    assert_eq!(taken.parameters[1].labels.as_ref().unwrap(), &["left", "right"]);
    let members = vec![("m".to_owned(), JsonKind::String), ("f".to_owned(), JsonKind::Integer)];
    assert_eq!(taken.parameters[2].kind, JsonKind::Object(members));
    assert_eq!(taken.parameters[3].range, Some((1, 5)));
}

#[tokio::test]
async fn a_composite_type_that_got_another_column_is_learned_anew() {
    let database = postgres::database().await;
    database.run("create type pair as (a int); create table t (p pair); insert into t values (row(1))").await;
    let tool = json!({ "sql": "select p from t" });
    let connector = connector(&database.url, &[("pairs", tool)]).await;
    assert_eq!(call(&connector, 0, "{}").await.unwrap(), r#"{"rows":[{"p":{"a":1}}],"rowCount":1}"#);
    database.run("alter type pair add attribute b text cascade").await;
    assert_eq!(call(&connector, 0, "{}").await.unwrap(), r#"{"rows":[{"p":{"a":1,"b":null}}],"rowCount":1}"#);
    let schema = connector.definitions()[0].output_schema.clone().unwrap().to_string();
    assert!(schema.contains(r#""b":{"type":["string","null"]}"#), "{schema}");
}

#[tokio::test]
async fn pg_08_missing_null_and_the_word_null_arrive_as_sent() {
    let database = postgres::database().await;
    database
        .run("create table t (s text, id int); insert into t values ('a', 1), ('null', 2), (null, 3)")
        .await;
    let optional = json!({ "type": "string", "nullable": true, "required": false });
    let count = json!({
        "sql": "select count(*) from t where (:s is null or s = :s)", "returns": "value", "params": { "s": optional },
    });
    let any = json!({ "sql": "select count(*) from t where id = any(:ids)", "returns": "value", "params": { "ids": {} } });
    let connector = connector(&database.url, &[("count", count), ("any", any)]).await;
    for (target, arguments, wanted) in [
        (0, "{}", 3),
        (0, r#"{"s":null}"#, 3),
        (0, r#"{"s":"null"}"#, 1),
        (0, r#"{"s":""}"#, 0),
        (1, r#"{"ids":[1,2]}"#, 2),
        (1, r#"{"ids":[]}"#, 0),
        (1, r#"{"ids":[1,null]}"#, 1),
    ] {
        let told = call(&connector, target, arguments).await.unwrap();
        assert_eq!(told, format!(r#"{{"value":{wanted}}}"#), "{arguments}");
    }
}

#[tokio::test]
async fn a_value_in_the_wrong_form_is_told_with_what_is_allowed() {
    let database = postgres::database().await;
    database.run("create type pair as (a int, b text); create extension hstore").await;
    let pair = json!({ "sql": "select :p::pair as p, :h::hstore as h", "params": { "p": {}, "h": {} } });
    let connector = connector(&database.url, &[("pair", pair)]).await;
    let told = call(&connector, 0, r#"{"p":{"b":"x"},"h":"a=>1"}"#).await.unwrap();
    assert_eq!(told, r#"{"rows":[{"p":{"a":null,"b":"x"},"h":{"a":"1"}}],"rowCount":1}"#);
    let text = call(&connector, 0, r#"{"p":{"c":1},"h":{"a":1}}"#).await.unwrap_err();
    assert!(
        text.contains("an object with the members `a` (an integer in 64 bits), `b` (a string)"),
        "{text}"
    );
    assert!(
        text.contains("`h`: found an object, allowed is an object, each value a string or null"),
        "{text}"
    );
    let input = connector.definitions()[0].input_schema.clone();
    let input: Json = serde_json::from_str(&input.to_string()).unwrap();
    let members = json!({ "a": { "type": "integer" }, "b": { "type": "string" } });
    assert_eq!(input["properties"]["p"]["properties"], members);
}

#[tokio::test]
async fn a_written_database_type_takes_what_its_columns_give() {
    let database = postgres::database().await;
    database.run("create type pair as (a int, b text)").await;
    let postgres = open(&database.url, "");
    let mut source = reading("select $1");
    source.parameters = vec![WrittenType::Database("pair[]".into())];
    let (_, description) = postgres.prepare(&source).await.unwrap();
    assert!(
        matches!(&description.parameters[0].kind, JsonKind::Array(inner) if matches!(**inner, JsonKind::Object(_)))
    );
}
