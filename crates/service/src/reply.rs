//! What a service answers with: the members of a result as raw JSON, era-free until the edge writes them.

mod downlevel;
mod numbered;
mod pieces;

use std::num::NonZeroU32;
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
    kind: ReplyKind,
    members: Members,
    structured: Option<Range<usize>>,
    hints: Option<Hints>,
    is_error: bool,
    /// How many rows it has or changed, where it knows.
    rows: Option<u32>,
    /// `resource_link` blocks may occur in the content.
    has_links: bool,
    /// Something in it is sealed for the caller it was made for.
    is_bound: bool,
    /// The tool whose result this goes on with.
    origin: Option<Box<str>>,
    /// What of the source failed, when it is why the answer is an error.
    fault: Option<Fault>,
    /// Where the digits of the request's number stand in the members, if they do.
    number: Option<NonZeroU32>,
    /// Members of `_meta`, without braces.
    meta: Box<[u8]>,
}

/// What a result is: the `resultType` of a modern one. Spec: 2026-07-28 basic/index#result-types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// The answer.
    Complete,
    /// The client is asked for something and sends the request again.
    InputRequired,
    /// The work goes on as a task of the extension `io.modelcontextprotocol/tasks`.
    Task,
}

/// How a source failed that an error result tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It could not be reached or refused the work, so that nothing was done: any call may be tried again.
    NotDone,
    /// It failed or went away with the call under way: whether anything was done is not known.
    Unknown,
    /// It had no room for the call, which was not begun.
    Busy,
    /// It did not answer in time.
    Late,
}

/// The parts of a complete result that are kept for other requests of the same kind: cheap to clone.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The members without braces.
    pub members: Bytes,
    /// Where `,"structuredContent":...` stands in them.
    pub structured: Option<Range<usize>>,
    /// How many rows it has.
    pub rows: Option<u32>,
    /// Whether `resource_link` blocks may occur.
    pub has_links: bool,
}

#[derive(Debug)]
enum Members {
    Owned(Vec<u8>),
    Shared(Bytes),
}

const META: &[u8] = br#","_meta":{"#;
const HEAD: &[u8] = br#"{"jsonrpc":"2.0","id":"#;

impl ReplyKind {
    /// The bytes between id and members, without a comma behind.
    const fn middle(self) -> &'static [u8] {
        match self {
            Self::Complete => br#","result":{"resultType":"complete""#,
            Self::InputRequired => br#","result":{"resultType":"input_required""#,
            Self::Task => br#","result":{"resultType":"task""#,
        }
    }
}

impl Reply {
    /// Makes a result from members written for this request.
    #[must_use]
    pub fn from_members(members: Vec<u8>) -> Self {
        Self::of(Members::Owned(members))
    }

    /// Makes a result from members written once and shared by many requests.
    #[must_use]
    pub fn from_shared(members: Bytes) -> Self {
        Self::of(Members::Shared(members))
    }

    fn of(members: Members) -> Self {
        let kind = ReplyKind::Complete;
        Self {
            kind,
            members,
            structured: None,
            hints: None,
            is_error: false,
            rows: None,
            has_links: false,
            is_bound: false,
            origin: None,
            fault: None,
            number: None,
            meta: Box::default(),
        }
    }

