//! Row-level security: what the database knows of a caller decides which rows it sees, from the verified caller only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use trunkline_postgres::{Postgres, PostgresFile};
use trunkline_protocol::{Method, Revision, envelope};
use trunkline_service::{Caller, Request, Service, TimeAllowed};
use trunkline_sql::file::ToolFile;
use trunkline_sql::{Database, SqlConnector, Tool};
use trunkline_testkit::postgres::{Client, PrivatePostgres};

/// A server with a table that shows each tenant its own rows, and each role what it may read. The login itself may read
/// nothing at all.
async fn fixture() -> PrivatePostgres {
    let server = PrivatePostgres::start().await;
    Client::connect(&server.url("postgres"))
        .await
        .run(
            "create role app login noinherit;
             create role support; create role billing; create role stranger;
             grant support, billing to app;
             create sequence counter;
             create table orders (id int primary key, tenant text not null, total int not null);
             insert into orders select g, case when g % 2 = 0 then 'even' else 'odd' end, g * 10 from generate_series(1, 10) g;
             alter table orders enable row level security;
             create policy own on orders using (tenant = current_setting('app.tenant'));
             grant select on orders to support, billing;
             grant insert on orders to billing;
             grant usage on sequence counter to support, billing;
             create table open (tenant text); insert into open values ('even'), ('odd'); grant select on open to app",
        )
        .await;
    server
}

const IDENTITY: &str =
    "session = { \"app.tenant\" = \"caller.claims.tenant\" }\nrole = \"caller.claims.db_role\"\n";

fn connector(
    server: &PrivatePostgres,
    keys: &str,
    tools: &[(&str, &str, &str)],
) -> Arc<SqlConnector<Postgres>> {
    let url = server.url("postgres").replace("postgres@", "app@");
    let file: PostgresFile = toml::from_str(&format!("url = \"{url}\"\n{keys}")).unwrap();
    let (database, options) = file.resolve("shop").unwrap();
    let tools = tools.iter().map(|(name, sql, access)| {
        let file: ToolFile =
            serde_json::from_value(json!({ "connector": "shop", "sql": sql, "access": access })).unwrap();
        Tool::resolve(name, file, &options, Postgres::DIALECT).unwrap()
    });
    let tools = tools.collect();
    SqlConnector::new("shop", database, options, tools)
}

/// What is wrong; that the login is a powerful one would be a warning.
async fn problems(connector: &SqlConnector<Postgres>) -> Vec<trunkline_sql::Problem> {
    let mut found = connector.learn().await;
    found.retain(|problem| problem.severity != trunkline_sql::Severity::Warning);
    found
}

fn caller(claims: Json) -> Arc<Caller> {
    let Json::Object(claims) = claims else { panic!("claims are an object") };
    Arc::new(Caller { subject: "ada".into(), claims, ..Caller::default() })
}

/// Calls the tool of that number; returns whether it failed, and `structuredContent` or the text.
async fn call(
    connector: &SqlConnector<Postgres>,
    target: u32,
    caller: &Arc<Caller>,
    arguments: &Json,
) -> (bool, Json) {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "x", "arguments": arguments } });
    let body = Bytes::from(body.to_string());
    let (_, scanned) = envelope::scan(&body).unwrap();
    let mut request =
        Request::new(body, &scanned, Method::ToolsCall, Revision::LATEST, Arc::clone(caller), 1)
            .with_time(TimeAllowed::Within(Duration::from_secs(10)));
    request.set_target(target);
    let reply = connector.call(request).await.unwrap();
    let members: Json =
        serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap())).unwrap();
    let content =
        if reply.is_error() { &members["content"][0]["text"] } else { &members["structuredContent"] };
    (reply.is_error(), content.clone())
}

fn tenants(found: &Json) -> Vec<&str> {
    let rows = found["rows"].as_array().unwrap_or_else(|| panic!("{found}"));
    rows.iter().map(|row| row["tenant"].as_str().unwrap()).collect()
}

const LIST: (&str, &str, &str) = ("list", "select id, tenant, total from orders order by id", "read-only");

