//! From the bytes of a request to the bytes of a result, through the connector.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_protocol::{Method, Revision, envelope};
use trunkline_service::{Caller, Request, Service};
use trunkline_sql::file::ToolFile;
use trunkline_sql::{Database, Severity, SqlConnector, Tool};
use trunkline_sqlite::{Sqlite, SqliteFile};

use crate::support::Folder;

fn connector(folder: &Folder, section: Json, tools: &[(&str, Json)]) -> Arc<SqlConnector<Sqlite>> {
    let mut section = section;
    section["path"] = folder.path.to_str().unwrap().into();
    let file: SqliteFile = serde_json::from_value(section).unwrap();
    let (database, options) = file.resolve("shop").unwrap();
    let tools = tools.iter().map(|(name, tool)| {
        let mut tool = tool.clone();
        tool["connector"] = "shop".into();
        let file: ToolFile = serde_json::from_value(tool).unwrap();
        Tool::resolve(name, file, &options, Sqlite::DIALECT).unwrap()
    });
    let tools = tools.collect();
    SqlConnector::new("shop", database, options, tools)
}

/// Calls the tool of that number; returns whether it failed, and `structuredContent` or the text.
async fn call(connector: &SqlConnector<Sqlite>, target: u32, arguments: &str) -> (bool, Json) {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","arguments":{arguments}}}}}"#
    );
    let body = Bytes::from(body);
    let (_, scanned) = envelope::scan(&body).unwrap();
    let mut request = Request::new(body, &scanned, Method::ToolsCall, Revision::LATEST, Caller::local(), 1)
        .with_time(trunkline_service::TimeAllowed::Within(Duration::from_secs(5)));
    request.set_target(target);
    let reply = connector.call(request).await.unwrap();
    let members: Json =
        serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap())).unwrap();
    let content =
        if reply.is_error() { &members["content"][0]["text"] } else { &members["structuredContent"] };
    (reply.is_error(), content.clone())
}

