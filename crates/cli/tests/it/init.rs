//! `trunkline init` on real databases with names and comments that nobody would choose: the file it writes passes `check`, and
//! each tool in it gives rows.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use trunkline_testkit::postgres::{TestDatabase, database};

use crate::support::{Folder, Server, free_port, trunkline};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

/// Runs `trunkline` in a folder with the address in the environment, as the written file reads it.
fn run(folder: &Path, url: &str, args: &[&str]) -> Output {
    let mut command: Command = trunkline();
    command.args(args).current_dir(folder).env("DATABASE_URL", url).stdin(Stdio::null()).output().unwrap()
}

/// The written file, read as TOML.
fn written(folder: &Path) -> toml::Table {
    toml::from_str(&std::fs::read_to_string(folder.join("trunkline.toml")).unwrap()).unwrap()
}

/// The tools of the file with the connector's own left out.
fn tools(file: &toml::Table) -> Vec<String> {
    file["tools"].as_table().unwrap().keys().cloned().collect()
}

/// Serves the file and calls every tool: lists with `query`, single rows with the keys that the lists gave.
fn call_all(folder: &Path, url: &str, query: &str) {
    let port = free_port();
    let mut command = trunkline();
    command
        .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
        .current_dir(folder)
        .env("DATABASE_URL", url);
    let server = Server::spawn(command);
    let file = written(folder);
    let all = file["tools"].as_table().unwrap();
    let mut rows: Vec<(String, Value)> = Vec::new();
    for (name, tool) in all.iter().filter(|(_, tool)| tool.get("returns").is_none()) {
        let arguments = if name.starts_with("search_") { json!({ "query": query }) } else { json!({}) };
        let answer = server.call(name, &arguments);
        let result = &answer["result"];
        let found = &result["structuredContent"]["rows"];
        assert!(
            result["isError"] != true && found.as_array().is_some_and(|rows| !rows.is_empty()),
            "{name}: {answer}"
        );
        let from =
            tool["sql"].as_str().unwrap().lines().find(|line| line.starts_with("from ")).unwrap().to_owned();
        rows.push((from, found[0].clone()));
    }
    for (name, tool) in all.iter().filter(|(_, tool)| tool.get("returns").is_some()) {
        let sql = tool["sql"].as_str().unwrap();
        let (_, row) = rows.iter().find(|(from, _)| sql.lines().any(|line| line == from)).unwrap();
        let mut arguments = json!({});
        for line in sql.lines().filter(|line| line.starts_with("where ") || line.starts_with("  and ")) {
            let (column, param) = line.trim().split_once(' ').unwrap().1.rsplit_once(" = :").unwrap();
            let column = column.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(column);
            arguments[param] = row[column.replace("\"\"", "\"")].clone();
        }
        let answer = server.call(name, &arguments);
        assert!(answer["result"]["structuredContent"]["row"].is_object(), "{name} {arguments}: {answer}");
    }
}

/// Tables that a generator of SQL and TOML gets wrong.
const NASTY: &str = r#"
create table customers (
    id int generated always as identity primary key, name text not null, email varchar(80), password_hash text,
    tags text[], born date, doubled int generated always as (length(name) * 2) stored, photo bytea
);
insert into customers (name, email, password_hash, tags, born, photo)
    values ('Anna a', 'anna@example.com', 'hunter2', '{x,y}', '1990-01-01', '\x00ff');
