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
