//! Opens the file: makes it when that is asked for, and refuses one that others could write or that holds something else.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::super::store::StoreError;
use super::{Absent, BUSY_TIMEOUT, Failed, Opened, failed, identity};

/// Opens the file with its tables, which are made when there is nothing in it.
pub(super) fn open(path: &Path, absent: Absent) -> Result<Opened, Failed> {
    // A file that is closed takes with it the locks of its process, those of a connection on the same file too.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    prepare(path, absent)?;
    let before = identity(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags)
        .and_then(|mut connection| Ok((set_up(&mut connection)?, connection)));
    let (is_ours, connection) = opened.map_err(|error| failed(path, error))?;
    if !is_ours {
        let message = format!("`{}` is a database of something else, or of another version", path.display());
        return Err(StoreError::refused(message, "name another file as `store` under `[auth.keys]`").into());
    }
    match before.filter(|before| identity(path) == Some(*before)) {
        Some(identity) => Ok(Opened { connection, identity }),
        // Another took its place at this very moment.
        None => Err(Failed::Busy),
    }
}

/// Makes the file when it is not there, and looks who else may do what with it.
fn prepare(path: &Path, absent: Absent) -> Result<(), StoreError> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && absent == Absent::Create => make(path),
        found => found,
    };
    let found = found.map_err(|error| unopened(path, error))?;
    if !found.is_file() {
        let message = format!("`{}` is no file", path.display());
        return Err(StoreError::refused(message, "name a file as `store` under `[auth.keys]`"));
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        let message =
            format!("`{}` can be written by others ({mode:03o}), who could make keys", path.display());
        return Err(StoreError::refused(message, format!("run `chmod 600 {}`", path.display())));
    }
    if mode & 0o044 != 0 {
        let file = path.display().to_string();
        tracing::warn!(%file, "the store of keys can be read by others: who holds keys shows there; run `chmod 600` on it");
    }
    Ok(())
}

fn make(path: &Path) -> io::Result<fs::Metadata> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file.metadata(),
        // Another process was first.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::metadata(path),
        Err(error) => Err(error),
    }
}

fn unopened(path: &Path, error: io::Error) -> StoreError {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound if folder.is_some_and(|folder| !folder.exists()) => {
            let folder = folder.unwrap_or(path).display();
            StoreError::refused(
                format!("the folder `{folder}` of the store of keys does not exist"),
                "make it, with rights for whoever runs Trunkline alone",
            )
        }
        ErrorKind::NotFound => StoreError::Absent { what: format!("`{shown}`") },
        ErrorKind::PermissionDenied => {
            let help = "let whoever runs Trunkline own the file and its folder";
            StoreError::refused(format!("`{shown}` may not be opened"), help).because(error)
        }
        _ => StoreError::unavailable(format!("`{shown}` cannot be opened")).because(error),
    }
}

/// Readies a connection; `false` when the file holds something else.
fn set_up(connection: &mut Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("pragma trusted_schema = off")?;
    if !is_ours(connection)? {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        // Another process may have been first, meanwhile.
        if !is_ours(&transaction)? {
            let tables: i64 =
                transaction.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
            if tables > 0 || number(&transaction, "application_id")? != 0 {
                return Ok(false);
            }
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        transaction.commit()?;
    }
    // A revocation that was told as done stays done, whatever happens to the machine.
    connection.execute_batch("pragma journal_mode = wal; pragma synchronous = full")?;
    Ok(true)
}

fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(number(connection, "application_id")? == APPLICATION && number(connection, "user_version")? == FORMAT)
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// `tlkk`, by which the file says what it is.
const APPLICATION: i64 = 0x746c_6b6b;

const FORMAT: i64 = 1;

/// One row of `version` is all that a look at the store reads. Roles and scopes are JSON arrays.
const TABLES: &str = "
    create table version (epoch integer not null, number integer not null) strict;
    insert into version values (random(), 0);
    create table keys (
        id text primary key,
        name text not null,
        hash blob not null check (length(hash) = 32),
        roles text not null,
        scopes text not null,
        created integer not null,
        expires integer,
        revoked integer,
        last_use integer,
        replaced_by text,
        version integer not null
    ) strict, without rowid;
    create index keys_by_version on keys (version);
    create index keys_by_name on keys (name);
";