#[tokio::test]
async fn each_caller_sees_its_own_rows_whoever_called_before() {
    let server = fixture().await;
    let connector = connector(
        &server,
        &format!("{IDENTITY}pool = 2"),
        &[
            LIST,
            (
                "who",
                "select current_user::text as who, current_setting('app.tenant') as tenant, random() < 2 as r",
                "read-only",
            ),
        ],
    );
    assert_eq!(problems(&connector).await, []);
    let mut calls = JoinSet::new();
    for number in 0..400_u32 {
        let (tenant, role) = match number % 3 {
            0 => ("even", "support"),
            1 => ("odd", "support"),
            _ => ("odd", "billing"),
        };
        let connector = Arc::clone(&connector);
        calls.spawn(async move {
            let caller = caller(json!({ "tenant": tenant, "db_role": role }));
            let (failed, found) = call(&connector, number % 2, &caller, &json!({})).await;
            assert!(!failed, "{found}");
            if number.is_multiple_of(2) {
                assert_eq!(tenants(&found), [tenant; 5], "{found}");
            } else {
                assert_eq!(found["rows"], json!([{ "who": role, "tenant": tenant, "r": true }]));
            }
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    // None of it ran on a connection that callers share at the same time.
    let watcher = Client::connect(&server.url("postgres")).await;
    let open = watcher.value("select count(*) from pg_stat_activity where usename = 'app'").await.unwrap();
    assert!(open.parse::<u32>().unwrap() <= 2, "{open}");
}

#[tokio::test]
async fn nothing_runs_for_a_caller_that_cannot_be_identified() {
    let server = fixture().await;
    let keys = format!("{IDENTITY}pool = 1\naccess = 'read-write'");
    let connector = connector(
        &server,
        &keys,
        &[LIST, ("count", "select nextval('counter') as n, tenant from open", "read-write")],
    );
    assert_eq!(problems(&connector).await, []);
    let watcher = Client::connect(&server.url("postgres")).await;
    for (claims, told, hidden) in [
        (json!({}), "`session.app.tenant`", "even"),
        (json!({ "tenant": "even" }), "`role`", "even"),
        (json!({ "tenant": ["even"], "db_role": "support" }), "`session.app.tenant`", "even"),
        (json!({ "tenant": "even", "db_role": "none" }), "`role`", "even"),
        (json!({ "tenant": "even", "db_role": "missing" }), "does not take this call", "missing"),
        (json!({ "tenant": "even", "db_role": "stranger" }), "does not take this call", "stranger"),
        (json!({ "tenant": "even", "db_role": "postgres" }), "does not take this call", "postgres"),
        (json!({ "tenant": "even", "db_role": "support; reset role" }), "does not take this call", "support"),
    ] {
        let caller = caller(claims.clone());
        for target in [0, 1] {
            let (failed, text) = call(&connector, target, &caller, &json!({})).await;
            let text = text.as_str().unwrap_or_else(|| panic!("{claims}: {text}"));
            assert!(failed && text.contains(told) && !text.contains(hidden), "{claims}: {text}");
        }
        let used = watcher.value("select is_called from counter").await.unwrap();
        assert_eq!(used, "f", "{claims}");
    }
    // What a client sends is nothing the database is told.
    let (failed, text) = call(&connector, 0, &caller(json!({})), &json!({ "tenant": "even" })).await;
    assert!(failed, "{text}");
    // The connection goes on, and is the next caller's alone.
    let odd = caller(json!({ "tenant": "odd", "db_role": "support" }));
    assert_eq!(tenants(&call(&connector, 0, &odd, &json!({})).await.1), ["odd"; 5]);
}

#[tokio::test]
async fn a_write_is_held_to_the_policy_and_to_the_role() {
    let server = fixture().await;
    let keys = format!("{IDENTITY}pool = 1\naccess = 'read-write'");
    let insert = "insert into orders values (:id, :tenant, 0)";
    let connector = connector(&server, &keys, &[LIST, ("insert", insert, "read-write")]);
    assert_eq!(problems(&connector).await, []);
    let billing = caller(json!({ "tenant": "odd", "db_role": "billing" }));
    let support = caller(json!({ "tenant": "odd", "db_role": "support" }));
    let (failed, done) = call(&connector, 1, &billing, &json!({ "id": 11, "tenant": "odd" })).await;
    assert!(!failed && done["affected"] == 1, "{done}");
    for (caller, arguments) in
        [(&billing, json!({ "id": 12, "tenant": "even" })), (&support, json!({ "id": 13, "tenant": "odd" }))]
    {
        let (failed, text) = call(&connector, 1, caller, &arguments).await;
        assert!(failed && text.as_str().unwrap().contains("lacks a right (42501)"), "{text}");
    }
    assert_eq!(tenants(&call(&connector, 0, &support, &json!({})).await.1), ["odd"; 6]);
}

#[tokio::test]
async fn a_setting_may_come_without_a_role() {
    let server = fixture().await;
    Client::connect(&server.url("postgres")).await.run("grant select on orders to app").await;
    let keys = "pool = 1\nsession.\"app.tenant\" = \"caller.claims.tenant\"\nsession.\"app.user\" = \"caller.subject\"";
    let connector = connector(
        &server,
        keys,
        &[
            LIST,
            (
                "user",
                "select current_setting('app.user') as tenant, current_user::text as login",
                "read-only",
            ),
        ],
    );
    let even = caller(json!({ "tenant": "even" }));
    assert_eq!(tenants(&call(&connector, 0, &even, &json!({})).await.1), ["even"; 5]);
    let (_, found) = call(&connector, 1, &even, &json!({})).await;
    assert_eq!(found["rows"], json!([{ "tenant": "ada", "login": "app" }]));
    // A quote is a character like any other.
    let sly = caller(json!({ "tenant": "x' or tenant = 'even" }));
    assert_eq!(call(&connector, 0, &sly, &json!({})).await.1["rowCount"], 0);
    assert!(call(&connector, 0, &Caller::local(), &json!({})).await.0);
}

#[tokio::test]
async fn a_callers_own_sql_sees_its_own_rows_on_every_connection_and_changes_nothing_of_that() {
    let server = fixture().await;
    let keys = format!("{IDENTITY}ad-hoc-sql = \"read-only\"\npool = 2");
    let connector = connector(&server, &keys, &[]);
    let odd = caller(json!({ "tenant": "odd", "db_role": "support" }));
    let ask = async |sql: &str| call(&connector, 0, &odd, &json!({ "sql": sql })).await;
    let (failed, found) = ask("select tenant from orders order by id").await;
    assert!(!failed, "{found}");
    assert_eq!(tenants(&found), ["odd"; 5]);
    for sql in [
        "select count(*) from orders, (select set_config('app.tenant', 'even', true)) x",
        "select tenant from (select 1 limit U&\"length\"(U&\"\\0073et_config\"('app.tenant', 'even', true))) x, \
         lateral (select * from orders offset 0) o",
        "select 1 limit U&\"length\"(U&\"\\0071uery_to_xml\"('select 1', true, true, '')::text)",
        "explain (\"analyze\") update pg_settings set setting = 'even' where name = 'app.tenant'",
        "explain update pg_settings set setting = 'even' where name = 'app.tenant'",
        "select tenant from open",
    ] {
        let (failed, told) = ask(sql).await;
        assert!(failed, "`{sql}` ran: {told}");
        let (_, found) = ask("select tenant from orders").await;
        assert_eq!(tenants(&found), ["odd"; 5], "{sql}");
    }
    let stranger = caller(json!({ "tenant": "odd", "db_role": "stranger" }));
    let (failed, told) = call(&connector, 0, &stranger, &json!({ "sql": "select 1" })).await;
    assert!(failed && !told.to_string().contains("stranger"), "{told}");
}

#[tokio::test]
async fn the_rest_of_a_callers_own_statement_is_read_as_that_caller() {
    let server = fixture().await;
    let url = server.url("postgres").replace("postgres@", "app@");
    let connector = crate::pages::connector(&url, &format!("{IDENTITY}max-rows = 2"), &[]).await;
    let ada = caller(json!({ "tenant": "even", "db_role": "support" }));
    let sql = json!({ "sql": "select id, tenant from orders order by id" });
    let first = crate::pages::call(&connector, &ada, 0, &sql).await;
    let uri = first["content"][1]["uri"].as_str().unwrap_or_else(|| panic!("{first}"));
    let rest = crate::pages::read(&connector, &ada, uri).await.unwrap();
    assert_eq!(rest["contents"][0]["text"], "id,tenant\n6,even\n8,even\n10,even\n");
}
