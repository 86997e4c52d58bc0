//! Lines out of a byte stream, however it is cut: bounded memory, and the same verdict for a line read whole or in pieces.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};

/// Bytes asked of the input at a time.
const READ: usize = 64 * 1024;

/// One line of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line that is not blank, without its end.
    Message(Bytes),
    /// A line over the bound (bytes), skipped.
    TooLong(usize),
}

/// The cutter. Keeps at most one unfinished line of `max` bytes and one read.
#[derive(Debug)]
pub(super) struct Lines {
    max: usize,
    unfinished: BytesMut,
    /// The unfinished line passed the bound and was told of; the rest of it is dropped.
    skipping: bool,
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn new(max: usize) -> Self {
        Self { max, unfinished: BytesMut::new(), skipping: false, buffer: vec![0; READ] }
    }

    /// Reads once and returns the lines that are complete now; at the end of the input what is left, then `None`.
    pub(super) fn read_from(&mut self, input: &mut impl Read) -> io::Result<Option<Vec<Line>>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = input.read(&mut buffer);
        let lines = read.map(|count| match count {
            0 if self.unfinished.is_empty() => None,
            0 => {
                let mut lines = Vec::new();
                self.end_line(&mut lines);
                Some(lines)
            }
            count => Some(self.cut(buffer.get(..count).unwrap_or_default())),
        });
        self.buffer = buffer;
        lines
    }

    fn cut(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut from = 0;
        for end in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at) {
            self.add(bytes.get(from..end).unwrap_or_default(), &mut lines);
            self.end_line(&mut lines);
            from = end + 1;
        }
        self.add(bytes.get(from..).unwrap_or_default(), &mut lines);
        lines
    }

    fn add(&mut self, piece: &[u8], lines: &mut Vec<Line>) {
        if self.skipping {
            return;
        }
        if self.unfinished.len() + piece.len() > self.max {
            self.skipping = true;
            self.unfinished = BytesMut::new();
            lines.push(Line::TooLong(self.max));
            return;
        }
        self.unfinished.extend_from_slice(piece);
    }

    fn end_line(&mut self, lines: &mut Vec<Line>) {
        self.skipping = false;
        let line = self.unfinished.split().freeze();
        if !line.trim_ascii().is_empty() {
            lines.push(Line::Message(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Pieces(Vec<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    fn all(max: usize, pieces: Vec<Vec<u8>>) -> Vec<Line> {
        let (mut lines, mut input, mut out) = (Lines::new(max), Pieces(pieces), Vec::new());
        while let Some(more) = lines.read_from(&mut input).unwrap() {
            out.extend(more);
        }
        out
    }

    #[test]
    fn st_06_the_bound_does_not_depend_on_the_cut() {
        let text = b"12345\n123456\n1\n".to_vec();
        let expected = vec![
            Line::Message(Bytes::from_static(b"12345")),
            Line::TooLong(5),
            Line::Message(Bytes::from_static(b"1")),
        ];
        assert_eq!(all(5, vec![text.clone()]), expected);
        assert_eq!(all(5, text.iter().map(|byte| vec![*byte]).collect()), expected);
    }

    #[test]
    fn a_last_line_without_an_end_counts_and_blank_ones_do_not() {
        let lines = all(10, vec![b"\r\n \na\r\n\nb".to_vec()]);
        assert_eq!(
            lines,
            [Line::Message(Bytes::from_static(b"a\r")), Line::Message(Bytes::from_static(b"b"))]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_cut_gives_the_same_lines(text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b' ')], 1..60), cut in 1usize..7) {
            prop_assert_eq!(all(8, vec![text.clone()]), all(8, text.chunks(cut).map(<[u8]>::to_vec).collect()));
        }
    }
}
