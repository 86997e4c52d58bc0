//! Long results in pages: the open cursor that a page leaves, and what happens when it is gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_postgres::{Postgres, PostgresFile};
use trunkline_protocol::{Method, Revision, envelope};
use trunkline_service::seal::Sealer;
use trunkline_service::{Caller, Failure, Request, Service, TimeAllowed};
use trunkline_sql::file::ToolFile;
use trunkline_sql::{AdHoc, Database, SqlConnector, Tool};
use trunkline_testkit::postgres;

use crate::support::eventually;

pub(crate) type Connector = Arc<SqlConnector<Postgres>>;

/// A connector as a file would say it, with the tools `list` (and what follows) and the ad-hoc tool last.
pub(crate) async fn connector(url: &str, keys: &str, tools: &[(&str, &str)]) -> Connector {
    let sealer = Arc::new(Sealer::new(&[[7; 32]]).unwrap());
    let file: PostgresFile = toml::from_str(&format!("url = {url:?}\n{keys}")).unwrap();
    let (database, mut options) = file.resolve("shop").unwrap();
    options.ad_hoc = AdHoc::ReadOnly;
    let tools = tools.iter().map(|(name, sql)| {
        let file: ToolFile = serde_json::from_value(json!({ "connector": "shop", "sql": sql })).unwrap();
        Tool::resolve(name, file, &options, Postgres::DIALECT).unwrap()
    });
    let tools = tools.collect();
    let connector = SqlConnector::paged("shop", database, options, tools, &sealer);
    crate::support::assert_learned(&connector).await;
    connector
}

pub(crate) fn caller(subject: &str) -> Arc<Caller> {
    Arc::new(Caller { subject: subject.into(), ..Caller::default() })
}

pub(crate) fn request(caller: &Arc<Caller>, method: Method, target: u32, params: &Json) -> Request {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "x", "params": params }).to_string();
    let body = Bytes::from(body);
    let (_, scanned) = envelope::scan(&body).unwrap();
    let mut request = Request::new(body, &scanned, method, Revision::LATEST, Arc::clone(caller), 1)
        .with_time(TimeAllowed::Within(Duration::from_secs(20)));
    request.set_target(target);
    request
}

/// Calls a tool; the whole result.
pub(crate) async fn call(connector: &Connector, caller: &Arc<Caller>, target: u32, arguments: &Json) -> Json {
    let params = json!({ "name": "x", "arguments": arguments });
    let reply = connector.call(request(caller, Method::ToolsCall, target, &params)).await.unwrap();
    serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap())).unwrap()
}

pub(crate) async fn read(connector: &Connector, caller: &Arc<Caller>, uri: &str) -> Result<Json, Failure> {
    let reply = connector.call(request(caller, Method::ResourcesRead, 0, &json!({ "uri": uri }))).await?;
    Ok(serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap())).unwrap())
}

pub(crate) fn content(result: &Json) -> &Json {
    assert_eq!(result["isError"], false, "{result}");
    &result["structuredContent"]
}

pub(crate) fn numbers(content: &Json) -> Vec<i64> {
    content["rows"].as_array().unwrap().iter().map(|row| row["n"].as_i64().unwrap()).collect()
}

pub(crate) fn error(result: &Json) -> &str {
    assert_eq!(result["isError"], true, "{result}");
    result["content"][0]["text"].as_str().unwrap()
}

pub(crate) fn with_cursor(arguments: &Json, cursor: &Json) -> Json {
    let mut arguments = arguments.clone();
    arguments["cursor"] = cursor.clone();
    arguments
}

/// Calls until there is no more; the numbers of all pages and how many pages there were.
pub(crate) async fn all(
    connector: &Connector,
    caller: &Arc<Caller>,
    target: u32,
    arguments: &Json,
) -> (Vec<i64>, u32) {
    let (mut found, mut pages, mut next) = (Vec::new(), 0, arguments.clone());
    loop {
        let result = call(connector, caller, target, &next).await;
        let content = content(&result);
        found.extend(numbers(content));
        pages += 1;
        if content["nextCursor"].is_null() {
            assert!(content["truncated"].is_null(), "{content}");
            return (found, pages);
        }
        assert_eq!(content["truncated"], true);
        next = with_cursor(arguments, &content["nextCursor"]);
    }
}

