//! A connection apart from all lanes, for what the program itself keeps in a database: its own fixed statements, committed.
//!
//! Nothing a caller sends ever gets here as SQL, and no tool uses it. It reaches the primary through the same `dial.rs` as
//! everything else: with its TLS, and with its memory of a server that does not answer.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
pub use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};
use trunkline_sql::DatabaseError;

use crate::dial::{Dialer, Lane, Session, chain};
use crate::fault::{is_demoted, is_lost, is_timeout};
use crate::postgres::Postgres;
use crate::transaction::settings;

/// Runs statements that write, one after the other, on one connection that is opened when it is needed.
pub struct Writer {
    dialer: Arc<Dialer>,
    /// Empty while a run has it, so that one that is dropped leaves nothing half done behind.
    session: Mutex<Option<Session>>,
    /// Opens a transaction; behind a pooler it brings the bounds along, which else come with the session.
    begin: String,
    begin_pooled: String,
    within: Duration,
}

/// A statement and its values.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// One statement, with `$1` and so on.
    pub sql: &'a str,
    /// Its values.
    pub values: &'a [Value<'a>],
}

/// A value for a statement, sent in the binary form of its type; `None` is null.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `boolean`.
    Bool(Option<bool>),
    /// `bigint`.
    Int(Option<i64>),
    /// `text`.
    Text(Option<&'a str>),
    /// `bytea`.
    Bytes(Option<&'a [u8]>),
    /// `bigint[]`.
    Ints(&'a [i64]),
    /// `bigint[]` with nulls.
    NullableInts(&'a [Option<i64>]),
    /// `text[]`.
    Texts(&'a [&'a str]),
    /// `text[]` with nulls.
    NullableTexts(&'a [Option<&'a str>]),
    /// `bytea[]`.
    ByteStrings(&'a [&'a [u8]]),
}

/// Why statements did not do what they should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// There is no connection, so nothing was done.
    #[error("the database was not reached")]
    Unreached(#[source] DatabaseError),
    /// The connection was lost, or no answer came in time: nobody knows whether it was done.
    #[error("the database did not say whether it was done: {message}")]
    Unclear {
        /// What was found.
        message: String,
    },
    /// The database takes no writes, as a replica does, so nothing was done.
    #[error(
        "the database takes no writes; name the server that does in `url`, or add `target_session_attrs=primary` to it"
    )]
    ReadOnly,
    /// The database refused, so nothing was done.
    #[error("the database refused: {message} ({code})")]
    Refused {
        /// The code of five characters: `42501` for a right that is missing.
        code: String,
        /// The database's own words, without the detail, which may hold values.
        message: String,
    },
}

impl WriteError {
    /// Returns the database's code, when it refused.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether a table is missing, or the schema that it would be in.
    #[must_use]
    pub fn is_missing_table(&self) -> bool {
        matches!(self.code(), Some("42P01" | "3F000"))
    }

    /// Returns what to do when the login lacks a right.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        (self.code() == Some("42501")).then_some(RIGHTS)
    }
}

impl Postgres {
    /// Makes a connection apart from all lanes, to the primary, for what the program itself keeps there. It has nothing to do
    /// with the connector's `access`, which is about tools. `within` bounds each run, connecting included.
    #[must_use]
    pub fn writer(&self, within: Duration) -> Writer {
        let bounds = settings(self.statement_timeout);
        let bounds = bounds.map(|(name, value)| format!("; set local {name} = {value}")).concat();
        Writer {
            dialer: Arc::clone(&self.primary().dialer),
            session: Mutex::new(None),
            begin: BEGIN.to_owned(),
            begin_pooled: format!("{BEGIN}{bounds}"),
            within,
        }
    }
}

impl Writer {
    /// Runs one statement, which is committed when this returns. One round trip.
    ///
    /// # Errors
    /// [`WriteError`]; after [`WriteError::Unclear`] it may have been done, so that a second try has to bear that.
    ///
    /// # Cancel safety
    /// A dropped run was done or was not; the next has a connection of its own.
    pub async fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, WriteError> {
        let mut rows = self.transact(&[Step { sql, values }]).await?;
        Ok(rows.pop().unwrap_or_default())
    }

