//! Why a command that uses a server ends badly: what is printed and which exit code it has.

use std::process::ExitCode;

use trunkline_client::ClientError;

use super::table;
use crate::exit::{self, Code};
use crate::output;

/// What our own `serve` may end with that is passed on.
const PASSED_ON: [Code; 2] = [Code::Unavailable, Code::Configuration];

/// Why a command ends badly.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line cannot be understood or carried out.
    Usage(String),
    /// The server could not be used.
    Client(Box<ClientError>),
    /// Our own `serve` for a config file ended; its standard error says why.
    Config(Box<ClientError>),
    /// The tool answered an error, which was printed.
    Tool,
}

impl Failure {
    /// Makes a failure of the command line.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// Prints the failure on stderr and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Usage(text) => {
                output::line(&format!("error: {text}"));
                Code::Usage.into()
            }
            Self::Client(error) => {
                output::line(&text_of(error));
                Code::of(error.kind()).into()
            }
            Self::Config(error) => report_config(error),
            Self::Tool => Code::Tool.into(),
        }
    }
}

fn text_of(error: &ClientError) -> String {
    let option = if matches!(error, ClientError::TimedOut { .. }) { " (`--timeout`)" } else { "" };
    format!("error: {}{option}", table::printable(&exit::chain(error)))
}

/// Our own program has said what is wrong; only what it did not say is added.
fn report_config(error: &ClientError) -> ExitCode {
    let said = error.child_stderr().trim_end();
    if !said.is_empty() {
        output::line(said);
    }
    let ended = error.child_exit_code();
    let passed_on = PASSED_ON.into_iter().find(|code| ended == Some(i32::from(code.number())));
    if passed_on.is_none() || said.is_empty() {
        output::line(&text_of(error));
    }
    passed_on.unwrap_or(Code::of(error.kind())).into()
}
