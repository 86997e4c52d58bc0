//! Turns what PostgreSQL or the driver reports into [`DatabaseError`], and tells which faults a second try can cure.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition, Severity};
use trunkline_sql::{DatabaseError, Report};

use crate::bind::BindError;
use crate::dial::{Dialer, chain};

/// What a fault is read against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) dialer: &'a Dialer,
    /// The text that was sent.
    pub(crate) sent: &'a str,
    /// How many bytes of it come before the statement as its author knows it.
    pub(crate) prefix: usize,
    /// The length of the statement as its author knows it.
    pub(crate) length: usize,
    /// The bound that a timeout passed.
    pub(crate) timeout: Duration,
    /// Whether whoever reads the error wrote the statement, and so may read all that the database says.
    pub(crate) ad_hoc: bool,
}

impl Context<'_> {
    /// Words a fault.
    pub(crate) fn error(&self, error: &Error) -> DatabaseError {
        match error.as_db_error() {
            Some(report) => self.reported(report),
            None => match error.source().and_then(|source| source.downcast_ref::<BindError>()) {
                Some(bind) => DatabaseError::Data { message: bind.to_string(), code: None },
                None => self.dialer.unreachable(chain(error)),
            },
        }
    }

    fn reported(&self, report: &DbError) -> DatabaseError {
        let code = report.code().code();
        let message = report.message().to_owned();
        match code {
            QUERY_CANCELED if !is_cancelled_by_someone(report) => {
                DatabaseError::TimedOut { after: self.timeout }
            }
            READ_ONLY_TRANSACTION => DatabaseError::Refused {
                message: format!(
                    "the tool is read-only and the database refused a write: {message}; write a statement that only \
                     reads, or set `access = \"read-write\"` on the connector and on the tool"
                ),
            },
            _ if is_gone(report) => self.dialer.unreachable(format!("{message} ({code})")),
            _ if self.ad_hoc => DatabaseError::Reported(Box::new(Report {
                message,
                code: Some(code.to_owned()),
                position: self.position(report),
                detail: report.detail().map(str::to_owned),
                hint: report.hint().map(str::to_owned),
                nearest: None,
                may_retry: may_retry(code),
            })),
            _ if code.starts_with("42") || code == FEATURE_NOT_SUPPORTED || code == NO_SUCH_PREPARED => {
                DatabaseError::Statement {
                    message,
                    code: Some(code.to_owned()),
                    position: self.position(report),
                    hint: report.hint().map(str::to_owned),
                }
            }
            _ => {
                // Which key is taken or missing is told in the detail only.
                let detail = report.detail().filter(|_| code.starts_with("23"));
                let message = detail.map_or_else(|| message.clone(), |detail| format!("{message}: {detail}"));
                DatabaseError::Data { message, code: Some(code.to_owned()) }
            }
        }
    }

    /// PostgreSQL counts characters from 1.
    fn position(&self, report: &DbError) -> Option<usize> {
        let Some(ErrorPosition::Original(position)) = report.position() else { return None };
        let characters = usize::try_from(*position).ok()?.checked_sub(1)?;
        let ends = std::iter::once(self.sent.len());
        let at = self.sent.char_indices().map(|(at, _)| at).chain(ends).nth(characters)?;
        at.checked_sub(self.prefix).filter(|at| *at <= self.length)
    }
}

/// Whether the same statement may succeed when it is sent again: it met another transaction, or a want of resources.
fn may_retry(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "55P03" | "55006" | "57014" | "53100" | "53200" | "53400")
}

/// Says in our own words why a login was refused, and what to do; `None` when something else is wrong. The server's words
/// name user and database, which are parts of the address.
pub(crate) fn rejection(error: &Error) -> Option<(String, &'static str)> {
    if let Some(distrust) = crate::tls::distrust(error) {
        let message = format!("the certificate that the database's server shows is not trusted: {distrust}");
        return Some((
            message,
            "name the authority's file with `sslrootcert`, and the host as its certificate does",
        ));
    }
    let Some(report) = error.as_db_error() else {
        let told = chain(error);
        return if told.contains("password missing") {
            Some((
                "the database asks for a password and the address has none".to_owned(),
                "write it into the address",
            ))
        } else if told.contains("channel binding") {
            Some((
                "the login is not bound to the connection, as `channel_binding=require` asks".to_owned(),
                "use TLS and a user with a SCRAM password, or write `channel_binding=prefer`",
            ))
        } else {
            None
        };
    };
    let (message, help) = match (report.code().code(), report.message()) {
        ("28P01", _) => {
            ("the database refuses the login: user name or password is wrong", "correct them in the address")
        }
        ("28000", _) => (
            "the database has no place for this login",
            "look into its pg_hba.conf: user, database, network address, and TLS or none are what it asks for; or the user does not exist",
        ),
        ("3D000", _) => {
            ("there is no such database on the server", "correct the name after the last `/` of the address")
        }
        // PgBouncer has one code for everything.
        ("08P01", text) if text.contains("authentication failed") || text.contains("no such user") => {
            ("the pooler refuses the login: user name or password is wrong", "correct them in the address")
        }
        ("08P01", text) if text.contains("no such database") => {
            ("the pooler knows no such database", "correct the name after the last `/` of the address")
        }
        _ => return None,
    };
    Some((message.to_owned(), help))
}

