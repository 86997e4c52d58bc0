//! Why a server could not be used, and whose turn it is: try later, correct the peer, or get permission.

use std::process::ExitStatus;
use std::time::Duration;

use serde_json::value::RawValue;
use trunkline_service::FailureKind;

/// Why a server could not be used.
///
/// Texts name the target without user information and query, so that they can be shown and logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is no `http` or `https` URL.
    #[error("`{url}` is no address of a server: {reason}; write it like `http://127.0.0.1:3000/mcp`")]
    BadUrl {
        /// The address without user information and query.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header cannot be sent, or is one the protocol sets by itself.
    #[error("header `{name}` cannot be sent: {reason}")]
    BadHeader {
        /// The header's name.
        name: String,
        /// What is wrong with it; never the value.
        reason: &'static str,
    },
    /// The command has no program.
    #[error("the command is empty; name the program that speaks MCP on its standard input and output")]
    NoCommand,
    /// The arguments of a call are no JSON object.
    #[error("the arguments of `{tool}` must be one JSON object")]
    ArgumentsNotObject {
        /// The tool that was to be called.
        tool: String,
    },
    /// The child process did not start.
    #[error("cannot start `{program}`; check that it is installed and may be executed")]
    Spawn {
        /// The program, as given.
        program: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Nothing accepts connections at the address, or the connection could not be secured.
    #[error("cannot reach `{url}`; start the server or correct the address")]
    Unreachable {
        /// The address.
        url: String,
        /// What the HTTP library reports, without the address.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke before the answer was complete; whether the request was carried out is unknown.
    #[error(
        "the connection to `{url}` broke before the answer to `{method}` was complete; it may have been carried out"
    )]
    Broken {
        /// The address.
        url: String,
        /// The request's method.
        method: &'static str,
        /// What the HTTP library reports; `None` when the stream simply ended.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// No answer within the time for one request.
    #[error("`{target}` did not answer `{method}` within {}; allow more time or look at the server", seconds(*.limit))]
    TimedOut {
        /// The address or program.
        target: String,
        /// The request's method.
        method: &'static str,
        /// How long the client waited.
        limit: Duration,
    },
    /// The server or something before it is overloaded or failing (429, 5xx).
    #[error("`{url}` answered {status}{}; try again {}", detail(.message), later(*.retry_after))]
    Busy {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the server said, if it was a JSON-RPC error.
        message: Option<String>,
        /// The server's own wish.
        retry_after: Option<Duration>,
    },
    /// The child process ended, or closed its output, while an answer was awaited.
    #[error("`{program}` {how} before it answered `{method}`{}", noise(.last_line))]
    Ended {
        /// The program.
        program: String,
        /// What happened, with exit status or signal.
        how: String,
        /// The exit status, when the process had ended by itself.
        status: Option<ExitStatus>,
        /// The request's method.
        method: &'static str,
        /// The last line on its standard output that was no message, shortened.
        last_line: Option<String>,
        /// The end of its standard error, when that was kept.
        stderr: String,
    },
    /// The server wants other or more credentials (401, 403).
    #[error("`{url}` refuses access with {status}{}; {}", detail(.message), credentials(*.status, .challenge))]
    Denied {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the server said, if it was a JSON-RPC error.
        message: Option<String>,
        /// The `WWW-Authenticate` header.
        challenge: Option<String>,
    },
    /// The server answered a JSON-RPC error.
    #[error("`{method}` was answered with error {code}: {message}")]
    Rpc {
        /// The request's method.
        method: &'static str,
        /// The error's code.
        code: i64,
        /// The error's message.
        message: String,
        /// The error's data, as it came.
        data: Option<Box<RawValue>>,
    },
    /// An HTTP status that carries no JSON-RPC message.
    #[error("`{url}` answered `{method}` with {status}{}; check that the address is the MCP endpoint (often `/mcp`)", detail(.found))]
    Refused {
        /// The address.
        url: String,
        /// The request's method.
        method: &'static str,
        /// The HTTP status.
        status: u16,
        /// The target of a redirect or the type of the body, whatever helps most.
        found: Option<String>,
    },
    /// The answer is not what the protocol defines.
    #[error("`{target}` answered `{method}` with {what}; the server is not a working MCP server")]
    Malformed {
        /// The address or program.
        target: String,
        /// The request's method.
        method: &'static str,
        /// What was found.
        what: String,
    },
    /// Client and server share no revision.
    #[error("`{target}` offers {}; this client speaks 2026-07-28, 2025-11-25, 2025-06-18, 2025-03-26 and 2024-11-05", listed(.offered))]
    NoCommonVersion {
        /// The address or program.
        target: String,
        /// What the server offers.
        offered: Vec<String>,
    },
    /// An answer larger than the client takes.
    #[error("the answer of `{target}` to `{method}` is larger than {limit} bytes; ask for less")]
    TooLarge {
        /// The address or program.
        target: String,
        /// The request's method.
        method: &'static str,
        /// The largest answer that is taken, in bytes.
        limit: usize,
    },
    /// The tool asks for input in the middle of a call, which this client did not say it can give.
    #[error("`{tool}` wants an answer to {wanted} before it goes on, which this client cannot give")]
    InputRequired {
        /// The tool.
        tool: String,
        /// What it asks for.
        wanted: String,
    },
}

/// What kind of failure it is; stable, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// What was asked for cannot be sent.
    Usage,
    /// The server did not answer, or says to come back later.
    Unavailable,
    /// The server answered, but with an error of the protocol or with something that is none of it.
    Protocol,
    /// The server wants other credentials.
    Denied,
}

