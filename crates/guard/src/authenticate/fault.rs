//! Why credentials were refused, in words that hold nothing of them: for the operator's log, below one text for callers.

use trunkline_service::authenticate::{Denied, DeniedKind};

/// What was wrong. Every text is fixed, so that no part of a token can get into a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing was sent, or a scheme that is not known here.
    #[error("no `Authorization: Bearer` and no `X-API-Key` was sent")]
    Missing,
    /// Another scheme than `Bearer`.
    #[error("the scheme of `Authorization` is not `Bearer`, the only one accepted")]
    Scheme,
    /// `Authorization` is not one scheme and one token.
    #[error("`Authorization` is not `Bearer`, a space and one token")]
    Header,
    /// Both headers, with different content.
    #[error("`Authorization` and `X-API-Key` name two different credentials; send one")]
    Two,
    /// More than the largest token.
    #[error("the credential is longer than 16 KiB")]
    TooLong,
    /// A byte that no token has.
    #[error("the credential has a character that no token and no key has")]
    Character,
    /// Nobody here judges credentials of this shape.
    #[error(
        "the credential is neither a signed token nor a key of this server, and no `[auth.introspection]` could be asked"
    )]
    Shape,
    /// What stands in `X-API-Key` is no key.
    #[error("`X-API-Key` holds no key of this server")]
    NoKey,
    /// A part is not base64url without padding.
    #[error("a part of the token is not base64url without padding")]
    Base64,
    /// Header or claims are no JSON object, or are nested too deeply.
    #[error("the header or the claims of the token are no JSON object within bounds")]
    Json,
    /// A member stands twice in one object.
    #[error("a member stands twice in the header or the claims of the token")]
    Repeated,
    /// No algorithm that is accepted.
    #[error("`alg` is none of those accepted (RS, PS, ES256, ES384, EdDSA), or not one the section allows")]
    Algorithm,
    /// A header extension that must be understood.
    #[error("the token's header has `crit`, `b64`, `enc`, `zip` or `cty`: an extension that is not accepted")]
    Critical,
    /// Another kind of token.
    #[error("`typ` says that it is no access token")]
    Type,
    /// `kid` is no text of a sensible length.
    #[error("`kid` is no text of 1 to 256 bytes")]
    KeyId,
    /// `iss` is missing, no text, or not that of the section.
    #[error("`iss` is missing or is not the issuer of any section")]
    Issuer,
    /// `aud` is missing or names somebody else.
    #[error("`aud` is missing or does not name this server")]
    Audience,
    /// `sub` is missing, empty or not fit to be a name.
    #[error("`sub` is missing, empty, longer than 1,024 bytes or has control characters")]
    Subject,
    /// A time is no number of seconds within the years 1970 to 9999.
    #[error(
        "`exp`, `nbf` or `iat` is no number of seconds between the years 1970 and 9999, or `exp` is missing"
    )]
    Date,
    /// Over.
    #[error("`exp` has passed")]
    Expired,
    /// Not yet.
    #[error("`nbf` or `iat` lies in the future by more than the leeway")]
    NotYet,
    /// Scopes that are no scopes.
    #[error("`scope` or `scp` is neither text nor a list of texts")]
    Scopes,
    /// Bound to a key that nobody showed.
    #[error("`cnf` binds the token to a key of its holder, and a bearer does not show one")]
    Bound,
    /// No key of the issuer has that id, or fits without one.
    #[error("the issuer has no key of that `kid` and `alg`")]
    NoSuchKey,
    /// The signature is not of the key.
    #[error("the signature does not fit")]
    Signature,
    /// The one that was asked says no.
    #[error("the introspection endpoint says that the token is not active")]
    Inactive,
    /// The issuer's keys cannot be had.
    #[error("the keys of the issuer are not known yet and could not be fetched")]
    NoKeys,
    /// The introspection endpoint does not answer.
    #[error("the introspection endpoint did not give an answer that can be used")]
    NoAnswer,
    /// Too many are waiting.
    #[error("too many credentials wait to be judged")]
    Busy,
}

impl Fault {
    /// Returns what kind of refusal it is.
    #[must_use]
    pub fn kind(self) -> DeniedKind {
        match self {
            Self::Missing | Self::Scheme => DeniedKind::Missing,
            Self::Header | Self::Two => DeniedKind::Malformed,
            Self::NoKeys | Self::NoAnswer | Self::Busy => DeniedKind::Unavailable,
            _ => DeniedKind::Invalid,
        }
    }

    /// Makes the refusal of it. `section` is the key of the section that judged, when one did.
    pub(crate) fn denied(self, section: Option<&str>) -> Denied {
        let public = match self.kind() {
            DeniedKind::Missing => "send `Authorization: Bearer` with a token",
            DeniedKind::Malformed => "send one credential, as `Authorization: Bearer` with one token",
            DeniedKind::Unavailable => "tokens cannot be checked at the moment; try again in a few seconds",
            _ => "the token or key was not accepted",
        };
        Denied::new(self.kind(), public)
            .with_source(Refused { section: section.map(Into::into), fault: self })
    }
}

/// A fault and where it was found.
#[derive(Debug, thiserror::Error)]
#[error("{}{fault}", section.as_deref().map(|name| format!("`[auth.{name}]`: ")).unwrap_or_default())]
struct Refused {
    section: Option<Box<str>>,
    fault: Fault,
}
