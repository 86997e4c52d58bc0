//! A connection's socket that knows whether its peer takes what is written: one that takes nothing must not keep an answer, and
//! a place among the connections, for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::counts::Counts;

/// What became of the writes of one socket; seen by its own task alone, so that nothing here has to be ordered.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Writes that took something.
    taken: AtomicU64,
    /// The last one took nothing: the peer has to read first.
    waits: AtomicBool,
}

impl Writes {
    /// Returns how many writes took something before the one that waits; `None` when none waits.
    pub(super) fn waiting_since(&self) -> Option<u64> {
        self.waits.load(Ordering::Relaxed).then(|| self.taken.load(Ordering::Relaxed))
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        let waits = written.is_pending();
        if !waits {
            self.taken.store(self.taken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        self.waits.store(waits, Ordering::Relaxed);
    }
}

/// The socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    writes: Arc<Writes>,
    counts: Arc<Counts>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, counts: Arc<Counts>) -> (Self, Arc<Writes>) {
        let writes = Arc::new(Writes::default());
        (Self { stream, writes: Arc::clone(&writes), counts }, writes)
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.counts.written(*bytes);
        }
        self.writes.note(written);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.counts.read(buffer.filled().len().saturating_sub(before));
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
