//! How much memory callers' statements can take. The bound is one for the whole process, so this is a process of its own.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use trunkline_sql::{Database, DatabaseError, Rows, Run, StatementSource};
use trunkline_sqlite::Sqlite;

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

async fn run(database: &Sqlite, sql: &str, ad_hoc: bool) -> Result<u64, DatabaseError> {
    let source = StatementSource { sql: sql.into(), ad_hoc, ..StatementSource::default() };
    let (statement, _) = database.prepare(&source).await?;
    let deadline = Some(Instant::now() + Duration::from_secs(20));
    let ran = database.run(&statement, Run { deadline, ..Run::new(Vec::new(), Count::default()) }).await?;
    Ok(ran.rows.0)
}

/// The most memory this process has had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

const NUMBERS: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 600000)";

fn greedy() -> Vec<String> {
    [
        "SELECT length(json_group_array(printf('%300d', n))) FROM c",
        "SELECT length(json_group_object(n, printf('%300d', n))) FROM c",
        "SELECT n FROM c ORDER BY printf('%300d', -n)",
        "SELECT printf('%300d', n) AS t FROM c GROUP BY t",
        "SELECT DISTINCT printf('%300d', n) FROM c",
        "SELECT sum(length(t)) FROM (SELECT n, printf('%300d', n) AS t FROM c UNION SELECT 1, '')",
    ]
    .iter()
    .map(|rest| format!("{NUMBERS} {rest}"))
    .chain([
        // A value is bounded by itself.
        format!("{NUMBERS} SELECT length(group_concat(printf('%300d', n))) FROM c"),
        "SELECT length(randomblob(900000000))".to_owned(),
        "WITH RECURSIVE q(t) AS (SELECT printf('%300d', 1) UNION SELECT printf('%300d', t + 1) FROM q) SELECT count(*) FROM q"
            .to_owned(),
    ])
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn greedy_statements_of_callers_fail_and_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("a.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (1), (2)")
        .unwrap();
    let database = Sqlite::new("test", &path);
    assert_eq!(run(&database, "SELECT a FROM t", false).await.unwrap(), 2);
    let before = peak();
    for sql in greedy() {
        let error = run(&database, &sql, true).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Data { .. }), "{sql}: {error:?}");
        assert_eq!(run(&database, "SELECT a FROM t", true).await.unwrap(), 2);
    }
    let all = greedy();
    let together = join_all(all.iter().map(|sql| run(&database, sql, true)));
    for (sql, result) in all.iter().zip(together.await) {
        assert!(result.is_err(), "{sql}: {result:?}");
    }
    // What the file declares may sort more than fits: it goes to temporary files.
    let sort = format!("{NUMBERS} SELECT n FROM c ORDER BY printf('%300d', -n)");
    assert_eq!(run(&database, &sort, false).await.unwrap(), 600_000);
    assert_eq!(run(&database, "SELECT a FROM t", true).await.unwrap(), 2);
    // The bound, and what the allocator keeps of it for each of two threads.
    let grown = peak() - before;
    assert!(grown < 320, "{grown} MiB more");
}
