//! What a database must be able to do to have tools: describe a statement, and run it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use trunkline_service::Caller;

use crate::Problem;
use crate::value::{JsonKind, Value};

/// A boxed future that can be dropped at any time.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a database writes placeholders and what its lexer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `$1`; dollar quotes, `E''` strings, nested comments, `::` casts.
    Postgres,
    /// `?1`; `[x]` and backquoted names.
    Sqlite,
}

/// Whether a statement may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// It may not, and the database itself holds it to that.
    #[default]
    ReadOnly,
    /// It may.
    ReadWrite,
}

/// A statement to be prepared, in the database's own placeholders.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StatementSource {
    /// The text, with `$1`.. or `?1`.. in the order of `parameters`.
    pub sql: String,
    /// For each placeholder the type written in the file.
    pub parameters: Vec<WrittenType>,
    /// Whether it may write. Already lowered to the connector's ceiling.
    pub access: Access,
    /// It came from a caller, not from the file.
    pub ad_hoc: bool,
    /// How it is planned.
    pub plan: PlanMode,
    /// Each run of it brings a role or settings of its caller, so that no two may share a connection at the same time.
    pub per_caller: bool,
    /// For whom a statement that came from a caller is looked at.
    pub behalf: Behalf,
}

/// How often the database plans a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlanMode {
    /// As the database sees fit: for the values of each call, or once where that promises to be no slower.
    #[default]
    Auto,
    /// Once for all values. Saves the planning of each call; slow where some values want another plan.
    Generic,
}

/// The type written for a parameter in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenType {
    /// None: the database infers it.
    Inferred,
    /// A JSON kind; sent to the database (as text, int8, numeric, bool, jsonb) only where it cannot infer.
    Json(JsonKind),
    /// A database type, always sent: `uuid`, `int4[]`.
    Database(String),
}

/// What the database says of a prepared statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// One for each placeholder.
    pub parameters: Vec<ParameterType>,
    /// The result's columns in order; empty when the statement returns no rows.
    pub columns: Vec<Column>,
}

/// The type of a parameter as the database inferred it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterType {
    /// What it looks like in JSON.
    pub kind: JsonKind,
    /// The labels, when the type is an enum.
    pub labels: Option<Vec<String>>,
    /// A JSON Schema `format` for a string: `date-time`, `uuid`, `date`, `time`.
    pub format: Option<&'static str>,
    /// Bounds of an integer type, both inclusive.
    pub range: Option<(i64, i64)>,
    /// The database's name for it, for messages; `None` where the database has no types for parameters (SQLite).
    pub name: Option<String>,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The JSON Schema of a non-null value in the encoding of [`crate::result`]; `None` admits every kind.
    pub schema: Option<serde_json::Value>,
    /// Whether NULL can occur.
    pub nullable: bool,
}

/// One run of a prepared statement.
#[derive(Debug)]
pub struct Run<W> {
    /// One value for each placeholder.
    pub values: Vec<Value>,
    /// Where the rows go. It says when it is full.
    pub rows: W,
    /// After which the run is of no use; the statement is stopped then.
    pub deadline: Option<Instant>,
    /// For whom it runs.
    pub behalf: Behalf,
    /// Which part of the result is wanted.
    pub page: Page,
}

impl<W> Run<W> {
    /// Makes a run from the first row on, for the local user and without a deadline.
    #[must_use]
    pub fn new(values: Vec<Value>, rows: W) -> Self {
        Self { values, rows, deadline: None, behalf: Behalf::default(), page: Page::default() }
    }
}

/// For whom a statement runs, and as whom the database is to see it. All of it holds for one transaction.
#[derive(Clone, PartialEq)]
pub struct Behalf {
    /// The caller: a database with replicas shows it what it wrote itself.
    pub caller: Arc<Caller>,
    /// The role the statement runs as.
    pub role: Option<String>,
    /// Settings by name, for row-level security to read.
    pub settings: Vec<(Arc<str>, String)>,
}

impl Behalf {
    /// Runs for a caller, as the connector's own login.
    #[must_use]
    pub fn of(caller: &Arc<Caller>) -> Self {
        Self { caller: Arc::clone(caller), role: None, settings: Vec::new() }
    }

