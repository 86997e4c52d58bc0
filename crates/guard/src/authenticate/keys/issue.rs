//! Making, replacing and revoking keys, as whoever looks after an endpoint asks for it.

use std::time::Duration;

use trunkline_service::seal::now;

use super::entry::Entry;
use super::format::{Key, KeyId};
use super::store::{KeyStore, NewKey, StoreError};
use crate::scope::is_scope;

/// A key to be made.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Whom it is for: the subject of the caller; 1 to 128 bytes without control characters.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// Its scopes: what RFC 6749 section 3.3 allows in one.
    pub scopes: Vec<String>,
    /// After how long it ends; `None` for never.
    pub expires: Option<Duration>,
}

/// A key that was made, with what may be shown of it again.
#[derive(Debug)]
pub struct Issued {
    /// The key, shown once.
    pub key: Key,
    /// Whom it is for.
    pub name: Box<str>,
    /// When it ends, in seconds since 1970; `None` for never.
    pub expires: Option<u64>,
}

/// Why no key was made or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The order is wrong.
    #[error("{message}; {help}")]
    Order {
        /// What was found.
        message: String,
        /// What to write instead.
        help: &'static str,
    },
    /// Nobody has a key like that.
    #[error(
        "no key has the id, and nobody the name, `{wanted}`; `trunkline keys list` shows those there are"
    )]
    Unknown {
        /// What was asked for.
        wanted: String,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random(#[source] getrandom::Error),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a key.
///
/// # Errors
/// [`IssueError`]: among others of a name that has a key already, since two holders of one name are one caller.
///
/// # Cancel safety
/// Dropped, the key may have been made; nobody has seen it then, and `list` shows it.
pub async fn issue(store: &dyn KeyStore, order: Order) -> Result<Issued, IssueError> {
    check(&order)?;
    let created = now();
    let boxed = |texts: Vec<String>| texts.into_iter().map(Into::into).collect::<Vec<Box<str>>>();
    let expires = order.expires.map(|after| created.saturating_add(after.as_secs().max(1)));
    let (roles, scopes, name) = (boxed(order.roles), boxed(order.scopes), Box::<str>::from(order.name));
    loop {
        let key = Key::random().map_err(IssueError::Random)?;
        let new = NewKey {
            id: key.id(),
            hash: key.hash(),
            name: name.clone(),
            roles: roles.clone(),
            scopes: scopes.clone(),
            created,
            expires,
        };
        match store.create(new).await {
            Ok(()) => return Ok(Issued { key, name, expires }),
            Err(StoreError::IdTaken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes a key in the place of `old`, which goes on for `overlap`. The new one lasts as long from now as `old` did from when it
/// was made, unless `expires` says how long.
///
/// # Errors
/// [`IssueError`]: among others of a key that holds no longer or was replaced before.
///
/// # Cancel safety
/// Like [`issue`].
pub async fn renew(
    store: &dyn KeyStore,
    old: &Entry,
    overlap: Duration,
    expires: Option<Duration>,
) -> Result<Issued, IssueError> {
    let created = now();
    let life = expires.map_or_else(
        || old.expires.map(|end| end.saturating_sub(old.created)),
        |after| Some(after.as_secs().max(1)),
    );
    let expires = life.map(|life| created.saturating_add(life));
    loop {
        let key = Key::random().map_err(IssueError::Random)?;
        let new = NewKey {
            id: key.id(),
            hash: key.hash(),
            name: old.name.clone(),
            roles: old.roles.clone(),
            scopes: old.scopes.clone(),
            created,
            expires,
        };
        match store.rotate(old.id, created.saturating_add(overlap.as_secs()), new).await {
            Ok(()) => return Ok(Issued { key, name: old.name.clone(), expires }),
            Err(StoreError::IdTaken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Revokes each of these keys.
///
/// # Errors
/// The store's; keys before the one it failed at are revoked.
///
/// # Cancel safety
/// Dropped, some may be revoked.
pub async fn revoke(store: &dyn KeyStore, keys: &[Entry]) -> Result<(), StoreError> {
    let at = now();
    for key in keys {
        store.revoke(key.id, at).await?;
    }
    Ok(())
}

/// Returns the keys that `wanted` means: the one with that id, else all of that name, the newest first.
///
/// # Errors
/// [`IssueError::Unknown`]; the store's.
///
/// # Cancel safety
/// Nothing is lost.
pub async fn find(store: &dyn KeyStore, wanted: &str) -> Result<Vec<Entry>, IssueError> {
    let mut entries = store.changes(None).await?.map(|all| all.entries).unwrap_or_default();
    let id = KeyId::parse(wanted).filter(|id| entries.iter().any(|entry| entry.id == *id));
    entries.retain(|entry| id.map_or(*entry.name == *wanted, |id| entry.id == id));
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.created));
    if entries.is_empty() {
        // What was written may be a secret by mistake.
        let wanted = if wanted.len() > MOST_SHOWN { "..." } else { wanted };
        return Err(IssueError::Unknown { wanted: wanted.to_owned() });
    }
    Ok(entries)
}

fn check(order: &Order) -> Result<(), IssueError> {
    let wrong = |message: String, help| Err(IssueError::Order { message, help });
    let name = &order.name;
    if name.is_empty() || name.len() > MOST_NAME || name.trim() != name || name.chars().any(char::is_control)
    {
        let help = "name whoever will hold the key, like `ci` or `ann@example.com`";
        return wrong(
            format!("a name has 1 to {MOST_NAME} bytes, no blanks around it and no control characters"),
            help,
        );
    }
    if order.roles.len() > MOST_LISTED || order.scopes.len() > MOST_LISTED {
        return wrong(
            format!("a key has at most {MOST_LISTED} roles and as many scopes"),
            "gather rights in a role",
        );
    }
    let is_role = |role: &String| {
        !role.is_empty()
            && role.len() <= MOST_NAME
            && !role.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    if let Some(role) = order.roles.iter().find(|role| !is_role(role)) {
        return wrong(format!("{role:?} is no role"), "name one that the file has under `[roles]`");
    }
    match order.scopes.iter().find(|scope| !is_scope(scope, MOST_NAME)) {
        Some(scope) => wrong(
            format!("{scope:?} is no scope: blanks, quotes and `\\` are not in one"),
            "write each scope with its own `--scope`",
        ),
        None => Ok(()),
    }
}

/// Longest name, role and scope, in bytes.
const MOST_NAME: usize = 128;

/// Most roles and most scopes of one key.
const MOST_LISTED: usize = 64;

/// A key is shorter than the longest name, and is not shown where an id should have been.
const MOST_SHOWN: usize = 40;
