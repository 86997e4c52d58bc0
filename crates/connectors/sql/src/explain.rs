//! What a caller and the operator are told when a statement does not run, be it that of a call or of a resource.
//!
//! A caller reads what it can act on and nothing of the machinery: no address, no SQL it did not write, no stored value.
//! The operator's log has the rest under the request's number.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use trunkline_service::expression::EvaluationError;
use trunkline_service::{Failure, FailureKind, Fault, Reply};

use crate::behalf::Unidentified;
use crate::database::{Access, DatabaseError, Report};
use crate::learn::Unprepared;

/// Which call it was: words why it came to nothing, and tells the operator.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The name of the connector.
    pub connector: &'a str,
    /// The name of the tool, or of what was read.
    pub tool: &'a str,
    /// What its statement may do.
    pub access: Access,
    /// The request's number in the log.
    pub log_id: u64,
}

/// The deadline passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Late;

/// Waits for a future until the deadline.
pub(crate) async fn within<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Late> {
    tokio::time::timeout_at(deadline.into(), future).await.map_err(|_| Late)
}

/// What a caller is told. The one who called a tool reads it as the tool's result, the one who read a resource as an error.
#[derive(Debug)]
pub struct Refusal {
    kind: FailureKind,
    text: String,
    fault: Option<Fault>,
    /// The request's number, where the log has something under it.
    log_id: Option<u64>,
}

impl Refusal {
    /// Makes one of a text for the caller.
    #[must_use]
    pub fn new(kind: FailureKind, text: String) -> Self {
        Self { kind, text, fault: None, log_id: None }
    }

    /// Says that the log has more under the request's number, in which the text ends then.
    #[must_use]
    pub fn logged(self, log_id: u64) -> Self {
        Self { log_id: Some(log_id), ..self }
    }

    /// Makes the result of a tool of it.
    #[must_use]
    pub fn reply(self) -> Reply {
        let reply = match self.log_id {
            Some(log_id) => Reply::logged_error(&self.text, log_id),
            None => Reply::tool_error(&self.text),
        };
        match self.fault {
            Some(fault) => reply.with_fault(fault),
            None => reply,
        }
    }

    /// Makes the error of a request of it.
    #[must_use]
    pub fn failure(self) -> Failure {
        // Nothing of it was begun: whoever has more room may do it.
        let is_busy = self.fault == Some(Fault::Busy);
        let kind = if is_busy { FailureKind::Overloaded } else { self.kind };
        let text = match self.log_id {
            Some(log_id) if !kind.is_numbered() => format!("{} (request {log_id:016x})", self.text),
            // The edge does it.
            _ => self.text,
        };
        let failure = Failure::new(kind, text);
        match self.fault {
            Some(fault) if is_busy => failure.with_fault(fault).with_retry_after(Duration::from_secs(1)),
            Some(fault) => failure.with_fault(fault),
            None => failure,
        }
    }
}

