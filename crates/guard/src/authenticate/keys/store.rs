//! Where keys are kept, whatever keeps them: a file of this machine, or a database that several nodes share.

use std::error::Error;
use std::fmt;

use trunkline_service::shared::Later;

use super::entry::Entry;
use super::format::{KeyHash, KeyId};

/// Keeps keys. Every change is whole or not at all, and once a call returned, all who share the store see it.
///
/// # Cancel safety
/// A dropped call was carried out or was not; asking again tells.
pub trait KeyStore: Send + Sync + fmt::Debug + 'static {
    /// Returns what changed since `since`; `None` when nothing did. All there is, when `since` is `None` or of another
    /// store. A last use alone is no change.
    fn changes(&self, since: Option<Version>) -> Later<'_, Result<Option<Changes>, StoreError>>;

    /// Adds a key.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] when a key of that name holds; [`StoreError::IdTaken`] when there is one with that id.
    fn create(&self, key: NewKey) -> Later<'_, Result<(), StoreError>>;

    /// Adds a key in place of `old`, which holds until `until` from then on, if it would not end earlier. The new key has its
    /// name, roles and scopes, whatever `new` says of them.
    ///
    /// # Errors
    /// [`StoreError::Over`] when `old` does not hold or was replaced before; [`StoreError::NoSuchKey`],
    /// [`StoreError::IdTaken`].
    fn rotate(&self, old: KeyId, until: u64, new: NewKey) -> Later<'_, Result<(), StoreError>>;

    /// Revokes a key at that time; one that was revoked before stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`].
    fn revoke(&self, id: KeyId, at: u64) -> Later<'_, Result<(), StoreError>>;

    /// Notes when keys were last used. An earlier time than the one that is known is not.
    ///
    /// # Errors
    /// The store's own.
    fn touch(&self, uses: Vec<(KeyId, u64)>) -> Later<'_, Result<(), StoreError>>;
}

/// A state of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Tells one store from another in its place.
    pub epoch: i64,
    /// Rises with every change.
    pub number: i64,
}

impl Version {
    /// Returns the number from which on changes count for someone who last saw `since`: 0 means all, `None` nothing.
    #[must_use]
    pub fn missing(self, since: Option<Self>) -> Option<i64> {
        match since {
            Some(since) if since == self => None,
            // A number that went back is a store that was put back.
            Some(since) if since.epoch == self.epoch && since.number < self.number => Some(since.number),
            _ => Some(0),
        }
    }
}

/// What changed in a store.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The state it is in now.
    pub version: Version,
    /// Whether `entries` are all there are, so that whatever else was known is gone.
    pub is_whole: bool,
    /// Each key that changed, as it is now.
    pub entries: Vec<Entry>,
}

/// A key to be kept. Times are seconds since 1970.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its public id.
    pub id: KeyId,
    /// What is kept of it.
    pub hash: KeyHash,
    /// Whom it is for.
    pub name: Box<str>,
    /// Its roles.
    pub roles: Vec<Box<str>>,
    /// Its scopes.
    pub scopes: Vec<Box<str>>,
    /// When it is made.
    pub created: u64,
    /// When it ends; `None` for never.
    pub expires: Option<u64>,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It does not answer, or not now.
    #[error("the store of keys does not answer: {message}")]
    Unavailable {
        /// What was found.
        message: String,
        /// What led to it.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// It cannot be used as it is; someone has to see to it.
    #[error("{message}; {help}")]
    Refused {
        /// What was found.
        message: String,
        /// What to do.
        help: String,
        /// What led to it.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// There is none yet, and nobody asked to make it.
    #[error(
        "there is no store of keys yet: {what} is not there; `trunkline keys create` makes it with its first key"
    )]
    Absent {
        /// What is not there.
        what: String,
    },
    /// There is no key with that id.
    #[error("there is no key `{id}`; `trunkline keys list` shows those there are")]
    NoSuchKey {
        /// The id.
        id: KeyId,
    },
    /// A key of that name holds.
    #[error(
        "`{name}` has a key already, `{id}`; `trunkline keys rotate` replaces it, another caller has another name"
    )]
    NameTaken {
        /// The name.
        name: Box<str>,
        /// Its key.
        id: KeyId,
    },
    /// There is a key with that id: draw another.
    #[error("there is a key `{id}` already")]
    IdTaken {
        /// The id.
        id: KeyId,
    },
    /// The key does not hold any more, or was replaced.
    #[error(
        "key `{id}` was revoked, replaced or has expired, and has no successor to make; `trunkline keys list` shows which holds"
    )]
    Over {
        /// The id.
        id: KeyId,
    },
}

impl StoreError {
    /// Makes the error of a store that does not answer.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into(), source: None }
    }

    /// Makes the error of a store that cannot be used as it is.
    #[must_use]
    pub fn refused(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), help: help.into(), source: None }
    }

    /// Adds what led to it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        if let Self::Unavailable { source, .. } | Self::Refused { source, .. } = &mut self {
            *source = Some(cause.into());
        }
        self
    }
}
