//! What is found about a login that may do too much, and the SQL for one that may not.

use std::sync::Arc;

use trunkline_postgres::{Postgres, PostgresFile};
use trunkline_sql::{Access, Database, Severity, SqlConnector, StatementSource, Value};
use trunkline_testkit::postgres::{self, Client, TestDatabase};

use crate::bypass::{ask, connector, with_user};
use crate::support::{open, prepare, reading, rows, run, writing};

/// Makes a login of this database's own, and returns its name and the address with it.
async fn login(database: &TestDatabase, outside: &Client, grants: &str) -> (String, String) {
    let role = outside.value("select 'login_' || current_database()").await.unwrap();
    outside.run(&format!("create role {role} login; {}", grants.replace("{role}", &role))).await;
    let url = with_user(&database.url, &role);
    (role, url)
}

async fn found(connector: &Arc<SqlConnector<Postgres>>) -> Vec<(String, Severity, String)> {
    let problems = connector.learn().await;
    problems.into_iter().map(|found| (found.path.join("."), found.severity, found.message)).collect()
}

#[tokio::test]
async fn a_login_that_may_do_too_much_is_warned_of_once_and_by_name() {
    let database = postgres::database().await;
    let outside = database.client().await;
    outside.run("create table a (i int); create table b (i int); create table c (i int)").await;
    let superuser = connector(&database.url, "");
    let told = found(&superuser).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].0.as_str(), told[0].1), ("connectors.shop.url", Severity::Warning));
    assert!(told[0].2.contains("is a superuser"), "{told:?}");
    assert_eq!(found(&superuser).await, told);
    let (role, url) =
        login(&database, &outside, "alter table a owner to {role}; grant insert on b to {role}").await;
    let told = found(&connector(&url, "")).await;
    let message = &told[0].2;
    for part in [role.as_str(), "owns 1 of the tables and views (a)", "may change 2 of the tables (a, b)"] {
        assert!(message.contains(part), "{message}");
    }
    // A login that writes may own what it writes.
    assert_eq!(found(&connector(&url, "access = 'read-write'")).await, []);
    let name = outside.value("select current_database()").await.unwrap();
    outside.run(&format!("drop table a, b; alter database {name} owner to {role}")).await;
    let told = found(&connector(&url, "")).await;
    assert!(told[0].2.contains("owns the database"), "{told:?}");
    assert_eq!(found(&connector(&url, "access = 'read-write'")).await, []);
}

#[tokio::test]
async fn a_login_that_only_reads_is_not_warned_of() {
    let database = postgres::database().await;
    let outside = database.client().await;
    outside.run("create table a (i int)").await;
    let (_, url) = login(&database, &outside, "grant select on a to {role}").await;
    assert_eq!(found(&connector(&url, "")).await, []);
}

#[tokio::test]
async fn a_login_that_is_refused_runs_nothing() {
    let database = postgres::database().await;
    let connector = connector(&database.url, "posture = 'refuse'");
    let told = found(&connector).await;
    assert_eq!((told.len(), told[0].1), (1, Severity::Wrong), "{told:?}");
    let (failed, text) = ask(&connector, "select 1").await;
    assert!(failed && text.as_str().unwrap().contains("is a superuser"), "{text}");
}

#[tokio::test]
async fn the_role_that_is_printed_can_do_what_the_tools_need_and_has_no_warning() {
    let database = postgres::database().await;
    let outside = database.client().await;
    outside
        .run(
            "create table t (id serial primary key, s text); create table other (i int);
             create schema \"Odd one\"; create view \"Odd one\".\"V\" as select * from t",
        )
        .await;
    let reads = ["select id, s from t where id = $1", "select * from \"Odd one\".\"V\"", "select 1"];
    let statements: Vec<StatementSource> = reads.map(reading).into();
    let name = outside.value("select current_database()").await.unwrap();
    let admin = open(&database.url, "");
    let sql = admin.setup_sql(&name, &statements, false).await.unwrap();
    outside.run(&sql).await;
    let url = with_user(&database.url, &format!("trunkline_{name}"));
    let limited = open(&url, "");
    for sql in reads {
        let values = if sql.contains("$1") { vec![Value::Integer(1)] } else { vec![] };
        rows(&limited, sql, values).await;
    }
    let (other, _) = prepare(&limited, "select * from other").await;
    assert!(run(&limited, &other, vec![]).await.is_err());
    assert_eq!(limited.examine("shop").await, [], "{sql}");

    let writes = ["insert into t (s) values ($1)", "update t set s = $1 where id = $2"];
    let statements: Vec<StatementSource> = writes.map(writing).into();
    let sql = admin.setup_sql(&format!("{name}_w"), &statements, false).await.unwrap();
    outside.run(&sql).await;
    let file = format!(
        "url = {:?}\naccess = 'read-write'",
        with_user(&database.url, &format!("trunkline_{name}_w"))
    );
    let file: PostgresFile = toml::from_str(&file).unwrap();
    let limited = file.resolve("shop").unwrap().0;
    let source = StatementSource { access: Access::ReadWrite, ..writing("insert into t (s) values ('x')") };
    let (statement, _) = limited.prepare(&source).await.unwrap();
    assert_eq!(run(&limited, &statement, vec![]).await.unwrap().affected, Some(1));
    let (statement, _) = limited.prepare(&writing("delete from t")).await.unwrap();
    assert!(run(&limited, &statement, vec![]).await.is_err());
    assert_eq!(limited.examine("shop").await, []);
}

#[tokio::test]
async fn what_the_program_keeps_is_no_excess_and_no_callers_to_read() {
    let database = postgres::database().await;
    let outside = database.client().await;
    let (_, url) = login(&database, &outside, "create schema trunkline authorization {role}").await;
    let kept = open(&url, "").writer(std::time::Duration::from_secs(3));
    kept.establish("create table if not exists trunkline.kept (secret text)").await.unwrap();
    kept.run("insert into trunkline.kept values ('hidden')", &[]).await.unwrap();
    outside.run("create view shown as select * from trunkline.kept; grant select on shown to public").await;
    let connector = connector(&url, "");
    assert_eq!(found(&connector).await, []);
    for sql in [
        "select * from trunkline.kept",
        "select secret from shown",
        "with a as (select 1 as n) select n, (select max(secret) from trunkline.kept) from a",
        "explain analyze select * from trunkline.kept",
        "table trunkline.kept",
    ] {
        let (is_error, told) = ask(&connector, sql).await;
        assert!(is_error, "{sql}: {told}");
        let told = told.as_str().unwrap();
        assert!(told.contains("keeps keys and its record") && !told.contains("hidden"), "{sql}: {told}");
    }
    assert!(!ask(&connector, "select 'trunkline.kept' as schema").await.0);
}
