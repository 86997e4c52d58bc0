//! Pages of a database that counts, through the connector.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_protocol::{Method, Revision, envelope};
use trunkline_service::seal::{self, Purpose, Sealer};
use trunkline_service::{Caller, Service};

use super::*;
use crate::database::{BoxFuture, Column, Description, Dialect, Rows};
use crate::options::{AdHoc, Options};
use crate::tool::Tool;

/// Has the rows `first`, `first + 1` and so on to 250, and keeps nothing open.
#[derive(Debug, Default)]
struct Counting {
    first: AtomicU64,
    runs: AtomicUsize,
    prepares: AtomicUsize,
    /// So many of the next runs find that the statement does not fit any more.
    stale: AtomicUsize,
    /// No statement can be prepared.
    is_changed: AtomicBool,
}

fn wrong() -> DatabaseError {
    DatabaseError::Statement {
        message: "no column n".to_owned(),
        code: Some("42703".to_owned()),
        position: Some(7),
        hint: None,
    }
}

impl Database for Counting {
    type Statement = ();
    const DIALECT: Dialect = Dialect::Postgres;

    fn prepare<'a>(
        &'a self,
        _: &'a StatementSource,
    ) -> BoxFuture<'a, Result<((), Description), DatabaseError>> {
        self.prepares.fetch_add(1, Ordering::SeqCst);
        if self.is_changed.load(Ordering::SeqCst) {
            return Box::pin(async { Err(wrong()) });
        }
        let column = Column { name: "n".into(), schema: Some(json!({ "type": "integer" })), nullable: false };
        Box::pin(async { Ok(((), Description { parameters: Vec::new(), columns: vec![column] })) })
    }

    fn run<'a, W: Rows>(
        &'a self,
        (): &'a (),
        mut run: Run<W>,
    ) -> BoxFuture<'a, Result<Ran<W>, DatabaseError>> {
        let first = self.first.load(Ordering::SeqCst).try_into().unwrap_or(0);
        self.runs.fetch_add(1, Ordering::SeqCst);
        let left = self.stale.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return Box::pin(async { Err(wrong()) });
        }
        Box::pin(async move {
            run.rows.skip(run.page.resume.map_or(0, |resume| resume.sent));
            for n in first..=250_i64 {
                run.rows.begin_row();
                run.rows.integer(n);
                if run.rows.end_row() == ControlFlow::Break(()) {
                    break;
                }
            }
            Ok(Ran { rows: run.rows, affected: None, kept: None })
        })
    }
}

fn connector(keys: &str) -> Arc<SqlConnector<Counting>> {
    let options = Options { max_rows: 100, ad_hoc: AdHoc::ReadOnly, ..Options::default() };
    let file = toml::from_str(&format!("connector = 'shop'\nsql = 'select n'\n{keys}")).unwrap();
    let tool = Tool::resolve("count", file, &options, Dialect::Postgres).unwrap();
    let sealer = Arc::new(Sealer::new(&[[7; 32]]).unwrap());
    SqlConnector::paged("shop", Counting::default(), options, vec![tool], &sealer)
}

fn request(method: Method, target: u32, params: &Json) -> Request {
    request_of(Caller::local(), method, target, params)
}

fn request_of(caller: Arc<Caller>, method: Method, target: u32, params: &Json) -> Request {
    let body = Bytes::from(json!({ "jsonrpc": "2.0", "id": 1, "method": "x", "params": params }).to_string());
    let (_, scanned) = envelope::scan(&body).unwrap();
    let mut request = Request::new(body, &scanned, method, Revision::LATEST, caller, 7);
    request.set_target(target);
    request
}

fn members(reply: &Reply) -> Json {
    serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap())).unwrap()
}

async fn call(connector: &SqlConnector<Counting>, target: u32, arguments: &Json) -> Json {
    let params = json!({ "name": "x", "arguments": arguments });
    members(&connector.call(request(Method::ToolsCall, target, &params)).await.unwrap())
}

async fn read(connector: &SqlConnector<Counting>, uri: &str) -> Result<Json, Failure> {
    Ok(members(&connector.call(request(Method::ResourcesRead, 0, &json!({ "uri": uri }))).await?))
}

#[tokio::test]
async fn a_result_goes_on_where_it_ended_and_says_so_everywhere() {
    let connector = connector("");
    assert_eq!(connector.learn().await, []);
    let definition = &connector.definitions()[0];
    assert_eq!(definition.input_schema["properties"]["cursor"]["type"], "string");
    let schema = jsonschema::validator_for(definition.output_schema.as_ref().unwrap()).unwrap();
    let (mut cursor, mut seen) = (Json::Null, Vec::new());
    for _ in 0..3 {
        let result = call(&connector, 0, &json!({ "cursor": cursor })).await;
        let content = &result["structuredContent"];
        schema.validate(content).unwrap();
        let twin: Json = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(twin, *content);
        assert_eq!(result["content"][1]["type"].is_null(), content["nextCursor"].is_null());
        seen.extend(content["rows"].as_array().unwrap().iter().map(|row| row["n"].as_u64().unwrap()));
        cursor = content["nextCursor"].clone();
    }
    assert_eq!(cursor, Json::Null);
    assert_eq!(seen, (0..=250).collect::<Vec<u64>>());
}

