//! A sink that is written and never read back: the standard output, and devices.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};

use trunkline_service::shared::Later;

use super::{Batch, Found, Sink, SinkError, Torn, WriteError};
use crate::record::chain::Prover;

/// Writes lines one after the other.
pub struct Stream<W> {
    out: W,
    /// What is left of lines that were written in part, since the last whole one.
    torn: Option<Torn>,
    /// The last of it has no line break yet.
    is_open: bool,
}

impl Stream<File> {
    /// Writes to the standard output of the process, which nothing else may write to.
    ///
    /// # Errors
    /// The process has none.
    #[cfg(unix)]
    pub fn stdout() -> io::Result<Self> {
        use std::os::fd::AsFd as _;
        // Without the buffer of `io::stdout`, which hides how much of a line is out.
        io::stdout().as_fd().try_clone_to_owned().map(|out| Self::new(out.into()))
    }
}

impl<W: Write + Send + 'static> Stream<W> {
    /// Writes to `out`, which must not buffer.
    #[must_use]
    pub fn new(out: W) -> Self {
        Self { out, torn: None, is_open: false }
    }

    /// Closes off what is left of a line.
    fn resume(&mut self) -> Result<Found, SinkError> {
        if self.is_open {
            self.out.write_all(b"\n").map_err(failed)?;
            self.is_open = false;
        }
        Ok(Found { torn: self.torn, ..Found::default() })
    }

    /// Writes all lines, counting those that are surely out.
    pub(super) fn write_all(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let (text, mut done) = (batch.text(), 0);
        let error = loop {
            match text.get(done..).filter(|rest| !rest.is_empty()).map(|rest| self.out.write(rest)) {
                None => {
                    self.torn = None;
                    return Ok(());
                }
                Some(Ok(0)) => break io::ErrorKind::WriteZero.into(),
                Some(Ok(length)) => done += length,
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(Err(error)) => break error,
            }
        };
        let whole = text.get(..done).unwrap_or_default();
        let mut sure = whole.iter().filter(|byte| **byte == b'\n').count();
        let end = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut rest = (done - end) as u64;
        self.is_open = rest > 0;
        // A line is whole without its line break too.
        if batch.iter().nth(sure).is_some_and(|line| line.text.len() as u64 == rest) {
            (sure, rest) = (sure + 1, 0);
        }
        self.torn = match self.torn.filter(|_| sure == 0) {
            Some(before) if rest > 0 => {
                Some(Torn { bytes: before.bytes + 1 + rest, lines: before.lines + 1 })
            }
            Some(before) => Some(before),
            None => (rest > 0).then_some(Torn { bytes: rest, lines: 0 }),
        };
        Err(WriteError { sure, error: failed(error) })
    }
}

fn failed(error: io::Error) -> SinkError {
    SinkError::unavailable("the record cannot be written").with_source(error)
}

impl<W> fmt::Debug for Stream<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl<W: Write + Send + 'static> Sink for Stream<W> {
    fn open<'a>(&'a mut self, _: &'a Prover) -> Later<'a, Result<Found, SinkError>> {
        Box::pin(std::future::ready(self.resume()))
    }

    fn write<'a>(&'a mut self, batch: &'a Batch) -> Later<'a, Result<(), WriteError>> {
        Box::pin(std::future::ready(self.write_all(batch)))
    }
}
