//! The audit record as rows of a PostgreSQL table, one chain per node, in the schema `trunkline`.
//!
//! Whoever opens the record of a node draws the next number of its `audit_writer`, and rows are added only under the number of
//! now. So a write that was given up and comes late adds nothing behind what was written meanwhile, and of two processes with one name the
//! older one is told to stop instead of tearing the chain.

use std::fmt;

use trunkline_guard::record::sink::{Batch, Found, Sink, SinkError, WriteError as Unwritten, head_of};
use trunkline_guard::record::{Mac, Prover};
use trunkline_postgres::Writer;
use trunkline_postgres::writer::{Row, Step, Value, WriteError};
use trunkline_service::shared::Later;
use trunkline_sql::DatabaseError;

/// Adds lines to the table.
pub(crate) struct PostgresSink {
    connector: Box<str>,
    writer: Writer,
    node: String,
    /// The number under which rows are added.
    turn: Option<i64>,
    /// What the last line may be, if nobody else wrote: the one before the last write, and those of that write.
    ours: Vec<Mac>,
}

impl PostgresSink {
    /// Makes a sink in the database of that connector; nothing is reached yet.
    pub(crate) fn new(connector: &str, writer: Writer) -> Self {
        Self { connector: connector.into(), writer, node: String::new(), turn: None, ours: Vec::new() }
    }

    async fn begin(&mut self, prover: &Prover) -> Result<Found, SinkError> {
        prover.node().clone_into(&mut self.node);
        if self.turn.is_some() {
            // Before the turn is taken from whoever has it.
            let rows = self.run(LAST, &[Value::Text(Some(&self.node))]).await?;
            let last = head_of(&lines(&rows), prover)?;
            if last.is_some_and(|last| !self.ours.is_empty() && !self.ours.contains(&last.mac)) {
                return Err(self.taken());
            }
        }
        let node = [Value::Text(Some(&self.node))];
        let steps = [Step { sql: TURN, values: &node }, Step { sql: LAST, values: &node }];
        let rows = match self.writer.transact(&steps).await {
            Err(error) if error.is_missing_table() => {
                self.writer.establish(TABLES).await.map_err(|error| self.worded(error))?;
                self.writer.transact(&steps).await
            }
            done => done,
        };
        let rows = rows.map_err(|error| self.worded(error))?;
        let turn = rows.first().and_then(|rows| rows.first()).and_then(|row| row.try_get(0).ok());
        let head = head_of(&rows.get(1).map(|rows| lines(rows)).unwrap_or_default(), prover)?;
        self.turn = turn;
        self.ours.clear();
        self.ours.extend(head.map(|head| head.mac));
        Ok(Found { head, torn: None, is_new: head.is_none() })
    }

    async fn add(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let Some(turn) = self.turn else {
            return Err(SinkError::unavailable("the audit record is not open"));
        };
        let (mut numbers, mut texts) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let before = self.ours.last().copied();
        self.ours.clear();
        self.ours.extend(before);
        for line in batch.iter() {
            let text = std::str::from_utf8(line.text);
            texts.push(text.map_err(|error| SinkError::wrong("a line is no text").with_source(error))?);
            numbers.push(i64::try_from(line.head.seq).unwrap_or(i64::MAX));
            self.ours.push(line.head.mac);
        }
        let values = [
            Value::Text(Some(&self.node)),
            Value::Int(Some(turn)),
            Value::Ints(&numbers),
            Value::Texts(&texts),
        ];
        let rows = self.run(ADD, &values).await?;
        let count: i64 = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0);
        if usize::try_from(count) != Ok(batch.len()) {
            return Err(self.taken());
        }
        let last = self.ours.pop();
        self.ours.clear();
        self.ours.extend(last);
        Ok(())
    }

    async fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, SinkError> {
        self.writer.run(sql, values).await.map_err(|error| self.worded(error))
    }

    fn taken(&self) -> SinkError {
        SinkError::wrong(format!(
            "another process writes the audit record of the node `{}` in connector `{}`; give each process a `node` of its own under \
             `[audit]`",
            self.node, self.connector
        ))
    }

    fn worded(&self, error: WriteError) -> SinkError {
        let record = format!("the audit record in connector `{}`", self.connector);
        match error {
            WriteError::Unreached(DatabaseError::Rejected { message, hint, .. }) => {
                SinkError::wrong(format!("{record} is not reached: {message}; {hint}"))
            }
            WriteError::Unreached(error) => {
                SinkError::unavailable(format!("{record} is not reached")).with_source(error)
            }
            WriteError::ReadOnly => {
                SinkError::wrong(format!("{record} cannot be written")).with_source(error)
            }
            error if error.code() == Some(DUPLICATE) => self.taken(),
            error => match error.help() {
                Some(help) => SinkError::wrong(format!("{record} cannot be written: {error}; {help}")),
                None => SinkError::unavailable(format!("{record} cannot be written")).with_source(error),
            },
        }
    }
}

