//! The reserved keys of `_meta`. Spec: 2026-07-28 basic/index#meta.

/// Every request: the revision it is written in.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Every request: what the client can do.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Every request, optional: who the client says it is.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// Every result: who the server says it is.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// A request, optional: asks for progress.
pub const PROGRESS_TOKEN: &str = "progressToken";
/// A request, optional: the lowest level of log messages the client wants on its stream.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Notifications on the stream of a `subscriptions/listen`, and its result: the id of that request.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Any message, optional: W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";
/// Any message, optional: W3C Trace Context.
pub const TRACESTATE: &str = "tracestate";
/// Any message, optional: W3C Baggage.
pub const BAGGAGE: &str = "baggage";
