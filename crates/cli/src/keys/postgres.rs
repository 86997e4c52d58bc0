//! Keys in a PostgreSQL database that several nodes share, in the schema `trunkline`.
//!
//! Every change takes the one row of `api_keys_version` first, so that changes come one after the other and whoever has seen
//! a number has seen all changes up to it.

use std::fmt;

use trunkline_guard::authenticate::keys::{
    Absent, Changes, Entry, KeyHash, KeyId, KeyStore, NewKey, StoreError, Version,
};
use trunkline_postgres::Writer;
use trunkline_postgres::writer::{Row, Step, Value, WriteError};
use trunkline_service::shared::Later;
use trunkline_sql::DatabaseError;

/// A store in a database.
pub(crate) struct PostgresKeys {
    connector: Box<str>,
    /// A connection each, so that no look at the store waits behind a change.
    reading: Writer,
    writing: Writer,
    absent: Absent,
}

impl PostgresKeys {
    /// Makes a store in the database of that connector. Its tables are made when they are missing, if `absent` says so.
    pub(crate) fn new(connector: &str, reading: Writer, writing: Writer, absent: Absent) -> Self {
        Self { connector: connector.into(), reading, writing, absent }
    }

    /// Runs steps, after having made the tables if they are missing.
    async fn transact(&self, writer: &Writer, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, WriteError> {
        match writer.transact(steps).await {
            Err(error) if error.is_missing_table() && self.absent == Absent::Create => {
                writer.establish(TABLES).await?;
                writer.transact(steps).await
            }
            done => done,
        }
    }

    async fn read(&self, since: Option<Version>) -> Result<Option<Changes>, StoreError> {
        let rows = self.transact(&self.reading, &[Step { sql: VERSION, values: &[] }]).await;
        let rows = rows.map_err(|error| self.worded(error))?;
        let version = rows
            .first()
            .and_then(|rows| rows.first())
            .and_then(|row| Some(Version { epoch: row.try_get(0).ok()?, number: row.try_get(1).ok()? }));
        let version = version.ok_or_else(|| self.damaged())?;
        let Some(from) = version.missing(since) else { return Ok(None) };
        // What was changed since the version was read comes along, and once more the next time.
        let values = [Value::Int(Some(from))];
        let rows = self.transact(&self.reading, &[Step { sql: CHANGED, values: &values }]).await;
        let rows = rows.map_err(|error| self.worded(error))?.into_iter().next().unwrap_or_default();
        let entries = rows.iter().map(|row| entry(row).ok_or_else(|| self.damaged()));
        Ok(Some(Changes { version, is_whole: from == 0, entries: entries.collect::<Result<_, _>>()? }))
    }

    async fn add(&self, key: NewKey) -> Result<(), StoreError> {
        let (roles, scopes) = (borrowed(&key.roles), borrowed(&key.scopes));
        let holds = [Value::Text(Some(&key.name)), time(Some(key.created))];
        let made = [
            Value::Text(Some(key.id.as_str())),
            Value::Text(Some(&key.name)),
            Value::Bytes(Some(key.hash.as_bytes())),
            Value::Texts(&roles),
            Value::Texts(&scopes),
            time(Some(key.created)),
            time(key.expires),
        ];
        let steps = [
            Step { sql: NEXT, values: &[] },
            Step { sql: HOLDS, values: &holds },
            Step { sql: CREATE, values: &made },
        ];
        let rows = self.transact(&self.writing, &steps).await;
        let rows = rows.map_err(|error| self.not_added(error, key.id))?;
        let other = rows.get(1).and_then(|rows| rows.first());
        match other.and_then(|row| KeyId::parse(row.try_get(0).ok()?)) {
            Some(id) => Err(StoreError::NameTaken { name: key.name, id }),
            None => Ok(()),
        }
    }

    async fn replace(&self, old: KeyId, until: u64, new: NewKey) -> Result<(), StoreError> {
        let id = Value::Text(Some(old.as_str()));
        let ended = [id, time(Some(until)), Value::Text(Some(new.id.as_str())), time(Some(new.created))];
        let made = [
            id,
            Value::Text(Some(new.id.as_str())),
            Value::Bytes(Some(new.hash.as_bytes())),
            time(Some(new.created)),
            time(new.expires),
        ];
        let steps = [
            Step { sql: NEXT, values: &[] },
            Step { sql: EXISTS, values: &[id] },
            Step { sql: REPLACE, values: &ended },
            Step { sql: SUCCEED, values: &made },
        ];
        let rows = self.transact(&self.writing, &steps).await;
        let rows = rows.map_err(|error| self.not_added(error, new.id))?;
        let is_empty = |step: usize| rows.get(step).is_none_or(Vec::is_empty);
        if is_empty(1) {
            Err(StoreError::NoSuchKey { id: old })
        } else if is_empty(2) {
            Err(StoreError::Over { id: old })
        } else {
            Ok(())
        }
    }

    async fn end(&self, id: KeyId, at: u64) -> Result<(), StoreError> {
        let values = [Value::Text(Some(id.as_str())), time(Some(at))];
        let steps = [Step { sql: NEXT, values: &[] }, Step { sql: REVOKE, values: &values }];
        let rows = self.transact(&self.writing, &steps).await.map_err(|error| self.worded(error))?;
        if rows.get(1).is_none_or(Vec::is_empty) { Err(StoreError::NoSuchKey { id }) } else { Ok(()) }
    }

    async fn note(&self, uses: Vec<(KeyId, u64)>) -> Result<(), StoreError> {
        let ids: Vec<&str> = uses.iter().map(|(id, _)| id.as_str()).collect();
        let times: Vec<i64> = uses.iter().map(|(_, at)| i64::try_from(*at).unwrap_or(i64::MAX)).collect();
        let values = [Value::Texts(&ids), Value::Ints(&times)];
        let touched = self.transact(&self.writing, &[Step { sql: TOUCH, values: &values }]).await;
        touched.map(drop).map_err(|error| self.worded(error))
    }

    fn damaged(&self) -> StoreError {
        let message = format!("the tables of keys in connector `{}` make no sense", self.connector);
        StoreError::refused(
            message,
            "put `trunkline.api_keys` and `trunkline.api_keys_version` back from a copy",
        )
    }

    fn not_added(&self, error: WriteError, id: KeyId) -> StoreError {
        if error.code() == Some(TAKEN) { StoreError::IdTaken { id } } else { self.worded(error) }
    }

    fn worded(&self, error: WriteError) -> StoreError {
        let connector = &self.connector;
        let found = format!("connector `{connector}`");
        match error {
            WriteError::Unreached(DatabaseError::Rejected { message, hint, .. }) => {
                StoreError::refused(format!("{found}: {message}"), hint)
            }
            WriteError::Unreached(error) => StoreError::unavailable(found).because(error),
            error if error.is_missing_table() => {
                StoreError::Absent { what: format!("`trunkline.api_keys` of connector `{connector}`") }
            }
            error => match error.help() {
                Some(help) => StoreError::refused(format!("{found}: {error}"), help),
                None if matches!(error, WriteError::ReadOnly) => StoreError::refused(
                    format!("connector `{connector}` cannot keep keys"),
                    error.to_string(),
                ),
                None => StoreError::unavailable(found).because(error),
            },
        }
    }
}

impl fmt::Debug for PostgresKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresKeys").field("connector", &self.connector).finish_non_exhaustive()
    }
}

