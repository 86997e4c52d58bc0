//! One run of a statement on its connection: bind, step, write each cell as it is stored.

use std::ops::ControlFlow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use rusqlite::{Statement, ToSql};
use trunkline_sql::{DatabaseError, Rows, Value};

use crate::error::{self, Phase};
use crate::gate::Verdict;
use crate::guard::Lane;
use crate::link::Site;

/// A statement that was compiled once and found acceptable.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) sql: Arc<str>,
    pub(crate) lane: Lane,
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
    let statement: &mut Statement<'_> = if prepared.lane == Lane::AdHoc {
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
    let mut number = 0_u64;
    while let Some(row) = cursor.next().map_err(failed)? {
        if row.as_ref().column_count() != prepared.columns {
            return Err(changed());
        }
        if is_full {
            continue;
        }
        number += 1;
        rows.begin_row();
        for column in 0..prepared.columns {
            let value = row.get_ref(column).map_err(failed)?;
            write(rows, value).map_err(|NotText| not_text(row.as_ref(), number, column))?;
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

/// A cell is stored as text and is none.
#[derive(Debug, Clone, Copy)]
struct NotText;

fn write<W: Rows>(rows: &mut W, value: ValueRef<'_>) -> Result<(), NotText> {
    match value {
        ValueRef::Null => rows.null(),
        ValueRef::Integer(integer) => rows.integer(integer),
        ValueRef::Real(number) => rows.float(number),
        ValueRef::Text(bytes) => rows.text(std::str::from_utf8(bytes).map_err(|_| NotText)?),
        ValueRef::Blob(bytes) => rows.binary(bytes),
    }
    Ok(())
}

/// Base64 of the bytes would look like text that is stored so, and any repair like other text.
fn not_text(statement: &Statement<'_>, row: u64, column: usize) -> DatabaseError {
    let name = statement.column_name(column).unwrap_or_default();
    let message = format!(
        "row {row}, column `{name}`: the text stored there is not UTF-8; select `hex({name})` or \
         `cast({name} as blob)` instead to have its bytes, or leave the row out"
    );
    DatabaseError::Encoding { message }
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
        // A statement takes it apart with `json_each`.
        Value::List(_) | Value::Object(_) => {
            let mut text = String::new();
            write_json(&mut text, value);
            return Bound::Owned(Stored::Text(text));
        }
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

/// Appends a value as JSON. Digits and JSON stay as they came.
fn write_json(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Integer(integer) => out.push_str(&integer.to_string()),
        // What is no number becomes null.
        Value::Float(number) => out.push_str(&serde_json::Value::from(*number).to_string()),
        Value::Decimal(text) | Value::Json(text) => out.push_str(text),
        Value::Text(text) => out.push_str(&serde_json::Value::from(text.as_str()).to_string()),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_json(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, (name, member)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&serde_json::Value::from(name.as_str()).to_string());
                out.push(':');
                write_json(out, member);
            }
            out.push('}');
        }
    }
}