pub(crate) const SERIES: &str = "select n from generate_series(1, :count::int) n";
pub(crate) const COUNT_OPEN: &str = "select count(*) from pg_stat_activity where state = 'idle in transaction' \
    and datname = current_database() and pid <> pg_backend_pid()";
/// What runs a declared statement when it is asked for.
const OF_TABLE: &str = "select n, s from t order by n";

#[tokio::test]
async fn every_row_comes_exactly_once_and_each_page_fits_the_schema() {
    let database = postgres::database().await;
    let connector = connector(&database.url, "max-rows = 100", &[("list", SERIES)]).await;
    let ann = caller("ann");
    let definition = &connector.definitions()[0];
    assert_eq!(definition.input_schema["properties"]["cursor"]["type"], "string");
    let schema = jsonschema::validator_for(definition.output_schema.as_ref().unwrap()).unwrap();
    // The first run knows nothing of cursors, later ones do; both must give the same.
    for count in [1050, 1050, 1000, 100, 99, 101, 0] {
        let arguments = json!({ "count": count });
        let (found, pages) = all(&connector, &ann, 0, &arguments).await;
        assert_eq!(found, (1..=count).collect::<Vec<i64>>());
        assert_eq!(i64::from(pages), (count.max(1) + 99) / 100, "of {count}");
        let result = call(&connector, &ann, 0, &arguments).await;
        schema.validate(content(&result)).unwrap();
        let twin: Json = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(twin, *content(&result));
    }
}

#[tokio::test]
async fn pages_that_end_by_bytes_lose_nothing() {
    let database = postgres::database().await;
    database
        .run("create table t as select n, repeat('x', (n * 37) % 900) s from generate_series(1, 700) n")
        .await;
    let connector = connector(&database.url, "max-bytes = \"6KB\"", &[("list", OF_TABLE)]).await;
    let ann = caller("ann");
    for _ in 0..2 {
        let (found, pages) = all(&connector, &ann, 0, &json!({})).await;
        assert_eq!(found, (1..=700).collect::<Vec<i64>>());
        assert!(pages > 50, "{pages}");
    }
    let result = call(&connector, &ann, 0, &json!({})).await;
    assert!(content(&result).to_string().len() <= 6000);
}

#[tokio::test]
async fn a_later_page_goes_on_in_the_open_cursor_and_sees_no_later_change() {
    let database = postgres::database().await;
    database.run("create table t as select n, 'a' s from generate_series(1, 300) n").await;
    let connector = connector(&database.url, "max-rows = 100", &[("list", OF_TABLE)]).await;
    let (ann, watcher) = (caller("ann"), database.client().await);
    call(&connector, &ann, 0, &json!({})).await;
    let first = call(&connector, &ann, 0, &json!({})).await;
    assert_eq!(watcher.value(COUNT_OPEN).await.unwrap(), "1");
    database.run("delete from t where n between 50 and 250").await;
    let second = call(&connector, &ann, 0, &with_cursor(&json!({}), &content(&first)["nextCursor"])).await;
    assert_eq!(numbers(content(&second)), (101..=200).collect::<Vec<i64>>(), "as it was at the first page");
    let third = call(&connector, &ann, 0, &with_cursor(&json!({}), &content(&second)["nextCursor"])).await;
    assert_eq!(numbers(content(&third)), (201..=300).collect::<Vec<i64>>());
    eventually(Duration::from_secs(2), async || watcher.value(COUNT_OPEN).await.unwrap() == "0").await;
}

#[tokio::test]
async fn a_page_asked_for_twice_is_given_twice_and_changed_rows_are_refused() {
    let database = postgres::database().await;
    database.run("create table t as select n, 'a' s from generate_series(1, 300) n").await;
    let connector = connector(&database.url, "max-rows = 100", &[("list", OF_TABLE)]).await;
    let ann = caller("ann");
    let first = call(&connector, &ann, 0, &json!({})).await;
    let next = with_cursor(&json!({}), &content(&first)["nextCursor"]);
    let once = call(&connector, &ann, 0, &next).await;
    assert_eq!(numbers(content(&once)), (101..=200).collect::<Vec<i64>>());
    // What was kept went with the first answer: this one runs the statement again.
    let twice = call(&connector, &ann, 0, &next).await;
    assert_eq!(content(&once)["rows"], content(&twice)["rows"]);
    database.run("update t set s = 'b' where n = 100").await;
    let changed = call(&connector, &ann, 0, &next).await;
    assert_eq!(error(&changed), "the rows changed since the last page; call again without `cursor`");
    database.run("delete from t where n > 20").await;
    let shorter = call(&connector, &ann, 0, &next).await;
    assert!(error(&shorter).contains("the rows changed"));
}

