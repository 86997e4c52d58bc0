//! Keys in a file of this machine, which several processes may use at once: a server, and the commands that make keys.
//!
//! The file is a SQLite database that nobody but its owner may read, and says of itself that it holds keys: any other
//! database in its place is refused, never written to.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use trunkline_service::shared::Later;

use super::format::KeyId;
use super::store::{Changes, KeyStore, NewKey, StoreError, Version};

mod open;
mod rows;

/// A store in a file.
#[derive(Debug, Clone)]
pub struct SqliteKeys {
    /// A connection each, so that no look at the store waits behind a write that waits for another process.
    reading: Arc<File>,
    writing: Arc<File>,
}

/// What to do when the file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Make it, readable for its owner alone. The folder has to be there.
    Create,
    /// Refuse.
    Refuse,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    absent: Absent,
    /// Used by one thread at a time.
    opened: Mutex<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    connection: Connection,
    /// Device and number, since another file may take the place of the one that is open.
    identity: (u64, u64),
}

/// What one attempt came to.
enum Failed {
    /// Another process has the file for itself at this moment, and nothing was done.
    Busy,
    Error(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Error(error)
    }
}

impl SqliteKeys {
    /// Makes a store at that path. Nothing is opened before it is used.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, absent: Absent) -> Self {
        let path = path.into();
        let file = |path| Arc::new(File { path, absent, opened: Mutex::new(None) });
        Self { reading: file(path.clone()), writing: file(path) }
    }

    /// Does something with the connection, on a thread that may wait, and again for as long as others have the file.
    async fn with<T: Send + 'static>(
        file: &Arc<File>,
        work: impl Fn(&mut Connection) -> Result<T, rows::Fault> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let (work, end) = (Arc::new(work), Instant::now() + LONGEST_BUSY);
        loop {
            let (held, work) = (Arc::clone(file), Arc::clone(&work));
            let done = tokio::task::spawn_blocking(move || held.attempt(&*work)).await;
            match done {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(Failed::Error(error))) => return Err(error),
                Ok(Err(Failed::Busy)) if Instant::now() < end => {
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
                Ok(Err(Failed::Busy)) => {
                    let message = format!("another process has `{}` for itself", file.path.display());
                    return Err(StoreError::unavailable(message));
                }
                Err(error) => return Err(StoreError::unavailable("its thread ended").because(error)),
            }
        }
    }
}

impl File {
    fn attempt<T>(&self, work: impl Fn(&mut Connection) -> Result<T, rows::Fault>) -> Result<T, Failed> {
        let mut held = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        // Left empty by whatever goes wrong: the next attempt begins with a new connection.
        let mut opened = match held.take() {
            Some(opened) if identity(&self.path) == Some(opened.identity) => opened,
            _ => open::open(&self.path, self.absent)?,
        };
        match work(&mut opened.connection) {
            Ok(value) => {
                *held = Some(opened);
                Ok(value)
            }
            Err(rows::Fault::Told(error)) => {
                *held = Some(opened);
                Err(Failed::Error(error))
            }
            Err(rows::Fault::Sqlite(error)) => Err(failed(&self.path, error)),
        }
    }
}

impl KeyStore for SqliteKeys {
    fn changes(&self, since: Option<Version>) -> Later<'_, Result<Option<Changes>, StoreError>> {
        Box::pin(Self::with(&self.reading, move |connection| rows::changes(connection, since)))
    }

    fn create(&self, key: NewKey) -> Later<'_, Result<(), StoreError>> {
        Box::pin(Self::with(&self.writing, move |connection| rows::create(connection, &key)))
    }

    fn rotate(&self, old: KeyId, until: u64, new: NewKey) -> Later<'_, Result<(), StoreError>> {
        Box::pin(Self::with(&self.writing, move |connection| rows::rotate(connection, old, until, &new)))
    }

    fn revoke(&self, id: KeyId, at: u64) -> Later<'_, Result<(), StoreError>> {
        Box::pin(Self::with(&self.writing, move |connection| rows::revoke(connection, id, at)))
    }

    fn touch(&self, uses: Vec<(KeyId, u64)>) -> Later<'_, Result<(), StoreError>> {
        Box::pin(Self::with(&self.writing, move |connection| rows::touch(connection, &uses)))
    }
}

/// Returns what tells a file from another at the same path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

fn failed(path: &Path, error: rusqlite::Error) -> Failed {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Failed::Busy,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Failed::Error(
            StoreError::refused(
                format!("`{}` is damaged, or no database", path.display()),
                "put it back from a copy, or name another file as `store` and make the keys anew",
            )
            .because(error),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Failed::Error(
            StoreError::refused(
                format!("`{}` cannot be written", path.display()),
                "let whoever runs Trunkline own the file and write in its folder",
            )
            .because(error),
        ),
        _ => Failed::Error(
            StoreError::unavailable(format!("`{}` cannot be used", path.display())).because(error),
        ),
    }
}

/// How long SQLite itself waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a call goes on where SQLite does not wait.
const LONGEST_BUSY: Duration = Duration::from_secs(5);

const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
