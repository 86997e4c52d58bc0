//! The statements on a file of keys.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::super::entry::Entry;
use super::super::format::{KeyHash, KeyId};
use super::super::store::{Changes, NewKey, StoreError, Version};

/// Why nothing was done.
pub(super) enum Fault {
    /// There is an answer, and it is no.
    Told(StoreError),
    /// SQLite said so.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

pub(super) fn changes(connection: &mut Connection, since: Option<Version>) -> Result<Option<Changes>, Fault> {
    // One state for both statements.
    let transaction = connection.transaction()?;
    let version = transaction
        .prepare_cached("select epoch, number from version")?
        .query_row([], |row| Ok(Version { epoch: row.get(0)?, number: row.get(1)? }))?;
    let Some(from) = version.missing(since) else { return Ok(None) };
    let mut statement = transaction.prepare_cached(
        "select id, name, hash, roles, scopes, created, expires, revoked, last_use, replaced_by \
         from keys where version > ?1",
    )?;
    let mut rows = statement.query([from])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(Some(Changes { version, is_whole: from == 0, entries }))
}

pub(super) fn create(connection: &mut Connection, key: &NewKey) -> Result<(), Fault> {
    let transaction = begin(connection)?;
    let taken: Option<String> = transaction
        .query_row(
            "select id from keys where name = ?1 and revoked is null and (expires is null or expires > ?2) \
             order by created desc limit 1",
            params![key.name, time(key.created)],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(id) = taken.as_deref().and_then(KeyId::parse) {
        return Err(StoreError::NameTaken { name: key.name.clone(), id }.into());
    }
    let number = next(&transaction)?;
    insert(&transaction, key, number)?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn rotate(connection: &mut Connection, old: KeyId, until: u64, new: &NewKey) -> Result<(), Fault> {
    let transaction = begin(connection)?;
    let found: Option<(String, String, String)> = transaction
        .query_row("select name, roles, scopes from keys where id = ?1", [old.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((name, roles, scopes)) = found else { return Err(StoreError::NoSuchKey { id: old }.into()) };
    let number = next(&transaction)?;
    let changed = transaction.execute(
        "update keys set expires = min(coalesce(expires, ?2), ?2), replaced_by = ?3, version = ?4 \
         where id = ?1 and revoked is null and replaced_by is null and (expires is null or expires > ?5)",
        params![old.as_str(), time(until), new.id.as_str(), number, time(new.created)],
    )?;
    if changed == 0 {
        return Err(StoreError::Over { id: old }.into());
    }
    let new = NewKey { name: name.into(), roles: list(&roles), scopes: list(&scopes), ..new.clone() };
    insert(&transaction, &new, number)?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn revoke(connection: &mut Connection, id: KeyId, at: u64) -> Result<(), Fault> {
    let transaction = begin(connection)?;
    let exists = transaction
        .query_row("select 1 from keys where id = ?1", [id.as_str()], |_| Ok(()))
        .optional()?
        .is_some();
    if !exists {
        return Err(StoreError::NoSuchKey { id }.into());
    }
    let number = next(&transaction)?;
    transaction.execute(
        "update keys set revoked = ?2, version = ?3 where id = ?1 and revoked is null",
        params![id.as_str(), time(at), number],
    )?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn touch(connection: &mut Connection, uses: &[(KeyId, u64)]) -> Result<(), Fault> {
    let transaction = begin(connection)?;
    {
        let mut statement = transaction.prepare_cached(
            "update keys set last_use = ?2 where id = ?1 and (last_use is null or last_use < ?2)",
        )?;
        for (id, at) in uses {
            statement.execute(params![id.as_str(), time(*at)])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Returns the number of the change that is being made.
fn next(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction.query_row("update version set number = number + 1 returning number", [], |row| row.get(0))
}

fn insert(transaction: &Transaction<'_>, key: &NewKey, number: i64) -> Result<(), Fault> {
    let added = transaction.execute(
        "insert into keys (id, name, hash, roles, scopes, created, expires, version) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) on conflict (id) do nothing",
        params![
            key.id.as_str(),
            key.name,
            key.hash.as_bytes(),
            json(&key.roles),
            json(&key.scopes),
            time(key.created),
            key.expires.map(time),
            number,
        ],
    )?;
    if added == 0 { Err(StoreError::IdTaken { id: key.id }.into()) } else { Ok(()) }
}

/// Reads a row. One without sense is an error: a key that is read wrong must not hold.
fn entry(row: &Row<'_>) -> Result<Entry, Fault> {
    let id = row.get_ref(0)?.as_str().ok().and_then(KeyId::parse);
    let hash = row.get_ref(2)?.as_blob().ok().and_then(KeyHash::from_bytes);
    let Some((id, hash)) = id.zip(hash) else {
        let message = "the store has a key that makes no sense";
        return Err(StoreError::refused(message, "put the file back from a copy").into());
    };
    let seconds = |column: usize| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(|time| time.max(0).unsigned_abs()))
    };
    Ok(Entry {
        id,
        name: row.get::<_, String>(1)?.into(),
        hash,
        roles: list(&row.get::<_, String>(3)?),
        scopes: list(&row.get::<_, String>(4)?),
        created: seconds(5)?.unwrap_or_default(),
        expires: seconds(6)?,
        revoked: seconds(7)?,
        last_use: seconds(8)?,
        replaced_by: row.get::<_, Option<String>>(9)?.as_deref().and_then(KeyId::parse),
    })
}

fn json(texts: &[Box<str>]) -> String {
    serde_json::to_string(texts).unwrap_or_else(|_| "[]".to_owned())
}

/// Reads a list; one that makes no sense gives no rights.
fn list(text: &str) -> Vec<Box<str>> {
    serde_json::from_str(text).unwrap_or_default()
}

/// As SQLite counts.
fn time(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