impl Sink for PostgresSink {
    fn open<'a>(&'a mut self, prover: &'a Prover) -> Later<'a, Result<Found, SinkError>> {
        Box::pin(self.begin(prover))
    }

    fn write<'a>(&'a mut self, batch: &'a Batch) -> Later<'a, Result<(), Unwritten>> {
        Box::pin(async { Ok(self.add(batch).await?) })
    }
}

impl fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSink").field("connector", &self.connector).finish_non_exhaustive()
    }
}

/// Reads the record back, some thousand lines at a time, node by node in the order of their chains.
#[derive(Debug)]
pub(crate) struct Pages {
    writer: Writer,
    /// The last line that was read.
    node: String,
    seq: i64,
}

impl Pages {
    /// Begins before the first line.
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer, node: String::new(), seq: 0 }
    }

    /// Returns the next lines, each with its line break; nothing at the end.
    ///
    /// # Errors
    /// The database does not answer, or refuses.
    ///
    /// # Cancel safety
    /// Dropped, the next call reads the same lines.
    pub(crate) async fn next(&mut self) -> Result<Vec<u8>, WriteError> {
        let values = [Value::Text(Some(&self.node)), Value::Int(Some(self.seq))];
        let rows = self.writer.run(PAGE, &values).await?;
        let mut text = Vec::new();
        for row in &rows {
            if let (Ok(node), Ok(seq), Ok(line)) =
                (row.try_get::<_, &str>(0), row.try_get(1), row.try_get::<_, &str>(2))
            {
                node.clone_into(&mut self.node);
                self.seq = seq;
                text.extend_from_slice(line.as_bytes());
                text.push(b'\n');
            }
        }
        Ok(text)
    }
}

/// Puts lines that were read newest first in their order, each with its line break.
fn lines(rows: &[Row]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in rows.iter().rev().filter_map(|row| row.try_get::<_, &str>(0).ok()) {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text
}

/// A line with that number is there.
const DUPLICATE: &str = "23505";

/// Lines are text and not JSON, since each proves its bytes.
const TABLES: &str = "\
    create table if not exists trunkline.audit_writer (
        node text collate \"C\" primary key,
        turn bigint not null
    );
    create table if not exists trunkline.audit (
        node text collate \"C\" not null,
        seq bigint not null,
        line text not null,
        primary key (node, seq)
    )";

/// Waits for whoever is adding rows at this moment.
const TURN: &str = "insert into trunkline.audit_writer (node, turn) values ($1, 1) \
    on conflict (node) do update set turn = audit_writer.turn + 1 returning turn";

/// The last line, and the one that proves it.
const LAST: &str = "select line from trunkline.audit where node = $1 order by seq desc limit 2";

const ADD: &str = "with mine as materialized (\
        select from trunkline.audit_writer where node = $1 and turn = $2 for share\
    ), added as (\
        insert into trunkline.audit (node, seq, line) \
        select $1, l.seq, l.line \
        from rows from (pg_catalog.unnest($3), pg_catalog.unnest($4)) as l (seq, line) \
        where exists (select from mine) returning 1\
    ) select pg_catalog.count(*) from added";

const PAGE: &str = "select node, seq, line from trunkline.audit \
    where (node, seq) > ($1 collate \"C\", $2) order by node, seq limit 2000";

#[cfg(test)]
mod tests;
