//! A kept answer as it stands in the store: compressed above a size, sealed with its key as associated data, so that what was altered,
//! comes from somebody else or stood under another key does not open.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use trunkline_service::seal::{self, Purpose, Sealer};
use trunkline_service::{CacheScope, Kept};

use super::held::{Held, Lasts, millis};
use super::key::Key;
use super::tags::Tag;

/// Smaller ones gain nothing by being compressed.
const COMPRESSED_ABOVE: usize = 1024;
/// The largest answer that goes to the store, members and `_meta` together.
const MOST_BYTES: usize = 1024 * 1024;
/// The largest sealed answer that is looked at: all around one that could not be made smaller takes less than the difference.
const MOST_SEALED: usize = MOST_BYTES + 16 * 1024;
/// How far the clocks of nodes may disagree, in seconds; the store's own clock says how much time is left.
const LEEWAY: u64 = 120;

const VERSION: u8 = 1;
const LINKS: u8 = 1;
const COMPRESSED: u8 = 2;
const ROWS: u8 = 4;
const STRUCTURED: u8 = 8;
const PUBLIC: u8 = 16;
const PRIVATE: u8 = 32;

/// Seals an answer, and tells for how long the store is to have it. `None` when it is over, or too large.
pub(crate) fn seal(sealer: &Sealer, key: &Key, held: &Held, now: Instant) -> Option<(Vec<u8>, Duration)> {
    // In whole milliseconds, as the store counts.
    let left = Duration::from_millis(millis(held.dies.saturating_duration_since(now)));
    let body_length = held.meta.len() + held.kept.members.len();
    if body_length > MOST_BYTES || left < Duration::from_millis(1) {
        return None;
    }
    let body = [&*held.meta, &held.kept.members].concat();
    let compressed = (body_length > COMPRESSED_ABOVE).then(|| lz4_flex::block::compress(&body));
    let compressed = compressed.filter(|compressed| compressed.len() < body.len());
    let mut out = Vec::with_capacity(128 + compressed.as_ref().map_or(body.len(), Vec::len));
    let Kept { structured, rows, has_links, .. } = &held.kept;
    let scope = match held.sent_scope {
        None => 0,
        Some(CacheScope::Public) => PUBLIC,
        Some(CacheScope::Private) => PRIVATE,
    };
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    out.push(VERSION);
    out.push(
        flag(*has_links, LINKS)
            | flag(compressed.is_some(), COMPRESSED)
            | flag(rows.is_some(), ROWS)
            | flag(structured.is_some(), STRUCTURED)
            | scope,
    );
    let structured = structured.clone().unwrap_or_default();
    let numbers = [
        u64::from(rows.unwrap_or_default()),
        structured.start as u64,
        structured.end as u64,
        millis(held.fresh_until.saturating_duration_since(held.born)),
        millis(held.dies.saturating_duration_since(held.fresh_until)),
        held.meta.len() as u64,
        body_length as u64,
        held.stamps.len() as u64,
    ];
    for number in numbers.iter().chain(&*held.stamps) {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(compressed.as_deref().unwrap_or(&body));
    let expires = seal::now().saturating_add(left.as_secs()).saturating_add(LEEWAY);
    let sealed = sealer.seal_bytes(Purpose::Stored, &associated(key), Some(expires), &out).ok()?;
    Some((sealed, left))
}

/// Opens a sealed answer of which the store says that so much time is left; `None` when it is none of ours for that key.
pub(crate) fn open(
    sealer: &Sealer,
    key: &Key,
    sealed: &[u8],
    left: Duration,
    tags: &Arc<[Arc<Tag>]>,
    now: Instant,
) -> Option<Held> {
    if sealed.len() > MOST_SEALED {
        return None;
    }
    let plain = sealer.open_bytes(Purpose::Stored, &associated(key), sealed).ok()?;
    let ([version, flags], mut rest) = plain.split_first_chunk()?;
    let is = |flag: u8| flags & flag != 0;
    let mut number = || {
        let (number, after) = rest.split_first_chunk()?;
        rest = after;
        Some(u64::from_be_bytes(*number))
    };
    let mut size = || usize::try_from(number()?).ok();
    let (rows, start, end) = (size()?, size()?, size()?);
    let (fresh, stale) = (size()?, size()?);
    let (meta_length, body_length, count) = (size()?, size()?, size()?);
    if *version != VERSION || count != tags.len() || body_length > MOST_BYTES {
        return None;
    }
    let stamps = (0..count).map(|_| number()).collect::<Option<_>>()?;
    let body =
        if is(COMPRESSED) { lz4_flex::block::decompress(rest, body_length).ok()? } else { rest.to_vec() };
    if body.len() != body_length || start > end {
        return None;
    }
    let body = Bytes::from(body);
    let (meta, members) = (body.get(..meta_length)?, body.slice(meta_length..));
    members.get(start..end)?;
    let kept = Kept {
        members,
        structured: is(STRUCTURED).then_some(start..end),
        rows: is(ROWS).then_some(u32::try_from(rows).ok()?),
        has_links: is(LINKS),
    };
    let sent_scope = match (is(PUBLIC), is(PRIVATE)) {
        (true, _) => Some(CacheScope::Public),
        (_, true) => Some(CacheScope::Private),
        _ => None,
    };
    let [fresh, stale] = [fresh, stale].map(|span| Duration::from_millis(span as u64));
    // What the store says is left can only shorten what the answer has.
    let age = fresh.checked_add(stale)?.checked_sub(left)?;
    let born = now.checked_sub(age)?;
    Some(Held::new(kept, meta, tags, stamps, born, Lasts { fresh, stale, sent_scope }))
}

/// Returns what tells this value from everything else that is sealed.
fn associated(key: &Key) -> Vec<u8> {
    [&b"cache"[..], key.bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::tests::key_of;
    use crate::cache::tags::{Named, Tags};
    use proptest::prelude::*;

    fn held(members: Vec<u8>, meta: &[u8], rows: Option<u32>, tags: &Arc<[Arc<Tag>]>) -> Held {
        let structured = (members.len() > 4).then_some(1..4);
        let kept = Kept { members: members.into(), structured, rows, has_links: rows.is_some() };
        let lasts = Lasts {
            fresh: Duration::from_secs(60),
            stale: Duration::from_secs(30),
            sent_scope: rows.map(|_| CacheScope::Private),
        };
        Held::new(kept, meta, tags, tags.iter().map(|_| 7).collect(), Instant::now(), lasts)
    }

    fn tags() -> Arc<[Arc<Tag>]> {
        let tags = Tags::default();
        [tags.intern(Named::All), tags.intern(Named::Tag("a"))].into()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn what_was_sealed_opens_as_it_was(
            members in prop::collection::vec(0_u8..4, 0..4000), meta in prop::collection::vec(any::<u8>(), 0..100),
            rows in any::<Option<u32>>(),
        ) {
            let (sealer, key, tags) = (Sealer::random().unwrap(), key_of(b"x"), tags());
            let held = held(members, &meta, rows, &tags);
            let now = Instant::now();
            let (sealed, left) = seal(&sealer, &key, &held, now).unwrap();
            let read = open(&sealer, &key, &sealed, left, &tags, now).unwrap();
            prop_assert_eq!(&read.kept.members, &held.kept.members);
            prop_assert_eq!(&read.kept.structured, &held.kept.structured);
            prop_assert_eq!((read.kept.rows, read.kept.has_links), (held.kept.rows, held.kept.has_links));
            prop_assert_eq!((&*read.meta, &*read.stamps), (&*held.meta, &*held.stamps));
            prop_assert_eq!(read.sent_scope, held.sent_scope);
        }

        #[test]
        fn what_was_altered_does_not_open(at in 0_usize..300, bit in 0_u8..8) {
            let (sealer, key, tags) = (Sealer::random().unwrap(), key_of(b"x"), tags());
            let held = held(vec![b'a'; 100], b"", None, &tags);
            let now = Instant::now();
            let (mut sealed, left) = seal(&sealer, &key, &held, now).unwrap();
            let at = at % sealed.len();
            sealed[at] ^= 1 << bit;
            prop_assert!(open(&sealer, &key, &sealed, left, &tags, now).is_none());
        }
    }

    #[test]
    fn what_stood_under_another_key_or_is_of_another_does_not_open() {
        let (sealer, tags) = (Sealer::random().unwrap(), tags());
        let held = held(vec![b'a'; 5000], b"", None, &tags);
        let now = Instant::now();
        let (sealed, left) = seal(&sealer, &key_of(b"x"), &held, now).unwrap();
        assert!(sealed.len() < 500, "{}", sealed.len());
        let open = |sealer: &Sealer, key, left| open(sealer, &key_of(key), &sealed, left, &tags, now);
        assert!(open(&sealer, b"y", left).is_none());
        assert!(open(&Sealer::random().unwrap(), b"x", left).is_none());
        // More time than it ever had.
        assert!(open(&sealer, b"x", Duration::from_secs(91)).is_none());
        let later = open(&sealer, b"x", left - Duration::from_secs(20)).unwrap();
        assert_eq!(later.age(now).as_secs(), 20);
    }

    #[test]
    fn what_is_too_large_stays_on_the_node() {
        let (sealer, tags, now) = (Sealer::random().unwrap(), tags(), Instant::now());
        let large = held(vec![b'a'; MOST_BYTES + 1], b"", None, &tags);
        assert!(seal(&sealer, &key_of(b"x"), &large, now).is_none());
    }
}
