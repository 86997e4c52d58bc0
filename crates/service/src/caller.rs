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
    /// The roles the configuration gives the caller.
    pub roles: Vec<Box<str>>,
    /// The user of this machine, who holds every scope.
    pub is_local: bool,
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
