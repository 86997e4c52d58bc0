//! Connections: accepted, served and ended.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counts::Open;
use super::identity::Known;
use super::inline::Inline;
use super::socket::{Socket, Writes};
use super::timer::{Clock, CoarseTimer};
use super::{Answer, Http, Path};
use crate::outgoing::Watch;

/// Connections open at a time; further ones wait to be accepted. As many as may listen, and some for calls.
const MAX_CONNECTIONS: usize = trunkline_service::layers::MAX_SUBSCRIPTIONS + 4096;
/// Bytes of request headers; more is answered 431.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The word to stop, for every connection and stream: the token wakes them, the flag is what connections look at when awake.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    now: AtomicBool,
    pub(super) token: CancellationToken,
}

impl Stopping {
    /// Tells whether [`stop`](Self::stop) was called.
    pub(super) fn has_begun(&self) -> bool {
        self.now.load(Ordering::Acquire)
    }

    pub(super) fn stop(&self) {
        self.now.store(true, Ordering::Release);
        self.token.cancel();
    }
}

/// Ticks of a connection's clock in which its peer may take nothing of what is written: six are the time for a head.
const STALLED: u32 = 6;

/// One connection's handle on what its requests need.
struct Peer {
    edge: Arc<Http>,
    known: Known,
    /// Requests answered so far.
    answered: AtomicU64,
    large: Large,
}

/// The answers of one connection of which much may wait for a reader that takes little at a time, or over HTTP/2 nothing at
/// all while the connection looks alive.
#[derive(Debug, Default)]
struct Large(Mutex<Vec<(Watch, Option<Instant>)>>);

impl Large {
    /// Watches an answer, if it is one of those.
    fn watch(&self, answer: &Answer) {
        let Some(watch) = answer.watch() else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SWEPT_AT {
            all.retain(|(watch, _)| !watch.is_over());
        }
        all.push((watch.clone(), None));
    }

    /// Tells whether one of them is not taken within `timeout` and again so much for each MiB, from when it was first seen to
    /// wait.
    fn is_late(&self, timeout: Duration) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(watch, _)| !watch.is_over());
        let now = Instant::now();
        all.iter_mut().filter(|(watch, _)| watch.bytes() > 0).any(|(watch, end)| {
            let span = timeout.saturating_mul(u32::try_from(1 + (watch.bytes() >> 20)).unwrap_or(u32::MAX));
            now >= *end.get_or_insert_with(|| now + span)
        })
    }
}

/// From how many answers on those that left are looked for before the next tick.
const SWEPT_AT: usize = 64;

impl Http {
    /// Serves connections until `cancel`, then lets those in flight finish within the grace; streams without end get theirs
    /// at once.
    ///
    /// The process's limit of open files is raised to as much as the system lets it.
    ///
    /// # Errors
    /// What the listener reports, when it can accept no more.
    ///
    /// # Cancel safety
    /// Dropping the future closes every connection at once.
    pub async fn serve(self, listener: TcpListener, cancel: CancellationToken) -> io::Result<()> {
        raise_file_limit();
        let edge = Arc::new(self);
        let mut connections = JoinSet::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let result = loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break Ok(()),
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let edge = Arc::clone(&edge);
                    connections.spawn(async move {
                        edge.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        drop(listener);
        edge.stopping.stop();
        let end = Instant::now() + edge.options.shutdown_grace;
        let drained = async {
            while connections.join_next().await.is_some() {}
            // Calls whose connection was lost: their clients come back for the answer.
            edge.calls.idle().await;
        };
        if tokio::time::timeout_at(end, drained).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "closing connections that did not finish in time"
            );
            connections.shutdown().await;
        }
        edge.calls.stop().await;
        result
    }

