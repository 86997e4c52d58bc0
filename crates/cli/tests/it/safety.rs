//! What holds a PostgreSQL connector to reading, through the real binary: the login and its role, and callers' own SQL.

use std::process::{Command, Output};

use serde_json::Value;
use trunkline_testkit::postgres::{self, TestDatabase};

use crate::support::{Folder, Server, free_port, trunkline};

const TOOL: &str =
    "[tools.customers]\nconnector = \"$NAME\"\nsql = \"select id, name from customers where id = :id\"\n";

/// A database with two customers, one table that no tool names, and a connector that is called like nothing else on the server.
async fn shop() -> (TestDatabase, String) {
    let database = postgres::database().await;
    database
        .run(
            "create table customers (id int primary key, name text);
             insert into customers values (1, 'Ann Smith'), (2, 'Bob Jones');
             create table salaries (id int primary key)",
        )
        .await;
    let name = database.client().await.value("select replace(current_database(), '_', '')").await.unwrap();
    // Roles belong to the whole server, and names of connectors have at most 32 letters and digits.
    let start = name.len().saturating_sub(28);
    let name = format!("shop{}", name.get(start..).unwrap());
    (database, name)
}

fn file(name: &str, url: &str, keys: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:{}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n\
         [connectors.{name}]\ntype = \"postgres\"\nurl = \"{url}\"\n{keys}\n{}",
        free_port(),
        free_port(),
        TOOL.replace("$NAME", name)
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Puts another user into an address.
fn with_user(url: &str, user: &str) -> String {
    let (_, host) = url.split_once('@').unwrap();
    format!("postgres://{user}@{host}")
}

fn call(server: &Server, args: &[&str]) -> Output {
    let url = format!("http://{}/mcp", server.address);
    let mut command: Command = trunkline();
    command.args(["call", &url]).args(args).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_that_check_prints_makes_a_login_without_warnings_whose_tools_work() {
    let (database, name) = shop().await;
    let folder = Folder::new();
    folder.write(&file(&name, &database.url, ""));
    let warned = folder.run(&["check"]);
    assert_eq!(warned.status.code(), Some(0));
    assert!(text(&warned.stderr).contains("is a superuser"), "{warned:?}");
    assert!(text(&warned.stderr).contains("--print-setup-sql"), "{warned:?}");

    let printed = folder.run(&["check", "--print-setup-sql"]);
    assert_eq!((printed.status.code(), text(&printed.stderr).as_str()), (Some(0), ""));
    // Nothing but SQL is there: the server takes the whole of it.
    let sql = text(&printed.stdout);
    database.run(&sql).await;
    let role = format!("trunkline_{name}");
    assert!(sql.contains(&format!("grant select on public.customers to {role};")), "{sql}");
    assert!(!sql.contains("salaries"), "{sql}");

    folder.write(&file(&name, &with_user(&database.url, &role), "posture = \"refuse\""));
    let checked = folder.run(&["check"]);
    assert_eq!((checked.status.code(), text(&checked.stderr).as_str()), (Some(0), ""), "{sql}");
    assert!(text(&checked.stdout).ends_with("; no problems\n"), "{checked:?}");
    let server = Server::start(&folder);
    let answer = call(&server, &["customers", "id=2"]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}\n{}", server.said());
    assert!(text(&answer.stdout).contains("Bob Jones"), "{answer:?}");
    // While one process serves, another may still check.
    assert_eq!(folder.run(&["check"]).status.code(), Some(0));
    assert!(!server.said().contains("warning"), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setup_sql_is_printed_without_the_database() {
    let folder = Folder::new();
    let url = format!("postgres://someone:hidden@127.0.0.1:{}/shop", free_port());
    folder.write(&file("shop", &url, ""));
    let printed = folder.run(&["check", "--print-setup-sql"]);
    assert_eq!((printed.status.code(), text(&printed.stdout).as_str()), (Some(69), ""));
    let told = text(&printed.stderr);
    assert!(told.contains("connector `shop` does not answer") && !told.contains("hidden"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_gets_no_setup_sql_and_exits_as_check_does() {
    let (database, name) = shop().await;
    let folder = Folder::new();
    let url = with_user(&database.url, "nobody_of_that_name");
    folder.write(&file(&name, &url, ""));
    let printed = folder.run(&["check", "--print-setup-sql"]);
    assert_eq!((printed.status.code(), text(&printed.stdout).as_str()), (Some(78), ""), "{printed:?}");
    assert!(text(&printed.stderr).contains("does not let us in"), "{printed:?}");
    assert_eq!(folder.run(&["check"]).status.code(), Some(78));
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_warns_once_of_a_login_that_may_do_too_much() {
    let (database, name) = shop().await;
    let folder = Folder::new();
    folder.write(&file(&name, &database.url, ""));
    let server = Server::start(&folder);
    let warned = |said: &str| said.matches("is a superuser").count();
    server.wait_for(|said| (warned(said) > 0).then_some(()));
    assert_eq!(call(&server, &["customers", "id=1"]).status.code(), Some(0));
    // It looks at its connectors every second.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(warned(&server.said()), 1, "{}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_do_too_much_is_a_mistake_where_the_file_refuses_it() {
    let (database, name) = shop().await;
    let folder = Folder::new();
    folder.write(&file(&name, &database.url, "posture = \"refuse\""));
    let checked = folder.run(&["check"]);
    assert_eq!(checked.status.code(), Some(78), "{checked:?}");
    let told = text(&checked.stderr);
    assert!(told.starts_with("error: ") && told.contains("is a superuser"), "{told}");
    assert_eq!(told.matches("is a superuser").count(), 1, "{told}");
    assert!(text(&checked.stdout).contains("; 1 problem"), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_runs_a_statement_of_its_own_and_is_told_what_is_refused() {
    let (database, name) = shop().await;
    let folder = Folder::new();
    folder.write(&file(&name, &database.url, "ad-hoc-sql = \"read-only\""));
    let server = Server::start(&folder);
    let tool = format!("{name}_query");
    server.wait_for(|_| server.tools().contains(&tool).then_some(()));
    let query = |sql: &str, more: &[&str]| {
        let sql = format!("sql={sql}");
        let mut args = vec![tool.as_str(), sql.as_str()];
        args.extend(more);
        call(&server, &args)
    };
    let answer = query("select name from customers order by id", &["--output", "json"]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    let result: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(result["structuredContent"]["rows"][1]["name"], "Bob Jones", "{result}");

    for (sql, told) in [
        ("delete from customers", "read-only"),
        ("select 1; drop table customers", "one statement"),
        ("select pg_read_file('/etc/passwd')", "pg_read_file"),
        ("select nmae from customers", "`name`"),
    ] {
        let refused = query(sql, &[]);
        assert_eq!(refused.status.code(), Some(1), "{sql}: {refused:?}");
        let said = format!("{}{}", text(&refused.stdout), text(&refused.stderr));
        assert!(said.contains(told), "{sql}: {said}");
    }
    let left = database.client().await.value("select count(*) from customers").await;
    assert_eq!(left.as_deref(), Some("2"));
}
