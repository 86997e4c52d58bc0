//! What the tests share: a collector of rows, and short ways to prepare and run.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use trunkline_postgres::{Postgres, PostgresFile, PostgresStatement};
use trunkline_sql::{
    Access, Database, DatabaseError, Description, Ran, Rows, Run, Severity, SqlConnector, StatementSource,
    Value, WrittenType,
};

/// Collects rows as JSON.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(crate) rows: Vec<Vec<Json>>,
    /// Lists and objects that are open, outermost first.
    open: Vec<Json>,
    /// The names of members whose values are to come.
    keys: Vec<String>,
    /// After so many rows no more are wanted; 0 for no bound.
    limit: usize,
}

impl Collector {
    pub(crate) fn limited(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    fn put(&mut self, value: Json) {
        match (self.open.last_mut(), self.rows.last_mut()) {
            (Some(Json::Array(list)), _) => list.push(value),
            (Some(object), _) => object[self.keys.pop().unwrap()] = value,
            (None, Some(row)) => row.push(value),
            (None, None) => panic!("a value without a row"),
        }
    }
}

impl Rows for Collector {
    fn begin_row(&mut self) {
        self.rows.push(Vec::new());
    }

    fn null(&mut self) {
        self.put(Json::Null);
    }

    fn boolean(&mut self, value: bool) {
        self.put(value.into());
    }

    fn integer(&mut self, value: i64) {
        let exact = value.unsigned_abs() < 1 << 53;
        self.put(if exact { value.into() } else { value.to_string().into() });
    }

    fn float(&mut self, value: f64) {
        self.put(if value.is_finite() { json!(value) } else { json!(value.to_string()) });
    }

    fn float4(&mut self, value: f32) {
        self.float(value.to_string().parse().unwrap());
    }

    fn decimal(&mut self, digits: &str) {
        self.put(digits.into());
    }

    fn text(&mut self, value: &str) {
        self.put(value.into());
    }

    fn plain(&mut self, value: &str) {
        assert!(!value.contains(['"', '\\', '\n']), "`{value}` is not plain");
        self.put(value.into());
    }

    fn binary(&mut self, value: &[u8]) {
        self.put(value.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into());
    }

    fn json(&mut self, value: &str) {
        self.put(json!({ "json": value }));
    }

    fn begin_list(&mut self) {
        self.open.push(json!([]));
    }

    fn end_list(&mut self) {
        let list = self.open.pop().unwrap();
        self.put(list);
    }

    fn begin_object(&mut self) {
        self.open.push(json!({}));
    }

    fn key(&mut self, name: &str) {
        self.keys.push(name.to_owned());
    }

    fn end_object(&mut self) {
        self.end_list();
    }

    fn restart(&mut self) -> bool {
        self.rows.clear();
        true
    }

    fn end_row(&mut self) -> ControlFlow<()> {
        if self.rows.len() == self.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Opens a database as a file would say it.
pub(crate) fn open(url: &str, keys: &str) -> Postgres {
    let file: PostgresFile = toml::from_str(&format!("url = {url:?}\n{keys}")).unwrap();
    file.resolve("test").unwrap().0
}

/// A statement that only reads, its parameters inferred.
pub(crate) fn reading(sql: &str) -> StatementSource {
    let parameters =
        (1..10).take_while(|at| sql.contains(&format!("${at}"))).map(|_| WrittenType::Inferred).collect();
    StatementSource { sql: sql.to_owned(), parameters, ..StatementSource::default() }
}

/// A statement that may write.
pub(crate) fn writing(sql: &str) -> StatementSource {
    StatementSource { access: Access::ReadWrite, ..reading(sql) }
}

pub(crate) async fn prepare(database: &Postgres, sql: &str) -> (PostgresStatement, Description) {
    match database.prepare(&reading(sql)).await {
        Ok(prepared) => prepared,
        Err(error) => panic!("`{sql}` was not prepared: {error:?}"),
    }
}

pub(crate) async fn run(
    database: &Postgres,
    statement: &PostgresStatement,
    values: Vec<Value>,
) -> Result<Ran<Collector>, DatabaseError> {
    let deadline = Some(Instant::now() + Duration::from_secs(10));
    database.run(statement, Run { deadline, ..Run::new(values, Collector::default()) }).await
}

/// Prepares and runs a reading statement and returns its rows.
pub(crate) async fn rows(database: &Postgres, sql: &str, values: Vec<Value>) -> Vec<Vec<Json>> {
    let (statement, _) = prepare(database, sql).await;
    match run(database, &statement, values).await {
        Ok(ran) => ran.rows.rows,
        Err(error) => panic!("`{sql}` failed: {error:?}"),
    }
}

/// Waits until a condition holds, and returns how long that took.
///
/// # Panics
/// When it does not hold within that time, or as much more as the machine is loaded.
pub(crate) async fn eventually<F: Future<Output = bool>>(
    within: Duration,
    mut condition: impl FnMut() -> F,
) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < trunkline_testkit::within(within), "it did not happen within {within:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}

/// Has a connector learn its tools, which must be right. That the login may do more than it has to is what the tests on
/// posture are about.
pub(crate) async fn assert_learned(connector: &SqlConnector<Postgres>) {
    let mut problems = connector.learn().await;
    problems.retain(|problem| problem.severity != Severity::Warning);
    assert_eq!(problems, []);
}