#[tokio::test]
async fn rows_that_changed_since_are_not_taken_for_the_rest() {
    let connector = connector("");
    let first = call(&connector, 0, &json!({})).await;
    let next = json!({ "cursor": first["structuredContent"]["nextCursor"] });
    let link = first["content"][1]["uri"].as_str().unwrap();
    connector.database().first.store(5, Ordering::SeqCst);
    let changed = call(&connector, 0, &next).await;
    assert_eq!(changed["isError"], true);
    assert!(changed["content"][0]["text"].as_str().unwrap().contains("the rows changed since the last page"));
    assert!(read(&connector, link).await.unwrap_err().public().contains("the rows changed"));
    connector.database().first.store(200, Ordering::SeqCst);
    assert_eq!(call(&connector, 0, &next).await["isError"], true, "it has fewer rows now");
}

#[tokio::test]
async fn the_text_of_a_table_tells_the_cursor_too() {
    for text in ["csv", "markdown"] {
        let result = call(&connector(&format!("text = '{text}'")), 0, &json!({})).await;
        let cursor = result["structuredContent"]["nextCursor"].as_str().unwrap();
        assert!(
            result["content"][0]["text"].as_str().unwrap().ends_with(&format!("\nnextCursor: {cursor}\n"))
        );
    }
}

#[tokio::test]
async fn a_parameter_named_cursor_keeps_its_meaning() {
    let options = Options { max_rows: 100, ..Options::default() };
    let file = toml::from_str("connector = 'shop'\nsql = 'select :cursor'").unwrap();
    let mut tool = Tool::resolve("count", file, &options, Dialect::Postgres).unwrap();
    tool.turn_pages_on();
    assert!(!tool.has_pages);
    for keys in ["returns = 'row'", "returns = 'value'"] {
        let connector = connector(keys);
        assert_eq!(connector.definitions()[0].input_schema["properties"].get("cursor"), None);
        let refused = call(&connector, 0, &json!({ "cursor": "x" })).await;
        assert!(refused["content"][0]["text"].as_str().unwrap().contains("`cursor` is no parameter"));
    }
}

#[tokio::test]
async fn the_rest_is_read_as_csv_or_as_lines_of_json_of_declared_and_own_statements() {
    let connector = connector("");
    let template = &connector.templates()[0];
    assert_eq!(template.uri_template, "postgres://shop/results/{format}/{page}");
    for (target, arguments) in [(0, json!({})), (1, json!({ "sql": "select n" }))] {
        let first = call(&connector, target, &arguments).await;
        let uri = first["content"][1]["uri"].as_str().unwrap();
        let csv = read(&connector, uri).await.unwrap();
        let text = csv["contents"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("n\n100\n101\n") && text.ends_with("\n250\n"), "{text}");
        assert_eq!(csv["contents"][0]["mimeType"], "text/csv");
        assert_eq!(csv["contents"][0].get("_meta"), None, "there is no more");
        let lines = read(&connector, &uri.replace("/csv/", "/jsonl/")).await.unwrap();
        let text = lines["contents"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("{\"n\":100}\n{\"n\":101}\n") && text.ends_with("{\"n\":250}\n"), "{text}");
        assert_eq!(text.lines().count(), 151);
    }
    let runs = connector.database().runs.load(Ordering::SeqCst);
    for uri in ["postgres://shop/results/csv/x", "postgres://barn/results/csv/x", "postgres://shop/t"] {
        assert!(read(&connector, uri).await.is_err(), "{uri}");
    }
    assert_eq!(connector.database().runs.load(Ordering::SeqCst), runs, "nothing ran for those");
}