impl Asked<'_> {
    /// The answer when a declared statement failed.
    #[must_use]
    pub fn failed(&self, error: &DatabaseError) -> Refusal {
        self.told(error, !matches!(error, DatabaseError::Unreachable { sent: false, .. }))
    }

    fn told(&self, error: &DatabaseError, was_sent: bool) -> Refusal {
        self.warn(error);
        let text = match error {
            DatabaseError::Statement { .. } | DatabaseError::Reported(_) => {
                "the statement of this tool does not fit the database any more; its operator has to correct it".to_owned()
            }
            DatabaseError::Refused { .. } => {
                "the database connection may not do what this tool asks for; its operator has to change that".to_owned()
            }
            DatabaseError::Data { code, .. } => class(code.as_deref()),
            DatabaseError::Identity { .. } => NOT_TAKEN.to_owned(),
            other => return self.unavailable(other, was_sent),
        };
        Refusal { fault: fault(error), ..Refusal::new(kind(error), text).logged(self.log_id) }
    }

    /// The answer when the caller's own statement failed: its author may read all that the database says.
    #[must_use]
    pub fn ad_hoc_failed(&self, error: &DatabaseError, sql: &str) -> Refusal {
        tracing::debug!(request = %self.request(), connector = self.connector, tool = self.tool, code = code(error), "a caller's statement failed");
        let text = match error {
            DatabaseError::Statement { message, code, position, hint } => {
                let place = position.map(|position| place(sql, position)).unwrap_or_default();
                let hint = hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
                format!(
                    "the database does not accept the statement: {message}{}{place}{hint}",
                    in_parentheses(code.as_deref())
                )
            }
            DatabaseError::Reported(report) => reported(report, sql),
            DatabaseError::Refused { message } => message.clone(),
            DatabaseError::Data { message, code } => {
                format!("the statement failed: {message}{}", in_parentheses(code.as_deref()))
            }
            DatabaseError::Identity { .. } => {
                self.warn(error);
                return Refusal::new(of_their_statement(error), NOT_TAKEN.to_owned()).logged(self.log_id);
            }
            other => {
                self.warn(other);
                let told = self.unavailable(other, true);
                return Refusal { kind: of_their_statement(other), ..told };
            }
        };
        Refusal { fault: fault(error), ..Refusal::new(of_their_statement(error), text) }
    }

    /// The answer when a declared statement could not be prepared.
    pub(crate) fn unprepared(&self, unprepared: &Unprepared) -> Refusal {
        match unprepared {
            Unprepared::Database(error) => self.told(error, false),
            Unprepared::Wrong(problems) => {
                for problem in problems {
                    tracing::warn!(request = %self.request(), connector = self.connector, tool = self.tool, key = problem.path.join("."), "{}", problem.message);
                }
                let text =
                    "this tool's declaration does not fit the database; its operator has to correct it";
                Refusal::new(FailureKind::Configuration, text.to_owned()).logged(self.log_id)
            }
        }
    }

    /// The answer when the deadline passed before the statement could run.
    #[must_use]
    pub fn late(&self) -> Refusal {
        tracing::warn!(request = %self.request(), connector = self.connector, tool = self.tool, "the deadline passed before the statement ran");
        let text = "the database did not answer in time; try again later".to_owned();
        let refusal = Refusal::new(FailureKind::DeadlinePassed, text).logged(self.log_id);
        Refusal { fault: Some(Fault::Late), ..refusal }
    }

    /// The answer when the value of a hidden parameter could not be computed. The error's text holds no value.
    pub(crate) fn not_computed(&self, name: &str, error: Option<&EvaluationError>) -> Refusal {
        let cause =
            error.map_or_else(|| "the result does not fit the parameter".to_owned(), ToString::to_string);
        tracing::warn!(request = %self.request(), connector = self.connector, tool = self.tool, parameter = name, "not computed: {cause}");
        let text = format!("`{name}` is set by the server, and could not be for this call: {cause}");
        Refusal::new(FailureKind::Forbidden, text).logged(self.log_id)
    }

    /// The answer when it could not be computed as whom the statement is to run.
    #[must_use]
    pub fn unidentified(&self, unidentified: &Unidentified) -> Refusal {
        let Unidentified { key, cause } = unidentified;
        tracing::warn!(request = %self.request(), connector = self.connector, tool = self.tool, key, "not computed: {cause}");
        let text = format!(
            "`{key}` is set by the server from who is calling, and could not be for this call: {cause}"
        );
        Refusal::new(FailureKind::Forbidden, text).logged(self.log_id)
    }

    /// What is told of a database that does not answer, or not with what can be sent.
    fn unavailable(&self, error: &DatabaseError, was_sent: bool) -> Refusal {
        let refusal = |text| Refusal { fault: fault(error), ..Refusal::new(kind(error), text) };
        let text = match error {
            DatabaseError::TimedOut { after } => {
                format!("the statement was stopped after {after:.1?}; ask for less, or try again later")
            }
            DatabaseError::PoolExhausted { after } if after.as_millis() == 0 => {
                "more calls come than the database can answer, so this one was not begun; try again in a moment".to_owned()
            }
            DatabaseError::PoolExhausted { after } => {
                format!("all connections to the database were busy for {after:.1?}; try again in a moment")
            }
            DatabaseError::Full { .. } => {
                "the database takes no more connections now, so nothing was done; try again in a moment".to_owned()
            }
            // It says where.
            DatabaseError::Encoding { message } => return refusal(message.clone()),
            _ if self.access == Access::ReadWrite && !was_sent => {
                "the database does not answer, so nothing was changed; try again later".to_owned()
            }
            _ if self.access == Access::ReadWrite => {
                "the database does not answer, and whether the change was made is not known; look before you try again".to_owned()
            }
            _ => "the database does not answer; try again later".to_owned(),
        };
        refusal(text).logged(self.log_id)
    }

    /// Tells the operator of an error, without any value.
    pub fn warn(&self, error: &DatabaseError) {
        // The pool says so itself, once for many.
        if matches!(error, DatabaseError::PoolExhausted { .. }) {
            tracing::debug!(request = %self.request(), connector = self.connector, tool = self.tool, "{}", Told(error));
            return;
        }
        tracing::warn!(request = %self.request(), connector = self.connector, tool = self.tool, code = code(error), "{}", Told(error));
    }

    fn request(&self) -> impl fmt::Display {
        let id = self.log_id;
        fmt::from_fn(move |f| write!(f, "{id:016x}"))
    }
}

