//! Calls through a database that answers as each test says.

use std::fmt;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_protocol::{Message, Method, Revision, scan};
use trunkline_service::Caller;

use super::*;
use crate::database::{BoxFuture, Column, Description, Dialect, ParameterType, Ran, Rows, StatementSource};
use crate::value::{JsonKind, Value};

type Prepare = dyn Fn(usize, &StatementSource) -> Result<Description, DatabaseError> + Send + Sync;
type Execute = dyn Fn(usize, &[Value]) -> Result<i64, DatabaseError> + Send + Sync;

/// Answers its n-th prepare and its n-th run as it is told; a result is one row of one integer for each column.
struct Fake {
    prepare: Box<Prepare>,
    execute: Box<Execute>,
    prepares: AtomicUsize,
    runs: AtomicUsize,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").finish_non_exhaustive()
    }
}

impl Database for Fake {
    type Statement = usize;
    const DIALECT: Dialect = Dialect::Postgres;

    fn prepare<'a>(
        &'a self,
        source: &'a StatementSource,
    ) -> BoxFuture<'a, Result<(usize, Description), DatabaseError>> {
        let number = self.prepares.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let description = (self.prepare)(number, source)?;
            Ok((description.columns.len(), description))
        })
    }

    fn run<'a, W: Rows>(
        &'a self,
        columns: &'a usize,
        mut run: Run<W>,
    ) -> BoxFuture<'a, Result<Ran<W>, DatabaseError>> {
        let number = self.runs.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let value = (self.execute)(number, &run.values)?;
            if *columns > 0 {
                run.rows.begin_row();
                (0..*columns).for_each(|_| run.rows.integer(value));
                let _ = run.rows.end_row();
            }
            Ok(Ran { rows: run.rows, affected: Some(3), kept: None })
        })
    }
}

fn described(columns: &[&str]) -> Description {
    let integer = ParameterType {
        kind: JsonKind::Integer,
        labels: None,
        format: None,
        range: None,
        name: Some("int8".into()),
    };
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        schema: Some(json!({ "type": "integer" })),
        nullable: false,
    };
    Description { parameters: vec![integer], columns: columns.iter().map(column).collect() }
}

fn down() -> DatabaseError {
    DatabaseError::Unreachable { address: "10.0.0.7:5432".into(), source: "refused".into(), sent: true }
}

fn wrong() -> DatabaseError {
    DatabaseError::Statement {
        message: "cached plan must not change result type".into(),
        code: Some("0A000".into()),
        position: None,
        hint: None,
    }
}

fn connector(
    sql: &str,
    options: Options,
    prepare: impl Fn(usize, &StatementSource) -> Result<Description, DatabaseError> + Send + Sync + 'static,
    execute: impl Fn(usize, &[Value]) -> Result<i64, DatabaseError> + Send + Sync + 'static,
) -> Arc<SqlConnector<Fake>> {
    let access = if options.access == Access::ReadWrite { "read-write" } else { "read-only" };
    let file = toml::from_str(&format!("connector = 'shop'\nsql = '{sql}'\naccess = '{access}'")).unwrap();
    let tool = Tool::resolve("get", file, &options, Dialect::Postgres).unwrap();
    let fake = Fake {
        prepare: Box::new(prepare),
        execute: Box::new(execute),
        prepares: AtomicUsize::new(0),
        runs: AtomicUsize::new(0),
    };
    SqlConnector::new("shop", fake, options, vec![tool])
}

fn request(target: u32, arguments: &str) -> Request {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"get","arguments":{arguments}}}}}"#
    );
    let body = Bytes::from(body);
    let Ok((Message::Request, envelope)) = scan(&body) else { panic!("no request") };
    let mut request =
        Request::new(body.clone(), &envelope, Method::ToolsCall, Revision::LATEST, Caller::local(), 0xab);
    request.set_target(target);
    request
}

async fn call(connector: &SqlConnector<Fake>, target: u32, arguments: &str) -> Json {
    let reply = connector.call(request(target, arguments)).await.unwrap();
    serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap())).unwrap()
}

