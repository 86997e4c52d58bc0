//! One connection, opened when it is first needed and anew when the file behind it is another one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use trunkline_sql::{Access, DatabaseError};

use crate::error::{code_of, unreachable};
use crate::gate::Gate;
use crate::guard::{self, Lane};
use crate::place::{Survey, Way, immutable_uri};

/// How often an ordinary connection looks whether its file is still there.
const BETWEEN_SURVEYS: Duration = Duration::from_secs(1);

/// How often work is begun whose file changes under it.
const ATTEMPTS: usize = 3;

/// What a thread needs to have a connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) path: Arc<Path>,
    pub(crate) lane: Lane,
    pub(crate) gate: Arc<Gate>,
    opened: Option<Opened>,
}

#[derive(Debug)]
struct Opened {
    connection: Connection,
    survey: Survey,
    way: Way,
    looked: Instant,
}

/// Where a statement runs.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) gate: &'a Gate,
    pub(crate) path: &'a Path,
}

impl Opened {
    fn is_torn(&self, path: &Path) -> bool {
        self.way == Way::Immutable
            && !Survey::take(path, Some(&self.survey)).is_ok_and(|survey| survey == self.survey)
    }
}

/// The rows of a statement cannot be used, because the file changed while they were read.
pub(crate) fn torn(path: &Path) -> DatabaseError {
    unreachable(path, "another program changed the database while it was read; the next call reads it anew")
}

impl Link {
    pub(crate) fn new(path: Arc<Path>, lane: Lane, gate: Arc<Gate>) -> Self {
        Self { path, lane, gate, opened: None }
    }

    /// Does something on the connection, opening it first where that is needed.
    ///
    /// When the file changed under an immutable connection, what was read may be torn: the work is done again on a new
    /// connection, and told by a number above 0 that it is. Work that writes is never repeated.
    ///
    /// # Errors
    /// What the work came to; [`DatabaseError::Unreachable`] when there is no connection, or the file changes each time.
    pub(crate) fn with<T>(
        &mut self,
        mut work: impl FnMut(&Site<'_>, usize) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        for attempt in 0..ATTEMPTS {
            self.ready()?;
            let Some(opened) = &self.opened else { break };
            let result =
                work(&Site { connection: &opened.connection, gate: &self.gate, path: &self.path }, attempt);
            if opened.is_torn(&self.path) {
                self.opened = None;
                continue;
            }
            if matches!(result, Err(DatabaseError::Unreachable { .. })) || !opened.connection.is_autocommit()
            {
                self.opened = None;
            }
            return result;
        }
        Err(torn(&self.path))
    }

    /// Closes the connection; the next use opens it again.
    pub(crate) fn close(&mut self) {
        self.opened = None;
    }

    /// Makes sure that there is a connection and that it is to the file at the path.
    pub(crate) fn ready(&mut self) -> Result<(), DatabaseError> {
        if let Some(opened) = &mut self.opened {
            if opened.way == Way::Ordinary && opened.looked.elapsed() < BETWEEN_SURVEYS {
                return Ok(());
            }
            let survey = Survey::take(&self.path, Some(&opened.survey));
            if survey.as_ref().is_ok_and(|survey| is_still_good(opened, survey, self.lane.access())) {
                opened.looked = Instant::now();
                return Ok(());
            }
            tracing::debug!(path = %self.path.display(), "the database file is another one or is gone");
            self.opened = None;
        }
        self.opened = Some(open(&self.path, self.lane, &self.gate)?);
        Ok(())
    }
}

fn is_still_good(opened: &Opened, survey: &Survey, access: Access) -> bool {
    match opened.way {
        Way::Immutable => *survey == opened.survey,
        Way::Ordinary => {
            let has_changed_way = access == Access::ReadOnly && !opened.survey.is_wal && survey.is_wal;
            survey.is_same_file(&opened.survey) && !has_changed_way
        }
    }
}

fn open(path: &Path, lane: Lane, gate: &Arc<Gate>) -> Result<Opened, DatabaseError> {
    let access = lane.access();
    let survey = Survey::take(path, None).map_err(|error| unreachable(path, error))?;
    let way = if access == Access::ReadOnly { survey.way() } else { Way::Ordinary };
    let opened = |connection, way, survey| Opened { connection, survey, way, looked: Instant::now() };
    match connect(&survey, way, lane, gate) {
        Ok(connection) => Ok(opened(connection, way, survey)),
        Err(error) if !is_about_files(&error) || !survey.is_wal || way == Way::Immutable => {
            Err(unreachable(path, error))
        }
        // Side files that are there but of no use: a leftover `-shm` that may not be written, for one.
        Err(_) if access == Access::ReadOnly && survey.may_be_immutable() => {
            let connection =
                connect(&survey, Way::Immutable, lane, gate).map_err(|error| unreachable(path, error))?;
            Ok(opened(connection, Way::Immutable, survey))
        }
        Err(error) => Err(unreachable(path, WalNeedsWriting { advice: survey.wal_advice(), source: error })),
    }
}

/// Why a database in WAL mode could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
struct WalNeedsWriting {
    advice: String,
    source: rusqlite::Error,
}

fn connect(survey: &Survey, way: Way, lane: Lane, gate: &Arc<Gate>) -> rusqlite::Result<Connection> {
    let mode = match lane.access() {
        Access::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::ReadWrite => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut connection = match way {
        // The path is absolute, so it cannot begin with `file:`, which this build would take for a URI.
        Way::Ordinary => Connection::open_with_flags(&survey.real, flags)?,
        Way::Immutable => {
            Connection::open_with_flags(immutable_uri(&survey.real), flags | OpenFlags::SQLITE_OPEN_URI)?
        }
    };
    gate.trusting(|| guard::harden(&mut connection, lane, gate))?;
    // SQLite reads the file only when it must; what is wrong with it should be known here.
    gate.trusting(|| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())))?;
    Ok(connection)
}

fn is_about_files(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as E;
    matches!(
        code_of(error).map(|error| error.code),
        Some(
            E::CannotOpen
                | E::ReadOnly
                | E::PermissionDenied
                | E::SystemIoFailure
                | E::FileLockingProtocolFailed
        )
    )
}
