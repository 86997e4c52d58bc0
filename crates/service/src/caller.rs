//! Who asks: the identity every guard and every connector sees, however it was proven.

use std::sync::{Arc, LazyLock};

/// The caller of a request: issuer and subject, never the token that proved them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Caller {
    /// Who vouches for the subject; `None` for the local user.
    pub issuer: Option<Box<str>>,
    /// The caller's name at that issuer; `local` for the local user.
    pub subject: Box<str>,
    /// What the issuer says of the caller.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// What the caller's token may be used for.
    pub scopes: Vec<Box<str>>,
    /// The roles the configuration gives the caller, in the order of the configuration.
    pub roles: Vec<Box<str>>,
    /// The user of this machine, who holds every scope.
    pub is_local: bool,
    /// How the identity was proven.
    pub proof: Proof,
    /// When the proof ends, in seconds since 1970; `None` for never.
    pub expires: Option<u64>,
    /// The set that [`roles`](Self::roles) is, as a number of the process; 0 for no roles at all.
    pub role_set: u32,
    /// The claims that rules look at, as a raw JSON object by path, for the record; empty when there are none.
    pub evidence: Box<str>,
}

/// How an identity was proven, without anything that proves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Proof {
    /// By being on this machine.
    #[default]
    Local,
    /// By a token, signed or introspected, that the section of that name accepted.
    Token {
        /// The name of the section: `company` of `[auth.jwt.company]`.
        section: Box<str>,
    },
    /// By an API key.
    Key {
        /// The key's public id.
        id: Box<str>,
        /// The name the key was made for, which `match = { key = "..." }` compares.
        name: Box<str>,
    },
}

static LOCAL: LazyLock<Arc<Caller>> =
    LazyLock::new(|| Arc::new(Caller { subject: "local".into(), is_local: true, ..Caller::default() }));

impl Caller {
    /// Returns the local user: on stdio, and on loopback without `[auth]`.
    #[must_use]
    pub fn local() -> Arc<Self> {
        Arc::clone(&LOCAL)
    }

    /// Returns the bytes that tell this caller from every other, for sealing and for cache keys.
    #[must_use]
    pub fn identity(&self) -> Vec<u8> {
        let issuer = self.issuer.as_deref().unwrap_or_default();
        let mut identity = Vec::with_capacity(issuer.len() + self.subject.len() + 10);
        identity.push(u8::from(self.is_local));
        identity.extend_from_slice(&(issuer.len() as u64).to_be_bytes());
        identity.extend_from_slice(issuer.as_bytes());
        identity.extend_from_slice(self.subject.as_bytes());
        identity
    }
}