    /// Runs statements in order, all of them or none, and returns the rows of each. A later one sees what others committed
    /// before it began, which is the isolation level `read committed`.
    ///
    /// # Errors
    /// Like [`run`](Self::run).
    ///
    /// # Cancel safety
    /// Like [`run`](Self::run).
    pub async fn transact(&self, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, WriteError> {
        let within = self.within;
        match timeout(within, self.attempt(steps)).await {
            Ok(done) => done,
            Err(_) => Err(WriteError::Unclear { message: format!("no answer within {within:?}") }),
        }
    }

    /// Runs a text of several statements without values, in one transaction: for making tables.
    ///
    /// # Errors
    /// Like [`run`](Self::run).
    ///
    /// # Cancel safety
    /// Like [`run`](Self::run).
    pub async fn script(&self, sql: &str) -> Result<(), WriteError> {
        let begin_and_all = async {
            let mut held = self.session.lock().await;
            let session = self.ready(&mut held).await?;
            let text = format!("{}; {sql}; commit", self.opening(&session));
            let done = session.client().batch_execute(&text).await;
            self.finish(&mut held, session, done).await
        };
        match timeout(self.within, begin_and_all).await {
            Ok(done) => done,
            Err(_) => Err(WriteError::Unclear { message: format!("no answer within {:?}", self.within) }),
        }
    }

    /// Makes tables in the schema `trunkline`, which is made, too, when it is missing. `tables` has to bear being run again; several
    /// nodes may do so at once.
    ///
    /// # Errors
    /// Like [`run`](Self::run); [`help`](WriteError::help) of the error says which right is missing.
    ///
    /// # Cancel safety
    /// Like [`run`](Self::run).
    pub async fn establish(&self, tables: &str) -> Result<(), WriteError> {
        let rows = self.run("select pg_catalog.to_regnamespace('trunkline') is not null", &[]).await?;
        let is_there = rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false));
        // Making it needs a right on the database, even where it is there.
        let schema = if is_there { "" } else { "create schema if not exists trunkline; " };
        self.script(&format!("select pg_catalog.pg_advisory_xact_lock({LOCK}); {schema}{tables}")).await
    }

    async fn attempt(&self, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, WriteError> {
        let mut held = self.session.lock().await;
        let session = self.ready(&mut held).await?;
        let done = match steps {
            // Outside of a transaction block a statement commits by itself.
            [step] if !session.is_pooled() => query(session.client(), step).await.map(|rows| vec![rows]),
            _ => all(session.client(), self.opening(&session), steps).await,
        };
        self.finish(&mut held, session, done).await
    }

    /// Takes the connection, or opens one.
    async fn ready(&self, held: &mut Option<Session>) -> Result<Session, WriteError> {
        if let Some(session) = held.take().filter(Session::is_reusable) {
            return Ok(session);
        }
        let session = self.dialer.dial(Lane::Writing).await.map_err(WriteError::Unreached)?;
        if session.is_standby() == Some(true) { Err(WriteError::ReadOnly) } else { Ok(session) }
    }

    /// Puts the connection back, if it is as it was, and words what went wrong.
    async fn finish<T>(
        &self,
        held: &mut Option<Session>,
        session: Session,
        done: Result<T, Error>,
    ) -> Result<T, WriteError> {
        let error = match done {
            Ok(value) => {
                *held = Some(session);
                return Ok(value);
            }
            Err(error) => error,
        };
        if is_demoted(&error) {
            return Err(WriteError::ReadOnly);
        }
        if is_lost(&error) {
            return Err(WriteError::Unclear { message: chain(&error) });
        }
        let is_clean = session.client().batch_execute("rollback").await.is_ok();
        *held = is_clean.then_some(session);
        Err(refused(&error))
    }

    fn opening(&self, session: &Session) -> &str {
        if session.is_pooled() { &self.begin_pooled } else { &self.begin }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("dialer", &self.dialer).finish_non_exhaustive()
    }
}

async fn all(client: &Client, begin: &str, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, Error> {
    client.batch_execute(begin).await?;
    let mut rows = Vec::with_capacity(steps.len());
    for step in steps {
        rows.push(query(client, step).await?);
    }
    client.batch_execute("commit").await?;
    Ok(rows)
}

/// Sends a statement without a name, which a pooler takes, too.
async fn query(client: &Client, step: &Step<'_>) -> Result<Vec<Row>, Error> {
    let values: Vec<_> = step.values.iter().map(Value::typed).collect();
    client.query_typed(step.sql, &values).await
}

/// The database's words; where the driver could not encode a value, the driver's.
fn refused(error: &Error) -> WriteError {
    match error.as_db_error() {
        Some(report) => WriteError::Refused {
            code: report.code().code().to_owned(),
            message: if is_timeout(error) {
                "it took longer than the connector's `statement-timeout`".to_owned()
            } else {
                report.message().to_owned()
            },
        },
        None => WriteError::Refused {
            code: String::new(),
            message: error.source().map_or_else(|| error.to_string(), ToString::to_string),
        },
    }
}

impl Value<'_> {
    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Bool(value) => (value, Type::BOOL),
            Self::Int(value) => (value, Type::INT8),
            Self::Text(value) => (value, Type::TEXT),
            Self::Bytes(value) => (value, Type::BYTEA),
            Self::Ints(values) => (values, Type::INT8_ARRAY),
            Self::NullableInts(values) => (values, Type::INT8_ARRAY),
            Self::Texts(values) => (values, Type::TEXT_ARRAY),
            Self::NullableTexts(values) => (values, Type::TEXT_ARRAY),
            Self::ByteStrings(values) => (values, Type::BYTEA_ARRAY),
        }
    }
}

impl fmt::Debug for Value<'_> {
    /// Shows the type alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.typed().1)
    }
}

/// Whatever the login is set to by itself.
const BEGIN: &str = "begin isolation level read committed read write";

/// By which those who make tables wait for each other: `trunklin` as a number.
const LOCK: i64 = 0x7472_756e_6b6c_696e;

const RIGHTS: &str = "what Trunkline keeps is in the schema `trunkline`, which the user of the connector's `url` has to own: have \
                      whoever looks after the database run `create schema if not exists trunkline authorization ` with that user";
