//! A built server and the ways it is served: HTTP, stdio, or as a service behind something else.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::CancellationToken;
use trunkline_protocol::header::Allowed;
use trunkline_service::Access;
use trunkline_service::endpoint::Live;
use trunkline_service::{Answer, Request, Service, TimeAllowed};

use super::error::ServeError;
use super::hub::Hub;
use super::{Server, ServerHandle, Serving};
use crate::http::{HEAD_TIMEOUT, Http, HttpOptions};
use crate::sdk::Tasks;
use crate::stdio::{self, StdioOptions};

impl Server {
    /// Builds the server and serves it over HTTP until Ctrl-C or SIGTERM, as [`BuiltServer::run`].
    ///
    /// # Errors
    /// [`ServeError`].
    ///
    /// # Cancel safety
    /// As [`BuiltServer::run`].
    pub async fn run(self, address: impl ToSocketAddrs + Send) -> Result<(), ServeError> {
        self.build()?.run(address).await
    }

    /// Builds the server and serves it over stdin and stdout until stdin ends, or Ctrl-C or SIGTERM comes.
    ///
    /// # Errors
    /// [`ServeError`].
    ///
    /// # Cancel safety
    /// As [`BuiltServer::run_stdio`].
    pub async fn run_stdio(self) -> Result<(), ServeError> {
        self.build()?.run_stdio().await
    }
}

/// A server that can be served. Everything in it was checked.
#[derive(Debug)]
#[must_use = "a server does nothing until it is run"]
pub struct BuiltServer {
    pub(super) hub: Arc<Hub>,
    pub(super) serving: Serving,
    ends_sessions: bool,
}

impl BuiltServer {
    pub(super) fn new(hub: Arc<Hub>, serving: Serving, ends_sessions: bool) -> Self {
        Self { hub, serving, ends_sessions }
    }