impl ClientError {
    /// Returns what kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::BadUrl { .. }
            | Self::BadHeader { .. }
            | Self::NoCommand
            | Self::ArgumentsNotObject { .. } => Kind::Usage,
            Self::Spawn { .. }
            | Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Busy { .. }
            | Self::Ended { .. } => Kind::Unavailable,
            // An answer of the handshake era carries these codes with status 200.
            Self::Rpc { code, .. } if may_help_later(*code) => Kind::Unavailable,
            Self::Denied { .. } => Kind::Denied,
            Self::Rpc { .. }
            | Self::Refused { .. }
            | Self::Malformed { .. }
            | Self::NoCommonVersion { .. }
            | Self::TooLarge { .. }
            | Self::InputRequired { .. } => Kind::Protocol,
        }
    }

    /// Returns the exit code of the child process, when one ended by itself and caused this failure.
    #[must_use]
    pub fn child_exit_code(&self) -> Option<i32> {
        match self {
            Self::Ended { status, .. } => status.as_ref().and_then(ExitStatus::code),
            _ => None,
        }
    }

    /// Returns the end of the child's standard error, empty when it was not kept.
    #[must_use]
    pub fn child_stderr(&self) -> &str {
        match self {
            Self::Ended { stderr, .. } => stderr,
            _ => "",
        }
    }
}

/// Tells whether a code is one that our servers answer when the same request may do better later.
fn may_help_later(code: i64) -> bool {
    FailureKind::ALL.into_iter().map(FailureKind::row).any(|row| row.retry && i64::from(row.code.0) == code)
}

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}

fn detail(found: &Option<String>) -> String {
    found.as_ref().map(|found| format!(" ({found})")).unwrap_or_default()
}

fn later(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(|| "later".to_owned(), |wait| format!("in {}", seconds(wait)))
}

fn credentials(status: u16, challenge: &Option<String>) -> String {
    let advice = match status {
        401 => "send valid credentials in a header such as `Authorization`",
        _ => "these credentials, this `Host` or this `Origin` are not allowed here",
    };
    challenge
        .as_ref()
        .map_or_else(|| advice.to_owned(), |challenge| format!("{advice} (it asks for `{challenge}`)"))
}

fn noise(last_line: &Option<String>) -> String {
    last_line.as_ref().map(|line| format!("; its last line of output was `{line}`")).unwrap_or_default()
}

fn listed(offered: &[String]) -> String {
    if offered.is_empty() { "no revision at all".to_owned() } else { format!("only {}", offered.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_may_do_better_later_is_no_fault_of_the_protocol() {
        let kind =
            |code| ClientError::Rpc { method: "tools/list", code, message: String::new(), data: None }.kind();
        for code in [429, 502, 503, 504] {
            assert_eq!(kind(code), Kind::Unavailable, "{code}");
        }
        for code in [-32700, -32602, -32603, -32020, 0, 500, i64::MAX] {
            assert_eq!(kind(code), Kind::Protocol, "{code}");
        }
    }
}
