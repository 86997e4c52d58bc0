//! What an edge needs to know who asks: the credentials of a request's head, who judges them, and how a refusal is told.
//!
//! The judge itself is a guard; edges know only this face of it. Spec: 2026-07-28 basic/authorization, RFC 6750, RFC 9728.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::caller::Caller;
use crate::shared::Later;

/// What the head of a request says to prove who asks. Nothing of it is ever logged.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The value of `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// The value of `X-API-Key`.
    pub api_key: Option<&'a [u8]>,
}

impl Credentials<'_> {
    /// Tells whether nothing was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.authorization.is_none() && self.api_key.is_none()
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (authorization, api_key) = (self.authorization.is_some(), self.api_key.is_some());
        f.debug_struct("Credentials")
            .field("authorization", &authorization)
            .field("api_key", &api_key)
            .finish()
    }
}

/// Judges credentials.
pub trait Authenticator: Send + Sync + fmt::Debug + 'static {
    /// Returns the caller of credentials that were accepted before and still hold, without waiting for anything.
    fn remembered(&self, credentials: &Credentials<'_>) -> Option<Arc<Caller>>;

    /// Judges credentials, asking others where it has to.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the question; what was fetched for others too is still fetched.
    fn authenticate<'a>(&'a self, credentials: Credentials<'a>) -> Later<'a, Result<Arc<Caller>, Denied>>;

    /// Returns a number that is another one as soon as anything that was accepted may hold no longer: keys were revoked or
    /// rotated, roles were changed. No two authenticators of a process ever have the same one. An edge may remember a caller
    /// for as long as it stays the same and [`Caller::expires`] has not come.
    fn generation(&self) -> u64;

    /// Waits until the caller's proof holds no longer: it expired, its key was revoked, its roles changed. Streams without
    /// end end then.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    fn ended<'a>(&'a self, caller: &'a Caller) -> Later<'a, ()>;
}

/// Why credentials were not accepted.
#[derive(Debug)]
pub struct Denied {
    kind: DeniedKind,
    public: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeniedKind {
    /// Nothing was sent: 401 with a challenge that names no error.
    Missing,
    /// What was sent is not acceptable: 401, `error="invalid_token"`.
    Invalid,
    /// More than one way to say who asks was used: 400, `error="invalid_request"`.
    Malformed,
    /// Whoever could tell does not answer: 503.
    Unavailable,
}

impl Denied {
    /// Makes a refusal with the text a caller may read, which says nothing of what was expected beyond its kind.
    #[must_use]
    pub fn new(kind: DeniedKind, public: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, public: public.into(), source: None }
    }

    /// Adds the reason, for the operator's log alone; it must hold no part of the credentials.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> DeniedKind {
        self.kind
    }

    /// Returns the text a caller may read.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)
    }
}

impl Error for Denied {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}

/// Who may come in at an endpoint.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// The local user alone, without credentials.
    #[default]
    Local,
    /// Whoever proves who they are.
    Guarded {
        /// Who judges.
        authenticator: Arc<dyn Authenticator>,
        /// What a refusal says of the endpoint.
        resource: Arc<ProtectedResource>,
    },
}

/// What an endpoint says of itself as an OAuth protected resource. Nothing of it comes from a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProtectedResource {
    /// The metadata of RFC 9728; `None` where there is no public name or no issuer.
    pub metadata: Option<Metadata>,
    /// The scopes that a first login should ask for.
    pub scopes: Vec<Box<str>>,
}

/// The metadata document of RFC 9728 and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The path it is served at, `/.well-known/oauth-protected-resource` and the path of the resource.
    pub path: Box<str>,
    /// Its public address.
    pub url: Box<str>,
    /// The document.
    pub document: Bytes,
}

impl ProtectedResource {
    /// Writes the value of `WWW-Authenticate` for a refusal. `scopes` are those that the operation needs; for other
    /// refusals those of a first login are named. RFC 6750 section 3.
    #[must_use]
    pub fn challenge(&self, error: Option<ChallengeError>, scopes: &[Box<str>]) -> String {
        let mut parts = Vec::new();
        if let Some(error) = error {
            parts.push(format!("error=\"{}\"", error.code()));
        }
        if let Some(metadata) = &self.metadata {
            parts.push(format!("resource_metadata=\"{}\"", metadata.url));
        }
        let scopes = if error == Some(ChallengeError::InsufficientScope) { scopes } else { &self.scopes };
        if !scopes.is_empty() {
            parts.push(format!("scope=\"{}\"", scopes.join(" ")));
        }
        match parts.is_empty() {
            true => "Bearer".to_owned(),
            false => format!("Bearer {}", parts.join(", ")),
        }
    }
}

/// The error that a challenge names. RFC 6750 section 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeError {
    /// The request is malformed.
    InvalidRequest,
    /// The token does not hold.
    InvalidToken,
    /// The token holds and does not reach.
    InsufficientScope,
}

impl ChallengeError {
    /// Returns the error's code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(scopes: &[&str]) -> ProtectedResource {
        let metadata = Metadata {
            path: "/.well-known/oauth-protected-resource/mcp".into(),
            url: "https://a.example/.well-known/oauth-protected-resource/mcp".into(),
            document: Bytes::new(),
        };
        let scopes = scopes.iter().map(|scope| (*scope).into()).collect();
        ProtectedResource { metadata: Some(metadata), scopes }
    }

    #[test]
    fn a_challenge_says_where_to_go_on_and_what_to_ask_for() {
        let url = "https://a.example/.well-known/oauth-protected-resource/mcp";
        assert_eq!(resource(&[]).challenge(None, &[]), format!("Bearer resource_metadata=\"{url}\""));
        assert_eq!(
            resource(&["read"]).challenge(Some(ChallengeError::InvalidToken), &[]),
            format!("Bearer error=\"invalid_token\", resource_metadata=\"{url}\", scope=\"read\"")
        );
        let missing: [Box<str>; 2] = ["a:read".into(), "a:write".into()];
        assert_eq!(
            resource(&["read"]).challenge(Some(ChallengeError::InsufficientScope), &missing),
            format!(
                "Bearer error=\"insufficient_scope\", resource_metadata=\"{url}\", scope=\"a:read a:write\""
            )
        );
        assert_eq!(ProtectedResource::default().challenge(None, &[]), "Bearer");
    }

    #[test]
    fn credentials_are_never_shown() {
        let shown = format!("{:?}", Credentials { authorization: Some(b"Bearer secret"), api_key: None });
        assert!(!shown.contains("secret"), "{shown}");
    }
}
