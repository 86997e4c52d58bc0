//! The words of the key `tools`, and how each tool is presented to a model.

use schemars::JsonSchema;
use serde::Deserialize;
use trunkline_service::nearest;
use trunkline_sql::Problem;

/// A tool that a PostgreSQL connector makes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AssistantTool {
    /// Lists and searches schemas, tables and columns; the same as resources.
    Schema,
    /// Tells how the database would run a statement.
    Explain,
    /// Advises on indexes.
    Indexes,
    /// Tells how the database is.
    Health,
}

impl AssistantTool {
    /// Every tool.
    pub const ALL: [Self; 4] = [Self::Schema, Self::Explain, Self::Indexes, Self::Health];

    /// Returns its word in the file, which is the end of its name, too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Explain => "explain",
            Self::Indexes => "indexes",
            Self::Health => "health",
        }
    }

    /// Reads the words of the file; what is unknown or there twice is added to `problems`.
    pub(crate) fn resolve(words: &[String], connector: &str, problems: &mut Vec<Problem>) -> Vec<Self> {
        let mut tools = Vec::new();
        let path = ["connectors", connector, "tools"];
        for word in words {
            match Self::ALL.into_iter().find(|tool| tool.as_str() == word) {
                Some(tool) if tools.contains(&tool) => {
                    problems
                        .push(Problem::new(&path, format!("`{word}` is there twice")).help("write it once"));
                }
                Some(tool) => tools.push(tool),
                None => {
                    let help = match nearest(word, Self::ALL.map(Self::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "write some of \"schema\", \"explain\", \"indexes\", \"health\"".to_owned(),
                    };
                    problems.push(Problem::new(&path, format!("there is no tool `{word}`")).help(help));
                }
            }
        }
        tools
    }

    pub(super) fn title(self, connector: &str) -> String {
        match self {
            Self::Schema => format!("Tables of {connector}"),
            Self::Explain => format!("Query plan on {connector}"),
            Self::Indexes => format!("Index advice for {connector}"),
            Self::Health => format!("Health of {connector}"),
        }
    }

    pub(super) fn description(self, connector: &str) -> String {
        match self {
            Self::Schema => format!(
                "Tells what is in the PostgreSQL database `{connector}`: schemas, tables, columns with comments, keys, indexes. \
                 Without arguments an overview; `search` finds tables by words in names, columns, comments and enum values; \
                 `table` tells all of one table. Use it before you write SQL."
            ),
            Self::Explain => format!(
                "Tells how `{connector}` would run a reading SQL statement: its plan, with the slow or misjudged parts named. \
                 With `analyze` the statement is run, its rows dropped, and real times are told."
            ),
            Self::Indexes => format!(
                "Advises on indexes of `{connector}`. With `sql`: which new index would make that statement cheaper, tried where \
                 the database can. Else: foreign keys without index, tables read whole, and unused, duplicate or invalid indexes."
            ),
            Self::Health => format!(
                "Tells how the PostgreSQL database `{connector}` is: connections, cache, dead rows, vacuum, wraparound, blocked \
                 sessions, sequences, replication, slow statements. Each check is ok, warn or bad, with advice."
            ),
        }
    }
}