impl KeyStore for PostgresKeys {
    fn changes(&self, since: Option<Version>) -> Later<'_, Result<Option<Changes>, StoreError>> {
        Box::pin(self.read(since))
    }

    fn create(&self, key: NewKey) -> Later<'_, Result<(), StoreError>> {
        Box::pin(self.add(key))
    }

    fn rotate(&self, old: KeyId, until: u64, new: NewKey) -> Later<'_, Result<(), StoreError>> {
        Box::pin(self.replace(old, until, new))
    }

    fn revoke(&self, id: KeyId, at: u64) -> Later<'_, Result<(), StoreError>> {
        Box::pin(self.end(id, at))
    }

    fn touch(&self, uses: Vec<(KeyId, u64)>) -> Later<'_, Result<(), StoreError>> {
        Box::pin(self.note(uses))
    }
}

/// Reads a row; `None` when it makes no sense, since a key that is read wrong must not hold.
fn entry(row: &Row) -> Option<Entry> {
    let list = |column: usize| -> Option<Vec<Box<str>>> {
        Some(row.try_get::<_, Vec<String>>(column).ok()?.into_iter().map(Into::into).collect())
    };
    let seconds = |column: usize| -> Option<Option<u64>> {
        Some(row.try_get::<_, Option<i64>>(column).ok()?.map(|time| time.max(0).unsigned_abs()))
    };
    let replaced_by: Option<&str> = row.try_get(9).ok()?;
    Some(Entry {
        id: KeyId::parse(row.try_get(0).ok()?)?,
        name: row.try_get::<_, &str>(1).ok()?.into(),
        hash: KeyHash::from_bytes(row.try_get(2).ok()?)?,
        roles: list(3)?,
        scopes: list(4)?,
        created: seconds(5)??,
        expires: seconds(6)?,
        revoked: seconds(7)?,
        last_use: seconds(8)?,
        replaced_by: replaced_by.and_then(KeyId::parse),
    })
}

