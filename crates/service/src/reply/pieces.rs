//! A large response in pieces: what was written for it stays where it is, and only what stands around it is written anew.

use std::ops::Range;

use bytes::Bytes;
use trunkline_protocol::{Revision, write};

use super::{HEAD, META, Members, Reply};

impl Reply {
    /// Returns the response message that [`write`](Reply::write) would append, in pieces of which the large ones are not copied, and
    /// without line breaks.
    ///
    /// For a client of 2025-03-26 that has to be spared links it is one piece.
    pub fn pieces(&mut self, id: &[u8], revision: Revision, server_meta: &[u8]) -> Vec<Bytes> {
        if revision == Revision::V2025_03_26 && self.has_links {
            let mut whole = Vec::new();
            self.write(&mut whole, id, revision, server_meta);
            write::without_line_breaks(&mut whole);
            return vec![whole.into()];
        }
        let members = self.share();
        let mut before = [HEAD, id].concat();
        let mut after = Vec::with_capacity(server_meta.len() + self.meta.len() + 64);
        if revision.is_modern() {
            before.extend_from_slice(self.kind.middle());
            if !members.is_empty() {
                before.push(b',');
            }
            self.write_hints(&mut after);
            self.write_meta(&mut after, server_meta);
        } else {
            before.extend_from_slice(br#","result":{"#);
            self.write_legacy_meta(&mut after);
        }
        after.extend_from_slice(b"}}");
        let parts = self.parts_for(revision).map(|part| members.slice(part));
        let all = std::iter::once(before.into()).chain(parts).chain([after.into()]);
        all.map(on_one_line).filter(|piece| !piece.is_empty()).collect()
    }

    /// Returns the members, which are shared from now on.
    pub(super) fn share(&mut self) -> Bytes {
        if let Members::Owned(owned) = &mut self.members {
            self.members = Members::Shared(Bytes::from(std::mem::take(owned)));
        }
        match &self.members {
            Members::Shared(members) => members.clone(),
            Members::Owned(_) => Bytes::new(),
        }
    }

    /// Returns which parts of the members a client of `revision` knows.
    pub(super) fn parts_for(&self, revision: Revision) -> [Range<usize>; 2] {
        let length = self.members().len();
        match &self.structured {
            // Before 2026-07-28 structured content is an object, and at first it is not there.
            Some(range)
                if range.end <= length
                    && (revision == Revision::V2025_03_26
                        || !revision.is_modern()
                            && !is_object(self.members().get(range.clone()).unwrap_or_default())) =>
            {
                [0..range.start, range.end..length]
            }
            _ => [0..length, length..length],
        }
    }

    pub(super) fn write_legacy_meta(&self, out: &mut Vec<u8>) {
        if self.meta.is_empty() {
            return;
        }
        let from = if self.members().is_empty() { 1 } else { 0 };
        out.extend_from_slice(META.get(from..).unwrap_or_default());
        out.extend_from_slice(&self.meta);
        out.push(b'}');
    }
}

/// Leaves a piece as it is where that has no line breaks, as nearly none has.
fn on_one_line(piece: Bytes) -> Bytes {
    if !write::has_line_break(&piece) {
        return piece;
    }
    let mut piece = Vec::from(piece);
    write::without_line_breaks(&mut piece);
    piece.into()
}

/// Tells whether `,"structuredContent":...` holds an object.
fn is_object(member: &[u8]) -> bool {
    member
        .strip_prefix(br#","structuredContent":"#)
        .is_some_and(|value| value.trim_ascii_start().first() == Some(&b'{'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{CacheScope, Hints};

    #[test]
    fn pieces_are_what_is_written_whole_for_every_revision_and_share_the_members() {
        const MEMBERS: &[u8] = br#""content":[],"structuredContent":{"a":1},"isError":false"#;
        let replies: [fn() -> Reply; 7] = [
            || Reply::from_members(Vec::new()),
            || Reply::from_members(MEMBERS.to_vec()).with_structured(12..40),
            || {
                Reply::from_shared(Bytes::from_static(MEMBERS))
                    .with_structured(12..40)
                    .with_meta(br#""a":1"#.to_vec())
            },
            || {
                Reply::from_members(br#""content":[],"structuredContent":[1],"isError":false"#.to_vec())
                    .with_structured(12..36)
            },
            || {
                Reply::from_members(
                    br#""content":[{"type":"resource_link","uri":"x:y","name":"n"}]"#.to_vec(),
                )
                .with_links()
            },
            || Reply::text("x").with_hints(Hints { ttl_ms: 1, scope: CacheScope::Public }),
            || Reply::input_required(b"{}", Some("s")),
        ];
        for reply in replies {
            for revision in Revision::ALL {
                let mut whole = Vec::new();
                reply().write(&mut whole, b"7", revision, br#","_meta":{"s":1}"#);
                let pieces = reply().pieces(b"7", revision, br#","_meta":{"s":1}"#);
                let joined = String::from_utf8(pieces.concat()).unwrap();
                assert_eq!(joined, String::from_utf8(whole).unwrap());
                assert!(pieces.iter().all(|piece| !piece.is_empty()));
            }
        }
        let mut reply = Reply::from_members(vec![b'x'; 100]);
        let at = reply.members().as_ptr();
        let pieces = reply.pieces(b"7", Revision::LATEST, b"");
        assert!(pieces.iter().any(|piece| piece.as_ptr() == at));
    }

    #[test]
    fn line_breaks_do_not_leave() {
        let mut reply = Reply::from_members(b"\"a\":\n1,\r\n\"b\":2".to_vec());
        let pieces = reply.pieces(b"7", Revision::LATEST, b"");
        assert!(pieces.concat().ends_with(br#","a":1,"b":2}}"#));
    }
}