#[tokio::test]
async fn a_cursor_is_of_its_caller_its_tool_and_its_arguments() {
    let database = postgres::database().await;
    let tools = [("list", SERIES), ("other", SERIES)];
    let connector = connector(&database.url, "max-rows = 10", &tools).await;
    let (ann, bob) = (caller("ann"), caller("bob"));
    let arguments = json!({ "count": 30 });
    let first = call(&connector, &ann, 0, &arguments).await;
    let cursor = &content(&first)["nextCursor"];
    let next = with_cursor(&arguments, cursor);
    assert!(error(&call(&connector, &bob, 0, &next).await).contains("expired or is not of this caller"));
    assert!(error(&call(&connector, &ann, 1, &next).await).contains("another tool"));
    let others = with_cursor(&json!({ "count": 31 }), cursor);
    assert!(error(&call(&connector, &ann, 0, &others).await).contains("other arguments"));
    let forged = with_cursor(&arguments, &json!("AAAA"));
    assert!(error(&call(&connector, &ann, 0, &forged).await).contains("expired"));
    let number = with_cursor(&arguments, &json!(7));
    assert!(error(&call(&connector, &ann, 0, &number).await).contains("`cursor`: found the number 7"));
    // The same arguments in another spelling are the same arguments.
    let same = json!({ "cursor": cursor, "count": "30" });
    assert_eq!(numbers(content(&call(&connector, &ann, 0, &same).await)), (11..=20).collect::<Vec<i64>>());
    // Hosts that send every optional argument mean nothing by it.
    for nothing in [json!(null), json!("")] {
        let from_start = call(&connector, &ann, 0, &with_cursor(&arguments, &nothing)).await;
        assert_eq!(numbers(content(&from_start))[0], 1);
    }
}

#[tokio::test]
async fn a_callers_own_statement_goes_on_and_must_be_a_plain_query() {
    let database = postgres::database().await;
    database.run("create table t (n int)").await;
    let connector = connector(&database.url, "max-rows = 100", &[]).await;
    let (ann, watcher) = (caller("ann"), database.client().await);
    let series = json!({ "sql": "select n from generate_series(1, 250) n; -- all" });
    assert_eq!(all(&connector, &ann, 0, &series).await.0, (1..=250).collect::<Vec<i64>>());
    let first = call(&connector, &ann, 0, &series).await;
    assert_eq!(watcher.value(COUNT_OPEN).await.unwrap(), "1");
    let wrong = with_cursor(
        &json!({ "sql": "select n + 1 n from generate_series(1, 250) n" }),
        &content(&first)["nextCursor"],
    );
    assert!(error(&call(&connector, &ann, 0, &wrong).await).contains("another tool"));
    let write = json!({ "sql": "with d as (delete from t returning n) select n from d" });
    assert_eq!(call(&connector, &ann, 0, &write).await["isError"], true);
    for sql in
        ["table t", "values (1), (2)", "(select 1 n)", "with recursive r(n) as (select 1) select n from r"]
    {
        let result = call(&connector, &ann, 0, &json!({ "sql": sql })).await;
        assert_eq!(result["isError"], false, "{sql}: {result}");
    }
}