    /// Whether nothing about the session differs from caller to caller.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.role.is_none() && self.settings.is_empty()
    }
}

impl Default for Behalf {
    fn default() -> Self {
        Self::of(&Caller::local())
    }
}

impl fmt::Debug for Behalf {
    /// Tells names, never values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<&str> = self.settings.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Behalf")
            .field("has_role", &self.role.is_some())
            .field("settings", &settings)
            .finish_non_exhaustive()
    }
}

/// Which part of a result is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// Where an earlier page ended; `None` for the first.
    pub resume: Option<Resume>,
    /// Whether the rest may be asked for later, so that what is open may be kept for a while.
    pub may_continue: bool,
}

/// Where an earlier page of a result ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// How many rows were sent.
    pub sent: u64,
    /// What the database kept of it, if it still has that.
    pub kept: Option<u64>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran<W> {
    /// The writer, filled.
    pub rows: W,
    /// How many rows a writing statement changed.
    pub affected: Option<u64>,
    /// What the database keeps of a result that has more rows, for [`Resume::kept`].
    pub kept: Option<u64>,
}

/// Where the rows of a result go: [`crate::result::RowWriter`], abstract so that databases can be tested without it.
///
/// For each row: [`begin_row`](Rows::begin_row), one value call for each column in order, [`end_row`](Rows::end_row).
/// A list is [`begin_list`](Rows::begin_list), values, [`end_list`](Rows::end_list). An object is
/// [`begin_object`](Rows::begin_object), for each member [`key`](Rows::key) and one value,
/// [`end_object`](Rows::end_object). Both nest.
pub trait Rows: Send + fmt::Debug + 'static {
    /// Starts a row.
    fn begin_row(&mut self);
    /// SQL NULL.
    fn null(&mut self);
    /// A truth value.
    fn boolean(&mut self, value: bool);
    /// An integer: a JSON number within +-(2^53-1), else a string of its digits.
    fn integer(&mut self, value: i64);
    /// A floating-point number: shortest form that reads back; `NaN`, `Infinity`, `-Infinity` as strings.
    fn float(&mut self, value: f64);
    /// The same for single precision.
    fn float4(&mut self, value: f32);
    /// A decimal number's digits: a string, or a number where `columns.C.type = "number"` is written.
    fn decimal(&mut self, digits: &str);
    /// Text.
    fn text(&mut self, value: &str);
    /// Text known to need no escape in JSON: digits, dates, uuids, base64.
    fn plain(&mut self, value: &str);
    /// Bytes, written as base64.
    fn binary(&mut self, value: &[u8]);
    /// Valid JSON text, embedded byte-exactly less line breaks outside strings.
    fn json(&mut self, value: &str);
    /// Starts a list.
    fn begin_list(&mut self);
    /// Ends a list.
    fn end_list(&mut self);
    /// Starts an object.
    fn begin_object(&mut self);
    /// Names the member whose value comes next.
    fn key(&mut self, name: &str);
    /// Ends an object.
    fn end_object(&mut self);
    /// Ends the row. `Break` when no further row is wanted: the source then stops fetching.
    fn end_row(&mut self) -> std::ops::ControlFlow<()>;
    /// Forgets every row written so far, because the statement runs again from its first row; `false` when that cannot be
    /// done.
    fn restart(&mut self) -> bool {
        false
    }
    /// Says that the next `rows` rows are those of earlier pages, told again because the statement runs from its first row
    /// (or from a later one) once more. They are left out, and the last of them must be what was sent then.
    fn skip(&mut self, rows: u64) {
        let _ = rows;
    }
    /// Returns how many rows are kept by now; `None` when what comes after them is not to follow on a later page.
    fn taken(&self) -> Option<u64> {
        None
    }
    /// Returns how many more rows make it full at the latest, the one that shows that there are more included; `None` when
    /// nobody knows.
    fn room(&self) -> Option<u64> {
        None
    }
}

