//! What asks for a reload: a change of the config file, told by the system or found by looking, and SIGHUP.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Editors write in several steps; a file is read when it was left alone for this long.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Where requests to reload come together. Any number of them before it is looked at count as one.
#[derive(Debug, Default)]
pub(crate) struct Trigger {
    notify: Notify,
    forced: AtomicBool,
}

/// Why the file is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Something happened to the file; its text may be the same.
    FileEvent,
    /// The operator asked.
    Signal,
}

impl Trigger {
    fn fire(&self, cause: Cause) {
        if cause == Cause::Signal {
            self.forced.store(true, Ordering::Release);
        }
        self.notify.notify_one();
    }

    /// Waits until a reload is asked for and the file was left alone for a moment.
    ///
    /// # Cancel safety
    /// A request may be lost when the future is dropped after it came and before it was returned.
    pub(crate) async fn fired(&self) -> Cause {
        self.notify.notified().await;
        loop {
            tokio::time::sleep(DEBOUNCE).await;
            if self.notify.notified().now_or_never().is_none() {
                break;
            }
        }
        if self.forced.swap(false, Ordering::AcqRel) { Cause::Signal } else { Cause::FileEvent }
    }
}

/// Watches the folders that hold the file and, if it is a link, what it points to. It ends when the watcher is dropped.
///
/// # Errors
/// What the system says when it cannot watch a folder.
pub(crate) fn file(path: &Path, trigger: &Arc<Trigger>) -> notify::Result<RecommendedWatcher> {
    let real = std::fs::canonicalize(path)?;
    // A mounted volume replaces a link of this name beside the file, not the file.
    let mut names: Vec<OsString> = vec!["..data".into()];
    names.extend([path, &real].iter().filter_map(|path| path.file_name()).map(OsString::from));
    let trigger = Arc::clone(trigger);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        // Our own reading is an access, too.
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        Ok(event)
            if event
                .paths
                .iter()
                .any(|path| path.file_name().is_some_and(|name| names.iter().any(|known| known == name))) =>
        {
            trigger.fire(Cause::FileEvent);
        }
        Ok(_) => {}
        // Events were lost: better look once too often.
        Err(_) => trigger.fire(Cause::FileEvent),
    })?;
    let mut folders: Vec<PathBuf> =
        [path, &real].iter().filter_map(|path| path.parent()).map(folder).collect();
    folders.dedup();
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// How often the file is looked at, for the changes that no event tells of: a link that leads elsewhere since the start,
/// and file systems without events.
const LOOK: Duration = Duration::from_secs(1);

/// Asks for a reload whenever the file that `path` leads to is another one or has another time or length, for ever.
pub(crate) async fn looks(path: PathBuf, trigger: Arc<Trigger>) {
    let mut seen = stamp(&path).await;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = stamp(&path).await;
        if now != seen {
            seen = now;
            trigger.fire(Cause::FileEvent);
        }
    }
}

/// What tells one state of a file from another; `None` where there is no file.
async fn stamp(path: &Path) -> Option<(u64, Option<SystemTime>, PathBuf)> {
    let real = tokio::fs::canonicalize(path).await.ok()?;
    let metadata = tokio::fs::metadata(&real).await.ok()?;
    Some((metadata.len(), metadata.modified().ok(), real))
}

fn folder(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

/// Turns every SIGHUP into a request to reload, for ever. Signals are caught from the call on, not from the first poll.
#[cfg(unix)]
pub(crate) fn hangups(trigger: Arc<Trigger>) -> impl Future<Output = ()> + Send {
    use tokio::signal::unix::{SignalKind, signal};
    let hangups = signal(SignalKind::hangup());
    async move {
        match hangups {
            Ok(mut hangups) => {
                while hangups.recv().await.is_some() {
                    trigger.fire(Cause::Signal);
                }
            }
            Err(error) => tracing::warn!(%error, "SIGHUP cannot be received; the file is still watched"),
        }
    }
}

/// There is no SIGHUP on this system.
#[cfg(not(unix))]
pub(crate) fn hangups(_: Arc<Trigger>) -> impl Future<Output = ()> + Send {
    std::future::ready(())
}