#[tokio::test]
async fn a_long_plan_goes_on_although_no_cursor_can_be_declared_for_it() {
    let database = postgres::database().await;
    let connector = connector(&database.url, "max-rows = 100", &[]).await;
    let ann = caller("ann");
    // Each branch is a line of the plan, and not two of them are the same.
    let branches: Vec<String> =
        (1..=250).map(|n| format!("select oid from pg_class c{n} where relpages = {n}")).collect();
    let sql = format!("explain (costs off) {}", branches.join(" union all "));
    let watcher = database.client().await;
    let arguments = json!({ "sql": sql });
    let (mut lines, mut pages, mut next) = (Vec::new(), 0, arguments.clone());
    loop {
        let result = call(&connector, &ann, 0, &next).await;
        let content = content(&result);
        let rows = content["rows"].as_array().unwrap();
        lines.extend(rows.iter().map(|row| row["QUERY PLAN"].as_str().unwrap().to_owned()));
        pages += 1;
        // It runs again from its first row, and nothing waits for that.
        eventually(Duration::from_secs(2), async || watcher.value(COUNT_OPEN).await.unwrap() == "0").await;
        if content["nextCursor"].is_null() {
            break;
        }
        next = with_cursor(&arguments, &content["nextCursor"]);
    }
    // At least the node above all, and for each branch a scan and its filter.
    assert!(pages == 6 && lines.len() > 2 * 250, "{pages} pages with {} lines", lines.len());
    for n in 1..=250 {
        let scan = format!("Seq Scan on pg_class c{n}");
        assert_eq!(lines.iter().filter(|line| line.ends_with(&scan)).count(), 1, "{scan}");
    }
}

#[tokio::test]
async fn errors_tell_the_place_in_the_callers_own_words() {
    let database = postgres::database().await;
    let connector = connector(&database.url, "", &[]).await;
    let ann = caller("ann");
    let late = json!({ "sql": "select 1 / (n - 30) n from generate_series(1, 100) n" });
    assert!(error(&call(&connector, &ann, 0, &late).await).contains("division by zero"));
    // And the connection is fit for the next.
    let (found, _) = all(&connector, &ann, 0, &json!({ "sql": "select 1 n" })).await;
    assert_eq!(found, [1]);
}

#[tokio::test]
async fn parameters_and_unfamiliar_types_go_through_a_cursor() {
    let database = postgres::database().await;
    database.run("create type mood as enum ('ok', 'bad'); create table t (n int, m mood, p point, a numeric[]); insert into t select n, 'ok', point(n, 1), array[n, 0.50] from generate_series(1, 250) n").await;
    let sql = "select n, m, p, a from t where m = :mood and n = any(:numbers) and a[1] < :most order by n";
    let connector = connector(&database.url, "max-rows = 100", &[("list", sql)]).await;
    let numbers: Vec<i64> = (1..=250).filter(|n| n % 2 == 0).collect();
    let arguments = json!({ "mood": "ok", "numbers": numbers, "most": "249.5" });
    let ann = caller("ann");
    for _ in 0..2 {
        let (found, pages) = all(&connector, &ann, 0, &arguments).await;
        assert_eq!((found.len(), pages), (124, 2));
        let page = call(&connector, &ann, 0, &arguments).await;
        let row = &content(&page)["rows"][0];
        assert_eq!((&row["m"], &row["a"]), (&json!("ok"), &json!(["2", "0.50"])), "{row}");
    }
}