/// What is told when the database does not let the statement run as its caller.
const NOT_TAKEN: &str = "the database does not take this call for the caller it comes from, so nothing ran; the operator has to grant \
                         the role or correct the claim";

/// Tells programs what kind of failure it is when the statement is what the caller asked with.
fn of_their_statement(error: &DatabaseError) -> FailureKind {
    match kind(error) {
        FailureKind::Configuration | FailureKind::Internal => FailureKind::InvalidParams,
        kind => kind,
    }
}

/// Tells programs what kind of failure it is.
fn kind(error: &DatabaseError) -> FailureKind {
    match error {
        DatabaseError::Statement { .. } | DatabaseError::Reported(_) | DatabaseError::Refused { .. } => {
            FailureKind::Configuration
        }
        DatabaseError::Identity { .. } => FailureKind::Forbidden,
        DatabaseError::Data { .. } | DatabaseError::Encoding { .. } => FailureKind::Internal,
        DatabaseError::TimedOut { .. } => FailureKind::DeadlinePassed,
        DatabaseError::PoolExhausted { .. }
        | DatabaseError::Unreachable { .. }
        | DatabaseError::Full { .. }
        | DatabaseError::Rejected { .. } => FailureKind::UpstreamUnavailable,
    }
}

/// Tells how the database itself failed, when that is what happened.
fn fault(error: &DatabaseError) -> Option<Fault> {
    match error {
        DatabaseError::Unreachable { sent: true, .. } => Some(Fault::Unknown),
        DatabaseError::Unreachable { sent: false, .. } | DatabaseError::Rejected { .. } => {
            Some(Fault::NotDone)
        }
        DatabaseError::PoolExhausted { .. } | DatabaseError::Full { .. } => Some(Fault::Busy),
        DatabaseError::TimedOut { .. } => Some(Fault::Late),
        DatabaseError::Statement { .. }
        | DatabaseError::Reported(_)
        | DatabaseError::Refused { .. }
        | DatabaseError::Identity { .. }
        | DatabaseError::Data { .. }
        | DatabaseError::Encoding { .. } => None,
    }
}

/// An error with its causes, on one line. Of an error on the data only what holds no value is told: databases put values
/// behind a colon, or in quotes where they do not fit (SQLSTATE class 22).
struct Told<'a>(&'a DatabaseError);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DatabaseError::Data { code: Some(code), .. } if is_worded_by_functions(code) => f.write_str(
                "a function or trigger of the database raised an error, whose words may hold values",
            ),
            DatabaseError::Data { message, code } => {
                let told = message.split(": ").next().unwrap_or_default();
                let unfit = code.as_deref().is_none_or(|code| code.starts_with("22"));
                match told.find('"').zip(told.rfind('"')).filter(|_| unfit) {
                    Some((from, to)) => {
                        write!(
                            f,
                            "{}...{}",
                            told.get(..=from).unwrap_or_default(),
                            told.get(to..).unwrap_or_default()
                        )
                    }
                    None => f.write_str(told),
                }
            }
            other => write!(f, "{}", trunkline_service::Chain(other)),
        }
    }
}

