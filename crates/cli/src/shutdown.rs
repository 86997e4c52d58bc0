//! The signals that end a server.

/// SIGTERM and SIGINT, caught from the moment this is made.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Signals(Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>);

#[cfg(unix)]
impl Signals {
    /// Catches the signals from now on. Where that fails the system ends the process, as it always did.
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self(signal(SignalKind::terminate()).ok().zip(signal(SignalKind::interrupt()).ok()))
    }

    /// Waits for one of them.
    ///
    /// # Cancel safety
    /// A signal that came while nobody waited is returned by the next wait.
    pub(crate) async fn next(&mut self) {
        match &mut self.0 {
            Some((terminate, interrupt)) => tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            },
            None => std::future::pending().await,
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Makes a way to wait for it.
    pub(crate) fn new() -> Self {
        Self
    }

    /// Waits for it.
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
