//! How a command ends: the exit codes, which are part of the interface, and the one printer of error chains.

use std::fmt;
use std::process::ExitCode;

/// Why a command ends other than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Something did not answer, or cannot be had now.
    Unavailable = 69,
    /// The configuration is wrong.
    Configuration = 78,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// An error with the exit code it leads to.
#[derive(Debug)]
pub(crate) struct Failed {
    code: Code,
    message: String,
}

impl Failed {
    /// Makes an error; `help` says what to do.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

/// Prints an error with what led to it on stderr, and returns the exit code it asks for.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let code = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failed>())
        .map_or(Code::Unavailable, |failed| failed.code);
    crate::output::line(&format!("error: {}", chain(error.as_ref())));
    code.into()
}

/// Joins an error with its causes, leaving out a cause that its parent already told.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