/// Whether errors of the code have words that a function chose: PL/pgSQL, routines and wrappers of foreign data.
fn is_worded_by_functions(code: &str) -> bool {
    ["P0", "38", "39", "HV", "XX"].iter().any(|class| code.starts_with(class))
}

fn code(error: &DatabaseError) -> Option<&str> {
    match error {
        DatabaseError::Statement { code, .. } | DatabaseError::Data { code, .. } => code.as_deref(),
        DatabaseError::Reported(report) => report.code.as_deref(),
        _ => None,
    }
}

fn in_parentheses(code: Option<&str>) -> String {
    code.map(|code| format!(" ({code})")).unwrap_or_default()
}

/// Says what kind of failure on the data it was, by SQLSTATE or by SQLite's names.
fn class(code: Option<&str>) -> String {
    let known = code.unwrap_or_default();
    let text = match known {
        "22012" => "a division by zero",
        "23502" => "a value that must not be null is missing",
        "23503" => "it refers to something that does not exist, or is still referred to",
        "23505" => "something with the same key exists already",
        "40001" | "40P01" | "55P03" => "another change was made at the same time; try again",
        "42501" => "the database user of this connector lacks a right",
        "57014" => "the statement was cancelled",
        "22P05" => "a JSON argument has the character \\u0000, which the database cannot store",
        "SQLITE_NOMEM" => "the statement needs more memory than statements may have; ask for less",
        "SQLITE_TOOBIG" => "a value is larger than the database takes; ask for less",
        _ if known.starts_with("22") => "an argument does not have the form or size the database takes",
        _ if known.starts_with("23") => "a constraint of the database was violated",
        _ if known.contains("UNIQUE") || known.contains("PRIMARYKEY") => {
            "something with the same key exists already"
        }
        _ if known.contains("FOREIGNKEY") => {
            "it refers to something that does not exist, or is still referred to"
        }
        _ if known.contains("NOTNULL") => "a value that must not be null is missing",
        _ if known.contains("CONSTRAINT") => "a constraint of the database was violated",
        _ if known.contains("BUSY") || known.contains("LOCKED") => {
            "another change was made at the same time; try again"
        }
        _ => "the statement failed on the data",
    };
    format!("the database refused: {text}{}", in_parentheses(code))
}

/// Tells all that the database says to the author of a statement, with the line it means and a mark under the place.
fn reported(report: &Report, sql: &str) -> String {
    let Report { message, code, position, detail, hint, nearest, may_retry } = report;
    // A place is told of what stands in its way, too.
    let is_wrong = code.as_deref().is_none_or(|code| code.starts_with("42"));
    let mut text = match is_wrong {
        true => "the database does not accept the statement: ".to_owned(),
        false => "the statement failed: ".to_owned(),
    };
    text.push_str(message);
    text.push_str(&in_parentheses(code.as_deref()));
    if let Some(position) = position {
        text.push_str(&place(sql, *position));
        text.push_str(&excerpt(sql, *position));
    }
    let more = [
        nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?")),
        detail.as_ref().map(|detail| format!("detail: {detail}")),
        hint.as_ref().map(|hint| format!("hint: {hint}")),
        may_retry.then(|| "nothing is wrong with the statement; try it again".to_owned()),
    ];
    for more in more.into_iter().flatten() {
        text.push('\n');
        text.push_str(&more);
    }
    text
}

/// Returns the line that a byte is in, cut around it, and below it a mark.
fn excerpt(sql: &str, position: usize) -> String {
    let position = position.min(sql.len());
    let (before, after) = sql.split_at_checked(position).unwrap_or((sql, ""));
    let before: Vec<char> = before.rsplit('\n').next().unwrap_or_default().chars().collect();
    let skipped = before.len().saturating_sub(EXCERPT);
    let plain = |character: &char| if character.is_control() { ' ' } else { *character };
    let shown: String = before.iter().skip(skipped).map(plain).collect();
    let rest: String =
        after.lines().next().unwrap_or_default().chars().map(|c| plain(&c)).take(EXCERPT).collect();
    format!("\n  {shown}{}\n  {}^", rest.trim_end(), " ".repeat(before.len() - skipped))
}

/// Most characters of a line that are shown on each side of a place.
const EXCERPT: usize = 60;

