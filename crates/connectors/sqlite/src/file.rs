//! `[connectors.X]` with `type = "sqlite"`: as written, and how it becomes a database.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use trunkline_sql::file::{DurationText, SizeText};
use trunkline_sql::{Access, AdHoc, Options, Problem, SharedKeys};

use crate::Sqlite;

/// A SQLite database, as written in the file. `type` is read by whoever chooses this form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SqliteFile {
    /// The database file. It need not exist yet; it is never created.
    pub path: PathBuf,
    /// The ceiling no tool exceeds. Default: "read-only".
    #[serde(default)]
    pub access: Access,
    /// How long one statement may run. Default: "30s".
    pub statement_timeout: Option<DurationText>,
    /// Most rows in one result, 1 to 100000. Default: 1000.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_rows: Option<u32>,
    /// Most bytes of one result, at most "150KB". Default: "40KB".
    pub max_bytes: Option<SizeText>,
    /// Whether callers may bring their own SQL. Default: "off".
    #[serde(default)]
    pub ad_hoc_sql: AdHoc,
    /// How long a call may take, waiting for a connection included. Default: the server's deadline.
    pub deadline: Option<DurationText>,
    /// What stands before the names of the tools the connector makes by itself. Default: its name and `_`.
    pub prefix: Option<String>,
}

impl SqliteFile {
    /// Makes the database and the options of the connector `name`. Opens nothing.
    ///
    /// # Errors
    /// Everything that is wrong with the section, with paths that begin with `connectors`, `name`.
    pub fn resolve(self, name: &str) -> Result<(Sqlite, Options), Vec<Problem>> {
        let mut problems = Vec::new();
        let text = self.path.as_os_str().as_encoded_bytes();
        if text.is_empty() || text.contains(&0) {
            let problem =
                Problem::new(&["connectors", name, "path"], "the path is empty or has a NUL character");
            problems.push(problem.help("name the database file: `path = \"./shop.db\"`"));
        } else if text == b":memory:" || text.starts_with(b"file:") {
            let problem =
                Problem::new(&["connectors", name, "path"], format!("`{}` is no path", self.path.display()));
            problems.push(problem.help("name a file; databases in memory and URIs are not supported"));
        }
        let shared = SharedKeys {
            access: self.access,
            statement_timeout: self.statement_timeout,
            max_rows: self.max_rows,
            max_bytes: self.max_bytes,
            ad_hoc: self.ad_hoc_sql,
            deadline: self.deadline,
            prefix: self.prefix,
        };
        let options = shared.resolve(name, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok((Sqlite::new(name, &self.path), options))
    }
}
