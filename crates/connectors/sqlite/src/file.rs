//! `[connectors.X]` with `type = "sqlite"`: as written, and how it becomes a database.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use trunkline_sql::file::{DurationText, SizeText};
use trunkline_sql::{Access, AdHoc, Options, Problem};

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
    /// Most rows in one result, 1 or more. Default: 1000.
    #[schemars(range(min = 1))]
    pub max_rows: Option<u32>,
    /// Most bytes of one result. Default: "40KB".
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
        if self.max_rows == Some(0) {
            let problem = Problem::new(
                &["connectors", name, "max-rows"],
                "`max-rows` is 0, so no result would have a row",
            );
            problems.push(problem.help("write 1 or more"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let defaults = Options::default();
        let options = Options {
            access: self.access,
            statement_timeout: self.statement_timeout.map_or(defaults.statement_timeout, |text| text.0),
            max_rows: self.max_rows.unwrap_or(defaults.max_rows),
            max_bytes: self.max_bytes.map_or(defaults.max_bytes, |text| text.0),
            ad_hoc: self.ad_hoc_sql,
            deadline: self.deadline.map(|text| text.0),
            prefix: self.prefix,
        };
        Ok((Sqlite::new(name, &self.path), options))
    }
}
