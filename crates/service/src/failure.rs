//! Why a request was not acceptable, and the one table that says how that looks everywhere.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use trunkline_protocol::Code;

use crate::reply::Fault;

/// What kind of failure it is; the stable answer for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The message is not JSON.
    Parse,
    /// The message is no acceptable JSON-RPC request.
    InvalidRequest,
    /// The method does not exist, or its capability is not advertised.
    MethodNotFound,
    /// Parameters are missing or malformed; also an unknown tool.
    InvalidParams,
    /// No resource has the URI that was asked for.
    ResourceNotFound,
    /// A header is missing, malformed or differs from the body.
    HeaderMismatch,
    /// The client lacks a capability that the request needs.
    MissingCapability,
    /// The revision asked for is not served.
    UnsupportedVersion,
    /// Nobody said who is asking.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// Too many requests.
    RateLimited,
    /// Too much work in flight.
    Overloaded,
    /// A source behind us failed.
    UpstreamUnavailable,
    /// The deadline passed.
    DeadlinePassed,
    /// The configuration is wrong.
    Configuration,
    /// A fault of ours.
    Internal,
}

/// How one kind of failure looks: one row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The JSON-RPC code.
    pub code: Code,
    /// The HTTP status for modern requests; legacy ones keep 200 once they reach a method.
    pub http: u16,
    /// Whether sending the same request again later may help.
    pub retry: bool,
    /// How loud the log is about it.
    pub level: tracing::Level,
    /// The exit code of a command that meets it.
    pub exit: u8,
}

impl FailureKind {
    /// Tells whether edges end the text of such a failure with the number of its request: where the operator has something to find
    /// under it.
    #[must_use]
    pub fn is_numbered(self) -> bool {
        self.row().level <= tracing::Level::WARN
    }

    /// Every kind, for tables and tests.
    pub const ALL: [Self; 16] = [
        Self::Parse,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::ResourceNotFound,
        Self::HeaderMismatch,
        Self::MissingCapability,
        Self::UnsupportedVersion,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::RateLimited,
        Self::Overloaded,
        Self::UpstreamUnavailable,
        Self::DeadlinePassed,
        Self::Configuration,
        Self::Internal,
    ];

    /// Returns the kind's row of the table.
    #[must_use]
    pub fn row(self) -> Row {
        use tracing::Level;
        let row = |code, http, retry, level, exit| Row { code, http, retry, level, exit };
        match self {
            Self::Parse => row(Code::PARSE_ERROR, 400, false, Level::DEBUG, 76),
            Self::InvalidRequest => row(Code::INVALID_REQUEST, 400, false, Level::DEBUG, 76),
            Self::MethodNotFound => row(Code::METHOD_NOT_FOUND, 404, false, Level::DEBUG, 76),
            Self::InvalidParams => row(Code::INVALID_PARAMS, 400, false, Level::DEBUG, 76),
            Self::ResourceNotFound => row(Code::INVALID_PARAMS, 400, false, Level::DEBUG, 76),
            Self::HeaderMismatch => row(Code::HEADER_MISMATCH, 400, false, Level::INFO, 76),
            Self::MissingCapability => row(Code::MISSING_CAPABILITY, 400, false, Level::DEBUG, 76),
            Self::UnsupportedVersion => row(Code::UNSUPPORTED_VERSION, 400, false, Level::DEBUG, 76),
            Self::Unauthenticated => row(Code::INVALID_REQUEST, 401, false, Level::INFO, 77),
            Self::Forbidden => row(Code::INVALID_REQUEST, 403, false, Level::INFO, 77),
            Self::RateLimited => row(Code::RATE_LIMITED, 429, true, Level::INFO, 69),
            Self::Overloaded => row(Code::OVERLOADED, 503, true, Level::WARN, 69),
            Self::UpstreamUnavailable => row(Code::UPSTREAM_UNAVAILABLE, 502, true, Level::WARN, 69),
            Self::DeadlinePassed => row(Code::DEADLINE_PASSED, 504, true, Level::WARN, 69),
            Self::Configuration => row(Code::INTERNAL_ERROR, 200, false, Level::ERROR, 78),
            Self::Internal => row(Code::INTERNAL_ERROR, 200, false, Level::ERROR, 76),
        }
    }
}

/// The longest URI that comes back in `data`, in bytes.
const MAX_ECHOED: usize = 4096;

/// Why a request was refused or could not be answered.
///
/// [`Failure::public`] is what a caller reads, and what it displays as; the cause behind it, for the operator's log alone, is
/// its [`source`](Error::source).
#[derive(Debug)]
pub struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: FailureKind,
    public: Cow<'static, str>,
    data: Option<Vec<u8>>,
    retry_after: Option<Duration>,
    rate_limit: Option<RateLimit>,
    scopes: Vec<Box<str>>,
    fault: Option<Fault>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// A limit that refused a request, as values of header fields. Source: draft-ietf-httpapi-ratelimit-headers-10 sections 3 and 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// The value of `RateLimit-Policy`: what the limit lets through.
    pub policy: Box<str>,
    /// The value of `RateLimit`: what is left of it, and when there will be more.
    pub state: Box<str>,
}