#[tokio::test]
async fn a_link_holds_until_its_end_and_for_its_caller_and_says_so_when_it_does_not() {
    let connector = connector("");
    let sealer = Sealer::new(&[[7; 32]]).unwrap();
    let identity = Caller::local().identity();
    let gone = "the link has expired or is not of this caller; call the tool again for a new one";
    for (target, arguments) in [(0, json!({})), (1, json!({ "sql": "select n" }))] {
        let first = call(&connector, target, &arguments).await;
        let uri = first["content"][1]["uri"].as_str().unwrap();
        let (root, sealed) = uri.rsplit_once('/').unwrap();
        // What is in it, sealed anew: an end is the only thing that differs.
        let held = sealer.open(Purpose::Results, &identity, sealed.as_bytes()).unwrap();
        let until = |expires: u64| {
            let sealed = sealer.seal(Purpose::Results, &identity, Some(expires), &held).unwrap();
            format!("{root}/{sealed}")
        };
        assert!(read(&connector, &until(seal::now() + 60)).await.is_ok());
        let ran = connector.database().runs.load(Ordering::SeqCst);
        for past in [1, 60, 86_400] {
            let failure = read(&connector, &until(seal::now() - past)).await.unwrap_err();
            assert_eq!((failure.kind(), failure.public()), (FailureKind::ResourceNotFound, gone));
        }
        let bob = Arc::new(Caller { subject: "bob".into(), ..Caller::default() });
        let params = json!({ "uri": uri });
        let foreign = connector.call(request_of(bob, Method::ResourcesRead, 0, &params)).await.unwrap_err();
        assert_eq!((foreign.kind(), foreign.public()), (FailureKind::ResourceNotFound, gone));
        assert!(foreign.data().is_some_and(|data| serde_json::from_slice::<Json>(data).unwrap() == params));
        assert_eq!(connector.database().runs.load(Ordering::SeqCst), ran, "nothing ran for those");
    }
}

#[tokio::test]
async fn a_link_of_a_tool_that_has_changed_since_is_refused() {
    let before = call(&connector(""), 0, &json!({})).await;
    let uri = before["content"][1]["uri"].as_str().unwrap();
    let options = Options { max_rows: 100, ..Options::default() };
    let sealer = Arc::new(Sealer::new(&[[7; 32]]).unwrap());
    for (name, sql) in [("count", "select n + 1"), ("other", "select n")] {
        let file = serde_json::from_value(json!({ "connector": "shop", "sql": sql })).unwrap();
        let tool = Tool::resolve(name, file, &options, Dialect::Postgres).unwrap();
        let changed = SqlConnector::paged("shop", Counting::default(), options.clone(), vec![tool], &sealer);
        let failure = read(&changed, uri).await.unwrap_err();
        assert!(failure.public().starts_with("the tool of this link has changed or is gone"), "{failure}");
        assert_eq!(changed.database().runs.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_link_learns_a_statement_anew_that_the_database_was_changed_under() {
    let connector = connector("");
    let first = call(&connector, 0, &json!({})).await;
    let uri = first["content"][1]["uri"].as_str().unwrap();
    connector.database().stale.store(1, Ordering::SeqCst);
    let rest = read(&connector, uri).await.unwrap();
    assert!(rest["contents"][0]["text"].as_str().unwrap().starts_with("n\n100\n"));
    assert_eq!(connector.database().prepares.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_link_tells_what_a_call_would_tell() {
    let connector = connector("");
    let uris = async |target, arguments: Json| {
        let first = call(&connector, target, &arguments).await;
        first["content"][1]["uri"].as_str().unwrap().to_owned()
    };
    let (declared, own) = (uris(0, json!({})).await, uris(1, json!({ "sql": "select n" })).await);
    connector.database().is_changed.store(true, Ordering::SeqCst);
    connector.database().stale.store(2, Ordering::SeqCst);
    for (target, arguments, uri, kind) in [
        (0, json!({}), declared, FailureKind::Configuration),
        (1, json!({ "sql": "select n" }), own, FailureKind::InvalidParams),
    ] {
        let failure = read(&connector, &uri).await.unwrap_err();
        let called = call(&connector, target, &arguments).await;
        // What is in the log under the request's number, the edge ends with it.
        let number = if kind.is_numbered() { " (request 0000000000000007)" } else { "" };
        assert_eq!(called["content"][0]["text"], format!("{}{number}", failure.public()));
        assert_eq!(failure.kind(), kind, "{failure}");
        assert!(!failure.public().contains("does not answer"), "{failure}");
    }
    // Before its first prepare, too: another process may have given the link.
    let late = self::connector("");
    late.database().is_changed.store(true, Ordering::SeqCst);
    let first = call(&self::connector(""), 0, &json!({})).await;
    let failure = read(&late, first["content"][1]["uri"].as_str().unwrap()).await.unwrap_err();
    assert!(failure.public().contains("does not fit the database"), "{failure}");
}

#[tokio::test]
async fn a_connector_without_keys_has_no_pages() {
    let options = Options { max_rows: 100, ..Options::default() };
    let file = toml::from_str("connector = 'shop'\nsql = 'select n'").unwrap();
    let tool = Tool::resolve("count", file, &options, Dialect::Postgres).unwrap();
    let connector = SqlConnector::new("shop", Counting::default(), options, vec![tool]);
    let result = call(&connector, 0, &json!({})).await;
    assert_eq!(result["structuredContent"]["truncated"], true);
    assert_eq!(result["structuredContent"].get("nextCursor"), None);
    assert!(connector.templates().is_empty());
}
