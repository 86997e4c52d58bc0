//! The tools and resources for whoever looks after a database, on real servers: what they tell, how much, and to whom.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_postgres::{Assistant, PostgresFile};
use trunkline_protocol::{Method, Revision, scan};
use trunkline_service::{Caller, Outcome, Request, Service, TimeAllowed};
use trunkline_testkit::postgres::{self, Client, PrivatePostgres};
use trunkline_testkit::within;

const ALL: &str = r#"tools = ["schema", "explain", "indexes", "health"]"#;
const SCHEMA: u32 = 0;
const EXPLAIN: u32 = 1;
const INDEXES: u32 = 2;
const HEALTH: u32 = 3;

/// Opens the assistant of a connector `shop`.
pub(super) fn open(url: &str, keys: &str) -> Arc<Assistant> {
    let file: PostgresFile = toml::from_str(&format!("url = {url:?}\n{keys}")).unwrap();
    let (postgres, options) = file.resolve("shop").unwrap();
    Assistant::new("shop", Arc::new(postgres), options).unwrap()
}

async fn ask(assistant: &Assistant, target: u32, method: Method, params: Json) -> Outcome {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method.as_str(), "params": params });
    let body = Bytes::from(body.to_string());
    let (_, envelope) = scan(&body).unwrap();
    let mut request = Request::new(body, &envelope, method, Revision::LATEST, Caller::local(), 0xab)
        .with_time(TimeAllowed::Within(Duration::from_secs(20)));
    request.set_target(target);
    assistant.call(request).await
}

/// Calls a tool; whether it failed, and its structured content, which fits its schema, or its text.
pub(super) async fn try_call(assistant: &Assistant, target: u32, arguments: Json) -> (bool, Json) {
    let reply = ask(assistant, target, Method::ToolsCall, json!({ "name": "x", "arguments": arguments }))
        .await
        .unwrap();
    let result: Json = members(reply.members());
    let text = result["content"][0]["text"].as_str().unwrap().to_owned();
    if reply.is_error() {
        return (true, text.into());
    }
    let structured = &result["structuredContent"];
    assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), *structured, "the text is the same");
    let definition = &assistant.definitions()[target as usize];
    if let Err(error) = jsonschema::validate(definition.output_schema.as_ref().unwrap(), structured) {
        panic!("{error} at {}: {structured}", error.instance_path());
    }
    (false, structured.clone())
}

async fn call(assistant: &Assistant, target: u32, arguments: Json) -> Json {
    let (failed, answer) = try_call(assistant, target, arguments).await;
    assert!(!failed, "{answer}");
    answer
}

async fn refused(assistant: &Assistant, target: u32, arguments: Json) -> String {
    let (failed, answer) = try_call(assistant, target, arguments).await;
    assert!(failed, "{answer}");
    answer.as_str().unwrap().to_owned()
}

fn members(members: &[u8]) -> Json {
    serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(members).unwrap())).unwrap()
}

fn names(answer: &Json) -> Vec<String> {
    let tables = answer["tables"].as_array().unwrap();
    tables.iter().map(|table| table["name"].as_str().unwrap().to_owned()).collect()
}

const SHOP: &str = "
    create type state as enum ('new', 'paid', 'sent');
    create table customers (
        id bigint generated always as identity primary key,
        email varchar(200) not null unique,
        born date, check (born > '1900-01-01'),
        label text generated always as (lower(email)) stored
    );
    comment on table customers is 'People who bought something';
    comment on column customers.born is 'Birthday, for a voucher';
    create table orders (
        id bigint not null, customer_id bigint not null references customers on delete cascade,
        state state not null default 'new', at timestamptz(3) not null default now(), primary key (id, at)
    ) partition by range (at);
    create table orders_2020 partition of orders for values from ('2020-01-01') to ('2021-01-01');
    create table orders_2021 partition of orders for values from ('2021-01-01') to ('2022-01-01');
    create view paid as select id, customer_id from orders where state = 'paid';
    create schema \"Old Stuff\";
    create table \"Old Stuff\".\"a/b c\" (x int);
    alter table customers enable row level security;
    create policy own on customers using (true);
    insert into customers (email) select 'c' || g || '@example.com' from generate_series(1, 100) g;
    insert into orders select g, g % 100 + 1, 'new', '2020-06-01' from generate_series(1, 500) g;
    analyze";

