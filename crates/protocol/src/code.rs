//! The JSON-RPC error codes that MCP defines, and the few of our own.
//!
//! Own codes lie outside the range JSON-RPC and MCP reserve and equal the HTTP status they travel with.

/// A JSON-RPC error code. Spec: 2026-07-28 basic/index#error-codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub i32);

impl Code {
    /// The message is not JSON.
    pub const PARSE_ERROR: Self = Self(-32700);
    /// The message is JSON but no acceptable JSON-RPC object.
    pub const INVALID_REQUEST: Self = Self(-32600);
    /// Unknown or removed method, or one whose capability is not advertised.
    pub const METHOD_NOT_FOUND: Self = Self(-32601);
    /// Missing or malformed parameters; also an unknown tool, a bad cursor and a repeated key.
    pub const INVALID_PARAMS: Self = Self(-32602);
    /// A fault of ours.
    pub const INTERNAL_ERROR: Self = Self(-32603);
    /// A header is missing, malformed or differs from the body (2026-07-28).
    pub const HEADER_MISMATCH: Self = Self(-32020);
    /// The client did not declare a capability that the request needs (2026-07-28).
    pub const MISSING_CAPABILITY: Self = Self(-32021);
    /// The protocol version asked for is not served (2026-07-28).
    pub const UNSUPPORTED_VERSION: Self = Self(-32022);
    /// Our own: too many requests.
    pub const RATE_LIMITED: Self = Self(429);
    /// Our own: a source behind us failed.
    pub const UPSTREAM_UNAVAILABLE: Self = Self(502);
    /// Our own: too much work in flight.
    pub const OVERLOADED: Self = Self(503);
    /// Our own: the deadline passed.
    pub const DEADLINE_PASSED: Self = Self(504);
}