impl Failure {
    /// Makes a failure with the text a caller may read: no addresses, paths, foreign SQL or secrets.
    #[must_use]
    pub fn new(kind: FailureKind, public: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            public: public.into(),
            data: None,
            retry_after: None,
            rate_limit: None,
            scopes: Vec::new(),
            fault: None,
            source: None,
        }))
    }

    /// Refuses a request that needs what the client did not declare. `required` is an object shaped as `ClientCapabilities`.
    /// Spec: 2026-07-28 basic/index#capabilities.
    #[must_use]
    pub fn missing_capability(required: &serde_json::Value) -> Self {
        let names: Vec<String> = capability_paths(required).iter().map(|name| format!("`{name}`")).collect();
        let text = format!(
            "this request needs a client that declares {}; declare it in `_meta` if the client can do it",
            names.join(" and ")
        );
        let data = serde_json::json!({ "requiredCapabilities": required });
        Self::new(FailureKind::MissingCapability, text).with_data(data.to_string().into_bytes())
    }

    /// Refuses a request whose caller lacks scopes: `required` are all that the operation needs, those too that the caller has,
    /// since some clients ask for exactly what they are told. Over HTTP it is answered with a challenge. Spec: 2026-07-28
    /// basic/authorization#scope-challenge-handling.
    #[must_use]
    pub fn insufficient_scope(required: Vec<Box<str>>) -> Self {
        let text = format!(
            "this needs a token with the scopes `{}`, and yours has not all of them",
            required.join(" ")
        );
        let data = serde_json::json!({ "requiredScopes": required });
        let mut failure = Self::new(FailureKind::Forbidden, text).with_data(data.to_string().into_bytes());
        failure.0.scopes = required;
        failure
    }

    /// Says that no resource has that URI. Clients of an older revision get the code it had then.
    /// Spec: 2026-07-28 server/resources#error-handling.
    #[must_use]
    pub fn resource_not_found(uri: &str) -> Self {
        let shown: String = uri.chars().take(256).collect();
        let text = format!(
            "there is no resource `{shown}`; `resources/list` and `resources/templates/list` tell which exist"
        );
        Self::resource_gone(uri, text)
    }

    /// Says of a resource that its URI is well formed and that it is not there, or not any more, in words that tell why.
    #[must_use]
    pub fn resource_gone(uri: &str, public: impl Into<Cow<'static, str>>) -> Self {
        let failure = Self::new(FailureKind::ResourceNotFound, public);
        // The URI as it was sent, or not at all.
        if uri.len() > MAX_ECHOED {
            return failure;
        }
        failure.with_data(serde_json::json!({ "uri": uri }).to_string().into_bytes())
    }

    /// Adds the `data` member of the error, as raw JSON.
    #[must_use]
    pub fn with_data(mut self, json: Vec<u8>) -> Self {
        self.0.data = Some(json);
        self
    }

    /// Puts another text in the place of the one a caller may read.
    #[must_use]
    pub fn with_public(mut self, public: impl Into<Cow<'static, str>>) -> Self {
        self.0.public = public.into();
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Says which limit refused it, for the `RateLimit` fields over HTTP.
    #[must_use]
    pub fn with_rate_limit(mut self, limit: RateLimit) -> Self {
        self.0.rate_limit = Some(limit);
        self
    }

    /// Says that a source behind us failed, and how.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.0.fault = Some(fault);
        self
    }

    /// Returns how the source behind us failed, when that is why and it is known.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.0.fault
    }

    /// Adds the cause, for the operator's log only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }

    /// Returns the text a caller may read.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.0.public
    }

    /// Returns the `data` member as raw JSON.
    #[must_use]
    pub fn data(&self) -> Option<&[u8]> {
        self.0.data.as_deref()
    }

    /// Returns the scopes that the operation needs, when want of one is why.
    #[must_use]
    pub fn required_scopes(&self) -> &[Box<str>] {
        &self.0.scopes
    }

    /// Returns which limit refused it.
    #[must_use]
    pub fn rate_limit(&self) -> Option<&RateLimit> {
        self.0.rate_limit.as_ref()
    }

    /// Returns how long to wait before another try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

/// Names the capabilities in an object shaped as `ClientCapabilities`, the innermost ones with their way there.
fn capability_paths(required: &serde_json::Value) -> Vec<String> {
    let mut paths = Vec::new();
    for (name, inner) in required.as_object().into_iter().flatten() {
        let deeper = capability_paths(inner);
        if deeper.is_empty() {
            paths.push(name.clone());
        }
        paths.extend(deeper.into_iter().map(|path| format!("{name}.{path}")));
    }
    paths
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.public)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_codes_equal_their_status_and_stay_outside_the_reserved_range() {
        for kind in FailureKind::ALL {
            let Row { code, http, .. } = kind.row();
            assert!(!(-32019..=-32000).contains(&code.0), "{kind:?}");
            if !(-32768..=-32000).contains(&code.0) {
                assert_eq!(code.0, i32::from(http), "{kind:?}");
            }
        }
    }

    #[test]
    fn the_whole_table() {
        let table: String = FailureKind::ALL
            .iter()
            .map(|kind| {
                let Row { code, http, retry, level, exit } = kind.row();
                format!("{kind:?} {} {http} {retry} {level} {exit}\n", code.0)
            })
            .collect();
        assert_eq!(
            table,
            "Parse -32700 400 false DEBUG 76\n\
             InvalidRequest -32600 400 false DEBUG 76\n\
             MethodNotFound -32601 404 false DEBUG 76\n\
             InvalidParams -32602 400 false DEBUG 76\n\
             ResourceNotFound -32602 400 false DEBUG 76\n\
             HeaderMismatch -32020 400 false INFO 76\n\
             MissingCapability -32021 400 false DEBUG 76\n\
             UnsupportedVersion -32022 400 false DEBUG 76\n\
             Unauthenticated -32600 401 false INFO 77\n\
             Forbidden -32600 403 false INFO 77\n\
             RateLimited 429 429 true INFO 69\n\
             Overloaded 503 503 true WARN 69\n\
             UpstreamUnavailable 502 502 true WARN 69\n\
             DeadlinePassed 504 504 true WARN 69\n\
             Configuration -32603 200 false ERROR 78\n\
             Internal -32603 200 false ERROR 76\n"
        );
    }
}
