//! Lines of input that may be anything: one at a time, none of them kept beyond a bound.

use std::io::{self, BufRead};

/// The most bytes that are kept of a line: many times the longest there is.
const MAX_LINE: usize = 1024 * 1024;

/// Reads lines and counts them.
#[derive(Debug)]
pub(in crate::record) struct BoundedLines<R> {
    input: R,
    number: u64,
}

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) struct Piece {
    /// How many bytes it has, without its line break.
    pub(in crate::record) length: u64,
    /// It has a line break; the last one may have none.
    pub(in crate::record) is_ended: bool,
}

impl<R: BufRead> BoundedLines<R> {
    pub(in crate::record) fn new(input: R) -> Self {
        Self { input, number: 0 }
    }

    /// Returns the number of the line read last, from 1 on.
    pub(in crate::record) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line into `line`, without its line break; of one that is too long, only its beginning. `None` at the
    /// end.
    pub(in crate::record) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Option<Piece>> {
        line.clear();
        let mut length = 0;
        loop {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                self.number += u64::from(length > 0);
                return Ok((length > 0).then_some(Piece { length, is_ended: false }));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            let room = MAX_LINE.saturating_sub(line.len()).min(part.len());
            line.extend_from_slice(part.get(..room).unwrap_or_default());
            length += part.len() as u64;
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                self.number += 1;
                return Ok(Some(Piece { length, is_ended: true }));
            }
        }
    }
}
