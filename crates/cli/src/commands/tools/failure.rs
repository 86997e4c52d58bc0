//! Why a command that uses a server ends badly: what is printed and which exit code it has.

use std::process::ExitCode;

use trunkline_client::ClientError;

use super::table;
use crate::{exit, output};

/// The exit code for a wrong command line.
const USAGE: u8 = 2;
/// The exit codes of our own `serve` that are passed on: unavailable and configuration.
const PASSED_ON: [u8; 2] = [69, 78];

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
                ExitCode::from(USAGE)
            }
            Self::Client(error) => {
                output::line(&text_of(error));
                ExitCode::from(error.kind().exit_code())
            }
            Self::Config(error) => report_config(error),
            Self::Tool => ExitCode::FAILURE,
        }
    }
}

fn text_of(error: &ClientError) -> String {
    format!("error: {}", table::printable(&exit::chain(error)))
}

/// Our own program has said what is wrong; only what it did not say is added.
fn report_config(error: &ClientError) -> ExitCode {
    let said = error.child_stderr().trim_end();
    if !said.is_empty() {
        output::line(said);
    }
    let code = error
        .child_exit_code()
        .and_then(|code| u8::try_from(code).ok())
        .filter(|code| PASSED_ON.contains(code));
    match code {
        Some(code) if !said.is_empty() => ExitCode::from(code),
        code => {
            output::line(&text_of(error));
            ExitCode::from(code.unwrap_or(error.kind().exit_code()))
        }
    }
}