    /// Asks the client for input. `requests` is the raw JSON object of `inputRequests`, empty for none; one of both must be
    /// there. Spec: 2026-07-28 basic/patterns/mrtr.
    #[must_use]
    pub fn input_required(requests: &[u8], state: Option<&str>) -> Self {
        let mut members = Vec::with_capacity(requests.len() + state.map_or(0, str::len) + 40);
        if !requests.is_empty() {
            members.extend_from_slice(br#""inputRequests":"#);
            members.extend_from_slice(requests);
        }
        if let Some(state) = state {
            if !members.is_empty() {
                members.push(b',');
            }
            members.extend_from_slice(br#""requestState":"#);
            write::string(&mut members, state);
        }
        Self { kind: ReplyKind::InputRequired, ..Self::from_members(members) }
    }

    /// Tells the client that the work goes on as a task; `members` are those of `CreateTaskResult` but for `resultType`.
    #[must_use]
    pub fn task(members: Vec<u8>) -> Self {
        Self { kind: ReplyKind::Task, ..Self::from_members(members) }
    }

    /// Says that the content may hold `resource_link` blocks, which 2025-03-26 does not know.
    #[must_use]
    pub fn with_links(mut self) -> Self {
        self.has_links = true;
        self
    }

    /// Adds members of the result's `_meta` as raw JSON without braces; they must not stand in the members.
    #[must_use]
    pub fn with_meta(mut self, members: Vec<u8>) -> Self {
        self.meta = members.into();
        self
    }

    /// Says how many rows it has, or changed.
    #[must_use]
    pub fn with_rows(mut self, rows: u32) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Returns how many rows it has, or changed; `None` where it does not know.
    #[must_use]
    pub fn rows(&self) -> Option<u32> {
        self.rows
    }

    /// Marks the result as one of a tool that could not do what was asked; `isError` stands in the members.
    #[must_use]
    pub fn with_error_mark(mut self) -> Self {
        self.is_error = true;
        self
    }

    /// Says that something in it, as a cursor, is sealed for its caller and of no use to another.
    #[must_use]
    pub fn with_bound(mut self) -> Self {
        self.is_bound = true;
        self
    }

    /// Tells whether something in it is sealed for its caller.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// Says of a resource that it goes on with the result of a tool, and must be shown as that is. Nobody may keep it for others.
    #[must_use]
    pub fn with_origin(mut self, tool: &str) -> Self {
        self.origin = Some(tool.into());
        self.with_bound()
    }

    /// Returns the tool whose result it goes on with.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// Says that it is an error since the source failed, and how.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Returns how the source failed, when that is why it is an error.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Makes a result of what was kept of another.
    #[must_use]
    pub fn from_kept(kept: &Kept) -> Self {
        let Kept { members, structured, rows, has_links } = kept.clone();
        Self { structured, rows, has_links, ..Self::of(Members::Shared(members)) }
    }

    /// Returns what can be kept of it for other requests, sharing its bytes from now on; `None` when it is no complete result, or
    /// an error.
    pub fn keep(&mut self) -> Option<Kept> {
        if self.kind != ReplyKind::Complete || self.is_error {
            return None;
        }
        let members = self.share();
        let Self { structured, rows, has_links, .. } = self;
        Some(Kept { members, structured: structured.clone(), rows: *rows, has_links: *has_links })
    }

    /// Returns where `,"structuredContent":...` stands in the members, comma included.
    #[must_use]
    pub fn structured(&self) -> Option<&Range<usize>> {
        self.structured.as_ref()
    }

    /// Returns the members of its `_meta`, without braces.
    #[must_use]
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// Puts other members in the place of what it has, with the place of `,"structuredContent":...` in them.
    #[must_use]
    pub fn with_members(mut self, members: Vec<u8>, structured: Option<Range<usize>>) -> Self {
        self.members = Members::Owned(members);
        self.structured = structured;
        self.number = None;
        self
    }

    /// Returns all that the result is beside its members, for others to be put in their place.
    #[must_use]
    pub fn without_members(&self) -> Self {
        let Self { kind, hints, is_error, rows, has_links, is_bound, fault, .. } = *self;
        let (structured, origin, meta) = (self.structured.clone(), self.origin.clone(), self.meta.clone());
        Self {
            kind,
            members: Members::Owned(Vec::new()),
            structured,
            hints,
            is_error,
            rows,
            has_links,
            is_bound,
            origin,
            fault,
            number: None,
            meta,
        }
    }

    /// Returns what the result is.
    #[must_use]
    pub fn kind(&self) -> ReplyKind {
        self.kind
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

    /// Returns its cache hints, if it has any.
    #[must_use]
    pub fn hints(&self) -> Option<Hints> {
        self.hints
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
        let middle = self.kind.middle();
        // To the byte where there are no hints, so that the buffer becomes the body without another allocation.
        out.reserve_exact(HEAD.len() + id.len() + middle.len() + 1 + members.len() + server_meta.len() + 2);
        out.extend_from_slice(HEAD);
        out.extend_from_slice(id);
        if revision.is_modern() {
            out.extend_from_slice(middle);
            if !members.is_empty() {
                out.push(b',');
                out.extend_from_slice(members);
            }
            self.write_hints(out);
            self.write_meta(out, server_meta);
        } else {
            out.extend_from_slice(br#","result":{"#);
            self.write_legacy(out, revision);
        }
        out.extend_from_slice(b"}}");
    }

    fn write_meta(&self, out: &mut Vec<u8>, server_meta: &[u8]) {
        if self.meta.is_empty() {
            return out.extend_from_slice(server_meta);
        }
        out.extend_from_slice(META);
        out.extend_from_slice(&self.meta);
        match server_meta.strip_prefix(META) {
            Some(rest) => {
                out.push(b',');
                out.extend_from_slice(rest);
            }
            None => out.push(b'}'),
        }
    }

    fn write_hints(&self, out: &mut Vec<u8>) {
        if let Some(Hints { ttl_ms, scope }) = self.hints {
            let scope = if scope == CacheScope::Public { "public" } else { "private" };
            out.extend_from_slice(format!(r#","ttlMs":{ttl_ms},"cacheScope":"{scope}""#).as_bytes());
        }
    }

    /// Writes the members as a revision with a handshake knows them.
    fn write_legacy(&self, out: &mut Vec<u8>, revision: Revision) {
        let members = self.members();
        let [head, tail] = self.parts_for(revision).map(|part| members.get(part).unwrap_or_default());
        if revision == Revision::V2025_03_26 && self.has_links {
            out.extend_from_slice(&downlevel::without_links(&[head, tail].concat()));
        } else {
            out.extend_from_slice(head);
            out.extend_from_slice(tail);
        }
        self.write_legacy_meta(out);
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