#[tokio::test]
async fn a_table_is_told_in_full_and_found_by_words() {
    let database = postgres::database().await;
    database.run(SHOP).await;
    let assistant = open(&database.url, ALL);
    assert_eq!(assistant.learn().await, []);

    let overview = call(&assistant, SCHEMA, json!({})).await;
    assert_eq!(names(&overview), ["a/b c", "customers", "orders", "paid"], "{overview}");
    assert_eq!(overview["schemas"][1]["name"], "public");
    assert_eq!(overview["schemas"][1]["tables"], 3);

    let customers = &call(&assistant, SCHEMA, json!({ "table": "customers" })).await["tables"][0];
    assert_eq!(customers["comment"], "People who bought something");
    assert_eq!(customers["primaryKey"], json!(["id"]));
    assert_eq!(customers["unique"], json!([["email"]]));
    assert_eq!(customers["rows"], 100);
    let columns = &customers["columns"];
    assert_eq!(
        columns[0],
        json!({ "name": "id", "type": "bigint", "nullable": false, "identity": "always" })
    );
    assert_eq!(columns[1]["type"], "varchar(200)");
    assert_eq!(columns[2]["comment"], "Birthday, for a voucher");
    assert_eq!(columns[3]["generated"], "lower((email)::text)");
    assert_eq!(customers["referencedBy"].as_array().unwrap().len(), 1, "partitions are not told apart");
    assert_eq!(customers["referencedBy"][0]["table"], "orders");
    assert!(customers["checks"][0].as_str().unwrap().contains("1900"), "{customers}");
    assert_eq!(customers["rowSecurity"], json!({ "forced": false, "policies": ["own"] }));

    let orders = &call(&assistant, SCHEMA, json!({ "table": "public.orders" })).await["tables"][0];
    assert_eq!(orders["partitions"]["count"], 2);
    assert_eq!(orders["rows"], 500);
    assert_eq!(orders["columns"][2]["values"], json!(["new", "paid", "sent"]));
    assert_eq!(orders["columns"][2]["default"], "'new'::state");
    assert_eq!(orders["columns"][3]["type"], "timestamptz(3)");
    assert_eq!(orders["foreignKeys"][0]["references"]["columns"], json!(["id"]));
    assert_eq!(orders["foreignKeys"][0]["onDelete"], "cascade");
    let paid = &call(&assistant, SCHEMA, json!({ "table": "paid" })).await["tables"][0];
    assert!(paid["definition"].as_str().unwrap().contains("'paid'"), "{paid}");

    for (search, first, matched) in [
        ("orders", "orders", None),
        ("Birthday", "customers", Some("comment of born")),
        ("email", "customers", Some("column email")),
        ("sent", "orders", Some("value of state")),
        ("customer order", "orders", Some("column customer_id")),
    ] {
        let found = call(&assistant, SCHEMA, json!({ "search": search })).await;
        assert_eq!(names(&found)[0], first, "{search}: {found}");
        if let Some(matched) = matched {
            let places = found["tables"][0]["matched"].as_array().unwrap();
            assert!(places.contains(&json!(matched)), "{search}: {found}");
        }
    }
    let near = call(&assistant, SCHEMA, json!({ "search": "custmoers" })).await;
    assert_eq!((names(&near)[0].as_str(), &near["total"]), ("customers", &json!(0)));
    let text = refused(&assistant, SCHEMA, json!({ "table": "custmers" })).await;
    assert!(text.contains("`public.customers`"), "{text}");
    let text = refused(&assistant, SCHEMA, json!({ "schema": "pubic" })).await;
    assert!(text.contains("did you mean `public`"), "{text}");
    let text = refused(&assistant, SCHEMA, json!({ "tables": "x" })).await;
    assert!(text.contains("unknown field `tables`"), "{text}");
    let summary = call(&assistant, SCHEMA, json!({ "schema": "public", "detail": "summary" })).await;
    assert_eq!(summary["tables"][0]["columns"][1], json!({ "name": "email", "type": "varchar(200)" }));
}

#[tokio::test]
async fn tables_are_resources_and_their_names_are_completed() {
    let database = postgres::database().await;
    database.run(SHOP).await;
    let assistant = open(&database.url, ALL);
    let before = assistant.generation();
    assert_eq!(assistant.learn().await, []);
    assert!(assistant.generation() > before && assistant.is_ready());
    let parts = assistant.parts();
    let uris: Vec<&str> = parts.resources.iter().map(|one| one.definition.uri.as_str()).collect();
    assert_eq!(
        uris,
        [
            "postgres://shop/",
            "postgres://shop/Old%20Stuff/a%2Fb%20c",
            "postgres://shop/public/customers",
            "postgres://shop/public/orders",
            "postgres://shop/public/paid",
        ]
    );
    let target = parts.templates[0].target;
    let read = async |uri: &str| ask(&assistant, target, Method::ResourcesRead, json!({ "uri": uri })).await;
    for uri in &uris {
        let contents = members(read(uri).await.unwrap().members());
        assert_eq!(contents["contents"][0]["uri"], **uri);
        assert_eq!(contents["contents"][0]["mimeType"], "application/json");
        let json: Json = serde_json::from_str(contents["contents"][0]["text"].as_str().unwrap()).unwrap();
        assert!(json["schemas"].is_array() || json["columns"].is_array(), "{json}");
    }
    for uri in ["postgres://shop/public/nothing", "postgres://shop/public/a/b"] {
        let failure = read(uri).await.unwrap_err();
        assert_eq!(failure.kind(), trunkline_service::FailureKind::ResourceNotFound, "{uri}");
    }
    let complete = async |argument: Json, context: Json| {
        let reference = json!({ "type": "ref/resource", "uri": "postgres://shop/{schema}/{table}" });
        let params = json!({ "ref": reference, "argument": argument, "context": context });
        members(ask(&assistant, target, Method::CompletionComplete, params).await.unwrap().members())["completion"].clone()
    };
    let schemas = complete(json!({ "name": "schema", "value": "pu" }), json!({})).await;
    assert_eq!(schemas, json!({ "values": ["public"], "total": 1, "hasMore": false }));
    let context = json!({ "arguments": { "schema": "public" } });
    let tables = complete(json!({ "name": "table", "value": "OR" }), context).await;
    assert_eq!(tables["values"], json!(["orders"]));
}