#[tokio::test]
async fn a_parked_cursor_gives_way_to_whoever_waits_for_a_connection() {
    let database = postgres::database().await;
    let tools = [("list", SERIES), ("slow", "select 1 n, pg_sleep(0.05)::text s")];
    let connector = connector(&database.url, "max-rows = 100\npool = 1", &tools).await;
    let (ann, bob, watcher) = (caller("ann"), caller("bob"), database.client().await);
    let arguments = json!({ "count": 300 });
    call(&connector, &ann, 0, &arguments).await;
    let first = call(&connector, &ann, 0, &arguments).await;
    assert_eq!(watcher.value(COUNT_OPEN).await.unwrap(), "1", "it keeps the only connection");
    let started = std::time::Instant::now();
    assert_eq!(content(&call(&connector, &bob, 1, &json!({})).await)["rowCount"], 1);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let next = with_cursor(&arguments, &content(&first)["nextCursor"]);
    let second = call(&connector, &ann, 0, &next).await;
    assert_eq!(numbers(content(&second)), (101..=200).collect::<Vec<i64>>(), "by running again");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_callers_turn_pages_over_two_connections() {
    let database = postgres::database().await;
    let connector = connector(&database.url, "max-rows = 100\npool = 2", &[("list", SERIES)]).await;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..20 {
        let connector = Arc::clone(&connector);
        callers.spawn(async move {
            let count = 800 + number;
            let caller = caller(&format!("caller {number}"));
            let (found, _) = all(&connector, &caller, 0, &json!({ "count": count })).await;
            assert_eq!(found, (1..=count).collect::<Vec<i64>>());
        });
    }
    let finished = tokio::time::timeout(Duration::from_secs(60), callers.join_all()).await;
    assert_eq!(finished.unwrap().len(), 20);
    let watcher = database.client().await;
    eventually(Duration::from_secs(2), async || watcher.value(COUNT_OPEN).await.unwrap() == "0").await;
}

#[tokio::test]
async fn a_cursor_that_the_server_closed_is_opened_again() {
    let database = postgres::database().await;
    let connector = connector(&database.url, "max-rows = 100", &[("list", SERIES)]).await;
    let ann = caller("ann");
    let arguments = json!({ "count": 300 });
    call(&connector, &ann, 0, &arguments).await;
    let first = call(&connector, &ann, 0, &arguments).await;
    database.run("select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction' and datname = current_database() and pid <> pg_backend_pid()").await;
    let next = with_cursor(&arguments, &content(&first)["nextCursor"]);
    let second = call(&connector, &ann, 0, &next).await;
    assert_eq!(numbers(content(&second)), (101..=200).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_cursor_nobody_comes_back_for_is_closed() {
    let database = postgres::database().await;
    // The server ends a transaction that idles 10 s longer than a statement may take; half of that is what a cursor gets.
    let keys = "max-rows = 100\nstatement-timeout = \"500ms\"";
    let connector = connector(&database.url, keys, &[("list", SERIES)]).await;
    let (ann, watcher) = (caller("ann"), database.client().await);
    call(&connector, &ann, 0, &json!({ "count": 300 })).await;
    call(&connector, &ann, 0, &json!({ "count": 300 })).await;
    assert_eq!(watcher.value(COUNT_OPEN).await.unwrap(), "1");
    let open_for =
        eventually(Duration::from_secs(8), async || watcher.value(COUNT_OPEN).await.unwrap() == "0").await;
    assert!(open_for > Duration::from_secs(4), "{open_for:?}");
}

#[tokio::test]
async fn the_rest_of_a_result_is_read_through_its_link() {
    let database = postgres::database().await;
    database.run("create table t as select n, case n % 3 when 0 then null when 1 then 'a,\"b\"' else '' end s from generate_series(1, 25000) n").await;
    let connector = connector(&database.url, "max-rows = 100", &[("list", OF_TABLE)]).await;
    let ann = caller("ann");
    let result = call(&connector, &ann, 0, &json!({})).await;
    let link = &result["content"][1];
    assert_eq!((&link["type"], &link["mimeType"]), (&json!("resource_link"), &json!("text/csv")), "{link}");
    let csv = link["uri"].as_str().unwrap().to_owned();
    assert!(csv.starts_with("postgres://shop/results/csv/"), "{csv}");
    let first = read(&connector, &ann, &csv).await.unwrap();
    let content = &first["contents"][0];
    assert_eq!((&content["uri"], &content["mimeType"]), (&json!(csv), &json!("text/csv")));
    let text = content["text"].as_str().unwrap();
    assert!(text.starts_with("n,s\n101,\"\"\n102,\n103,\"a,\"\"b\"\"\"\n"), "{}", &text[..80]);
    assert_eq!(text.lines().count(), 1 + 10_000);
    let (mut numbers, mut uri) = (Vec::new(), Some(csv.replace("/csv/", "/jsonl/")));
    while let Some(now) = uri {
        let page = read(&connector, &ann, &now).await.unwrap();
        let content = &page["contents"][0];
        assert_eq!(content["mimeType"], "application/jsonl");
        let rows = content["text"].as_str().unwrap().lines();
        numbers.extend(rows.map(|row| serde_json::from_str::<Json>(row).unwrap()["n"].as_i64().unwrap()));
        uri = content["_meta"]["io.trunkline/next"].as_str().map(str::to_owned);
    }
    assert_eq!(numbers, (101..=25_000).collect::<Vec<i64>>());
    let foreign = read(&connector, &caller("bob"), &csv).await.unwrap_err();
    assert!(foreign.public().starts_with("the link has expired or is not of this caller"), "{foreign}");
    assert!(read(&connector, &ann, "postgres://shop/results/csv/AAAA").await.is_err());
}
