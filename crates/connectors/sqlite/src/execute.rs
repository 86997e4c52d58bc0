//! One run of a statement on its connection: bind, step, write each cell as it is stored.

use std::ops::ControlFlow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use rusqlite::{Statement, ToSql};
use trunkline_sql::{Access, DatabaseError, Rows, Value};

use crate::error::{self, Phase};
use crate::gate::Verdict;
use crate::guard;
use crate::link::Site;

/// A statement that was compiled once and found acceptable.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) sql: Arc<str>,
    pub(crate) access: Access,
    pub(crate) ad_hoc: bool,
    /// It changes rows.
    pub(crate) writes: bool,
    pub(crate) columns: usize,
    pub(crate) parameters: Vec<Parameter>,
}

/// How a value is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    /// By its own kind.
    AsGiven,
    /// Base64 text as the bytes it stands for.
    Blob,
}

/// Runs a statement. A statement that writes has a transaction of its own, which is taken back unless everything, the
/// caller's patience included, held to the end.
pub(crate) fn execute<W: Rows>(
    site: &Site<'_>,
    prepared: &Prepared,
    values: &[Value],
    rows: &mut W,
) -> Result<Option<u64>, DatabaseError> {
    let Site { connection, gate, .. } = *site;
    let failed = |error| failed(site, Phase::Running, error);
    guard::bound_values(connection, prepared.ad_hoc).map_err(failed)?;
    if !prepared.writes {
        return run(site, prepared, values, rows).map(|()| None);
    }
    gate.trusting(|| connection.execute_batch("BEGIN IMMEDIATE")).map_err(failed)?;
    let committed = run(site, prepared, values, rows).and_then(|()| {
        if gate.verdict() != Verdict::Go {
            return Err(error::stopped(gate));
        }
        let affected = connection.changes();
        gate.trusting(|| connection.execute_batch("COMMIT")).map_err(failed)?;
        Ok(Some(affected))
    });
    // Some failures have taken the transaction back already; one that is left open closes the connection.
    if committed.is_err() && !connection.is_autocommit() {
        let _ = gate.uninterrupted(|| connection.execute_batch("ROLLBACK"));
    }
    committed
}

fn failed(site: &Site<'_>, phase: Phase, error: rusqlite::Error) -> DatabaseError {
    error::of_statement(error, phase, site.gate, site.path)
}

fn run<W: Rows>(
    site: &Site<'_>,
    prepared: &Prepared,
    values: &[Value],
    rows: &mut W,
) -> Result<(), DatabaseError> {
    site.gate.take_notes();
    let compiling = |error| failed(site, Phase::Compiling, error);
    let (mut kept, mut used_once);
    let statement: &mut Statement<'_> = if prepared.ad_hoc {
        // It would push a declared statement out of the cache and hardly ever come again.
        used_once = site.connection.prepare(&prepared.sql).map_err(compiling)?;
        &mut used_once
    } else {
        kept = site.connection.prepare_cached(&prepared.sql).map_err(compiling)?;
        &mut kept
    };
    // The schema may have changed since: what only read then may write now.
    if statement.readonly() == prepared.writes {
        return Err(changed());
    }
    bind(site, statement, prepared, values)?;
    let failed = |error| failed(site, Phase::Running, error);
    let mut cursor = statement.raw_query();
    let mut is_full = false;
    while let Some(row) = cursor.next().map_err(failed)? {
        if row.as_ref().column_count() != prepared.columns {
            return Err(changed());
        }
        if is_full {
            continue;
        }
        rows.begin_row();
        for column in 0..prepared.columns {
            write(rows, row.get_ref(column).map_err(failed)?);
        }
        if let ControlFlow::Break(()) = rows.end_row() {
            if !prepared.writes {
                break;
            }
            // A statement that writes is stepped to its end; what more it returns is left out.
            is_full = true;
        }
    }
    Ok(())
}

/// The code tells the connector to prepare the statement again.
fn changed() -> DatabaseError {
    DatabaseError::Statement {
        message: "the schema of the database changed, and the statement means something else now".into(),
        code: Some("0A000".into()),
        position: None,
        hint: None,
    }
}

fn write<W: Rows>(rows: &mut W, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => rows.null(),
        ValueRef::Integer(integer) => rows.integer(integer),
        ValueRef::Real(number) => rows.float(number),
        // Text that is no UTF-8 is told as the bytes it is, not as something else that would look right.
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => rows.text(text),
            Err(_) => rows.binary(bytes),
        },
        ValueRef::Blob(bytes) => rows.binary(bytes),
    }
}

fn bind(
    site: &Site<'_>,
    statement: &mut Statement<'_>,
    prepared: &Prepared,
    values: &[Value],
) -> Result<(), DatabaseError> {
    for (number, value) in (1..).zip(values) {
        let parameter = prepared.parameters.get(number - 1).copied().unwrap_or(Parameter::AsGiven);
        let bound = match (parameter, value) {
            (Parameter::Blob, Value::Text(text)) => Bound::Owned(Stored::Blob(decode(text, number)?)),
            (_, value) => bound(value),
        };
        statement.raw_bind_parameter(number, bound).map_err(|error| failed(site, Phase::Running, error))?;
    }
    Ok(())
}

fn decode(text: &str, number: usize) -> Result<Vec<u8>, DatabaseError> {
    STANDARD.decode(text).map_err(|error| DatabaseError::Data {
        message: format!("parameter {number} is a blob and must be base64: {error}"),
        code: None,
    })
}

enum Bound<'a> {
    Borrowed(ValueRef<'a>),
    Owned(Stored),
}

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Borrowed(value) => ToSqlOutput::Borrowed(*value),
            Self::Owned(value) => ToSqlOutput::Borrowed(value.into()),
        })
    }
}

fn bound(value: &Value) -> Bound<'_> {
    Bound::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Boolean(truth) => ValueRef::Integer(i64::from(*truth)),
        Value::Integer(integer) => ValueRef::Integer(*integer),
        Value::Float(number) => ValueRef::Real(*number),
        Value::Decimal(digits) => decimal(digits),
        Value::Text(text) | Value::Json(text) => ValueRef::Text(text.as_bytes()),
        Value::List(_) => return Bound::Owned(Stored::Text(json(value).to_string())),
    })
}

/// SQLite has no decimals: an integer where the digits are one, else the nearest double.
fn decimal(digits: &str) -> ValueRef<'_> {
    match (digits.parse::<i64>(), digits.parse::<f64>()) {
        (Ok(integer), _) => ValueRef::Integer(integer),
        (_, Ok(number)) => ValueRef::Real(number),
        _ => ValueRef::Text(digits.as_bytes()),
    }
}

/// A list travels as JSON text, for `json_each`.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Boolean(truth) => (*truth).into(),
        Value::Integer(integer) => (*integer).into(),
        Value::Float(number) => (*number).into(),
        Value::Decimal(digits) => match decimal(digits) {
            ValueRef::Integer(integer) => integer.into(),
            ValueRef::Real(number) => number.into(),
            _ => digits.as_str().into(),
        },
        Value::Text(text) => text.as_str().into(),
        Value::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
        Value::List(items) => items.iter().map(json).collect(),
    }
}