fn borrowed(texts: &[Box<str>]) -> Vec<&str> {
    texts.iter().map(|text| &**text).collect()
}

fn time(seconds: Option<u64>) -> Value<'static> {
    Value::Int(seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)))
}

/// A key of a table is there already; the id, as no other column is one.
const TAKEN: &str = "23505";

/// Names are qualified, so that no `search_path` puts something else in their place.
const TABLES: &str = "\
    create table if not exists trunkline.api_keys_version (
        is_only boolean primary key default true check (is_only),
        epoch bigint not null,
        number bigint not null
    );
    insert into trunkline.api_keys_version (epoch, number)
        values (pg_catalog.floor(pg_catalog.random() * 9e15)::bigint, 0)
        on conflict do nothing;
    create table if not exists trunkline.api_keys (
        id text primary key,
        name text not null,
        hash bytea not null check (pg_catalog.octet_length(hash) = 32),
        roles text[] not null,
        scopes text[] not null,
        created bigint not null,
        expires bigint,
        revoked bigint,
        last_use bigint,
        replaced_by text,
        version bigint not null
    );
    create index if not exists api_keys_by_version on trunkline.api_keys (version);
    create index if not exists api_keys_by_name on trunkline.api_keys (name)";

const VERSION: &str = "select epoch, number from trunkline.api_keys_version";

const CHANGED: &str = "select id, name, hash, roles, scopes, created, expires, revoked, last_use, replaced_by \
    from trunkline.api_keys where version > $1";

/// Waits for whoever makes another change.
const NEXT: &str = "update trunkline.api_keys_version set number = number + 1";

const HOLDS: &str = "select id from trunkline.api_keys \
    where name = $1 and revoked is null and (expires is null or expires > $2) order by created desc limit 1";

const CREATE: &str = "insert into trunkline.api_keys (id, name, hash, roles, scopes, created, expires, version) \
    select $1, $2, $3, $4, $5, $6, $7, v.number from trunkline.api_keys_version v \
    where not exists (select from trunkline.api_keys k \
        where k.name = $2 and k.revoked is null and (k.expires is null or k.expires > $6))";

const EXISTS: &str = "select 1 from trunkline.api_keys where id = $1";

const REPLACE: &str = "update trunkline.api_keys \
    set expires = least(coalesce(expires, $2), $2), replaced_by = $3, \
        version = (select number from trunkline.api_keys_version) \
    where id = $1 and revoked is null and replaced_by is null and (expires is null or expires > $4) returning id";

const SUCCEED: &str = "insert into trunkline.api_keys (id, name, hash, roles, scopes, created, expires, version) \
    select $2, o.name, $3, o.roles, o.scopes, $4, $5, o.version \
    from trunkline.api_keys o where o.id = $1 and o.replaced_by = $2";

const REVOKE: &str = "update trunkline.api_keys \
    set revoked = coalesce(revoked, $2), version = (select number from trunkline.api_keys_version) \
    where id = $1 returning id";

const TOUCH: &str = "update trunkline.api_keys k set last_use = u.at \
    from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) as u (id, at) \
    where k.id = u.id and (k.last_use is null or k.last_use < u.at)";

#[cfg(test)]
mod tests;
