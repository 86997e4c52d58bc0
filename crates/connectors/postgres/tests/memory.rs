//! How much memory a large value takes. What is measured is the whole process, so this is a process of its own.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use trunkline_postgres::{Postgres, PostgresFile, PostgresStatement};
use trunkline_sql::{Access, Database, DatabaseError, Page, Rows, Run, StatementSource};
use trunkline_testkit::postgres::SecurePostgres;

/// Counts rows.
#[derive(Debug, Default)]
struct Count(u64);

impl Rows for Count {
    fn begin_row(&mut self) {}
    fn null(&mut self) {}
    fn boolean(&mut self, _: bool) {}
    fn integer(&mut self, _: i64) {}
    fn float(&mut self, _: f64) {}
    fn float4(&mut self, _: f32) {}
    fn decimal(&mut self, _: &str) {}
    fn text(&mut self, _: &str) {}
    fn plain(&mut self, _: &str) {}
    fn binary(&mut self, _: &[u8]) {}
    fn json(&mut self, _: &str) {}
    fn begin_list(&mut self) {}
    fn end_list(&mut self) {}
    fn begin_object(&mut self) {}
    fn key(&mut self, _: &str) {}
    fn end_object(&mut self) {}
    fn end_row(&mut self) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }
}

async fn prepare(database: &Postgres, sql: &str, access: Access, ad_hoc: bool) -> PostgresStatement {
    let source = StatementSource { sql: sql.into(), access, ad_hoc, ..StatementSource::default() };
    database.prepare(&source).await.unwrap().0
}

async fn run(
    database: &Postgres,
    statement: &PostgresStatement,
    may_continue: bool,
) -> Result<u64, DatabaseError> {
    let deadline = Some(Instant::now() + Duration::from_secs(20));
    let page = Page { may_continue, ..Page::default() };
    let run = Run { deadline, page, ..Run::new(Vec::new(), Count::default()) };
    Ok(database.run(statement, run).await?.rows.0)
}

fn refused(outcome: &Result<u64, DatabaseError>, what: &str) {
    assert!(
        matches!(outcome, Err(DatabaseError::Data { message, .. })
            if message.contains("one row is larger than the 16 MiB a row may have; select fewer or shorter columns")),
        "{what}: {outcome:?}"
    );
}

/// The most memory this process has had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A value of 300 MB, which the server makes in well under the shared lane's time.
const LARGE: &str = "repeat('x', 300000000)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_too_large_are_refused_before_they_are_in_memory_and_others_go_on() {
    let secure = SecurePostgres::start().await;
    for options in ["sslmode=disable", "sslmode=require"] {
        let file: PostgresFile =
            toml::from_str(&format!("url = {:?}", secure.url("anyway", "localhost", options))).unwrap();
        let database = file.resolve("test").unwrap().0;
        let small = prepare(&database, "select 1", Access::ReadOnly, false).await;
        assert!(small.is_shared());
        assert_eq!(run(&database, &small, false).await.unwrap(), 1);
        let before = peak();

        // Many read on the same connections meanwhile, and none of them notices.
        let shared = prepare(&database, &format!("select {LARGE}"), Access::ReadOnly, false).await;
        assert!(shared.is_shared());
        let others = join_all((0..64).map(|_| async {
            for _ in 0..20 {
                assert_eq!(run(&database, &small, false).await.unwrap(), 1);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
        let (outcome, _) = tokio::join!(run(&database, &shared, false), others);
        refused(&outcome, options);
        assert!(!shared.is_shared(), "it would break shared connections again");
        refused(&run(&database, &shared, false).await, options);

        // After rows of its own.
        let sql = format!("select case g when 3 then {LARGE} else 'y' end from generate_series(1, 5) g");
        let late = prepare(&database, &sql, Access::ReadOnly, false).await;
        refused(&run(&database, &late, false).await, options);
        for (sql, access, ad_hoc) in [
            (format!("select {LARGE}, random()"), Access::ReadOnly, false),
            (format!("select {LARGE}, random()"), Access::ReadWrite, false),
            (
                "select string_agg(repeat('x', 10000), '') from generate_series(1, 30000)".to_owned(),
                Access::ReadOnly,
                true,
            ),
        ] {
            let statement = prepare(&database, &sql, access, ad_hoc).await;
            for may_continue in [false, true] {
                refused(&run(&database, &statement, may_continue).await, &sql);
            }
        }
        assert_eq!(run(&database, &small, false).await.unwrap(), 1);
        let grown = peak() - before;
        println!("{options}: {grown} MiB more");
        assert!(grown < 64, "{options}: {grown} MiB more");

        // Nothing goes on in the server for nobody.
        let busy = "select count(*) from pg_stat_activity where state <> 'idle' \
                    and backend_type = 'client backend' and pid <> pg_backend_pid() having count(*) > 0";
        let busy = prepare(&database, busy, Access::ReadOnly, false).await;
        let until = Instant::now() + Duration::from_secs(5);
        while run(&database, &busy, false).await.unwrap() > 0 {
            assert!(Instant::now() < until, "a statement still runs");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
