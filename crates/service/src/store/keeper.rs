//! Keeps a connection to the store: reaches it, hands it out, and begins anew when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::address::{Address, Host, Place};
use super::backoff::Backoff;
use super::dial::{DialError, primary, reach};
use super::error::StoreError;
use super::link::{End, Link, drive};

/// A connection that lived shorter counts as an attempt that failed.
const STEADY: Duration = Duration::from_secs(1);
/// How often sentinels are asked whether another server is the primary.
const LOOK: Duration = Duration::from_secs(2);

/// How it stands with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is being made, and nothing is known against it.
    Connecting,
    /// It is there.
    Up,
    /// The last attempt failed.
    Down,
}

/// The connection for commands, as it stands now.
#[derive(Debug)]
pub(super) struct Connection {
    link: ArcSwapOption<Link>,
    phase: watch::Sender<Phase>,
    /// Whether the server answered lately.
    pub(super) is_up: AtomicBool,
    /// How many connections there were.
    pub(super) generation: AtomicU64,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            link: ArcSwapOption::empty(),
            phase: watch::Sender::new(Phase::Connecting),
            is_up: AtomicBool::new(false),
            generation: AtomicU64::new(0),
        }
    }
}

impl Connection {
    /// Returns the link; waits for it only while the first attempt to make it runs.
    pub(super) async fn link(&self) -> Result<Arc<Link>, StoreError> {
        if let Some(link) = self.link.load_full() {
            return Ok(link);
        }
        let mut phase = self.phase.subscribe();
        // The sender lives as long as this.
        let _ = phase.wait_for(|phase| *phase != Phase::Connecting).await;
        self.link.load_full().ok_or(StoreError::Down("no connection"))
    }

    /// Keeps the connection until the future is dropped.
    pub(super) async fn keep(&self, address: &Address, tls: Option<&Arc<ClientConfig>>, patience: Duration) {
        let mut backoff = Backoff::default();
        let mut told = Told::default();
        loop {
            match reach(address, tls).await {
                Ok(wire) => {
                    told.reached(&wire.host);
                    let host = wire.host.clone();
                    let since = Instant::now();
                    let (link, jobs) = Link::new();
                    let link = Arc::new(link);
                    self.generation.fetch_add(1, Ordering::Relaxed);
                    self.is_up.store(true, Ordering::Relaxed);
                    self.link.store(Some(link));
                    self.phase.send_replace(Phase::Up);
                    // Boxed: what it holds would lie in every future around this one.
                    let end = tokio::select! {
                        end = Box::pin(drive(wire, jobs, patience, &self.is_up)) => Some(end),
                        () = Box::pin(moved(address, tls, &host)) => None,
                    };
                    self.is_up.store(false, Ordering::Relaxed);
                    self.link.store(None);
                    told.lost(&host, end);
                    if since.elapsed() >= STEADY {
                        backoff.reset();
                        self.phase.send_replace(Phase::Connecting);
                        continue;
                    }
                }
                Err(error) => told.failed(&error),
            }
            self.phase.send_replace(Phase::Down);
            sleep(backoff.next()).await;
        }
    }
}

/// Waits until the sentinels name another server than `host`; for ever where there are none.
async fn moved(address: &Address, tls: Option<&Arc<ClientConfig>>, host: &Host) {
    if matches!(address.place, Place::Server(_)) {
        return std::future::pending().await;
    }
    loop {
        sleep(LOOK).await;
        if primary(address, tls).await.is_ok_and(|named| named != *host) {
            return;
        }
    }
}

/// What the operator was told last, so that it is told once.
#[derive(Debug, Default)]
struct Told {
    error: Option<DialError>,
}

impl Told {
    fn reached(&mut self, host: &Host) {
        self.error = None;
        tracing::info!(%host, "the store is reached");
    }

    fn failed(&mut self, error: &DialError) {
        if self.error.as_ref() != Some(error) {
            tracing::warn!("the store is not reached: {error}; trying again until it is");
            self.error = Some(error.clone());
        }
    }

    fn lost(&mut self, host: &Host, end: Option<End>) {
        match end {
            None => tracing::warn!(%host, "the sentinels name another primary"),
            Some(End::Closed(kind)) => tracing::warn!(%host, %kind, "the connection to the store ended"),
            Some(End::Stalled) => tracing::warn!(%host, "the store does not answer any more"),
            Some(End::Malformed) => {
                tracing::error!(%host, "what came from the store is not Redis, or is over what is taken");
            }
            Some(End::NotPrimary) => tracing::warn!(%host, "the store takes no writes any more"),
        }
    }
}
