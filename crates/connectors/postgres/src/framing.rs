//! Follows the messages that a server sends as they pass, and ends a connection before one that is too long is taken in.
//!
//! The driver holds a message whole before it looks at it, so a value of hundreds of megabytes would be in memory before
//! anybody could refuse it. Here only the headers are read: a kind of one byte and a length of four.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What was seen of a connection's messages.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    is_bloated: AtomicBool,
    is_overrun: AtomicBool,
}

impl Meter {
    /// Whether a message was so large that the driver's buffer, which never shrinks, is large now.
    pub(crate) fn is_bloated(&self) -> bool {
        self.is_bloated.load(Ordering::Relaxed)
    }

    /// Whether the connection was ended because a message was longer than [`LONGEST`].
    pub(crate) fn is_overrun(&self) -> bool {
        self.is_overrun.load(Ordering::Relaxed)
    }
}

/// Where in the stream of messages the last read ended.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Bytes of the current message that are still to come.
    left: usize,
    /// A header that has come in part, and how much of it.
    header: [u8; HEADER],
    have: usize,
    meter: Arc<Meter>,
}

impl Walk {
    /// Begins before the first message.
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        Self { left: 0, header: [0; HEADER], have: 0, meter }
    }

    /// Reads, and fails before the first message that is too long; those before it are passed on.
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.is_overrun() {
            return Poll::Ready(Err(overrun()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(context, buffer))?;
        let fits = self.pass(buffer.filled().get(before..).unwrap_or_default());
        if let Some(fits) = fits {
            buffer.set_filled(before + fits);
            // Nothing read would mean the end of the stream.
            if fits == 0 {
                return Poll::Ready(Err(overrun()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Goes over what was read; returns how many bytes come before a message that is too long.
    fn pass(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if self.left >= rest.len() {
                self.left -= rest.len();
                return None;
            }
            at += self.left;
            let rest = rest.get(self.left..).unwrap_or_default();
            self.left = 0;
            let begins = at;
            let header = match rest.first_chunk::<HEADER>() {
                Some(header) if self.have == 0 => {
                    at += HEADER;
                    *header
                }
                _ => {
                    at += self.gather(rest);
                    if self.have < HEADER {
                        return None;
                    }
                    self.have = 0;
                    self.header
                }
            };
            let [_, length @ ..] = header;
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            if length > LARGE {
                self.meter.is_bloated.store(true, Ordering::Relaxed);
                if length > LONGEST {
                    self.meter.is_overrun.store(true, Ordering::Relaxed);
                    return Some(begins);
                }
            }
            // The length counts itself. A shorter one is the driver's to refuse.
            self.left = length.saturating_sub(HEADER - 1);
        }
    }

    /// Takes what there is of a header; returns how many bytes that was.
    fn gather(&mut self, rest: &[u8]) -> usize {
        let wanted = self.header.iter_mut().skip(self.have);
        let count = wanted.zip(rest).map(|(place, byte)| *place = *byte).count();
        self.have += count;
        count
    }
}

/// A connection whose messages are followed, unless they turn out to be encrypted.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    walk: Walk,
    stage: Stage,
}

/// What comes next on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// One byte that answers whether TLS may begin.
    Answer,
    /// Nothing that can be read here.
    Encrypted,
    /// Messages.
    Messages,
}

impl<S> Watched<S> {
    /// Watches a connection that is at a stage.
    pub(crate) fn new(stream: S, stage: Stage, meter: Arc<Meter>) -> Self {
        Self { stream, walk: Walk::new(meter), stage }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, walk, stage } = self.get_mut();
        match stage {
            Stage::Messages => walk.poll_read(stream, context, buffer),
            Stage::Encrypted => Pin::new(stream).poll_read(context, buffer),
            Stage::Answer => {
                let before = buffer.filled().len();
                // The driver asks for this byte alone.
                ready!(Pin::new(stream).poll_read(context, buffer))?;
                if let Some((answer, rest)) = buffer.filled().get(before..).and_then(<[u8]>::split_first) {
                    *stage = if *answer == b'S' { Stage::Encrypted } else { Stage::Messages };
                    if !rest.is_empty() {
                        return Poll::Ready(Err(io::Error::other("more than an answer about TLS came")));
                    }
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn overrun() -> io::Error {
    io::Error::other(format!("a message is longer than {} MiB", LONGEST >> 20))
}

/// Most bytes of a message, and so of a row.
pub(crate) const LONGEST: usize = 16 << 20;

/// A connection that read a larger message is not used again.
const LARGE: usize = 1 << 20;

const HEADER: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: usize) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(u32::try_from(body + 4).expect("small").to_be_bytes());
        bytes.resize(HEADER + body, 7);
        bytes
    }

    fn head(length: usize) -> Vec<u8> {
        let mut bytes = vec![b'D'];
        bytes.extend(u32::try_from(length).expect("small").to_be_bytes());
        bytes
    }

    #[test]
    fn a_message_too_long_is_found_wherever_reads_are_cut() {
        let before: Vec<u8> = [0, 1, 9, 300].into_iter().flat_map(|body| message(b'D', body)).collect();
        let stream = [before.clone(), head(LONGEST + 1), vec![0; 50]].concat();
        for cut in 1..=stream.len() {
            let meter = Arc::new(Meter::default());
            let mut walk = Walk::new(Arc::clone(&meter));
            let mut passed = 0;
            for piece in stream.chunks(cut) {
                assert!(!meter.is_overrun());
                match walk.pass(piece) {
                    None => passed += piece.len(),
                    Some(fits) => {
                        passed += fits;
                        break;
                    }
                }
            }
            assert!(meter.is_overrun() && meter.is_bloated(), "{cut}");
            // Part of the header may have passed already.
            assert!((before.len()..before.len() + HEADER).contains(&passed), "{cut}: {passed}");
        }
    }

    #[test]
    fn the_longest_message_passes_and_marks_the_connection() {
        for (length, bloats) in [(LARGE, false), (LARGE + 1, true), (LONGEST, true)] {
            let meter = Arc::new(Meter::default());
            let mut walk = Walk::new(Arc::clone(&meter));
            let stream = [message(b'D', length - 4), message(b'Z', 1)].concat();
            assert!(stream.chunks(8192).all(|piece| walk.pass(piece).is_none()));
            assert_eq!((walk.left, walk.have), (0, 0));
            assert_eq!((meter.is_bloated(), meter.is_overrun()), (bloats, false));
        }
    }

    #[tokio::test]
    async fn what_came_before_is_read_and_then_the_connection_fails() {
        use tokio::io::AsyncReadExt;
        let good = message(b'D', 20);
        for stage in [Stage::Messages, Stage::Answer] {
            let answer: &[u8] = if stage == Stage::Answer { b"N" } else { b"" };
            let bytes = [answer, &good, &head(LONGEST + 1), &[0; 100]].concat();
            let mut stream = Watched::new(bytes.as_slice(), stage, Arc::default());
            if stage == Stage::Answer {
                assert_eq!(stream.read_u8().await.expect("read"), b'N');
            }
            let mut buffer = [0; 8192];
            assert_eq!(stream.read(&mut buffer).await.expect("read"), good.len());
            for _ in 0..2 {
                let error = stream.read(&mut buffer).await.expect_err("too long");
                assert!(error.to_string().contains("16 MiB"), "{error}");
            }
        }
        // What is encrypted is not looked at.
        let bytes = [b"S".as_slice(), &head(LONGEST + 1), &[0; 100]].concat();
        let mut stream = Watched::new(bytes.as_slice(), Stage::Answer, Arc::default());
        assert_eq!(stream.read_u8().await.expect("read"), b'S');
        assert_eq!(stream.read(&mut [0; 8192]).await.expect("read"), 105);
    }

    /// Only a bound that a slow debug build keeps, too; the time is printed.
    #[test]
    fn following_a_million_messages_costs_little() {
        let stream: Vec<u8> = std::iter::repeat_n(message(b'D', 30), 1_000_000).flatten().collect();
        let mut walk = Walk::new(Arc::default());
        let began = std::time::Instant::now();
        assert!(stream.chunks(8192).all(|piece| walk.pass(piece).is_none()));
        let took = began.elapsed();
        println!("{:.1} ns for each message", took.as_secs_f64() * 1e3);
        assert!(took.as_millis() < 1000, "{took:?}");
    }
}