/// Says where a byte stands, as a person counts.
fn place(sql: &str, position: usize) -> String {
    let before = sql.get(..position.min(sql.len())).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(" at line {line}, column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'static> =
        Asked { connector: "shop", tool: "t", access: Access::ReadOnly, log_id: 0xab };

    fn text(reply: &Reply) -> String {
        assert!(reply.is_error());
        String::from_utf8(reply.members().to_vec()).unwrap()
    }

    #[test]
    fn a_caller_of_a_declared_tool_reads_no_words_of_the_database() {
        let io = || Box::new(std::io::Error::other("10.0.0.7 refused"));
        for error in [
            DatabaseError::Statement {
                message: "secret table".into(),
                code: Some("42703".into()),
                position: Some(1),
                hint: None,
            },
            DatabaseError::Refused { message: "secret file".into() },
            DatabaseError::Identity { reason: "secret role".into() },
            DatabaseError::Data { message: "secret key".into(), code: Some("23505".into()) },
            DatabaseError::Unreachable { address: "secret:5432".into(), source: io(), sent: true },
            DatabaseError::PoolExhausted { after: Duration::from_secs(3) },
            DatabaseError::Full { source: io() },
            DatabaseError::TimedOut { after: Duration::from_secs(5) },
        ] {
            let text = text(&ASKED.failed(&error).reply());
            assert!(!text.contains("secret") && !text.contains("10.0.0.7"), "{text}");
            assert!(text.ends_with("(request 00000000000000ab)\"}],\"isError\":true"), "{text}");
            // Who shares the failure has another number, and whoever read a resource gets it from the edge.
            let again = ASKED.failed(&error).reply().again(0xcd);
            assert_eq!(
                String::from_utf8_lossy(again.members()),
                text.replace("00000000000000ab", "00000000000000cd")
            );
            let failure = ASKED.failed(&error).failure();
            assert_eq!(failure.public().contains("(request "), !failure.kind().is_numbered(), "{failure}");
        }
    }

    #[test]
    fn the_author_of_a_statement_reads_where_it_is_wrong() {
        let error = DatabaseError::Statement {
            message: "no such column: b".into(),
            code: None,
            position: Some(14),
            hint: None,
        };
        let text = text(&ASKED.ad_hoc_failed(&error, "select a,\n    b from t").reply());
        assert!(text.contains("no such column: b at line 2, column 5"), "{text}");
    }

    #[test]
    fn the_author_of_a_statement_reads_the_whole_report_with_a_mark_under_the_place() {
        let report = Report {
            message: "column \"nme\" does not exist".into(),
            code: Some("42703".into()),
            position: Some(10),
            detail: Some("d".into()),
            hint: Some("h".into()),
            nearest: Some("name".into()),
            may_retry: false,
        };
        assert_eq!(
            reported(&report, "select a,\nnme from t"),
            "the database does not accept the statement: column \"nme\" does not exist (42703) at line 2, column 1\n  \
             nme from t\n  ^\ndid you mean `name`?\ndetail: d\nhint: h"
        );
        let report = Report {
            message: "deadlock detected".into(),
            code: Some("40P01".into()),
            may_retry: true,
            ..Report::default()
        };
        assert!(reported(&report, "select 1").ends_with("try it again"));
        assert_eq!(excerpt("é\tx", 3), "\n  é x\n    ^");
    }

    #[test]
    fn values_stay_out_of_the_log() {
        for (message, code, told) in [
            (
                "invalid input syntax for type integer: \"4711\"",
                "22P02",
                "invalid input syntax for type integer",
            ),
            (
                "value \"4711\" is out of range for type integer",
                "22003",
                "value \"...\" is out of range for type integer",
            ),
            (
                "duplicate key breaks \"t_key\": Key (a)=(4711) already exists.",
                "23505",
                "duplicate key breaks \"t_key\"",
            ),
            (
                "customer 4711 is blocked",
                "P0001",
                "a function or trigger of the database raised an error, whose words may hold values",
            ),
        ] {
            let error = DatabaseError::Data { message: message.into(), code: Some(code.into()) };
            assert_eq!(Told(&error).to_string(), told);
        }
    }
}
