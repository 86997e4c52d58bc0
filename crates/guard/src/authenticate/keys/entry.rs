//! What is kept of a key: whose it is, what it may do, and until when.

use std::fmt;

use super::format::{KeyHash, KeyId};

/// A key as its store keeps it. Times are seconds since 1970.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its public id.
    pub id: KeyId,
    /// Whom it was made for: the subject of the caller.
    pub name: Box<str>,
    /// What is compared with.
    pub hash: KeyHash,
    /// The roles it was made with.
    pub roles: Vec<Box<str>>,
    /// The scopes it was made with.
    pub scopes: Vec<Box<str>>,
    /// When it was made.
    pub created: u64,
    /// When it ends by itself; `None` for never.
    pub expires: Option<u64>,
    /// When it was revoked.
    pub revoked: Option<u64>,
    /// When it was last used, as far as that was written back.
    pub last_use: Option<u64>,
    /// The key that took its place.
    pub replaced_by: Option<KeyId>,
}

/// Whether a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It holds.
    Active,
    /// It holds until its end, and another is there in its place.
    Replaced,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl State {
    /// Whether the key holds.
    #[must_use]
    pub fn holds(self) -> bool {
        matches!(self, Self::Active | Self::Replaced)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Replaced => "replaced",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

impl Entry {
    /// Tells whether it holds at that time. A key ends with the second that `expires` names.
    #[must_use]
    pub fn state(&self, now: u64) -> State {
        if self.revoked.is_some() {
            State::Revoked
        } else if self.expires.is_some_and(|expires| expires <= now) {
            State::Expired
        } else if self.replaced_by.is_some() {
            State::Replaced
        } else {
            State::Active
        }
    }

    /// Whether something that held with `self` holds no longer, or means something else, with `new` in its place.
    pub(super) fn loses_to(&self, new: &Self) -> bool {
        self.revoked.is_none() && new.revoked.is_some()
            || self.expires != new.expires
            || !self.has_rights_of(new)
            || !self.hash.matches(&new.hash)
    }

    /// Whether both are the same caller with the same rights.
    pub(super) fn has_rights_of(&self, other: &Self) -> bool {
        self.name == other.name && self.roles == other.roles && self.scopes == other.scopes
    }
}