#[tokio::test]
async fn five_thousand_tables_do_not_flood_a_model() {
    let database = postgres::database().await;
    // One transaction for all would need more locks than there are.
    for part in 0..10 {
        let sql = format!(
            "do $$ begin for t in {part} * 500 + 1 .. {part} * 500 + 500 loop
                execute format('create table area_%s_item_%s (id int, name_%s int, amount_%s int)', t % 7, t, t, t % 11);
             end loop; end $$"
        );
        database.run(&sql).await;
    }
    let assistant = open(&database.url, ALL);
    assert_eq!(assistant.learn().await, []);
    assert_eq!(assistant.parts().resources.len(), 1, "only the index is listed");
    for arguments in [
        json!({}),
        json!({ "search": "area item" }),
        json!({ "search": "amount_3", "detail": "summary" }),
        json!({ "search": "item_4711" }),
        json!({ "schema": "public" }),
        json!({ "search": "itme_4711 nonsense" }),
    ] {
        let started = Instant::now();
        let answer = call(&assistant, SCHEMA, arguments.clone()).await;
        let (took, size) = (started.elapsed(), answer.to_string().len());
        assert!(
            took < within(Duration::from_secs(1)) && size < 20_000,
            "{arguments}: {took:?}, {size} bytes"
        );
        assert!(names(&answer).len() <= 200);
    }
    let found = call(&assistant, SCHEMA, json!({ "search": "item_4711" })).await;
    assert_eq!(names(&found)[0], "area_0_item_4711");
    let many = call(&assistant, SCHEMA, json!({ "search": "area item" })).await;
    assert_eq!((names(&many).len(), &many["total"]), (30, &json!(5000)));
    assert!(many["note"].as_str().unwrap().contains("4970 more"), "{many}");
    // All pages together tell each table once.
    let (mut seen, mut cursor) = (Vec::new(), Json::Null);
    loop {
        let page = call(&assistant, SCHEMA, json!({ "schema": "public", "cursor": cursor })).await;
        seen.extend(names(&page));
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let told = seen.len();
    seen.dedup();
    assert_eq!((told, seen.len()), (5000, 5000));
}

pub(super) const BIG: &str = "
    create table customers (id int primary key, name text);
    create table orders (id int primary key, customer_id int references customers, state text, at timestamptz, note text);
    insert into customers select g, 'c' || g from generate_series(1, 1000) g;
    insert into orders select g, g % 1000 + 1, case when g % 100 = 0 then 'new' else 'sent' end, now() - g * interval '1 minute', repeat('x', 40)
        from generate_series(1, 60000) g;
    create index orders_note on orders (note);
    create index orders_id on orders (id);
    create table log (id int, day date) partition by range (day);
    create table log_1 partition of log for values from ('2020-01-01') to ('2021-01-01');
    create table log_2 partition of log for values from ('2021-01-01') to ('2022-01-01');
    insert into log select g, '2020-01-01'::date + g % 700 from generate_series(1, 40000) g;
    analyze";

#[tokio::test]
async fn a_plan_is_read_for_the_caller_and_nothing_is_written_by_it() {
    let database = postgres::database().await;
    database.run(BIG).await;
    let assistant = open(&database.url, ALL);
    let sql =
        "select * from orders o join customers c on c.id = o.customer_id where o.state = 'new' order by o.at";
    let estimated = call(&assistant, EXPLAIN, json!({ "sql": sql })).await;
    assert!(
        estimated["cost"].as_f64().unwrap() > 100.0 && estimated.get("milliseconds").is_none(),
        "{estimated}"
    );
    let reading = estimated["reading"].to_string();
    assert!(reading.contains("Seq Scan on public.orders") && reading.contains("an index"), "{reading}");
    let analyzed = call(&assistant, EXPLAIN, json!({ "sql": sql, "analyze": true })).await;
    assert!(analyzed["milliseconds"].as_f64().is_some(), "{analyzed}");
    assert!(analyzed["reading"].to_string().contains("keeps 600"), "{analyzed}");
    assert!(analyzed["plan"]["Node Type"].is_string(), "{analyzed}");

    for (sql, said) in [
        ("delete from orders", "read-only"),
        ("with x as (delete from orders returning *) select * from x", "delete from"),
        ("explain select 1", "write the statement itself"),
        (
            "select 1; select 2",
            "`one statement`: the statement begins a second statement at line 1, column 11: `select 2`",
        ),
        (
            "select custmer_id\nfrom orders",
            "at line 1, column 8\n  select custmer_id\n         ^\ndid you mean `customer_id`?",
        ),
        ("selec 1", "at line 1, column 1\n  selec 1\n  ^\ndid you mean `select`?"),
        ("select o.nothing\nfrom orders o\nwhere id = 'x'", "at line 1, column 8"),
        ("select\n  missing(id) from orders", "at line 2, column 3"),
        ("show all", "write the statement itself"),
        (" ", "holds no statement"),
    ] {
        for analyze in [false, true] {
            let text = refused(&assistant, EXPLAIN, json!({ "sql": sql, "analyze": analyze })).await;
            assert!(text.contains(said), "{sql}: {text}");
        }
    }
    database
        .run("create function wipe() returns int language sql as 'delete from orders returning id'")
        .await;
    refused(&assistant, EXPLAIN, json!({ "sql": "select wipe()", "analyze": true })).await;
    assert_eq!(database.client().await.value("select count(*) from orders").await.unwrap(), "60000");

    let text = refused(&assistant, EXPLAIN, json!({ "sql": "select * from orders where id = $1" })).await;
    assert!(text.contains("write the values into it"), "{text}");
}

#[tokio::test]
async fn what_the_gate_refuses_is_neither_explained_nor_run() {
    let server = PrivatePostgres::start().await;
    let outside = Client::connect(&server.url("postgres")).await;
    outside.run(BIG).await;
    outside
        .run(
            "create table seen (i int); create sequence counter;
             create function spy() returns int language plpgsql volatile as
                $$ begin perform pg_notify('spy', 'x'); perform nextval('counter'); return 1; end $$;
             create view behind as select spy() as a;
             create function costly() returns int language sql immutable as 'select 1'",
        )
        .await;
    // One connection, so that what one call left behind would meet the next.
    let assistant = open(&server.url("postgres"), &format!("{ALL}\npool = 1"));
    for (sql, said) in [
        ("select pg_read_file('PG_VERSION')", "pg_read_file"),
        ("select\n  set_config('role', 'none', false)", "line 2, column 3"),
        ("select set_config('work_mem', '1GB', false)", "line 1, column 8"),
        ("select spy() from orders limit 1", "spy"),
        ("select * from behind", "spy"),
        ("select nextval('counter')", "nextval"),
        ("select pg_advisory_lock(7)", "pg_advisory_lock"),
        ("with x as (insert into seen values (1) returning i) select * from x", "insert into"),
        ("with x as (update orders set note = '' returning id) select count(*) from x", "update"),
        ("delete from orders", "`read-only`"),
        ("insert into seen values (1)", "`read-only`"),
        ("create table made as select 1", "`read-only`"),
        ("refresh materialized view x", "`read-only`"),
        ("execute x", "`read-only`"),
        ("declare c cursor for select 1", "`read-only`"),
        ("select * from orders for update", "`for update`"),
        ("select 1 into made", "into"),
        ("(analyze) select spy()", ""),
        ("analyze select spy()", "`read-only`"),
    ] {
        for arguments in [json!({ "sql": sql }), json!({ "sql": sql, "analyze": true })] {
            let text = refused(&assistant, EXPLAIN, arguments).await;
            assert!(text.contains(said), "{sql}: {text}");
        }
        let text = refused(&assistant, INDEXES, json!({ "sql": sql })).await;
        assert!(text.contains(said), "{sql}: {text}");
    }
    for (sql, value) in [
        ("select count(*) from orders where note <> ''", "60000"),
        ("select count(*) from seen", "0"),
        ("select is_called from counter", "f"),
        ("select count(*) from pg_locks where locktype = 'advisory'", "0"),
        ("select count(*) from pg_class where relname = 'made'", "0"),
    ] {
        assert_eq!(outside.value(sql).await.as_deref(), Some(value), "{sql}");
    }
    // What is harmless passes, and connections are given back.
    call(&assistant, EXPLAIN, json!({ "sql": "select random(), now()", "analyze": true })).await;
    let sessions = "select string_agg(pid::text, ' ' order by pid) from pg_stat_activity \
        where backend_type = 'client backend' and pid <> pg_backend_pid()";
    let before = outside.value(sessions).await;
    call(&assistant, EXPLAIN, json!({ "sql": "(values (1)) -- a remark" })).await;
    call(&assistant, EXPLAIN, json!({ "sql": "table orders;" })).await;
    refused(&assistant, EXPLAIN, json!({ "sql": "select nobody from orders" })).await;
    refused(&assistant, EXPLAIN, json!({ "sql": "select spy()", "analyze": true })).await;
    assert_eq!(outside.value(sessions).await, before);
}

#[tokio::test]
async fn only_a_statement_that_runs_is_held_to_its_cost() {
    let database = postgres::database().await;
    database.run(BIG).await;
    let assistant = open(&database.url, &format!("{ALL}\nad-hoc-sql = 'read-only'\nmax-cost = 100.0"));
    let sql = "select * from orders where state = 'new'";
    let plan = call(&assistant, EXPLAIN, json!({ "sql": sql })).await;
    assert!(plan["cost"].as_f64().unwrap() > 100.0, "{plan}");
    call(&assistant, INDEXES, json!({ "sql": sql })).await;
    let text = refused(&assistant, EXPLAIN, json!({ "sql": sql, "analyze": true })).await;
    assert!(text.contains("`max-cost`"), "{text}");
}

#[tokio::test]
async fn a_login_that_may_do_too_much_explains_nothing_where_that_is_refused() {
    let database = postgres::database().await;
    let assistant = open(&database.url, &format!("{ALL}\nposture = 'refuse'"));
    let (failed, text) = try_call(&assistant, EXPLAIN, json!({ "sql": "select 1" })).await;
    assert!(failed, "{text}");
}

const IDENTITY: &str = "session = { \"app.tenant\" = \"caller.subject\" }\nrole = \"caller.claims.db_role\"";

/// A server whose login may read nothing itself, and takes on a role that sees the rows of its tenant.
async fn tenants(settings: &[&str]) -> (PrivatePostgres, Client) {
    let server = PrivatePostgres::start_with(settings).await;
    let outside = Client::connect(&server.url("postgres")).await;
    outside
        .run(
            "create role app login noinherit; create role support; grant support to app;
             create table orders (id int primary key, tenant text, state text);
             insert into orders select g, case when g % 4 = 0 then 'ada' else 'bob' end, 'x' || g % 50
                from generate_series(1, 40000) g;
             alter table orders enable row level security;
             create policy own on orders using (tenant = current_setting('app.tenant'));
             grant select on orders to support; analyze",
        )
        .await;
    (server, outside)
}

/// Calls as `ada`, with the role `support`.
async fn call_as_ada(assistant: &Assistant, target: u32, arguments: Json) -> (bool, Json) {
    let caller = Caller {
        subject: "ada".into(),
        claims: json!({ "db_role": "support" }).as_object().unwrap().clone(),
        ..Caller::default()
    };
    let params = json!({ "name": "x", "arguments": arguments });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let body = Bytes::from(body.to_string());
    let (_, envelope) = scan(&body).unwrap();
    let mut request =
        Request::new(body, &envelope, Method::ToolsCall, Revision::LATEST, Arc::new(caller), 0xab)
            .with_time(TimeAllowed::Within(Duration::from_secs(20)));
    request.set_target(target);
    let reply = assistant.call(request).await.unwrap();
    let result = members(reply.members());
    let text = result["content"][0]["text"].clone();
    (reply.is_error(), if reply.is_error() { text } else { result["structuredContent"].clone() })
}

#[tokio::test]
async fn a_statement_is_explained_as_its_caller_and_may_not_change_who_that_is() {
    let (server, _outside) = tenants(&[]).await;
    let url = server.url("postgres").replacen("postgres@", "app@", 1);
    let assistant = open(&url, &format!("{ALL}\n{IDENTITY}\npool = 1"));
    let (failed, plan) =
        call_as_ada(&assistant, EXPLAIN, json!({ "sql": "select * from orders", "analyze": true })).await;
    assert!(!failed, "{plan}");
    assert_eq!(plan["plan"]["Actual Rows"].as_f64(), Some(10000.0), "only the rows of the tenant: {plan}");
    let (failed, advice) =
        call_as_ada(&assistant, INDEXES, json!({ "sql": "select * from orders where state = 'x1'" })).await;
    assert!(!failed && advice["create"][0]["columns"] == json!(["state"]), "{advice}");
    for sql in [
        "select * from orders where set_config('app.tenant', 'bob', true) = 'bob'",
        "select set_config('role', 'app', false)",
        "with x as materialized (select set_config('app.tenant', 'bob', true)) select * from orders, x",
    ] {
        let (failed, text) = call_as_ada(&assistant, EXPLAIN, json!({ "sql": sql, "analyze": true })).await;
        assert!(failed && text.as_str().unwrap().contains("set_config"), "{sql}: {text}");
    }
}

#[tokio::test]
async fn slow_statements_are_told_as_the_caller_may_see_them() {
    let (server, outside) = tenants(&["shared_preload_libraries=pg_stat_statements"]).await;
    let url = server.url("postgres").replacen("postgres@", "app@", 1);
    let slow = |health: &Json| check(health, "slow-statements").clone();
    let checks = json!({ "checks": ["slow-statements"] });

    let assistant = open(&server.url("postgres"), ALL);
    let told = slow(&call(&assistant, HEALTH, checks.clone()).await);
    assert!(
        told["status"] == "unknown" && told["text"].as_str().unwrap().contains("not installed"),
        "{told}"
    );
    outside.run("create schema \"Tools\"; create extension pg_stat_statements schema \"Tools\"").await;
    for _ in 0..12 {
        outside.run("select count(*) from orders where state like 'secret%'").await;
    }
    let told = slow(&call(&assistant, HEALTH, checks.clone()).await);
    assert_eq!(told["status"], "ok", "{told}");
    let text = told.to_string();
    assert!(text.contains("state like $1") && text.contains("12 calls"), "{told}");
    assert!(!text.contains("secret"), "no value of a statement is told: {told}");

    // A role without rights to the extension's schema is told so; one with it sees no text of others.
    let assistant = open(&url, &format!("{ALL}\n{IDENTITY}"));
    let (failed, health) = call_as_ada(&assistant, HEALTH, checks.clone()).await;
    assert!(!failed && slow(&health)["status"] == "unknown", "{health}");
    outside.run("grant usage on schema \"Tools\" to support").await;
    let (failed, health) = call_as_ada(&assistant, HEALTH, checks.clone()).await;
    assert!(!failed && !health.to_string().contains("state like"), "{health}");
    outside.run("grant pg_read_all_stats to support").await;
    let (failed, health) = call_as_ada(&assistant, HEALTH, checks).await;
    assert!(!failed && health.to_string().contains("state like $1"), "{health}");
}

#[tokio::test]
async fn a_dropped_index_advice_leaves_nothing_running() {
    let server = PrivatePostgres::start().await;
    let outside = Client::connect(&server.url("postgres")).await;
    outside.run(BIG).await;
    let assistant = open(&server.url("postgres"), &format!("{ALL}\npool = 1"));
    // Planning waits for the lock.
    let locker = Client::connect(&server.url("postgres")).await;
    locker.run("begin; lock table orders").await;
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    let sql = "select * from orders where state = 'new'";
    {
        let asks = call(&assistant, INDEXES, json!({ "sql": sql }));
        let sees = async {
            while outside.value(waiting).await.as_deref() != Some("1") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            answer = asks => panic!("it should wait: {answer}"),
            () = sees => {}
        }
    }
    let end = Instant::now() + within(Duration::from_secs(1));
    let busy = "select count(*) from pg_stat_activity where backend_type = 'client backend' \
        and pid <> pg_backend_pid() and state not in ('idle', 'idle in transaction')";
    while outside.value(busy).await.as_deref() != Some("0") {
        assert!(Instant::now() < end, "the call still runs in the server");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    locker.run("commit").await;
    call(&assistant, INDEXES, json!({ "sql": sql })).await;
    // Whoever holds the lock is not waited for long, and is told of as what it is.
    locker.run("begin; lock table orders").await;
    let text = refused(&assistant, INDEXES, json!({ "sql": sql })).await;
    assert!(text.starts_with("the statement failed") && text.contains("try it again"), "{text}");
}

#[tokio::test]
async fn indexes_are_advised_by_the_statistics() {
    let database = postgres::database().await;
    database.run(BIG).await;
    let assistant = open(&database.url, ALL);
    let advice = call(&assistant, INDEXES, json!({})).await;
    assert_eq!(advice["create"][0]["statement"], "create index concurrently on public.orders (customer_id)");
    let dropped: Vec<&str> =
        advice["drop"].as_array().unwrap().iter().map(|one| one["index"].as_str().unwrap()).collect();
    assert_eq!(
        dropped,
        ["orders_id", "orders_note"],
        "the primary key does the work of one, nothing reads the other: {advice}"
    );
    assert!(advice["drop"][0]["reason"].as_str().unwrap().contains("`orders_pkey`"), "{advice}");
    assert!(advice["notes"].to_string().contains("unused indexes"), "{advice}");
    // The advice is taken, and is gone.
    database.run("create index on orders (customer_id, state); drop index orders_id").await;
    let advice = call(&assistant, INDEXES, json!({ "table": "orders" })).await;
    assert_eq!(advice["create"], json!([]), "{advice}");
    let text = refused(&assistant, INDEXES, json!({ "table": "oders" })).await;
    assert!(text.contains("`public.orders`"), "{text}");

    // Without HypoPG, what would be tried is told, and that it was not.
    let advice =
        call(&assistant, INDEXES, json!({ "sql": "select * from orders where state = 'new'" })).await;
    assert_eq!(advice["tried"], false);
    assert_eq!(advice["create"][0]["columns"], json!(["state"]), "{advice}");
    assert!(advice["notes"][0].as_str().unwrap().contains("HypoPG"), "{advice}");
    let text = refused(&assistant, INDEXES, json!({ "sql": "update orders set state = 'x'" })).await;
    assert!(text.contains("read-only"), "{text}");
}

#[tokio::test]
async fn hypopg_tries_indexes_that_make_a_statement_cheaper_and_leaves_none() {
    let database = postgres::database().await;
    database.run(BIG).await;
    database.run("create schema \"Tools\"; create extension hypopg schema \"Tools\"").await;
    let assistant = open(&database.url, &format!("{ALL}\npool = 1"));
    for (sql, statement) in [
        (
            "select * from orders where state = 'new' and customer_id = 100",
            "create index concurrently on public.orders (state, customer_id)",
        ),
        ("select * from orders order by at desc limit 10", "create index concurrently on public.orders (at)"),
        ("select * from log where id = 77", "create index on public.log (id)"),
    ] {
        let advice = call(&assistant, INDEXES, json!({ "sql": sql })).await;
        assert_eq!(advice["tried"], true);
        assert_eq!(advice["create"][0]["statement"], statement, "{sql}: {advice}");
        let (before, after) = (advice["costBefore"].as_f64().unwrap(), advice["costAfter"].as_f64().unwrap());
        assert!(after < before / 5.0, "{sql}: {before} to {after}");
        assert!(advice["create"][0]["bytes"].as_i64().unwrap() > 0);
        // The planner of the next caller knows nothing of it.
        let plan = call(&assistant, EXPLAIN, json!({ "sql": sql })).await;
        assert!((plan["cost"].as_f64().unwrap() - before).abs() < 1.0, "{plan}");
    }
    let advice = call(&assistant, INDEXES, json!({ "sql": "select * from orders where id = 5" })).await;
    assert_eq!(advice["create"], json!([]), "the primary key serves: {advice}");
    let indexes = "select count(*) from pg_indexes where schemaname = 'public' and tablename = 'orders'";
    assert_eq!(database.client().await.value(indexes).await.unwrap(), "3");
}

fn check<'a>(health: &'a Json, name: &str) -> &'a Json {
    let checks = health["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no `{name}`: {health}"))
}

