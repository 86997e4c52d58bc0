//! Why a server is not built, changed or served.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use trunkline_protocol::uri_template::BadTemplate;
use trunkline_service::catalog::{BadToolName, CatalogError};

use crate::sdk::ToolError;

/// Everything that keeps a server from being built.
///
/// `Debug` shows the same text as `Display`, as that is what a `main` that returns it prints.
#[derive(thiserror::Error)]
pub struct BuildError {
    problems: Vec<BuildProblem>,
}

/// One thing that keeps a server from being built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildProblem {
    /// Two things of one kind have one name.
    #[error("two {kind} are named `{name}`; rename one of them")]
    NameClash {
        /// What they are.
        kind: &'static str,
        /// The name, or the URI.
        name: String,
    },
    /// A tool's name is none.
    #[error(transparent)]
    BadToolName(#[from] BadToolName),
    /// A state that something asks for was not given.
    #[error("{what} asks for state of type `{state}`, which the server was not given; add `.state(..)`")]
    MissingState {
        /// Who asks: the tool `x`.
        what: String,
        /// The type it asks for.
        state: &'static str,
    },
    /// A schema is no JSON Schema, or not of an object.
    #[error("the {which} schema of the tool `{tool}` cannot be used: {reason}")]
    BadSchema {
        /// The tool's name.
        tool: String,
        /// `input` or `output`.
        which: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A tool wants an argument mirrored in a way that clients refuse.
    #[error("the tool `{tool}` would be dropped by clients: {reason}")]
    BadParamHeader {
        /// The tool's name.
        tool: String,
        /// What is wrong with its schema.
        reason: String,
    },
    /// An icon is at an address that clients do not show.
    #[error("an icon of {what} cannot be used: {reason}")]
    BadIcon {
        /// Whose it is: the tool `x`.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A template of resources cannot be read.
    #[error("the resource template `{template}` cannot be read: {source}")]
    BadTemplate {
        /// The template.
        template: String,
        /// What is wrong with it.
        source: BadTemplate,
    },
    /// Two extensions have one id, or two answer one method.
    #[error("two extensions claim `{0}`; add it once")]
    ExtensionClash(String),
    /// The list of what is served cannot be put together.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Something that was added could not be made.
    #[error("{0}")]
    Other(String),
    /// The keys to seal with cannot be used, or the system gives no randomness to make one.
    #[error("there is no key to seal with: the system gives no randomness; set `.seal_keys(..)`")]
    NoSealKey,
}

impl BuildError {
    pub(super) fn new(problems: Vec<BuildProblem>) -> Self {
        Self { problems }
    }

    /// Returns every problem there is.
    #[must_use]
    pub fn problems(&self) -> &[BuildProblem] {
        &self.problems
    }
}

impl From<BuildProblem> for BuildError {
    fn from(problem: BuildProblem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server cannot be built")?;
        for problem in &self.problems {
            write!(f, "\n- {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a running server was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The server does not exist any more.
    #[error("the server has stopped")]
    Stopped,
    /// What was added does not fit.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl From<ChangeError> for ToolError {
    /// What was wrong is the author's own to tell: names and schemas, no secret.
    fn from(error: ChangeError) -> Self {
        Self::new(error.to_string())
    }
}

/// Why a server does not serve.
///
/// `Debug` shows the same text as `Display`, as that is what a `main` that returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The address does not name a place to listen at.
    #[error("cannot listen: {0}; write an address such as `127.0.0.1:3000`")]
    BadAddress(String),
    /// Others could reach it, and nobody would be asked who they are.
    #[error(
        "`{0}` can be reached from other machines, and the server asks nobody who they are; listen at a loopback address \
         such as `127.0.0.1:3000`, put the server behind guards with `into_service()`, or say \
         `.danger_allow_unauthenticated()`"
    )]
    Unauthenticated(SocketAddr),
    /// The address is taken or not ours.
    #[error("cannot listen at `{address}`: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("serving failed: {0}")]
    Io(#[from] io::Error),
}

impl fmt::Debug for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