comment on table customers is E'People who "bought" something.\nUse ${HOME} and ''''''three'''''' \\ quotes; \u202e$${A}';
comment on column customers.id is E'The "number"\tof ${DATABASE_URL}';
create table orders (
    id uuid primary key default gen_random_uuid(), customer_id int not null references customers, note text, "limit" int
);
insert into orders (customer_id, note) values (1, 'a note');
create type mood as enum ('sad', 'ok', 'happy at last');
create table "Order" ("Select" int, "group" mood, "a:b" text, "what's ""this"" ?" text, "${HOME}" text, primary key ("Select", "group"));
insert into "Order" values (1, 'happy at last', 'a', 'a', 'a');
create table "MixedCase" ("Id" bigint primary key, "DisplayName" text);
insert into "MixedCase" values (9007199254740993, 'a');
create table "größe 表 🦀" ("schlüssel" text primary key, "wert" numeric(10,2));
insert into "größe 表 🦀" values ('a', 1.50);
create table "a table whose name is so long that it fits only just in 63 bytes" (id int primary key, v text);
insert into "a table whose name is so long that it fits only just in 63 bytes" values (1, 'a');
create table "line
break" (id int primary key, "tab	column" text, "quote'''s" text);
insert into "line
break" values (1, 'a', 'a');
create table no_key (v text, n int);
insert into no_key values ('a', 1);
create table no_text (a int, b timestamptz default now(), j jsonb, primary key (a, b));
insert into no_text values (1, default, '{"k":1}');
create table only_json (id int primary key, document json, p point);
insert into only_json values (1, '{"a":1}', '(1,2)');
create view rich as select name, email from customers;
create materialized view counted as select count(*) as n, 'a' as label from customers;
create table measured (at date not null, place text not null, value float8, primary key (at, place)) partition by range (at);
create table measured_2020 partition of measured for values from ('2020-01-01') to ('2021-01-01');
insert into measured values ('2020-06-01', 'a', 'NaN');
create domain email as text check (value like '%@%');
create table with_domain (id int primary key, address email);
insert into with_domain values (1, 'a@b');
create schema sales;
create table sales.customers (id int primary key, name text);
insert into sales.customers values (1, 'a');
create table customer (id int primary key, name text);
insert into customer values (1, 'a');
create collation ignoring (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create table collated (id int primary key, word text collate ignoring, other text);
insert into collated values (1, 'a', 'a');
create table schema_migrations (version text primary key);
insert into schema_migrations values ('a');
create schema hidden;
create table hidden.secrets (id int);
insert into hidden.secrets values (1);
"#;

async fn nasty() -> TestDatabase {
    let database = database().await;
    let columns: Vec<String> = (0..300).map(|at| format!("c{at} text default 'a'")).collect();
    database.run(NASTY).await;
    database
        .run(&format!(
            "create table wide ({}, id int primary key); insert into wide (id) values (1)",
            columns.join(", ")
        ))
        .await;
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_a_nasty_database_gets_tools_that_work() {
    let (database, folder) = (nasty().await, tempfile::tempdir().unwrap());
    let output = run(folder.path(), &database.url, &["init", "--all", "--name", "shop"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("no tool"), "{}", said(&output));
    let output = run(folder.path(), &database.url, &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let file = written(folder.path());
    assert_eq!(file["connectors"]["shop"]["url"].as_str(), Some("${DATABASE_URL}"));
    let names = tools(&file);
    for name in [
        "search_customers",
        "get_customer",
        "search_order",
        "search_sales_customers",
        "list_no_text",
        "search_mixed_cases",
    ] {
        let known = names.iter().any(|known| known.starts_with(name));
        assert!(known, "{name}: {names:?}");
    }
    assert!(
        !names.iter().any(|name| name.contains("2020")),
        "partitions are not tables of their own: {names:?}"
    );
    let sql: String =
        file["tools"].as_table().unwrap().values().map(|tool| tool["sql"].as_str().unwrap()).collect();
    assert!(!sql.contains("password_hash"), "{sql}");
    call_all(folder.path(), &database.url, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_reach_the_model_as_they_are() {
    let (database, folder) = (nasty().await, tempfile::tempdir().unwrap());
    let output = run(folder.path(), &database.url, &["init", "--table", "public.customers"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = run(folder.path(), &database.url, &["tools", "trunkline.toml", "--output", "json"]);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let search = &listed["tools"][0];
    assert_eq!(search["name"], "search_customers");
    let told = search["description"].as_str().unwrap();
    assert!(
        told.contains(r#"People who "bought" something. Use ${HOME} and '''three''' \ quotes; $${A}."#),
        "{told}"
    );
    let id = &listed["tools"][1]["inputSchema"]["properties"]["id"]["description"];
    assert_eq!(id, r#"The "number" of ${DATABASE_URL}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_can_be_narrowed_by_what_its_rows_refer_to() {
    let (database, folder) = (nasty().await, tempfile::tempdir().unwrap());
    database.run("insert into customers (name) values ('Bob'); insert into orders (customer_id, note) values (2, 'a note too')").await;
    let output = run(folder.path(), &database.url, &["init", "--table", "orders"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for (arguments, count) in
        [(&["customer_id=2"][..], 1), (&[], 2), (&["customer_id=1", "query=TOO"], 0), (&["query=too"], 1)]
    {
        let mut args = vec!["call", "trunkline.toml", "search_orders", "--output", "json"];
        args.extend(arguments);
        let output = run(folder.path(), &database.url, &args);
        let result: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        assert_eq!(result["structuredContent"]["rowCount"], count, "{arguments:?}: {result}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_tables_the_first_twenty_are_taken_and_the_others_named() {
    let (database, folder) = (database().await, tempfile::tempdir().unwrap());
    let tables: String =
        (0..200).map(|at| format!("create table t{at:03} (id int primary key, name text);")).collect();
    database
        .run(&format!(
            "{tables} insert into t150 select n, 'x' from generate_series(1, 5000) n; analyze t150"
        ))
        .await;
    let output = run(folder.path(), &database.url, &["init"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(tools(&written(folder.path())).len(), 40);
    assert!(tools(&written(folder.path())).contains(&"search_t150s".to_owned()));
    let told = said(&output);
    assert!(
        told.contains("Left out: 180 tables: public.t0")
            && told.contains("--table GLOB")
            && told.contains("--all"),
        "{told}"
    );
    assert!(told.contains("1 connector, 40 tools") && told.contains("no problems"), "{told}");
    let output =
        run(folder.path(), &database.url, &["init", "--force", "--table", "t0*", "--table", "public.t15?"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(tools(&written(folder.path())).len(), 220);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_in_no_file_and_no_message() {
    let (database, folder) = (database().await, tempfile::tempdir().unwrap());
    database.run("create table customers (id int primary key, name text)").await;
    let url = database.url.replace("postgres@", "postgres:letmein%40@");
    for args in [
        &["init", url.as_str()][..],
        &["init", &url],
        &["init", "--force", "${DATABASE_URL}"],
        &["init", "--output", "-", &url],
    ] {
        let output = run(folder.path(), &url, args);
        let file = std::fs::read_to_string(folder.path().join("trunkline.toml")).unwrap();
        assert!(file.contains("url = \"${DATABASE_URL}\""), "{file}");
        let told = said(&output) + &file;
        assert!(!told.contains("letmein"), "{told}");
    }
    let output = trunkline()
        .args(["init", "--force", &url])
        .current_dir(folder.path())
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("export DATABASE_URL=") && !said(&output).contains("letmein"),
        "{}",
        said(&output)
    );
    for (url, code) in [
        (format!("postgres://u:letmein@127.0.0.1:{}/db", free_port()), 69),
        ("postgres://u:letmein@h:port/db".to_owned(), 78),
        (url.replace("/test_", "/letmein_not_there_").replace("letmein_", ""), 69),
        ("mysql://u:letmein@h/db".to_owned(), 2),
    ] {
        let output = run(folder.path(), "", &["init", "--force", &url]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(!said(&output).contains("letmein"), "{}", said(&output));
    }
    // Without a password the address is no secret, and the file says it.
    let output = run(folder.path(), "", &["init", "--force", &database.url]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(std::fs::read_to_string(folder.path().join("trunkline.toml")).unwrap().contains(&database.url));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_login_may_read_is_shown() {
    let (database, folder) = (nasty().await, tempfile::tempdir().unwrap());
    let role = format!("reader_{}", std::process::id());
    database
        .run(&format!(
            "create role {role} login; grant usage on schema sales to {role}; grant select (id, name) on customers to {role}; \
             grant select (v) on no_key to {role}; grant select (a) on no_text to {role}"
        ))
        .await;
    let url = database.url.replacen("postgres@", &format!("{role}@"), 1);
    let output = run(folder.path(), &url, &["init", "--all"]);
    let names = if output.status.success() { tools(&written(folder.path())) } else { Vec::new() };
    database.run(&format!("drop owned by {role}; drop role {role}")).await;
    assert_eq!(
        names,
        ["get_customer", "list_no_texts", "search_customers", "search_no_keys"],
        "{}",
        said(&output)
    );
}

#[test]
fn every_table_of_a_nasty_sqlite_file_gets_tools_that_work() {
    let folder = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("my shop.db")).unwrap();
    let wide: Vec<String> = (0..300).map(|at| format!("c{at} text default 'a'")).collect();
    connection
        .execute_batch(&format!(
            r#"
            create table customers (id integer primary key, name text not null, email varchar(80), password text,
                doubled int generated always as (id * 2) stored, half real generated always as (id / 2.0) virtual, photo blob);
            insert into customers (name, email, photo) values ('Anna a', 'anna@example.com', x'00ff');
            create table orders (id integer primary key, customer_id integer references customers, note text, at datetime);
            insert into orders values (1, 1, 'a', '2020-01-01');
            create table "Order" ("Select" int, "group" text, "a:b" text, "what's ""this"" ?1 $1" text, primary key ("Select", "group")) without rowid;
            insert into "Order" values (1, 'a', 'a', 'a');
            create table "größe 表 🦀" ("schlüssel" text primary key, wert decimal(10,2));
            insert into "größe 表 🦀" values ('a', 1.5);
            create table "{long}" (id integer primary key, v text);
            insert into "{long}" values (1, 'a');
            create table "line
break" (id integer primary key, "tab	column" text, "quote'''s" text);
            insert into "line
break" values (1, 'a', 'a');
            create table no_key (v text, n int);
            insert into no_key values ('a', 1);
            create table untyped (k primary key, v);
            insert into untyped values (7, 'a');
            create table dated (at date primary key, price decimal(5,2), is_open boolean);
            insert into dated values ('2020-01-01', 1.25, 1);
            create table blobs (k blob primary key, v blob);
            insert into blobs values (x'01', x'02');
            create view rich as select name, email from customers;
            create view broken as select nope from gone;
            create virtual table found using fts5(words);
            insert into found values ('a b');
            create table wide ({wide}, id integer primary key);
            insert into wide (id) values (1);
            "#,
            long = "x".repeat(70),
            wide = wide.join(", ")
        ))
        .unwrap();
    drop(connection);
    let output = run(folder.path(), "", &["init", "sqlite:my shop.db", "--all"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("no tools for broken"), "{}", said(&output));
    assert_eq!(run(folder.path(), "", &["check"]).status.code(), Some(0));
    let names = tools(&written(folder.path()));
    assert!(names.iter().all(|name| name.len() <= 64), "{names:?}");
    let long = names.iter().find(|name| name.starts_with("search_xxx")).unwrap();
    assert_eq!(long.len(), 64, "{long}");
    call_all(folder.path(), "", "a");
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let folder = Folder::new();
    folder.write("# mine\n");
    let output = folder.run(&["init", "sqlite:shop.db"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(said(&output).contains("`--force`"), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(folder.config()).unwrap(), "# mine\n");
    assert_eq!(folder.run(&["init", "sqlite:shop.db", "--force"]).status.code(), Some(0));
    assert_eq!(
        folder.run(&["call", "trunkline.toml", "search_customers", "query=ann"]).status.code(),
        Some(0)
    );
}

#[test]
fn the_file_goes_to_standard_output_or_elsewhere() {
    let folder = Folder::new();
    let output = folder.run(&["init", "sqlite:shop.db", "--output", "-"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(text(&output.stdout));
    insta::assert_snapshot!("to_standard_output_tells", text(&output.stderr));
    assert!(!folder.config().exists());
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    let output = folder.run(&["init", "sqlite:shop.db", "-o", "etc/my shop.toml"]);
    assert!(text(&output.stdout).contains("trunkline serve -c 'etc/my shop.toml'"), "{}", said(&output));
    assert_eq!(
        folder.run(&["check", "-c", "etc/my shop.toml"]).status.code(),
        Some(0),
        "the path holds from there too"
    );
}

#[test]
fn what_is_not_looked_at_yet_is_said_so() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("openapi.yaml"), "openapi: 3.1.0\n").unwrap();
    for (given, code, says) in [
        (".", 2, "later version"),
        ("openapi.yaml", 2, "later version"),
        ("https://example.com/mcp", 2, "later version"),
        ("shop.db", 2, "trunkline init sqlite:shop.db"),
        ("sqlite:nothing.db", 69, "nothing.db"),
        ("sqlite:openapi.yaml", 69, "cannot be looked at"),
        ("postgres://", 78, "postgres://user"),
    ] {
        let output = folder.run(&["init", given]);
        assert_eq!(output.status.code(), Some(code), "{given}: {}", said(&output));
        assert!(said(&output).contains(says) && output.stdout.is_empty(), "{given}: {}", said(&output));
    }
    let output = folder.run(&["init", "sqlite:shop.db", "--table", "custmers"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("did you mean `customers`?"), "{}", said(&output));
}