#[tokio::test]
async fn health_tells_what_is_wrong_and_what_to_do() {
    let database = postgres::database().await;
    database
        .run(
            "create table t (id serial primary key, a int check (a > 0));
             insert into t (a) select g from generate_series(1, 20000) g;
             select setval('t_id_seq', 2000000000);
             alter table t add constraint late check (a > -5) not valid;
             delete from t where id > 5000",
        )
        .await;
    let assistant = open(&database.url, ALL);
    let (one, two) = (database.client().await, database.client().await);
    one.run("begin; lock table t").await;
    let waits = async { two.run("set lock_timeout = '15s'; select * from t limit 1").await };
    let looks = async {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let health = call(&assistant, HEALTH, json!({ "checks": ["blocked"] })).await;
            if check(&health, "blocked")["status"] != "ok" {
                one.run("commit").await;
                return health;
            }
            assert!(Instant::now() < end, "{health}");
        }
    };
    let (_, blocked) = tokio::join!(waits, looks);
    assert_eq!(blocked["checks"].as_array().unwrap().len(), 1);
    assert!(
        check(&blocked, "blocked")["items"][0]["text"].as_str().unwrap().contains("on public.t"),
        "{blocked}"
    );

    // The counts of a transaction arrive a moment after it.
    let end = Instant::now() + Duration::from_secs(15);
    let health = loop {
        let health = call(&assistant, HEALTH, json!({})).await;
        if check(&health, "dead-rows")["status"] != "ok" {
            break health;
        }
        assert!(Instant::now() < end, "{health}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(health["checks"].as_array().unwrap().len(), 14);
    assert_eq!(check(&health, "dead-rows")["items"][0]["name"], "public.t");
    assert_eq!(check(&health, "analyze")["status"], "warn");
    let sequences = check(&health, "sequences");
    assert_eq!(
        (&sequences["status"], &sequences["items"][0]["name"]),
        (&json!("bad"), &json!("public.t_id_seq"))
    );
    assert!(check(&health, "invalid")["items"][0]["name"].as_str().unwrap().ends_with("late"), "{health}");
    for ok in ["connections", "wraparound", "autovacuum", "blocked"] {
        assert_eq!(check(&health, ok)["status"], "ok", "{health}");
    }
    assert_eq!(health["status"], "bad");
    let text = refused(&assistant, HEALTH, json!({ "checks": ["locks"] })).await;
    assert!(text.contains("locks") && text.contains("blocked"), "{text}");
}

#[tokio::test]
async fn health_tells_of_a_table_that_is_mostly_spare_room() {
    let database = postgres::database().await;
    database
        .run(
            "create table holey (id int, s text) with (autovacuum_enabled = off);
             create table full_of_rows (id int, s text) with (autovacuum_enabled = off);
             insert into holey select g, repeat('x', 1000) from generate_series(1, 15000) g;
             insert into full_of_rows select * from holey;
             delete from holey where id % 10 <> 0;
             analyze holey; analyze full_of_rows",
        )
        .await;
    let assistant = open(&database.url, ALL);
    let checks = json!({ "checks": ["bloat"] });
    let health = call(&assistant, HEALTH, checks.clone()).await;
    let bloat = check(&health, "bloat");
    // Nine rows of ten are gone from eighteen megabytes.
    assert_eq!(bloat["status"], "bad", "{bloat}");
    let names: Vec<&Json> = bloat["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["public.holey"], "{bloat}");
    let share = bloat["value"].as_f64().unwrap();
    assert!((0.8..0.95).contains(&share), "{bloat}");
    assert!(bloat["items"][0]["text"].as_str().unwrap().contains(" of 18 MB"), "{bloat}");
    assert!(bloat["text"].as_str().unwrap().contains("`vacuum full`"), "{bloat}");
    database.run("vacuum full holey").await;
    let health = call(&assistant, HEALTH, checks).await;
    assert_eq!(check(&health, "bloat")["status"], "ok", "{health}");
    assert!(check(&health, "bloat").get("items").is_none(), "{health}");
}

#[tokio::test]
async fn health_tells_how_far_a_replica_is_behind_on_both_of_them() {
    let primary = PrivatePostgres::start().await;
    let writer = Client::connect(&primary.url("postgres")).await;
    writer.run("create table t (a int)").await;
    let checks = json!({ "checks": ["replication"] });
    let on_primary = open(&primary.url("postgres"), ALL);
    let health = call(&on_primary, HEALTH, checks.clone()).await;
    assert_eq!(check(&health, "replication")["text"], "no replica is connected");
    let replica = primary.replica().await;
    let on_replica = open(&replica.url("postgres"), ALL);
    let looks = async |assistant: &Assistant| {
        check(&call(assistant, HEALTH, checks.clone()).await, "replication").clone()
    };
    let until = async |assistant: &Assistant, what: &str, is_so: &dyn Fn(&Json) -> bool| {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let told = looks(assistant).await;
            if is_so(&told) {
                return;
            }
            assert!(Instant::now() < end, "{what}: {told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Bytes that are not applied there, by what the primary knows.
    let behind = |replication: &Json| {
        let text = replication["items"][0]["text"].as_str().unwrap_or_default();
        let bytes = text.strip_prefix("streaming, ")?.strip_suffix(" bytes behind")?;
        bytes.replace(',', "").parse::<i64>().ok()
    };
    let even = |told: &Json| behind(told) == Some(0) && told["status"] == "ok";
    until(&on_primary, "it follows", &even).await;
    let told = looks(&on_primary).await;
    assert!(told["text"].as_str().unwrap().starts_with("1 replicas are connected, the slowest "), "{told}");
    let told = looks(&on_replica).await;
    assert_eq!((&told["status"], &told["value"]), (&json!("ok"), &json!(0.0)), "{told}");

    replica.pause_replay().await;
    writer.run("insert into t select g from generate_series(1, 5000) g").await;
    // 5,000 rows are more than that.
    until(&on_primary, "it is behind", &|told| behind(told).is_some_and(|bytes| bytes > 100_000)).await;
    // The replica itself counts the seconds since what it applied last, which is nothing yet.
    let unknown =
        |told: &Json| told["status"] == "unknown" && told["text"].as_str().unwrap().contains("not known");
    until(&on_replica, "it cannot tell", &unknown).await;
    replica.resume_replay().await;
    until(&on_primary, "it follows again", &even).await;
    replica.pause_replay().await;
    writer.run("insert into t values (1)").await;
    let late = |told: &Json| told["value"].as_f64().is_some_and(|seconds| seconds > 0.3);
    until(&on_replica, "its lag grows", &late).await;
    let told = looks(&on_replica).await;
    let text = told["text"].as_str().unwrap();
    assert!(text.starts_with("this server is a replica, ") && told["unit"] == "seconds behind", "{told}");
    replica.resume_replay().await;
    until(&on_replica, "it has caught up", &|told| told["value"] == json!(0.0)).await;
}

#[tokio::test]
async fn health_tells_of_slots_that_nobody_reads_and_of_those_that_are_lost() {
    let server = PrivatePostgres::start_with(&["max_slot_wal_keep_size=1MB"]).await;
    let outside = Client::connect(&server.url("postgres")).await;
    let assistant = open(&server.url("postgres"), ALL);
    let looks =
        async || check(&call(&assistant, HEALTH, json!({ "checks": ["slots"] })).await, "slots").clone();
    let none = looks().await;
    assert_eq!((&none["status"], &none["text"]), (&json!("ok"), &json!("there are no replication slots")));
    outside.run("select pg_create_physical_replication_slot('forgotten', true)").await;
    let unused = looks().await;
    assert_eq!(unused["status"], "warn", "{unused}");
    assert_eq!(unused["items"], json!([{ "name": "forgotten", "text": "reserved, keeps 0 MB" }]));
    assert!(unused["text"].as_str().unwrap().starts_with("1 replication slots are not in use"), "{unused}");
    // More of the log than the server may keep for it.
    for _ in 0..3 {
        outside.run("create table if not exists t (a int)").await;
        outside.run("insert into t values (1)").await;
        outside.run("select pg_switch_wal()").await;
    }
    outside.run("checkpoint").await;
    let lost = looks().await;
    assert_eq!(lost["status"], "bad", "{lost}");
    assert!(lost["items"][0]["text"].as_str().unwrap().starts_with("lost, keeps "), "{lost}");
    outside.run("select pg_drop_replication_slot('forgotten')").await;
    assert_eq!(looks().await["status"], "ok");
}

#[tokio::test]
async fn an_ordinary_login_sees_what_it_may_and_is_told_of_the_rest() {
    let server = PrivatePostgres::start().await;
    let root = Client::connect(&server.url("postgres")).await;
    root.run(SHOP).await;
    root.run(
        "create role plain login; grant select on orders to plain; grant select (id) on customers to plain",
    )
    .await;
    let url = server.url("postgres").replacen("postgres@", "plain@", 1);
    assert_ne!(url, server.url("postgres"));
    let assistant = open(&url, ALL);
    assert_eq!(assistant.learn().await, []);
    let overview = call(&assistant, SCHEMA, json!({})).await;
    assert_eq!(names(&overview), ["customers", "orders"], "{overview}");
    assert_eq!(overview["hidden"], 2);
    let text = refused(&assistant, SCHEMA, json!({ "table": "paid" })).await;
    assert!(text.contains("may not read it"), "{text}");
    call(&assistant, SCHEMA, json!({ "table": "orders" })).await;
    call(&assistant, SCHEMA, json!({ "search": "state" })).await;
    call(&assistant, INDEXES, json!({})).await;
    let health = call(&assistant, HEALTH, json!({})).await;
    assert!(check(&health, "connections")["text"].as_str().unwrap().contains("may not see"), "{health}");
    assert_eq!(check(&health, "slow-statements")["status"], "unknown");
    call(&assistant, EXPLAIN, json!({ "sql": "select * from orders", "analyze": true })).await;
    let text = refused(&assistant, EXPLAIN, json!({ "sql": "select * from paid" })).await;
    assert!(text.contains("permission denied"), "{text}");
}

#[tokio::test]
async fn tools_that_are_not_asked_for_do_not_exist() {
    let url = "postgres://u@127.0.0.1:1/x";
    let made = |keys: &str| {
        let file: PostgresFile = toml::from_str(&format!("url = {url:?}\n{keys}")).unwrap();
        let (postgres, options) = file.resolve("shop").unwrap();
        Assistant::new("shop", Arc::new(postgres), options)
    };
    assert!(made("").is_none());
    let names = |keys: &str| {
        let definitions = made(keys).unwrap().definitions();
        definitions.iter().map(|tool| tool.name.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("tools = ['health', 'schema']"), ["shop_health", "shop_schema"]);
    assert_eq!(names("tools = ['explain']\nprefix = ''"), ["explain"]);
    let health_only = made("tools = ['health']").unwrap();
    assert!(health_only.parts().resources.is_empty() && health_only.parts().templates.is_empty());
    for tool in made(ALL).unwrap().definitions() {
        assert!(tool.annotations.read_only, "{}", tool.name);
        assert!(jsonschema::meta::is_valid(&tool.input_schema), "{}", tool.name);
        let output = tool.output_schema.unwrap();
        assert!(jsonschema::meta::is_valid(&output) && output["type"] == "object", "{output}");
        assert!(!output.to_string().contains("$ref"), "{output}");
    }
    // Nobody is there, which is told and breaks nothing.
    let assistant = made(ALL).unwrap();
    let problems = assistant.learn().await;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].severity, trunkline_sql::Severity::Unavailable);
    assert!(!assistant.is_ready());
    let text = refused(&assistant, SCHEMA, json!({})).await;
    assert!(text.contains("does not answer") && !text.contains("127.0.0.1"), "{text}");
}
