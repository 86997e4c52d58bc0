//! Where lines go: what every sink can do, and the sinks themselves.

pub mod file;
mod lines;
pub mod stream;
#[cfg(unix)]
pub mod syslog;
mod tail;

use std::error::Error;
use std::fmt;

use serde::Deserialize;
use trunkline_service::shared::Later;

use super::chain::{Head, Prover};

pub use lines::{Batch, Line};

/// Takes the lines of one node. It lives on the writer's thread, one call at a time; a future may block that thread.
pub trait Sink: Send + 'static {
    /// Opens it, for the first time or after a failure, and tells where the record stands there. Keeps others from writing
    /// the same record where it can.
    ///
    /// # Errors
    /// [`SinkError`]: it cannot be reached, or what is there is no record of this node and key.
    fn open<'a>(&'a mut self, prover: &'a Prover) -> Later<'a, Result<Found, SinkError>>;

    /// Writes lines, in their order.
    ///
    /// # Errors
    /// [`WriteError`]: not all of them are written; the sink is opened again before it is written to again.
    fn write<'a>(&'a mut self, batch: &'a Batch) -> Later<'a, Result<(), WriteError>>;

    /// Makes sure that all that was written outlives the machine.
    ///
    /// # Errors
    /// [`SinkError`] when that cannot be told; what was written last is then in doubt.
    fn sync(&mut self) -> Later<'_, Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Tells whether the next lines should go somewhere new, see [`renew`](Self::renew).
    fn is_full(&self) -> bool {
        false
    }

    /// Begins something new, a file mostly. The next line tells of it.
    ///
    /// # Errors
    /// [`SinkError`] when nothing new can be begun and the old goes on.
    fn renew(&mut self) -> Later<'_, Result<Renewed, SinkError>> {
        Box::pin(std::future::ready(Ok(Renewed::default())))
    }
}

/// Reads the end of a record that a sink keeps elsewhere than in files: its last line or lines, each with its line break.
/// Returns the head of the last one; `None` without any line, or when it is of another node.
///
/// # Errors
/// [`SinkErrorKind::Wrong`]: the last line is not proven under this key. One line alone is not either, unless it is the first
/// of its node or tells of the one before.
pub fn head_of(lines: &[u8], prover: &Prover) -> Result<Option<Head>, SinkError> {
    // The first of several may be any line; it is there to prove the next.
    let is_alone = lines.iter().filter(|byte| **byte == b'\n').count() < 2;
    match tail::read(lines, is_alone, prover) {
        tail::Tail::Empty(None) => Ok(None),
        tail::Tail::Line(head, None) => Ok(head),
        _ => Err(SinkError::wrong(
            "the audit record does not end with lines of this `key`: it was written under another one, or changed; look at it \
             with `trunkline audit verify`, then restore the key, or give the node another name to begin a new record",
        )),
    }
}

/// Where a record stands in its sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// The last line that is proven; `None` when there is none or it cannot be read back.
    pub head: Option<Head>,
    /// What stands behind it and is no line, as crashes and failures leave it. It is closed off with a line break.
    pub torn: Option<Torn>,
    /// The place is new, so that the first line tells the MAC of the one before.
    pub is_new: bool,
}

/// What is left of lines that were not written to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Torn {
    /// How many bytes it is, without the line break at its end.
    pub bytes: u64,
    /// How many line breaks are within: none unless it happened several times in a row.
    pub lines: u64,
}

/// What [`Sink::renew`] began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renewed {
    /// The oldest line that is kept, when older ones were removed just now.
    pub oldest: Option<Oldest>,
}

/// The oldest line that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Oldest {
    /// The node it is of.
    pub node: Box<str>,
    /// Its number.
    pub seq: u64,
}

/// Why a sink cannot be used.
#[derive(Debug)]
pub struct SinkError {
    kind: SinkErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkErrorKind {
    /// It is set up wrong: nothing changes until someone changes something.
    Wrong,
    /// It does not answer, or is full: it may work later.
    Unavailable,
}

impl SinkError {
    /// Makes an error of something that was set up wrong.
    #[must_use]
    pub fn wrong(message: impl Into<String>) -> Self {
        Self { kind: SinkErrorKind::Wrong, message: message.into(), source: None }
    }

    /// Makes an error of something that may work later.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: SinkErrorKind::Unavailable, message: message.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> SinkErrorKind {
        self.kind
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}

/// Why lines were not written.
#[derive(Debug)]
pub struct WriteError {
    /// How many of them are written all the same, from the first on, for a sink that is not read back.
    pub sure: usize,
    /// What is wrong.
    pub error: SinkError,
}

impl From<SinkError> for WriteError {
    fn from(error: SinkError) -> Self {
        Self { sure: 0, error }
    }
}
