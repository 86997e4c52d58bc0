//! A database file in a folder of its own, and rows as JSON.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use trunkline_sql::{
    Access, Database, DatabaseError, Description, Ran, Rows, Run, StatementSource, Value, WrittenType,
};
use trunkline_sqlite::{Sqlite, Statement};

/// Rows as JSON; bytes are `{"base64": ...}` so that they are told apart from text.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) rows: Vec<Json>,
    pub(crate) row: Vec<Json>,
    pub(crate) most: Option<usize>,
    pub(crate) cannot_restart: bool,
}

impl Rows for Collected {
    fn begin_row(&mut self) {
        self.row.clear();
    }
    fn null(&mut self) {
        self.row.push(Json::Null);
    }
    fn boolean(&mut self, value: bool) {
        self.row.push(value.into());
    }
    fn integer(&mut self, value: i64) {
        let is_safe = value.unsigned_abs() < 1 << 53;
        self.row.push(if is_safe { value.into() } else { value.to_string().into() });
    }
    fn float(&mut self, value: f64) {
        let special = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        self.row.push(if value.is_finite() { value.into() } else { special.into() });
    }
    fn float4(&mut self, value: f32) {
        self.float(value.into());
    }
    fn decimal(&mut self, digits: &str) {
        self.row.push(digits.into());
    }
    fn text(&mut self, value: &str) {
        self.row.push(value.into());
    }
    fn plain(&mut self, value: &str) {
        self.row.push(value.into());
    }
    fn binary(&mut self, value: &[u8]) {
        use base64::Engine;
        self.row.push(json!({ "base64": base64::engine::general_purpose::STANDARD.encode(value) }));
    }
    fn json(&mut self, value: &str) {
        self.row.push(serde_json::from_str(value).unwrap());
    }
    fn restart(&mut self) -> bool {
        self.rows.clear();
        !self.cannot_restart
    }
    fn begin_list(&mut self) {}
    fn end_list(&mut self) {}
    fn begin_object(&mut self) {}
    fn key(&mut self, _: &str) {}
    fn end_object(&mut self) {}
    fn end_row(&mut self) -> ControlFlow<()> {
        self.rows.push(Json::Array(std::mem::take(&mut self.row)));
        if self.most.is_some_and(|most| self.rows.len() >= most) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// A folder with a database file in it.
pub(crate) struct Folder {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Folder {
    /// Makes a database by running a script.
    pub(crate) fn with(script: &str) -> Self {
        let folder = Self::empty();
        folder.fill(script);
        folder
    }

    /// The folder without the file.
    pub(crate) fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b.db");
        Self { directory, path }
    }

    pub(crate) fn fill(&self, script: &str) {
        rusqlite::Connection::open(&self.path).unwrap().execute_batch(script).unwrap();
    }

    pub(crate) fn database(&self) -> Sqlite {
        Sqlite::new("test", &self.path)
    }

    /// Every file and its bytes.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        contents(self.directory.path())
    }
}

pub(crate) fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

pub(crate) fn source(sql: &str, parameters: usize, access: Access) -> StatementSource {
    StatementSource {
        sql: sql.into(),
        parameters: vec![WrittenType::Inferred; parameters],
        access,
        ..StatementSource::default()
    }
}

pub(crate) async fn prepare(database: &Sqlite, sql: &str) -> Result<(Statement, Description), DatabaseError> {
    database.prepare(&source(sql, 0, Access::ReadOnly)).await
}

pub(crate) async fn run(
    database: &Sqlite,
    statement: &Statement,
    values: Vec<Value>,
) -> Result<Ran<Collected>, DatabaseError> {
    let deadline = Some(Instant::now() + Duration::from_secs(20));
    database.run(statement, Run { deadline, ..Run::new(values, Collected::default()) }).await
}

/// Prepares and runs a statement that reads.
pub(crate) async fn query(database: &Sqlite, sql: &str) -> Result<Vec<Json>, DatabaseError> {
    let (statement, _) = prepare(database, sql).await?;
    Ok(run(database, &statement, Vec::new()).await?.rows.rows)
}

/// Prepares and runs a statement that writes.
pub(crate) async fn write(
    database: &Sqlite,
    sql: &str,
    values: Vec<Value>,
) -> Result<Ran<Collected>, DatabaseError> {
    let (statement, _) = database.prepare(&source(sql, values.len(), Access::ReadWrite)).await?;
    run(database, &statement, values).await
}