#[tokio::test]
async fn a_declared_tool_answers_with_rows() {
    let folder = Folder::with(
        "CREATE TABLE c(id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT; \
         INSERT INTO c VALUES (1, 'Ann Smith'), (2, '100% Smith'), (3, 'Bo'), (9007199254740993, 'Big Smith')",
    );
    let search = json!({
        "sql": "select id, name from c where name like :pattern escape '\\' order by id limit :limit",
        "params": {
            "query": { "type": "string", "min-length": 1 },
            "pattern": { "type": "string", "from": "'%' + like_escape(args.query) + '%'" },
            "limit": { "default": 10, "minimum": 1, "maximum": 100 },
        },
    });
    let connector = connector(&folder, json!({}), &[("search", search)]);
    assert_eq!(connector.learn().await, []);
    let (_, found) = call(&connector, 0, r#"{"query":"Smith"}"#).await;
    assert_eq!(
        found,
        json!({ "rows": [
            { "id": 1, "name": "Ann Smith" }, { "id": 2, "name": "100% Smith" }, { "id": "9007199254740993", "name": "Big Smith" },
        ], "rowCount": 3 })
    );
    let (_, found) = call(&connector, 0, r#"{"query":"0%"}"#).await;
    assert_eq!(found["rowCount"], 1);
    let (failed, text) = call(&connector, 0, r#"{"query":"Smith","pattern":"%"}"#).await;
    assert!(failed && text.as_str().unwrap().contains("pattern"), "{text}");
    let schema = connector.definitions()[0].output_schema.clone().unwrap();
    let row = &schema["properties"]["rows"]["items"]["properties"];
    assert_eq!(row["name"]["type"], "string", "{schema}");
}

#[tokio::test]
async fn a_long_result_goes_on_by_running_again() {
    let folder = Folder::with(
        "CREATE TABLE c(id INTEGER PRIMARY KEY) STRICT; \
         WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 250) INSERT INTO c SELECT x FROM n",
    );
    let file: SqliteFile = serde_json::from_value(
        json!({ "path": folder.path.to_str().unwrap(), "max-rows": 100, "ad-hoc-sql": "read-only" }),
    )
    .unwrap();
    let (database, options) = file.resolve("shop").unwrap();
    let tool: ToolFile =
        serde_json::from_value(json!({ "connector": "shop", "sql": "select id from c order by id" }))
            .unwrap();
    let tool = Tool::resolve("list", tool, &options, Sqlite::DIALECT).unwrap();
    let sealer = Arc::new(trunkline_service::seal::Sealer::random().unwrap());
    let connector = SqlConnector::paged("shop", database, options, vec![tool], &sealer);
    assert_eq!(connector.learn().await, []);
    assert_eq!(connector.templates()[0].uri_template, "sqlite://shop/results/{format}/{page}");
    for (target, own) in [(0, ""), (1, r#""sql":"select id from c order by id","#)] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let (failed, page) = call(&connector, target, &format!("{{{own}\"cursor\":\"{cursor}\"}}")).await;
            assert!(!failed, "{page}");
            seen.extend(page["rows"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, (1..=250).collect::<Vec<u64>>());
    }
    let (_, first) = call(&connector, 0, "{}").await;
    folder.fill("UPDATE c SET id = 1000 WHERE id = 100");
    let again = format!("{{\"cursor\":{}}}", first["nextCursor"]);
    let (failed, text) = call(&connector, 0, &again).await;
    assert!(failed && text.as_str().unwrap().contains("the rows changed since the last page"), "{text}");
}

#[tokio::test]
async fn missing_null_and_the_word_null_arrive_as_sent() {
    let folder = Folder::with("CREATE TABLE t(s TEXT); INSERT INTO t VALUES ('a'), ('null'), (NULL)");
    let count = json!({
        "sql": "select count(*) from t where (:s is null or s = :s)",
        "returns": "value",
        "params": { "s": { "type": "string", "nullable": true, "required": false } },
    });
    let connector = connector(&folder, json!({}), &[("count", count)]);
    assert_eq!(connector.learn().await, []);
    for (arguments, wanted) in [("{}", 3), (r#"{"s":null}"#, 3), (r#"{"s":"null"}"#, 1), (r#"{"s":""}"#, 0)] {
        assert_eq!(call(&connector, 0, arguments).await, (false, json!({ "value": wanted })), "{arguments}");
    }
}

#[tokio::test]
async fn a_typo_is_a_problem_of_the_file_with_its_place() {
    let folder = Folder::with("CREATE TABLE t(name TEXT)");
    let typo =
        json!({ "sql": "select name from t where nmae = :n", "params": { "n": { "type": "string" } } });
    let connector = connector(&folder, json!({}), &[("typo", typo)]);
    let problems = connector.learn().await;
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(
        (problem.path.join("."), problem.offset, problem.severity == Severity::Unavailable),
        ("tools.typo.sql".into(), Some(25), false)
    );
    assert!(problem.message.contains("no such column: nmae"), "{problem:?}");
}

#[tokio::test]
async fn sl_01_an_ad_hoc_tool_only_reads() {
    let folder = Folder::with("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    let before = folder.contents();
    let connector = connector(&folder, json!({ "ad-hoc-sql": "read-only", "access": "read-write" }), &[]);
    assert_eq!(connector.definitions()[0].name.as_str(), "shop_query");
    let ask = async |sql: &str| call(&connector, 0, &json!({ "sql": sql }).to_string()).await;
    assert_eq!(ask("SELECT a FROM t").await, (false, json!({ "rows": [{ "a": 1 }], "rowCount": 1 })));
    assert_eq!(ask("SELECT 1 AS a, 2 AS a").await.1["rows"], json!([{ "a": 1, "a_2": 2 }]));
    for sql in [
        "DELETE FROM t",
        "SELECT 1; DELETE FROM t",
        "ATTACH 'e.db' AS e",
        "VACUUM INTO 'c.db'",
        "PRAGMA query_only=OFF",
        "PRAGMA user_version(7)",
        "SELECT load_extension('x')",
    ] {
        let (failed, text) = ask(sql).await;
        assert!(failed, "{sql}: {text}");
        let text = text.as_str().unwrap();
        assert!(!text.contains(folder.directory.path().to_str().unwrap()), "{text}");
    }
    assert_eq!(folder.contents(), before);
}

#[tokio::test]
async fn sl_02_dynamic_types_in_a_result() {
    let folder = Folder::with(
        "CREATE TABLE t(i INTEGER, r REAL, b BLOB, s TEXT); \
         INSERT INTO t VALUES (9007199254740993, 9e999, x'00ff10', 'é'), ('abc', 1.0, 'txt', CAST(x'c3' AS TEXT))",
    );
    let tools = [
        ("first", json!({ "sql": "select * from t where i > 0 limit 1" })),
        ("all", json!({ "sql": "select * from t" })),
    ];
    let connector = connector(&folder, json!({ "ad-hoc-sql": "read-only" }), &tools);
    let (failed, found) = call(&connector, 0, "{}").await;
    assert!(!failed, "{found}");
    assert_eq!(found["rows"], json!([{ "i": "9007199254740993", "r": "Infinity", "b": "AP8Q", "s": "é" }]));
    for (target, arguments) in [(1, "{}"), (2, r#"{"sql":"select * from t"}"#)] {
        let (failed, text) = call(&connector, target, arguments).await;
        let text = text.as_str().unwrap();
        assert!(failed && text.contains("row 2, column `s`") && text.contains("`hex(s)`"), "{text}");
        assert!(!text.contains("ww=="), "{text}");
    }
    let (failed, found) = call(&connector, 2, r#"{"sql":"select hex(s) as h from t"}"#).await;
    assert!(!failed && found["rows"][1]["h"] == "C3", "{found}");
}

#[tokio::test]
async fn a_list_of_integers_sent_as_strings_finds_integers() {
    let folder = Folder::with("CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3)");
    let tool = json!({
        "sql": "select count(*) from t where a in (select value from json_each(:ids))",
        "returns": "value",
        "params": { "ids": { "type": "array", "items": "integer" } },
    });
    let connector = connector(&folder, json!({}), &[("count", tool)]);
    assert_eq!(connector.learn().await, []);
    for arguments in [r#"{"ids":[1,2]}"#, r#"{"ids":["1","2"]}"#, r#"{"ids":"[1,\"2\"]"}"#] {
        assert_eq!(call(&connector, 0, arguments).await, (false, json!({ "value": 2 })), "{arguments}");
    }
}

#[tokio::test]
async fn a_parameter_may_be_written_with_the_databases_own_type() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let tool =
        json!({ "sql": "select typeof(:a)", "returns": "value", "params": { "a": { "type": "INTEGER" } } });
    let connector = connector(&folder, json!({}), &[("kind", tool)]);
    assert_eq!(connector.learn().await, []);
    assert_eq!(call(&connector, 0, r#"{"a":1}"#).await, (false, json!({ "value": "integer" })));
}

#[tokio::test]
async fn a_write_needs_both_connector_and_tool() {
    let folder = Folder::with("CREATE TABLE t(a)");
    let insert = json!({
        "sql": "insert into t values (:a) returning a",
        "access": "read-write",
        "params": { "a": { "type": "integer" } },
    });
    let connector = connector(&folder, json!({ "access": "read-write" }), &[("add", insert.clone())]);
    let (failed, found) = call(&connector, 0, r#"{"a":"7"}"#).await;
    assert!(!failed, "{found}");
    assert_eq!((&found["affected"], &found["rows"]), (&json!(1), &json!([{ "a": 7 }])));
    let mut reading = insert;
    reading["access"] = "read-only".into();
    let connector = self::connector(&folder, json!({ "access": "read-write" }), &[("add", reading)]);
    let problems = connector.learn().await;
    assert!(problems.iter().any(|problem| problem.message.contains("insert into `t`")), "{problems:?}");
}

#[tokio::test]
async fn a_tool_whose_database_comes_later_is_listed_and_recovers() {
    let folder = Folder::empty();
    let connector = connector(&folder, json!({}), &[("all", json!({ "sql": "select a from t" }))]);
    let problems = connector.learn().await;
    assert!(problems.iter().all(|problem| problem.severity == Severity::Unavailable) && !problems.is_empty());
    assert_eq!(connector.definitions().len(), 1);
    let (failed, text) = call(&connector, 0, "{}").await;
    assert!(failed && !text.as_str().unwrap().contains("a b.db"), "{text}");
    folder.fill("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    assert_eq!(call(&connector, 0, "{}").await.1["rowCount"], 1);
    assert!(connector.is_ready());
}
