//! How a command ends: the exit codes, which are part of the interface, and the one printer of error chains.

use std::fmt;
use std::process::ExitCode;

use trunkline_client::Kind;
use trunkline_service::{Chain, FailureKind};

/// Why a command ends other than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The tool answered an error; or what was looked at is not what it should be.
    Tool,
    /// The command line cannot be understood or carried out.
    Usage,
    /// Something did not answer, or cannot be had now.
    Unavailable,
    /// The other side answered with an error of the protocol, or with something that is none of it.
    Protocol,
    /// Who asks may not do this.
    Denied,
    /// The configuration is wrong.
    Configuration,
}

impl Code {
    /// Returns the number: that of the table of failures, but for what no request can fail of.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tool => 1,
            Self::Usage => 2,
            Self::Unavailable => FailureKind::UpstreamUnavailable.row().exit,
            Self::Protocol => FailureKind::InvalidRequest.row().exit,
            Self::Denied => FailureKind::Forbidden.row().exit,
            Self::Configuration => FailureKind::Configuration.row().exit,
        }
    }

    /// Returns the code for a server that could not be used.
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Usage => Self::Usage,
            Kind::Unavailable => Self::Unavailable,
            Kind::Denied => Self::Denied,
            // A kind that is not known here is one of the other side's answers.
            _ => Self::Protocol,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
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
    Chain(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are told in the README and read by scripts.
    #[test]
    fn the_numbers_are_those_of_the_interface() {
        let all = [
            (Code::Tool, 1),
            (Code::Usage, 2),
            (Code::Unavailable, 69),
            (Code::Protocol, 76),
            (Code::Denied, 77),
            (Code::Configuration, 78),
        ];
        for (code, number) in all {
            assert_eq!(code.number(), number, "{code:?}");
        }
        for kind in FailureKind::ALL {
            let known = all.iter().any(|(code, _)| code.number() == kind.row().exit);
            assert!(known, "{kind:?} has an exit code that no command ends with");
        }
        let kinds = [
            (Kind::Usage, Code::Usage),
            (Kind::Unavailable, Code::Unavailable),
            (Kind::Protocol, Code::Protocol),
            (Kind::Denied, Code::Denied),
        ];
        for (kind, code) in kinds {
            assert_eq!(Code::of(kind), code, "{kind:?}");
        }
    }
}