fn text(result: &Json) -> &str {
    assert_eq!(result["isError"], true, "{result}");
    result["content"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn a_tool_is_told_by_the_file_until_the_database_was_asked() {
    let connector = connector("select :id", Options::default(), |_, _| Ok(described(&["a"])), |_, _| Ok(5));
    let before = &connector.definitions()[0];
    assert!(!connector.is_ready() && connector.generation() == 0);
    assert_eq!(before.output_schema, None);
    assert_eq!(before.input_schema["properties"]["id"], json!({ "type": "string", "description": "id" }));
    assert_eq!(connector.learn().await, []);
    let after = &connector.definitions()[0];
    assert!(connector.is_ready() && connector.generation() == 1);
    assert_eq!(after.input_schema["properties"]["id"]["type"], "integer");
    assert_eq!(
        after.output_schema.as_ref().unwrap()["properties"]["rows"]["items"]["required"],
        json!(["a"])
    );
    assert_eq!(connector.learn().await, []);
    assert_eq!(connector.database().prepares.load(Ordering::SeqCst), 1, "nothing is prepared twice");
}

#[tokio::test]
async fn the_first_calls_share_one_prepare_and_all_are_answered() {
    let connector = connector(
        "select :id",
        Options::default(),
        |_, _| Ok(described(&["a"])),
        |_, values| {
            let Value::Integer(value) = values[0] else { panic!("{values:?}") };
            Ok(value)
        },
    );
    let results = tokio::join!(
        call(&connector, 0, r#"{"id":1}"#),
        call(&connector, 0, r#"{"id":"2"}"#),
        call(&connector, 0, r#"{"id":"x"}"#)
    );
    assert_eq!(results.0["structuredContent"], json!({ "rows": [{ "a": 1 }], "rowCount": 1 }));
    assert_eq!(results.1["structuredContent"]["rows"][0]["a"], 2);
    assert!(text(&results.2).contains("`id`: found the string `x`"));
    assert_eq!(connector.database().prepares.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_asked_once_for_all_who_wait_and_again_later() {
    let connector = connector(
        "select :id",
        Options::default(),
        |number, _| if number == 0 { Err(down()) } else { Ok(described(&["a"])) },
        |_, _| Ok(1),
    );
    let (first, second) =
        tokio::join!(call(&connector, 0, r#"{"id":1}"#), call(&connector, 0, r#"{"id":1}"#));
    for result in [&first, &second] {
        assert_eq!(text(result), "the database does not answer; try again later (request 00000000000000ab)");
    }
    assert_eq!(call(&connector, 0, r#"{"id":1}"#).await["isError"], false);
    assert_eq!(connector.generation(), 1);
}

#[tokio::test]
async fn learning_tells_the_place_of_a_typo_and_what_did_not_answer() {
    let typo = |_: usize, source: &StatementSource| {
        let position = source.sql.find("nmae");
        Err(DatabaseError::Statement {
            message: "column \"nmae\" does not exist".into(),
            code: None,
            position,
            hint: Some("try name".into()),
        })
    };
    let sql = "select :customer_id, nmae from t";
    let problems = connector(sql, Options::default(), typo, |_, _| Ok(1)).learn().await;
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].path.join("."), problems[0].offset), ("tools.get.sql".into(), sql.find("nmae")));
    assert_eq!(problems[0].help.as_deref(), Some("try name"));
    let problems = connector(sql, Options::default(), |_, _| Err(down()), |_, _| Ok(1)).learn().await;
    assert_eq!(problems[0].path, ["connectors", "shop"]);
    assert!(
        problems[0].severity == Severity::Unavailable && problems[0].message.contains("refused"),
        "{problems:?}"
    );
    let problems =
        connector(sql, Options::default(), |_, _| Ok(described(&["a", "a"])), |_, _| Ok(1)).learn().await;
    assert!(problems[0].message.contains("two columns are named `a`"), "{problems:?}");
}

#[tokio::test]
async fn a_statement_whose_table_changed_is_learned_anew_and_a_read_runs_again() {
    let columns: [&[&str]; 2] = [&["a"], &["a", "b"]];
    let prepare = move |number: usize, _: &StatementSource| Ok(described(columns[number.min(1)]));
    let execute = |number: usize, _: &[Value]| if number == 0 { Err(wrong()) } else { Ok(1) };
    let reading = connector("select :id", Options::default(), prepare, execute);
    let result = call(&reading, 0, r#"{"id":1}"#).await;
    assert_eq!(result["structuredContent"]["rows"], json!([{ "a": 1, "b": 1 }]));
    assert_eq!(reading.generation(), 2);
    let writing = connector(
        "delete :id",
        Options { access: Access::ReadWrite, ..Options::default() },
        prepare,
        execute,
    );
    let result = call(&writing, 0, r#"{"id":1}"#).await;
    assert!(text(&result).contains("does not fit the database any more"));
    assert_eq!(writing.database().runs.load(Ordering::SeqCst), 1, "a change is never made twice");
    let result = call(&writing, 0, r#"{"id":1}"#).await;
    assert_eq!(result["structuredContent"], json!({ "affected": 3, "rows": [{ "a": 1, "b": 1 }] }));
}

#[tokio::test]
async fn calls_that_fail_together_share_one_prepare() {
    const CALLS: usize = 200;
    let execute = |number: usize, _: &[Value]| if number < CALLS { Err(wrong()) } else { Ok(1) };
    let connector = connector("select :id", Options::default(), |_, _| Ok(described(&["a"])), execute);
    let calls = (0..CALLS).map(|_| call(&connector, 0, r#"{"id":1}"#));
    for result in join_all(calls).await {
        assert_eq!(result["isError"], false, "{result}");
    }
    assert_eq!(connector.database().prepares.load(Ordering::SeqCst), 2);
    assert_eq!(connector.database().runs.load(Ordering::SeqCst), 2 * CALLS);
}

#[tokio::test]
async fn a_change_that_was_never_sent_is_not_said_to_be_perhaps_made() {
    let options = Options { access: Access::ReadWrite, ..Options::default() };
    let never = connector("delete :id", options.clone(), |_, _| Err(down()), |_, _| Ok(1));
    let result = call(&never, 0, r#"{"id":1}"#).await;
    let unchanged =
        "the database does not answer, so nothing was changed; try again later (request 00000000000000ab)";
    assert_eq!(text(&result), unchanged);
    let refused = |_: usize, _: &[Value]| {
        Err(DatabaseError::Unreachable { address: "a".into(), source: "refused".into(), sent: false })
    };
    let refused = connector("delete :id", options.clone(), |_, _| Ok(described(&[])), refused);
    assert_eq!(text(&call(&refused, 0, r#"{"id":1}"#).await), unchanged);
    let sent = connector("delete :id", options, |_, _| Ok(described(&[])), |_, _| Err(down()));
    assert!(text(&call(&sent, 0, r#"{"id":1}"#).await).contains("is not known"));
}

#[tokio::test]
async fn the_ad_hoc_tool_runs_what_it_is_given_and_tells_all_about_failures() {
    let options = Options { ad_hoc: AdHoc::ReadOnly, ..Options::default() };
    let prepare = |_: usize, source: &StatementSource| match source.sql.as_str() {
        "select 1" => Ok(Description { parameters: vec![], ..described(&["a", "a"]) }),
        "select :x" => Ok(described(&["a"])),
        other => Err(DatabaseError::Statement {
            message: "syntax error".into(),
            code: Some("42601".into()),
            position: other.find('!'),
            hint: None,
        }),
    };
    let connector = connector("select 1", options.clone(), prepare, |_, _| Ok(1));
    let tool = connector.definitions().pop().unwrap();
    assert_eq!(tool.name.as_str(), "shop_query");
    assert_eq!(tool.input_schema["required"], json!(["sql"]));
    assert!(tool.description.contains("PostgreSQL") && tool.annotations.read_only);
    let result = call(&connector, 1, r#"{"sql":"select 1"}"#).await;
    assert_eq!(result["structuredContent"]["rows"], json!([{ "a": 1, "a_2": 1 }]));
    jsonschema::validate(tool.output_schema.as_ref().unwrap(), &result["structuredContent"]).unwrap();
    let result = call(&connector, 1, r#"{"sql":"select\n !"}"#).await;
    assert_eq!(
        text(&result),
        "the database does not accept the statement: syntax error (42601) at line 2, column 2"
    );
    assert!(text(&call(&connector, 1, r#"{"sql":"select :x"}"#).await).contains("has parameters"));
    assert!(text(&call(&connector, 1, "{}").await).contains("`sql` is required"));
    let named = |prefix: &str| {
        let options = Options { prefix: Some(prefix.into()), ..options.clone() };
        connector_named(options)
    };
    assert_eq!(named("").definitions()[0].name.as_str(), "query");
    assert_eq!(named("a b").learn().await[0].path, ["connectors", "shop", "prefix"]);
}

fn connector_named(options: Options) -> Arc<SqlConnector<Fake>> {
    let fake = Fake {
        prepare: Box::new(|_, _| Err(down())),
        execute: Box::new(|_, _| Ok(1)),
        prepares: AtomicUsize::new(0),
        runs: AtomicUsize::new(0),
    };
    SqlConnector::new("shop", fake, options, vec![])
}

#[tokio::test]
async fn the_nearest_bound_ends_the_wait_for_a_database() {
    let options = Options { deadline: Some(Duration::from_millis(200)), ..Options::default() };
    let connector = connector("select :id", options, |_, _| Ok(described(&["a"])), |_, _| Ok(1));
    let request = request(0, "{}");
    let own = connector.deadline(&request, Some(Duration::from_millis(50)));
    assert!(own <= Instant::now() + Duration::from_millis(50));
    let soon = Instant::now();
    assert_eq!(
        connector.deadline(&request.with_time(trunkline_service::TimeAllowed::Until(soon)), None),
        soon
    );
}

#[tokio::test]
async fn a_number_that_is_no_tool_is_an_answer_too() {
    let connector = connector("select :id", Options::default(), |_, _| Ok(described(&["a"])), |_, _| Ok(1));
    assert!(text(&call(&connector, 1, "{}").await).contains("list the tools again"));
}
