//! What an error of SQLite means for the caller and for the operator.

use std::path::Path;

use rusqlite::ffi::{self, ErrorCode};
use trunkline_sql::DatabaseError;

use crate::gate::{Gate, Verdict};

/// Where a statement was when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was compiled.
    Compiling,
    /// It ran.
    Running,
}

/// Tells an error of a statement. Looks at the gate to know why it was interrupted or refused.
pub(crate) fn of_statement(error: rusqlite::Error, phase: Phase, gate: &Gate, path: &Path) -> DatabaseError {
    // A function is refused with a general error, not with the code for refusals.
    if phase == Phase::Compiling
        && let Some(reason) = gate.take_notes().refused
    {
        return DatabaseError::Refused { message: format!("the statement would {reason}") };
    }
    let code = code_of(&error);
    let (message, position) = match &error {
        rusqlite::Error::SqlInputError { msg, offset, .. } => (msg.clone(), usize::try_from(*offset).ok()),
        rusqlite::Error::SqliteFailure(_, Some(message)) => (message.clone(), None),
        rusqlite::Error::Empty => ("there is no statement".to_owned(), None),
        rusqlite::Error::MultipleStatement => return several_statements(),
        other => (other.to_string(), None),
    };
    let name = code.map(|code| code_name(code.extended_code));
    let statement = |message| DatabaseError::Statement { message, code: name.clone(), position, hint: None };
    let data = |message| DatabaseError::Data { message, code: name.clone() };
    match code.map(|code| code.code) {
        Some(ErrorCode::AuthorizationForStatementDenied) => DatabaseError::Refused { message },
        Some(ErrorCode::OperationInterrupted) => stopped(gate),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) if gate.verdict() != Verdict::Go => {
            stopped(gate)
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            data("another program keeps the database locked".into())
        }
        Some(ErrorCode::ReadOnly) => DatabaseError::Refused {
            message: "the statement writes, and the database file cannot be written".into(),
        },
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::SystemIoFailure
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed,
        ) => lost(path, error, phase == Phase::Running),
        Some(ErrorCode::OutOfMemory) => {
            data("it needs more memory than statements may have; aggregate, sort or join fewer rows".into())
        }
        Some(
            ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::DiskFull
            | ErrorCode::ParameterOutOfRange,
        ) => data(message),
        // SQLite compiles a kept statement again when the schema has changed.
        _ if phase == Phase::Running && !NAMES.iter().any(|name| message.starts_with(name)) => data(message),
        _ => statement(message),
    }
}

/// How it tells that something a statement names is gone.
const NAMES: [&str; 3] = ["no such column", "no such table", "no such function"];

/// The database was looked for at `path` and could not be used, so that the statement did not run.
pub(crate) fn unreachable(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> DatabaseError {
    lost(path, source, false)
}

/// The same, and the statement may have run.
pub(crate) fn lost(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    sent: bool,
) -> DatabaseError {
    DatabaseError::Unreachable { address: path.display().to_string(), source: source.into(), sent }
}

/// The run was stopped: too late, or nobody waits any more.
pub(crate) fn stopped(gate: &Gate) -> DatabaseError {
    // When the caller is gone nobody reads this.
    DatabaseError::TimedOut { after: gate.allowed() }
}

/// More than one statement.
pub(crate) fn several_statements() -> DatabaseError {
    DatabaseError::Refused {
        message: "there is more than one statement; only one is allowed, with nothing after its `;`".into(),
    }
}

/// The code, wherever the bindings keep it.
pub(crate) fn code_of(error: &rusqlite::Error) -> Option<ffi::Error> {
    match error {
        rusqlite::Error::SqlInputError { error, .. } => Some(*error),
        other => other.sqlite_error().copied(),
    }
}

/// The symbolic name of a code, with the kind of a constraint.
fn code_name(extended: i32) -> String {
    let name = match extended {
        ffi::SQLITE_CONSTRAINT_CHECK => "SQLITE_CONSTRAINT_CHECK",
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => "SQLITE_CONSTRAINT_FOREIGNKEY",
        ffi::SQLITE_CONSTRAINT_NOTNULL => "SQLITE_CONSTRAINT_NOTNULL",
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY => "SQLITE_CONSTRAINT_PRIMARYKEY",
        ffi::SQLITE_CONSTRAINT_TRIGGER => "SQLITE_CONSTRAINT_TRIGGER",
        ffi::SQLITE_CONSTRAINT_UNIQUE => "SQLITE_CONSTRAINT_UNIQUE",
        ffi::SQLITE_CONSTRAINT_ROWID => "SQLITE_CONSTRAINT_ROWID",
        ffi::SQLITE_CONSTRAINT_DATATYPE => "SQLITE_CONSTRAINT_DATATYPE",
        _ => match extended & 0xff {
            ffi::SQLITE_ERROR => "SQLITE_ERROR",
            ffi::SQLITE_BUSY => "SQLITE_BUSY",
            ffi::SQLITE_LOCKED => "SQLITE_LOCKED",
            ffi::SQLITE_FULL => "SQLITE_FULL",
            ffi::SQLITE_NOMEM => "SQLITE_NOMEM",
            ffi::SQLITE_SCHEMA => "SQLITE_SCHEMA",
            ffi::SQLITE_TOOBIG => "SQLITE_TOOBIG",
            ffi::SQLITE_CONSTRAINT => "SQLITE_CONSTRAINT",
            ffi::SQLITE_MISMATCH => "SQLITE_MISMATCH",
            ffi::SQLITE_RANGE => "SQLITE_RANGE",
            other => return format!("SQLITE_{other}"),
        },
    };
    name.to_owned()
}

/// The caller bound another number of values than there are placeholders.
pub(crate) fn wrong_count(given: usize, wanted: usize) -> DatabaseError {
    let message = format!("the statement has {wanted} placeholders and was given {given} values");
    DatabaseError::Statement { message, code: None, position: None, hint: None }
}
