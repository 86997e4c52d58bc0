//! Cancels what runs in a session, and waits until the other side has taken note of it.
//!
//! The driver closes the connection as soon as it has sent the request. A pooler that still has to open one to the server
//! takes that as second thoughts and forgets the request; so the other side closes first here.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::CancelToken;

use crate::dial::chain;
use crate::tls::Tls;

/// Where exactly a session is. A name may mean several servers, and only one of them has the session.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// An address, and the name that its certificate is for.
    Tcp(SocketAddr, String),
    /// A socket of this machine.
    Unix(PathBuf),
}

/// Asks the server to cancel what runs in a session; done when the request was taken. Nobody says whether anything was
/// cancelled.
///
/// # Errors
/// That the server was not reached.
pub(crate) async fn cancel(token: CancelToken, peer: Peer, tls: Tls) -> io::Result<()> {
    let sent = match peer {
        Peer::Tcp(address, name) => {
            let stream = Lingering(TcpStream::connect(address).await?);
            token.cancel_query_raw(stream, tls.handshake(&name)?.lingering()).await
        }
        Peer::Unix(path) => {
            let stream = Lingering(UnixStream::connect(path).await?);
            token.cancel_query_raw(stream, tls.handshake("localhost")?.lingering()).await
        }
    };
    sent.map_err(|error| io::Error::other(chain(&error)))
}

/// A connection that the other side closes first.
#[derive(Debug)]
struct Lingering<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_end(Pin::new(&mut self.0), context)
    }
}

/// Waits until the other side has closed the connection, in whatever way.
pub(crate) fn poll_end<S: AsyncRead>(
    mut stream: Pin<&mut S>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = ready!(stream.as_mut().poll_read(context, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}