/// Whether the server, or a pooler before it, has no place for one more connection.
pub(crate) fn is_full(error: &Error) -> bool {
    code(error) == Some(TOO_MANY_CONNECTIONS)
        // PgBouncer has one code for everything.
        || error.as_db_error().is_some_and(|report| report.message().contains("no more connections allowed"))
}

/// Whether the server takes no writes any more, although one that does was reached before.
pub(crate) fn is_demoted(error: &Error) -> bool {
    code(error) == Some(READ_ONLY_TRANSACTION)
        || code(error) == Some(FEATURE_NOT_SUPPORTED)
            && error.as_db_error().and_then(DbError::routine).is_some_and(|routine| {
                matches!(routine, "check_transaction_read_only" | "check_XactReadOnly")
            })
}

/// Whether the connection is gone, so that the statement can be run on another.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error.as_db_error() {
        Some(report) => is_gone(report),
        None => error.source().is_none_or(|source| !source.is::<BindError>()),
    }
}

/// Whether the statement has to be prepared again: its plan's columns changed, or the session forgot it.
pub(crate) fn is_stale(error: &Error) -> bool {
    let code = code(error);
    code == Some(NO_SUCH_PREPARED)
        || code == Some(FEATURE_NOT_SUPPORTED)
            && error
                .as_db_error()
                .and_then(DbError::routine)
                .is_none_or(|routine| routine == "RevalidateCachedQuery")
}

/// Whether someone who looks after the server had the statement cancelled. The code is that of a timeout, and only the words
/// tell them apart; in another language than English it counts as one.
fn is_cancelled_by_someone(report: &DbError) -> bool {
    report.code().code() == QUERY_CANCELED && report.message().contains("user request")
}

/// Whether the statement ran into its timeout.
pub(crate) fn is_late(error: &Error) -> bool {
    is_timeout(error) && !error.as_db_error().is_some_and(is_cancelled_by_someone)
}

/// Whether the statement ran into its timeout, or was cancelled.
pub(crate) fn is_timeout(error: &Error) -> bool {
    code(error) == Some(QUERY_CANCELED)
}

/// Whether a replica reports what a primary may not: that it is in recovery, that recovery got in the way, or something that
/// it has not heard of yet.
pub(crate) fn is_of_a_replica(error: &Error) -> bool {
    is_of_recovery(error)
        || code(error).is_some_and(|code| code == RECOVERY_CONFLICT || is_of_catalogue(code))
}

/// Whether the statement does what cannot be done in recovery.
pub(crate) fn is_of_recovery(error: &Error) -> bool {
    matches!(code(error), Some(READ_ONLY_TRANSACTION | NOT_IN_THIS_STATE))
}

/// Whether a code says that the statement does not fit the catalogue.
fn is_of_catalogue(code: &str) -> bool {
    code.starts_with("42") || code == FEATURE_NOT_SUPPORTED
}

/// Whether the database could not infer a parameter's type.
pub(crate) fn is_untyped(error: &Error) -> bool {
    matches!(code(error), Some("42P08" | "42P18"))
}

fn code(error: &Error) -> Option<&str> {
    error.code().map(tokio_postgres::error::SqlState::code)
}

/// Connection exceptions; shutdown, crash and start of the server; too many connections. Only what ends the session: a
/// function that itself connects somewhere reports the same codes as plain errors.
fn is_gone(report: &DbError) -> bool {
    let code = report.code().code();
    let ends_session = matches!(report.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    ends_session
        && (code.starts_with("08")
            || matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | TOO_MANY_CONNECTIONS | "25P03"))
}

const TOO_MANY_CONNECTIONS: &str = "53300";
const QUERY_CANCELED: &str = "57014";
const READ_ONLY_TRANSACTION: &str = "25006";
/// Reported for functions that ask the log's writer.
const NOT_IN_THIS_STATE: &str = "55000";
/// A serialization failure; on a replica, replay needed what the statement was reading.
const RECOVERY_CONFLICT: &str = "40001";
const FEATURE_NOT_SUPPORTED: &str = "0A000";
const NO_SUCH_PREPARED: &str = "26000";
