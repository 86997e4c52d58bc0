//! PgBouncer in transaction mode between: each transaction meets another session of the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use trunkline_postgres::Postgres;
use trunkline_sql::{Behalf, Database, DatabaseError, Page, Run, StatementSource, Value, WrittenType};
use trunkline_testkit::pgbouncer::PgBouncer;
use trunkline_testkit::postgres::{Client, PrivatePostgres};

use crate::support::{Collector, eventually, open, prepare, reading, rows, run, writing};

/// A server, a pooler before it that lends two sessions, and a way to look at the server itself.
struct Setup {
    server: PrivatePostgres,
    bouncer: PgBouncer,
    watcher: Client,
}

impl Setup {
    async fn make(settings: &str) -> Self {
        let server = PrivatePostgres::start().await;
        let bouncer = PgBouncer::start(server.port(), settings).await;
        let watcher = Client::connect(&server.url("postgres")).await;
        Self { server, bouncer, watcher }
    }

    fn open(&self, keys: &str) -> Postgres {
        open(&self.bouncer.url("postgres"), keys)
    }

    /// How many statements are prepared in the two sessions of the server, as a client of the pooler sees them.
    async fn left_behind(&self) -> u32 {
        let one = Client::connect(&self.bouncer.url("postgres")).await;
        let other = Client::connect(&self.bouncer.url("postgres")).await;
        let mut count = 0;
        one.run("begin").await;
        other.run("begin").await;
        for client in [&one, &other] {
            let found = client.value("select count(*) from pg_prepared_statements").await.unwrap();
            count += found.parse::<u32>().unwrap();
        }
        count
    }
}