    async fn connection(self: &Arc<Self>, stream: TcpStream) {
        // Best effort: without it answers are only later.
        let _ = stream.set_nodelay(true);
        let _open = Open::count(&self.counts);
        let version = tokio::select! {
            version = tokio::time::timeout(self.options.head_timeout, version(&stream)) => version,
            () = self.stopping.token.cancelled() => return,
        };
        let Ok(Ok(version)) = version else { return };
        let clock = Clock::for_timeout(self.options.head_timeout);
        let known = Known::on_connection(stream.peer_addr().ok().map(|address| address.ip()));
        let peer = Arc::new(Peer {
            edge: Arc::clone(self),
            known,
            answered: AtomicU64::new(0),
            large: Large::default(),
        });
        let handle = Arc::clone(&peer);
        let service = service_fn(move |request| {
            let peer = Arc::clone(&handle);
            async move {
                let response = peer.edge.answer(&peer.known, request, Path::Checked).await;
                peer.edge.counts.answered(&response);
                peer.answered.fetch_add(1, Ordering::Relaxed);
                peer.large.watch(response.body());
                Ok::<_, Infallible>(response)
            }
        });
        let (socket, writes) = Socket::new(stream, Arc::clone(&self.counts));
        let stream = TokioIo::new(socket);
        let result = match version {
            Version::Http1 => {
                let connection = pin!(self.http1(&clock).serve_connection(stream, service));
                self.drive(connection, http1::Connection::graceful_shutdown, &peer, (&clock, &writes)).await
            }
            // Boxed, so that it does not make every connection as large as it is.
            Version::Http2 => {
                let mut connection = Box::pin(self.http2().serve_connection(stream, service));
                self.drive(
                    connection.as_mut(),
                    http2::Connection::graceful_shutdown,
                    &peer,
                    (&clock, &writes),
                )
                .await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "connection ended");
        }
    }

    /// Drives a connection to its end, and towards it once the edge stops; a peer that reads nothing is cut off.
    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        end: impl Fn(Pin<&mut C>),
        peer: &Peer,
        (clock, writes): (&Clock, &Writes),
    ) -> hyper::Result<()> {
        let mut told = pin!(self.stopping.token.cancelled());
        let mut tick = pin!(tokio::time::sleep(clock.tick()));
        let (mut registered, mut answered) = (false, 0);
        let (mut stalled, mut waiting) = (0, None);
        let mut inline = Inline::default();
        poll_fn(|context| {
            loop {
                if let Poll::Ready(result) = inline.poll(connection.as_mut(), context) {
                    return Poll::Ready(result);
                }
                // One registration lasts: polling the token on every wake would cost each request its lock.
                if !registered || self.stopping.now.load(Ordering::Acquire) {
                    registered = true;
                    if told.as_mut().poll(context).is_ready() {
                        end(connection.as_mut());
                        return inline.poll(connection.as_mut(), context);
                    }
                    let _ = tick.as_mut().poll(context);
                }
                // A wake that brought an answer was no tick.
                let now_answered = peer.answered.load(Ordering::Relaxed);
                if std::mem::replace(&mut answered, now_answered) != now_answered
                    || tick.as_mut().poll(context).is_pending()
                {
                    return Poll::Pending;
                }
                clock.advance();
                let before = std::mem::replace(&mut waiting, writes.waiting_since());
                stalled = if waiting.is_some() && waiting == before { stalled + 1 } else { 0 };
                if stalled == STALLED || peer.large.is_late(self.options.head_timeout) {
                    tracing::debug!("a client took nothing of its answer in time");
                    return Poll::Ready(Ok(()));
                }
                tick.as_mut().reset(Instant::now() + clock.tick());
            }
        })
        .await
    }

    fn http1(&self, clock: &Arc<Clock>) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(CoarseTimer(Arc::clone(clock)))
            .header_read_timeout(self.options.head_timeout)
            // Head and body in one flat write: the kernel's work for two pieces costs more than copying, up to 16 KiB and
            // more (server CPU per call 4 % down at 200 bytes, 3 % at 16 KiB).
            .writev(false)
            .max_buf_size(MAX_HEADER_BYTES);
        builder
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            .keep_alive_interval(self.options.head_timeout);
        builder
    }
}

enum Version {
    Http1,
    Http2,
}

/// Looks at the first bytes of a connection without taking them: the preface of HTTP/2 is no request of HTTP/1.
///
/// Detection by reading would cost every read of the connection a look at what was read before, and it doubles hyper's buffer.
async fn version(stream: &TcpStream) -> io::Result<Version> {
    const PREFACE: &[u8] = b"PRI ";
    let mut first = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut first).await?;
        let seen = first.get(..count).unwrap_or_default();
        // The end of the stream counts as HTTP/1, which knows what to do about it.
        if seen.is_empty() || !PREFACE.starts_with(seen) {
            return Ok(Version::Http1);
        }
        if seen.len() == PREFACE.len() {
            return Ok(Version::Http2);
        }
        // What was seen stays readable: only time brings more.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// Errors of `accept` that concern one client, who is gone already.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Lets the process hold as many connections as the system allows it to: the limit a process starts with is meant for programs
/// that cannot count further.
fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current != maximum
            && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
}