/// A database behind tools.
pub trait Database: Send + Sync + fmt::Debug + 'static {
    /// A prepared statement with all that can be decided before it is run.
    type Statement: Send + Sync + fmt::Debug + 'static;

    /// How it writes SQL.
    const DIALECT: Dialect;

    /// Prepares a statement and tells its types. Connects if there is no connection yet.
    ///
    /// # Errors
    /// [`DatabaseError`]: the statement is wrong or refused, or the database does not answer.
    fn prepare<'a>(
        &'a self,
        source: &'a StatementSource,
    ) -> BoxFuture<'a, Result<(Self::Statement, Description), DatabaseError>>;

    /// Looks at what the connection's login may do, and tells what should be changed; paths begin with `connectors` and the
    /// name. Nothing by default.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    fn examine<'a>(&'a self, connector: &'a str) -> BoxFuture<'a, Vec<Problem>> {
        let _ = connector;
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Runs a prepared statement.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// Dropping the future stops the statement in the database (for SQLite by an interrupt, for PostgreSQL by a cancel
    /// request, except short reads on a shared connection, which the statement timeout ends) and leaves no connection in
    /// an unknown state.
    fn run<'a, W: Rows>(
        &'a self,
        statement: &'a Self::Statement,
        run: Run<W>,
    ) -> BoxFuture<'a, Result<Ran<W>, DatabaseError>>;
}

/// What a database says of a statement that failed, in its own words, for whoever wrote the statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What is wrong.
    pub message: String,
    /// Its code, like `42703`.
    pub code: Option<String>,
    /// Where, as a byte offset in [`StatementSource::sql`].
    pub position: Option<usize>,
    /// More about it.
    pub detail: Option<String>,
    /// What the database advises.
    pub hint: Option<String>,
    /// The existing name or word that was probably meant.
    pub nearest: Option<String>,
    /// Whether the same statement may succeed when it is sent again.
    pub may_retry: bool,
}

/// Why a statement was not prepared or did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The database says that the statement is wrong. The position is a byte offset in [`StatementSource::sql`].
    #[error("{message}")]
    Statement {
        /// The database's own words.
        message: String,
        /// Its code, like `42703`.
        code: Option<String>,
        /// Where, as a byte offset.
        position: Option<usize>,
        /// The database's hint.
        hint: Option<String>,
    },
    /// The database's whole report on a statement that its caller wrote, and may read.
    #[error("{}", .0.message)]
    Reported(Box<Report>),
    /// The statement or what it did is not allowed here: a write on a read-only tool, an attached file.
    #[error("{message}")]
    Refused {
        /// Which rule, what was found, and what would pass.
        message: String,
    },
    /// The database does not take the role or a setting of the caller; nothing of the statement ran.
    #[error("the role or settings of the caller were not taken: {reason}")]
    Identity {
        /// Its own words, without the values.
        reason: String,
    },
    /// It ran and failed on the data: a constraint, a division by zero, a value that does not fit.
    #[error("{message}")]
    Data {
        /// The database's own words.
        message: String,
        /// Its code.
        code: Option<String>,
    },
    /// The statement took longer than it may.
    #[error("the statement was stopped after {after:?}")]
    TimedOut {
        /// The bound it passed.
        after: std::time::Duration,
    },
    /// No connection was free in time.
    #[error("no free connection within {after:?}")]
    PoolExhausted {
        /// How long was waited.
        after: std::time::Duration,
    },
    /// The database does not answer, or went away.
    #[error("no answer from {address}")]
    Unreachable {
        /// Where it was looked for; for the operator only.
        address: String,
        /// What the attempt came to.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Whether the statement may have reached it before: then nobody knows whether a write happened.
        sent: bool,
    },
    /// The database answers and takes no more connections, so that nothing was sent.
    #[error("the database takes no more connections")]
    Full {
        /// What the attempt came to; for the operator only.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database answers and lets nobody in with what the file says: a wrong password, no such database.
    #[error("{message}")]
    Rejected {
        /// What is refused; shows no part of the address.
        message: String,
        /// What to do about it.
        hint: String,
        /// What the attempt came to; for the operator only.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The stored value cannot be told in the form asked for; the message names row and column.
    #[error("{message}")]
    Encoding {
        /// Which cell and why.
        message: String,
    },
}
