//! The two threads beside the dialogue: one reads the input, one writes the output. A blocked pipe blocks them alone.

use std::io::{self, Read, Write};

use tokio::sync::mpsc;

use super::lines::{Line, Lines};

/// What the reader thread hands over: lines, or why there are no more.
pub(super) type Chunk = io::Result<Vec<Line>>;

/// Reads lines until the input ends.
pub(super) fn read(mut input: impl Read, max_line: usize, chunks: &mpsc::Sender<Chunk>) {
    let mut lines = Lines::new(max_line);
    loop {
        let chunk = match lines.read_from(&mut input) {
            Ok(None) => return,
            Ok(Some(chunk)) => Ok(chunk),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let ended = chunk.is_err();
        if chunks.blocking_send(chunk).is_err() || ended {
            return;
        }
    }
}

/// Bytes that are put together for one write; one chunk may pass it.
const JOINED: usize = 256 * 1024;

/// Writes what comes, small pieces that wait in one.
pub(super) fn write_all(mut output: impl Write, mut chunks: mpsc::Receiver<Vec<u8>>) {
    while let Some(mut chunk) = chunks.blocking_recv() {
        while chunk.len() < JOINED
            && let Ok(more) = chunks.try_recv()
        {
            chunk.extend_from_slice(&more);
        }
        if output.write_all(&chunk).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}