    /// Returns a handle to change what the server offers, and to tell of changes.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::of(Arc::downgrade(&self.hub))
    }

    /// Returns the endpoint being served, for an edge of your own.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.hub.live
    }

    /// Turns the server into a service, to put guards around or to call in a test. Changes made through the
    /// [`handle`](Self::handle) show in it.
    #[must_use]
    pub fn into_service(self) -> Arc<dyn Service> {
        Arc::new(Living(self.hub))
    }

    /// Serves HTTP at `address` until Ctrl-C or SIGTERM, then lets requests in flight and tasks finish within the grace.
    ///
    /// # Errors
    /// [`ServeError::Unauthenticated`] for an address that is not loopback, unless
    /// [`Server::danger_allow_unauthenticated`] was said; [`ServeError::Bind`] when the address is taken.
    ///
    /// # Cancel safety
    /// Dropping the future closes every connection and stops every task at once.
    pub async fn run(self, address: impl ToSocketAddrs + Send) -> Result<(), ServeError> {
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        until_told(self.serve_on(address, cancel), stop).await
    }

    /// Serves HTTP at `address` until `cancel`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// Dropping the future closes every connection and stops every task at once.
    pub async fn serve_on(
        self,
        address: impl ToSocketAddrs + Send,
        cancel: CancellationToken,
    ) -> Result<(), ServeError> {
        let mut addresses = tokio::net::lookup_host(address)
            .await
            .map_err(|error| ServeError::BadAddress(error.to_string()))?;
        let address = addresses
            .next()
            .ok_or_else(|| ServeError::BadAddress("the name stands for no address".to_owned()))?;
        self.check_address(address)?;
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })?;
        self.serve_listener(listener, cancel).await
    }

    /// Serves HTTP on a listener until `cancel`, then lets requests in flight and tasks finish within the grace.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// Dropping the future closes every connection and stops every task at once.
    pub async fn serve_listener(
        self,
        listener: TcpListener,
        cancel: CancellationToken,
    ) -> Result<(), ServeError> {
        let address = listener.local_addr()?;
        self.check_address(address)?;
        tracing::info!(url = %format_args!("http://{address}{}", self.serving.path), "serving");
        let edge = Http::new(self.hub.live.clone(), self.http_options());
        Ok(self.until_stopped(&cancel, |ends| edge.serve(listener, ends)).await?)
    }

    /// Serves stdin and stdout until stdin ends, or Ctrl-C or SIGTERM comes.
    ///
    /// # Errors
    /// [`ServeError::Io`] when reading or writing fails.
    ///
    /// # Cancel safety
    /// Dropping the future drops every call and stops every task at once. A line that was read half way is lost.
    pub async fn run_stdio(self) -> Result<(), ServeError> {
        let cancel = CancellationToken::new();
        let options = self.stdio_options();
        let live = self.hub.live.clone();
        tracing::info!("serving stdio");
        let served =
            async { Ok(self.until_stopped(&cancel, |ends| stdio::serve(live, options, ends)).await?) };
        until_told(served, cancel.clone()).await
    }

    /// Returns where tasks run, when they are on.
    #[must_use]
    pub fn tasks(&self) -> Option<&Arc<Tasks>> {
        self.hub.assembly.core.facilities.tasks.as_ref()
    }

    /// Serves until `cancel`, or until the handle says stop; then calls and tasks may finish within the grace.
    async fn until_stopped<F>(
        &self,
        cancel: &CancellationToken,
        serve: impl FnOnce(CancellationToken) -> F,
    ) -> F::Output
    where
        F: Future,
    {
        let ends = CancellationToken::new();
        let mut served = std::pin::pin!(serve(ends.clone()));
        tokio::select! {
            served = &mut served => {
                // The end of stdin: whoever closed it does not wait long.
                self.hub.stop_tasks(self.hub.grace.min(stdio::MAX_GRACE)).await;
                return served;
            }
            () = cancel.cancelled() => {}
            () = self.hub.stop.cancelled() => {}
        }
        ends.cancel();
        tokio::join!(served, self.hub.stop_tasks(self.hub.grace)).0
    }

    /// Returns how an HTTP edge for this server behaves.
    #[must_use]
    pub fn http_options(&self) -> HttpOptions {
        HttpOptions {
            path: self.serving.path.clone(),
            public_path: None,
            peers: None,
            proxies: Arc::default(),
            record: None,
            max_body: self.serving.max_body,
            allowed: Allowed::new(&self.serving.allowed_hosts, &self.serving.allowed_origins),
            tolerate_version_header: false,
            sealer: Arc::clone(&self.hub.assembly.sealer),
            head_timeout: HEAD_TIMEOUT,
            ends_sessions: self.ends_sessions,
            shutdown_grace: self.serving.shutdown_grace,
        }
    }

    /// Returns how a stdio edge for this server behaves.
    #[must_use]
    pub fn stdio_options(&self) -> StdioOptions {
        StdioOptions { max_line: self.serving.max_body, grace: self.serving.shutdown_grace }
    }

    fn check_address(&self, address: SocketAddr) -> Result<(), ServeError> {
        let is_guarded = matches!(self.hub.assembly.options.access, Access::Guarded { .. });
        if address.ip().is_loopback() || is_guarded || self.serving.allows_unauthenticated {
            Ok(())
        } else {
            Err(ServeError::Unauthenticated(address))
        }
    }
}

/// Serves until the process is told to stop, and then until that is done.
async fn until_told(
    served: impl Future<Output = Result<(), ServeError>> + Send,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let mut served = std::pin::pin!(served);
    tokio::select! {
        // The signals are caught before the server says where it listens: who reads that may send one at once.
        biased;
        told = told_to_stop() => told?,
        result = &mut served => return result,
    }
    stop.cancel();
    served.await
}

/// Waits for Ctrl-C or SIGTERM.
async fn told_to_stop() -> Result<(), ServeError> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// The server as a service, whatever it offers at the time.
#[derive(Debug)]
struct Living(Arc<Hub>);

impl Service for Living {
    fn call(&self, request: Request) -> Answer<'_> {
        let endpoint = self.0.live.load_full();
        // Edges say how long an answer is of use; what comes another way has the server's own bound.
        let request = match request.time() {
            TimeAllowed::Unlimited => request.with_time(endpoint.time),
            _ => request,
        };
        Answer::later(async move { endpoint.service.call(request).await })
    }
}