/// Whether what holds a statement to its bounds is in force where it runs.
const BOUNDS: &str = "select current_setting('transaction_read_only'), current_setting('statement_timeout'), \
                      current_setting('idle_in_transaction_session_timeout'), $1::int8";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_at_once_share_two_sessions() {
    let setup = Setup::make("").await;
    let postgres = Arc::new(setup.open("pool = 20\nstatement-timeout = '7s'\nconnect-timeout = '20s'"));
    let (statement, _) = prepare(&postgres, BOUNDS).await;
    assert!(!statement.is_shared());
    let statement = Arc::new(statement);
    let mut calls = JoinSet::new();
    for number in 0..200_i64 {
        let (postgres, statement) = (Arc::clone(&postgres), Arc::clone(&statement));
        calls.spawn(async move {
            let ran = run(&postgres, &statement, vec![Value::Integer(number)]).await.unwrap();
            assert_eq!(ran.rows.rows, [[json!("on"), json!("7s"), json!("17s"), json!(number)]]);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    let sessions = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
    assert_eq!(setup.watcher.value(sessions).await.as_deref(), Some("2"));
    assert_eq!(setup.left_behind().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_interleave_never_see_each_others_settings() {
    let setup = Setup::make("").await;
    let postgres = Arc::new(setup.open("pool = 10\nconnect-timeout = '20s'"));
    // Sets something for the session, as careless statements do, and reads what is there first.
    let sql = "select coalesce(current_setting('app.tenant', true), ''), set_config('app.tenant', $1::text, false), \
               pg_advisory_lock(7)";
    let (setting, _) = prepare(&postgres, sql).await;
    let (plain, _) = prepare(&postgres, "select current_setting('app.tenant', true), random()").await;
    let statements = Arc::new((setting, plain));
    let mut calls = JoinSet::new();
    for number in 0..60 {
        let (postgres, statements) = (Arc::clone(&postgres), Arc::clone(&statements));
        calls.spawn(async move {
            let (setting, plain) = &*statements;
            let ran = if number % 2 == 0 {
                run(&postgres, setting, vec![Value::Text(format!("t{number}"))]).await
            } else {
                run(&postgres, plain, Vec::new()).await
            };
            let seen = ran.unwrap().rows.rows[0][0].clone();
            assert!(seen == json!("") || seen == json!(null), "{seen}");
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    let locks = "select count(*) from pg_locks where locktype = 'advisory'";
    assert_eq!(setup.watcher.value(locks).await.as_deref(), Some("0"));
}

#[tokio::test]
async fn all_kinds_of_statements_are_learned_and_run() {
    let setup = Setup::make("").await;
    setup
        .watcher
        .run("create type mood as enum ('sad', 'ok'); create type pair as (a int, b text); create domain small as int check (value < 9); \
              create table t (id int primary key, m mood, ms mood[], p pair, s small, c text); \
              insert into t values (1, 'ok', '{sad,ok}', '(7,x)', 3, 'one')")
        .await;
    let postgres = setup.open("access = 'read-write'");
    for _ in 0..3 {
        let found =
            rows(&postgres, "select id, m, ms, s, c from t where m = $1", vec![Value::Text("ok".into())])
                .await;
        assert_eq!(found, [[json!(1), json!("ok"), json!(["sad", "ok"]), json!(3), json!("one")]]);
        let found = rows(&postgres, "select p from t", Vec::new()).await;
        assert_eq!(found, [[json!("(7,x)")]]);
    }
    // Typed only at the second try.
    let parameters = vec![WrittenType::Json(trunkline_sql::JsonKind::Integer)];
    let source = StatementSource { parameters, ..reading("select $1 is null") };
    let (untyped, _) = postgres.prepare(&source).await.unwrap();
    let ran = run(&postgres, &untyped, vec![Value::Integer(5)]).await.unwrap();
    assert_eq!(ran.rows.rows, [[json!(false)]]);
    let insert = "insert into t (id, m) values ($1, $2) returning id, m";
    let (insert, _) = postgres.prepare(&writing(insert)).await.unwrap();
    for number in 2..12 {
        let ran =
            run(&postgres, &insert, vec![Value::Integer(number), Value::Text("sad".into())]).await.unwrap();
        assert_eq!((ran.affected, &ran.rows.rows[0][1]), (Some(1), &json!("sad")));
    }
    let error =
        run(&postgres, &insert, vec![Value::Integer(2), Value::Text("sad".into())]).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Data { code: Some(code), .. } if code == "23505"), "{error:?}");
    assert_eq!(setup.watcher.value("select count(*) from t").await.as_deref(), Some("11"));
    let error = postgres.prepare(&reading("select nothing from t")).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Statement { position: Some(7), .. }), "{error:?}");
    assert_eq!(setup.left_behind().await, 0);
}

#[tokio::test]
async fn a_reading_tool_cannot_write_and_a_changed_column_is_noticed() {
    let setup = Setup::make("").await;
    setup
        .watcher
        .run("create table t (a int); create function f() returns int language sql as 'insert into t values (1) returning a'; create view v as select 1 as x")
        .await;
    let postgres = setup.open("");
    let (statement, _) = prepare(&postgres, "select f()").await;
    let error = run(&postgres, &statement, Vec::new()).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Refused { .. }), "{error:?}");
    assert_eq!(setup.watcher.value("select count(*) from t").await.as_deref(), Some("0"));
    let (view, _) = prepare(&postgres, "select * from v").await;
    setup.watcher.run("drop view v; create view v as select 'text' as x").await;
    let error = run(&postgres, &view, Vec::new()).await.unwrap_err();
    assert!(
        matches!(&error, DatabaseError::Statement { code: Some(code), .. } if code == "0A000"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_through_the_pooler() {
    let setup = Setup::make("").await;
    let postgres = setup.open("pool = 2");
    let (statement, _) = prepare(&postgres, "select pg_sleep(30)").await;
    let call = postgres.run(&statement, Run::new(Vec::new(), Collector::default()));
    assert!(tokio::time::timeout(Duration::from_millis(300), call).await.is_err());
    let sleeping = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid()";
    eventually(Duration::from_secs(1), async || setup.watcher.value(sleeping).await.as_deref() == Some("0"))
        .await;
    // The statement's own bound is in force, too.
    let short = setup.open("statement-timeout = '200ms'");
    let (statement, _) = prepare(&short, "select pg_sleep(30)").await;
    let started = Instant::now();
    let error = run(&short, &statement, Vec::new()).await.unwrap_err();
    assert!(matches!(error, DatabaseError::TimedOut { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_pooler_that_drops_the_options_silently_is_found_out() {
    let setup = Setup::make("ignore_startup_parameters = options, extra_float_digits").await;
    let postgres = setup.open("statement-timeout = '7s'");
    let (statement, _) = prepare(&postgres, BOUNDS).await;
    assert!(!statement.is_shared());
    let ran = run(&postgres, &statement, vec![Value::Integer(1)]).await.unwrap();
    assert_eq!(ran.rows.rows, [[json!("on"), json!("7s"), json!("17s"), json!(1)]]);
}

#[tokio::test]
async fn off_prepares_nothing_by_name_and_auto_does() {
    // The log tells each message of each session, and the name of what it prepares, binds or executes.
    let server = PrivatePostgres::start_with(&["log_min_duration_statement=0"]).await;
    let outside = Client::connect(&server.url("postgres")).await;
    outside.run("create table t as select g a from generate_series(1, 500) g").await;
    for (mode, by_name) in [("off", false), ("auto", true)] {
        let keys = format!("prepared = '{mode}'\naccess = 'read-write'\nad-hoc-sql = 'read-only'");
        let postgres = open(&server.url("postgres"), &keys);
        let declared =
            ["select a from t where a = $1", "select a, random() from t where a = $1", "select a from t"];
        let mut statements = Vec::new();
        for sql in declared {
            statements.push(prepare(&postgres, sql).await.0);
        }
        assert_eq!(statements[0].is_shared(), by_name, "{mode}");
        statements.push(postgres.prepare(&writing("update t set a = a where a = $1")).await.unwrap().0);
        let own = StatementSource { ad_hoc: true, ..reading("select a from t where a = 7") };
        statements.push(postgres.prepare(&own).await.unwrap().0);
        let (view, _) = prepare(&postgres, "select count(*) from pg_prepared_statements").await;
        // What learning prepares is gone with its transaction; now it is about what each call does.
        let before = server.log().len();
        for _ in 0..3 {
            for (number, statement) in statements.iter().enumerate() {
                let values = if number == 2 || number == 4 { vec![] } else { vec![Value::Integer(7)] };
                let behalf = Behalf {
                    settings: if number == 1 { vec![("app.x".into(), "y".to_owned())] } else { vec![] },
                    ..Behalf::default()
                };
                let page = Page { may_continue: number == 2, ..Page::default() };
                let run = Run { behalf, page, ..Run::new(values, Collector::limited(100)) };
                postgres.run(statement, run).await.unwrap_or_else(|error| panic!("{number}: {error:?}"));
            }
            let seen = run(&postgres, &view, vec![]).await.unwrap().rows.rows;
            assert_eq!(seen[0][0] != json!(0), by_name, "{mode}: {seen:?}");
        }
        let log = server.log();
        let told = log.get(before..).unwrap();
        assert!(told.contains("select a from t where a = "), "{told}");
        let named = |line: &&str| {
            ["parse ", "bind ", "execute "].iter().any(|message| {
                let name = line.split_once(message).map(|(_, name)| name);
                name.is_some_and(|name| name.starts_with('s') && name[1..].starts_with(char::is_numeric))
            })
        };
        let found: Vec<&str> = told.lines().filter(named).collect();
        assert_eq!(!found.is_empty(), by_name, "{mode}: {found:#?}");
    }
}

/// A pooler that comes between while statements are known does not break them.
#[tokio::test]
async fn statements_learned_before_are_sent_whole() {
    let mut setup = Setup::make("").await;
    let port = setup.server.port();
    let postgres = open(&format!("postgres://postgres@127.0.0.1:{port}/postgres"), "");
    let (statement, _) = prepare(&postgres, "select $1::int8 + 1").await;
    assert!(statement.is_shared());
    setup.server.stop();
    setup.server.change_port().await;
    let _bouncer = PgBouncer::start_at(port, setup.server.port(), "").await;
    for number in 0..8 {
        let ran = async || run(&postgres, &statement, vec![Value::Integer(number)]).await.is_ok();
        eventually(Duration::from_secs(5), ran).await;
    }
}

#[tokio::test]
async fn a_callers_own_statement_passes_the_same_gate() {
    let setup = Setup::make("").await;
    setup.watcher.run("create table t as select 7 as a").await;
    let postgres = setup.open("ad-hoc-sql = 'read-only'");
    let ad_hoc = |sql: &str| StatementSource { ad_hoc: true, ..reading(sql) };
    for _ in 0..3 {
        let (statement, _) = postgres.prepare(&ad_hoc("select a + 1 as b from t")).await.unwrap();
        assert_eq!(run(&postgres, &statement, Vec::new()).await.unwrap().rows.rows, [[json!(8)]]);
        for wrong in ["select set_config('app.tenant', 'x', false)", "select nothing from t", "delete from t"]
        {
            assert!(postgres.prepare(&ad_hoc(wrong)).await.is_err(), "{wrong}");
        }
    }
    assert_eq!(setup.watcher.value("select count(*) from t").await.as_deref(), Some("1"));
    assert_eq!(setup.left_behind().await, 0);
}

#[tokio::test]
async fn a_trial_with_hypopg_that_is_dropped_leaves_no_index_for_others() {
    let setup = Setup::make("").await;
    setup.watcher.run(crate::assistant::BIG).await;
    setup.watcher.run("create extension hypopg").await;
    let assistant = crate::assistant::open(&setup.bouncer.url("postgres"), "tools = ['indexes']");
    let sql = "select * from orders o join customers c on c.id = o.customer_id \
               where o.state = 'new' and o.note = 'x' and o.customer_id = 100 order by o.at limit 10";
    let trial = async || {
        let arguments = json!({ "sql": sql });
        crate::assistant::try_call(&assistant, 0, arguments).await
    };
    let started = Instant::now();
    let (failed, advice) = trial().await;
    assert!(!failed && advice["tried"] == true, "{advice}");
    let whole = started.elapsed();
    for part in 1..20 {
        // It is dropped in the middle, most of the time.
        let _ = tokio::time::timeout(whole * part / 20, trial()).await;
        let left = async || {
            let one = Client::connect(&setup.bouncer.url("postgres")).await;
            let other = Client::connect(&setup.bouncer.url("postgres")).await;
            let mut left = Vec::new();
            for client in [&one, &other] {
                client.run("begin").await;
                left.push(client.value("select count(*) from hypopg()").await.unwrap());
            }
            // The pooler closes a session whose client goes away within a transaction.
            for client in [&one, &other] {
                client.run("rollback").await;
            }
            left == ["0", "0"]
        };
        eventually(Duration::from_secs(2), left).await;
    }
}
