//! A written list of ways around a read-only tool, each tried through the tool for callers' own SQL, by a superuser and by
//! the owner of the tables; and the same list mangled.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, NoTls};
use trunkline_postgres::{Postgres, PostgresFile};
use trunkline_protocol::{Method, Revision, envelope};
use trunkline_service::{Caller, Request, Service, TimeAllowed};
use trunkline_sql::SqlConnector;
use trunkline_testkit::postgres::{self, Client, TestDatabase};

/// A database with something to lose, a tool on it, and eyes on everything that could change.
struct Field {
    database: TestDatabase,
    outside: Client,
    other: Client,
    pid: String,
    connector: Arc<SqlConnector<Postgres>>,
    /// What listeners heard.
    heard: Arc<Mutex<usize>>,
    file: std::path::PathBuf,
    before: Vec<String>,
    _tasks: JoinSet<()>,
}

impl Field {
    async fn new(is_superuser: bool) -> Self {
        let database = postgres::database().await;
        let outside = database.client().await;
        outside.run(SETUP).await;
        if outside.value("select 1 from pg_available_extensions where name = 'dblink'").await.is_some() {
            outside.run("create extension dblink").await;
        }
        let mut url = database.url.clone();
        if !is_superuser {
            let role = outside.value("select 'owner_' || current_database()").await.unwrap();
            outside.run(&format!("create role {role} login; {OWN}").replace("{role}", &role)).await;
            url = with_user(&url, &role);
        }
        let other = database.client().await;
        let pid = other.value("select pg_backend_pid()").await.unwrap();
        let mut tasks = JoinSet::new();
        let heard = listen(&database.url, &mut tasks).await;
        let file =
            std::env::temp_dir().join(format!("trunkline-bypass-{}-{is_superuser}", std::process::id()));
        let connector = connector(&url, "pool = 1");
        let mut field =
            Self { database, outside, other, pid, connector, heard, file, before: Vec::new(), _tasks: tasks };
        field.before = field.state().await;
        field
    }

    /// Everything that must stay as it is, seen from outside and from the pooled connection.
    async fn state(&self) -> Vec<String> {
        let mut state = Vec::new();
        for sql in [
            "select md5(string_agg(t::text, ',' order by id)) from t",
            "select string_agg(relname || relkind::text, ',' order by relname) from pg_class where relnamespace = 'public'::regnamespace",
            "select count(*) from pg_largeobject_metadata",
            "select last_value || is_called::text from sq",
            "select count(*) from pg_locks where locktype = 'advisory'",
            "select count(*) from pg_replication_slots",
            "select count(*) from pg_listening_channels()",
            "select count(*) from pg_prepared_xacts",
        ] {
            state.push(self.outside.value(sql).await.unwrap_or_default());
        }
        state.push(self.other.value("select 1").await.unwrap_or_default());
        state.push(self.heard.lock().unwrap().to_string());
        state.push(self.file.exists().to_string());
        let settings = "select coalesce(string_agg(name || '=' || setting, ',' order by name), '') as settings, \
                        current_user, session_user, current_setting('transaction_read_only') as read_only \
                        from pg_settings where source = 'session'";
        let (failed, told) = ask(&self.connector, settings).await;
        assert!(!failed, "{told}");
        state.push(told.to_string());
        state
    }

    /// Tries a line of the list; says what is not as it should be.
    async fn try_one(&self, line: &str) -> Result<(), String> {
        let (expected, sql) = line.split_once('|').unwrap();
        let sql = unescape(sql.strip_prefix(' ').unwrap_or(sql))
            .replace("{pid}", &self.pid)
            .replace("{file}", &self.file.display().to_string())
            .replace("{url}", &self.database.url);
        let (failed, told) = ask(&self.connector, &sql).await;
        let text = told.as_str().unwrap_or_default();
        let is_expected = match expected.trim() {
            "refused" => failed,
            "allowed" => !failed,
            "typo" => failed && text.contains("did you mean"),
            "unclear" => failed && text.starts_with("not understood: ") && text.contains(" at line "),
            other => panic!("`{other}` is no expectation"),
        };
        if !is_expected || failed && text.len() < 20 {
            return Err(format!("{line}: {told}"));
        }
        let now = self.state().await;
        if now == self.before { Ok(()) } else { Err(format!("{line}: changed {now:?}")) }
    }

