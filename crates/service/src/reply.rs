//! What a service answers with: the members of a result as raw JSON, era-free until the edge writes them.

use std::ops::Range;

use bytes::Bytes;
use trunkline_protocol::{Revision, write};

/// Who may reuse a cached result. Spec: 2026-07-28 basic/utilities/caching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Anyone: it does not depend on the caller.
    Public,
    /// Only the same caller.
    Private,
}

/// The cache hints of a result that must carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hints {
    /// For how many milliseconds it stays fresh; 0 means not at all.
    pub ttl_ms: u64,
    /// Who may reuse it.
    pub scope: CacheScope,
}

/// A result. Its members are JSON text without the braces: `"content":[...],"isError":false`.
#[derive(Debug)]
pub struct Reply {
    members: Members,
    structured: Option<Range<usize>>,
    hints: Option<Hints>,
    is_error: bool,
}

#[derive(Debug)]
enum Members {
    Owned(Vec<u8>),
    Shared(Bytes),
}

const HEAD: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
const MIDDLE: &[u8] = br#","result":{"resultType":"complete""#;

impl Reply {
    /// Makes a result from members written for this request.
    #[must_use]
    pub fn from_members(members: Vec<u8>) -> Self {
        Self { members: Members::Owned(members), structured: None, hints: None, is_error: false }
    }

    /// Makes a result from members written once and shared by many requests.
    #[must_use]
    pub fn from_shared(members: Bytes) -> Self {
        Self { members: Members::Shared(members), structured: None, hints: None, is_error: false }
    }

    /// Says where `,"structuredContent":...` stands in the members, comma included, so that it can be left out for
    /// revisions that do not know it.
    #[must_use]
    pub fn with_structured(mut self, range: Range<usize>) -> Self {
        self.structured = Some(range);
        self
    }

    /// Adds cache hints, sent to revisions that know them.
    #[must_use]
    pub fn with_hints(mut self, hints: Hints) -> Self {
        self.hints = Some(hints);
        self
    }

    /// Returns a tool result of one text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::of_text(text, false)
    }

    /// Returns the result of a tool that could not do what was asked. The text is for a model to act on: what was wrong,
    /// what was found, what to do. It must hold no addresses, paths, foreign SQL or secrets.
    #[must_use]
    pub fn tool_error(text: &str) -> Self {
        Self::of_text(text, true)
    }

    fn of_text(text: &str, is_error: bool) -> Self {
        let mut members = Vec::with_capacity(text.len() + 64);
        members.extend_from_slice(br#""content":[{"type":"text","text":"#);
        write::string(&mut members, text);
        members.extend_from_slice(if is_error { br#"}],"isError":true"# } else { br#"}],"isError":false"# });
        Self { is_error, ..Self::from_members(members) }
    }

    /// Tells whether a tool reported that it could not do what was asked.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.is_error
    }

    /// Returns the members as JSON text without braces.
    #[must_use]
    pub fn members(&self) -> &[u8] {
        match &self.members {
            Members::Owned(members) => members,
            Members::Shared(members) => members,
        }
    }

    /// Appends the whole response message for a client of `revision`. `id` is the request's id as it stood;
    /// `server_meta` is the `_meta` member of a modern result, with its leading comma.
    pub fn write(&self, out: &mut Vec<u8>, id: &[u8], revision: Revision, server_meta: &[u8]) {
        let members = self.members();
        // To the byte where there are no hints, so that the buffer becomes the body without another allocation.
        out.reserve_exact(HEAD.len() + id.len() + MIDDLE.len() + 1 + members.len() + server_meta.len() + 2);
        out.extend_from_slice(HEAD);
        out.extend_from_slice(id);
        if revision.is_modern() {
            out.extend_from_slice(MIDDLE);
            if !members.is_empty() {
                out.push(b',');
                out.extend_from_slice(members);
            }
            if let Some(Hints { ttl_ms, scope }) = self.hints {
                let scope = if scope == CacheScope::Public { "public" } else { "private" };
                out.extend_from_slice(format!(r#","ttlMs":{ttl_ms},"cacheScope":"{scope}""#).as_bytes());
            }
            out.extend_from_slice(server_meta);
        } else {
            out.extend_from_slice(br#","result":{"#);
            match &self.structured {
                Some(range) if revision == Revision::V2025_03_26 => {
                    out.extend_from_slice(members.get(..range.start).unwrap_or_default());
                    out.extend_from_slice(members.get(range.end..).unwrap_or_default());
                }
                _ => out.extend_from_slice(members),
            }
        }
        out.extend_from_slice(b"}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_the_shape_of_its_revision() {
        let members = br#""content":[],"structuredContent":{"a":1},"isError":false"#.to_vec();
        let reply = Reply::from_members(members)
            .with_structured(12..40)
            .with_hints(Hints { ttl_ms: 5, scope: CacheScope::Private });
        let message = |revision| {
            let mut out = Vec::new();
            reply.write(&mut out, b"\"7\"", revision, br#","_meta":{}"#);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            message(Revision::V2026_07_28),
            r#"{"jsonrpc":"2.0","id":"7","result":{"resultType":"complete","content":[],"structuredContent":{"a":1},"isError":false,"ttlMs":5,"cacheScope":"private","_meta":{}}}"#
        );
        assert_eq!(
            message(Revision::V2025_11_25),
            r#"{"jsonrpc":"2.0","id":"7","result":{"content":[],"structuredContent":{"a":1},"isError":false}}"#
        );
        assert_eq!(
            message(Revision::V2025_03_26),
            r#"{"jsonrpc":"2.0","id":"7","result":{"content":[],"isError":false}}"#
        );
    }
}