    async fn try_all(&self) {
        let mut wrong = Vec::new();
        for line in lines() {
            wrong.extend(self.try_one(line).await.err());
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

async fn listen(url: &str, tasks: &mut JoinSet<()>) -> Arc<Mutex<usize>> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let heard = Arc::new(Mutex::new(0));
    let ear = Arc::clone(&heard);
    tasks.spawn(async move {
        while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let Ok(AsyncMessage::Notification(_)) = message {
                *ear.lock().unwrap() += 1;
            }
        }
    });
    client.batch_execute("listen c").await.unwrap();
    // The listener lives as long as its client.
    tasks.spawn(async move {
        let _client = client;
        std::future::pending::<()>().await;
    });
    heard
}

pub(crate) fn connector(url: &str, keys: &str) -> Arc<SqlConnector<Postgres>> {
    let file: PostgresFile =
        toml::from_str(&format!("url = {url:?}\nad-hoc-sql = 'read-only'\n{keys}")).unwrap();
    let (postgres, options) = file.resolve("shop").unwrap();
    SqlConnector::new("shop", postgres, options, Vec::new())
}

/// Sends SQL through the tool; returns whether it failed, and the rows or the text.
pub(crate) async fn ask(connector: &SqlConnector<Postgres>, sql: &str) -> (bool, Json) {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "shop_query", "arguments": { "sql": sql } },
    });
    let body = Bytes::from(body.to_string());
    let (_, scanned) = envelope::scan(&body).unwrap();
    let mut request = Request::new(body, &scanned, Method::ToolsCall, Revision::LATEST, Caller::local(), 1)
        .with_time(TimeAllowed::Within(std::time::Duration::from_secs(20)));
    request.set_target(0);
    let reply = connector.call(request).await.unwrap();
    let members: Json =
        serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap())).unwrap();
    let content =
        if reply.is_error() { &members["content"][0]["text"] } else { &members["structuredContent"]["rows"] };
    (reply.is_error(), content.clone())
}

pub(crate) fn with_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    format!("{scheme}://{user}@{rest}")
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    plain
}

fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("bypass.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[tokio::test]
async fn no_trick_of_the_list_changes_anything_for_a_superuser() {
    Field::new(true).await.try_all().await;
}

#[tokio::test]
async fn no_trick_of_the_list_changes_anything_for_the_owner_of_the_tables() {
    Field::new(false).await.try_all().await;
}

#[tokio::test]
async fn pg_04_there_is_no_way_out_of_the_read_only_transaction() {
    let database = postgres::database().await;
    database.run("create table t (id int); insert into t values (1)").await;
    let connector = connector(&database.url, "pool = 1");
    for sql in [
        "SET TRANSACTION READ WRITE; DELETE FROM t",
        "SET TRANSACTION READ WRITE",
        "DELETE FROM t",
        "COMMIT; DROP TABLE t",
        "ROLLBACK; BEGIN READ WRITE; DELETE FROM t; COMMIT",
        "/* x */ DELETE FROM t",
        "-- x\nDELETE FROM t",
        "SELECT set_config('default_transaction_read_only','off',false)",
        "DELETE FROM t",
        "SELECT 1; DELETE FROM t",
    ] {
        let (failed, told) = ask(&connector, sql).await;
        assert!(failed, "`{sql}` ran: {told}");
        assert_eq!(ask(&connector, "select id from t").await, (false, json!([{ "id": 1 }])), "{sql}");
    }
    let (failed, told) = ask(&connector, "SELECT $a$;DROP TABLE t;$a$ as a").await;
    assert_eq!((failed, told), (false, json!([{ "a": ";DROP TABLE t;" }])));
    assert_eq!(ask(&connector, "SELECT ';' as a").await, (false, json!([{ "a": ";" }])));
}

#[tokio::test]
async fn pg_05_writes_that_look_like_reads_are_refused_and_reads_that_look_odd_are_not() {
    let database = postgres::database().await;
    database
        .run(
            "create table t (id int); insert into t values (1);
             create function wipe() returns int language sql as 'delete from t returning id'",
        )
        .await;
    let connector = connector(&database.url, "");
    for sql in [
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM t",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * INTO u FROM t",
        "DO $$BEGIN DELETE FROM t; END$$",
        "SELECT wipe()",
    ] {
        let (failed, told) = ask(&connector, sql).await;
        assert!(failed, "`{sql}` ran: {told}");
    }
    assert_eq!(database.client().await.value("select count(*) from t").await.as_deref(), Some("1"));
    for sql in [
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM t",
        "TABLE t",
        "VALUES (1)",
        "(SELECT 1)",
        "WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n WHERE a < 3) SELECT * FROM n",
        "SHOW server_version",
        "SELECT '{\"a\":1}'::jsonb ? 'a'",
    ] {
        let (failed, told) = ask(&connector, sql).await;
        assert!(!failed && told.as_array().is_some_and(|rows| !rows.is_empty()), "`{sql}`: {told}");
    }
}

#[tokio::test]
async fn pg_06_what_a_read_only_transaction_does_not_stop_is_refused() {
    let field = Field::new(true).await;
    for sql in [
        "COPY (SELECT 1) TO PROGRAM 'cat > {file}'",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT pg_advisory_lock(1)",
        "SELECT lo_create(0)",
        "SELECT pg_notify('c','x')",
        "SELECT pg_terminate_backend({pid})",
        "SELECT dblink('{url}', 'delete from t')",
    ] {
        assert_eq!(field.try_one(&format!("refused | {sql}")).await, Ok(()));
    }
}

#[tokio::test]
async fn a_dear_statement_is_refused_by_its_cost_before_it_runs() {
    let database = postgres::database().await;
    database.run("create table t as select g as id from generate_series(1, 1000) g; analyze t").await;
    let connector = connector(&database.url, "max-cost = 1000");
    let (failed, told) = ask(&connector, "select count(*) from t a, t b, t c").await;
    let told = told.as_str().unwrap_or_default();
    assert!(failed && told.contains("`max-cost`") && told.contains("at most 1000 is allowed"), "{told}");
    let (failed, told) = ask(&connector, "explain analyze select count(*) from t a, t b, t c").await;
    assert!(failed, "{told}");
    assert_eq!(ask(&connector, "select count(*) as n from t").await, (false, json!([{ "n": 1000 }])));
}

#[tokio::test]
async fn errors_tell_the_author_place_code_and_the_nearest_name() {
    let database = postgres::database().await;
    database.run("create table customers (id int, name text, \"e-mail\" text)").await;
    let connector = connector(&database.url, "");
    for (sql, parts) in [
        (
            "select *\nfrom custmers",
            vec!["(42P01)", "line 2, column 6", "did you mean `customers`?", "\n  from custmers\n       ^"],
        ),
        ("select nme from customers", vec!["(42703)", "column 8", "did you mean `name`?"]),
        ("select uper(name) from customers", vec!["(42883)", "did you mean `upper`?"]),
        ("selec 1", vec!["(42601)", "line 1, column 1", "did you mean `select`?"]),
        ("select * from customers wher id = 1", vec!["(42601)", "did you mean `where`?"]),
        ("select 1 / 0", vec!["(22012)", "division by zero"]),
        ("select 'x'::int", vec!["(22P02)", "column 8"]),
    ] {
        let (failed, told) = ask(&connector, sql).await;
        let text = told.as_str().unwrap_or_default();
        assert!(failed && parts.iter().all(|part| text.contains(part)), "`{sql}`: {text}");
    }
}

#[tokio::test]
async fn refusals_name_rule_place_and_what_passes() {
    let field = Field::new(true).await;
    for (sql, parts) in [
        ("select a,\n  wipe()", ["`functions`", "wipe()", "line 2, column 3"]),
        ("select * from wiping", ["`functions`", "wipe()", "view"]),
        ("select pg_read_file('x')", ["`functions`", "reads files of the server", "leave it out"]),
        ("select 1 === 2", ["`functions`", "===", "column 10"]),
        ("select U&\"lower\"('A')", ["not understood", "column 8", "in double quotes"]),
    ] {
        let (failed, told) = ask(&field.connector, sql).await;
        let text = told.as_str().unwrap_or_default();
        assert!(failed && parts.iter().all(|part| text.contains(part)), "`{sql}`: {text}");
    }
}

#[test]
fn mangled_statements_change_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let field = runtime.block_on(Field::new(true));
    let allowed: Vec<&str> = lines().filter(|line| line.starts_with("allowed")).collect();
    let config = ProptestConfig { failure_persistence: None, cases: 150, ..ProptestConfig::default() };
    let fragments = prop::sample::select(FRAGMENTS);
    let strategy = (
        prop::sample::select(allowed),
        prop::collection::vec((any::<prop::sample::Index>(), fragments), 1..4),
    );
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&strategy, |(line, pieces)| {
        let mut sql = unescape(line.split_once("| ").unwrap().1);
        for (place, piece) in pieces {
            let mut at = place.index(sql.len() + 1);
            while !sql.is_char_boundary(at) {
                at -= 1;
            }
            sql.insert_str(at, piece);
        }
        runtime.block_on(async {
            ask(&field.connector, &sql).await;
            prop_assert_eq!(field.state().await, field.before.clone(), "{}", sql);
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

const FRAGMENTS: &[&str] = &[
    ";",
    "; delete from t",
    "; commit; delete from t;",
    "'",
    "\"",
    "$$",
    "$a$",
    "--",
    "\n",
    "\r",
    "/*",
    "*/",
    "(",
    ")",
    " wipe() ",
    ", wipe()",
    " union select wipe() ",
    " where wipe() > 0 ",
    "(select wipe())",
    " delete from t ",
    " into u ",
    " for update ",
    " === 1 ",
    "::evil",
    ".wipe_row",
    "E'\\'",
    "U&\"",
    " returning ",
    "\\",
    "::int",
    ", set_config('default_transaction_read_only', 'off', false)",
    ", pg_advisory_lock(9)",
    ", pg_notify('c', 'x')",
    ", nextval('sq')",
    " with x as (delete from t returning *) ",
    ", lo_create(0)",
    " explain analyze ",
];

const SETUP: &str = "\
    create table t (id int primary key, s text);
    insert into t values (1, 'a'), (2, 'b');
    create sequence sq;
    create materialized view m as select 1 as a;
    create function wipe() returns int language sql as 'delete from t returning id';
    create function \"Wipe it\"() returns int language sql as 'delete from t returning id';
    create function definer_wipe() returns int language sql security definer as 'delete from t returning id';
    create function wipe_row(t) returns int language sql as 'delete from t returning id';
    create function wipe_both(int, int) returns boolean language sql as 'delete from t returning true';
    create operator === (leftarg = int, rightarg = int, function = wipe_both);
    create type evil as (a int);
    create function to_evil(int) returns evil language plpgsql as $$ begin delete from t; return row($1)::evil; end $$;
    create cast (int as evil) with function to_evil(int);
    create function wipe_step(int, int) returns int language plpgsql as $$ begin delete from t; return 1; end $$;
    create aggregate wiping_sum(int) (sfunc = wipe_step, stype = int);
    create procedure escape() language plpgsql as $$ begin commit; delete from t; end $$;
    create view wiping as select wipe();
    create view wiping_deep as select * from (select * from wiping) x;
    create view locking as select pg_advisory_lock(7)::text;
    create function stable_wipe() returns int language plpgsql stable as $$ begin delete from t; return 1; end $$;
    create function immutable_wipe() returns int language plpgsql immutable as $$ begin return wipe(); end $$;
    create function stable_set() returns text language sql stable as
        $$ select set_config('default_transaction_read_only', 'off', false) $$;
    create function stable_search() returns text language sql stable as
        $$ select set_config('search_path', 'pg_temp', false) $$;
    create function uuid_generate_evil() returns int language sql as 'delete from t returning id';
    create function normal_rand(text) returns int language sql as 'select pg_advisory_lock(4); select 1';
    create function stable_lock() returns text language sql stable as $$ select pg_advisory_lock(3)::text $$;
    create function stable_notify() returns text language sql stable as $$ select pg_notify('c', 'x')::text $$;";

const OWN: &str = "\
    alter table t owner to {role};
    alter sequence sq owner to {role};
    alter materialized view m owner to {role};
    alter view wiping owner to {role};
    alter function definer_wipe() owner to {role};
    grant all on all tables in schema public to {role};
    grant create on schema public to {role}";
