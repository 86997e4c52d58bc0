//! An answer that is kept, and the replies that are made of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use trunkline_service::{CacheScope, Hints, Kept, Reply};

use super::tags::{self, Stamps, Tag};

/// What a reply says of where it comes from. Not `io.trunkline/cache` alone: also how old it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It was kept, and is fresh.
    Hit,
    /// It was kept and is old; a new one is on its way.
    Stale,
    /// It was fetched for this request, or for another of the same moment.
    Miss,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
        }
    }
}

/// A kept answer.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) kept: Kept,
    /// Members of its own `_meta`.
    pub(crate) meta: Box<[u8]>,
    /// What its results say of how they may be kept downstream; `None` for results that say nothing.
    pub(crate) sent_scope: Option<CacheScope>,
    /// By what it is thrown away, and the generations under which it was fetched.
    tags: Arc<[Arc<Tag>]>,
    pub(crate) stamps: Stamps,
    pub(crate) born: Instant,
    pub(crate) fresh_until: Instant,
    /// When it is not given out any more.
    pub(crate) dies: Instant,
    /// In milliseconds after its birth: not before then is a new one fetched.
    next_renewal: AtomicU64,
}

/// After a try to renew that failed, the next one waits for so long.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// What a kept answer takes beside its bytes, about.
const LEAST_WEIGHT: u64 = 384;

impl Held {
    pub(crate) fn new(
        kept: Kept,
        meta: &[u8],
        tags: &Arc<[Arc<Tag>]>,
        stamps: Stamps,
        born: Instant,
        lasts: Lasts,
    ) -> Self {
        let fresh_until = born + lasts.fresh;
        Self {
            kept,
            meta: meta.into(),
            sent_scope: lasts.sent_scope,
            tags: Arc::clone(tags),
            stamps,
            born,
            fresh_until,
            dies: fresh_until + lasts.stale,
            next_renewal: AtomicU64::new(0),
        }
    }

    /// Returns how many bytes it takes, about.
    pub(crate) fn weight(&self) -> u64 {
        (self.kept.members.len() + self.meta.len()) as u64 + LEAST_WEIGHT
    }

    /// Tells whether nothing it tells of has changed, as far as this node has heard.
    pub(crate) fn holds(&self) -> bool {
        tags::hold(&self.tags, &self.stamps)
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }

    /// Lets one of those who find it old renew it: `true` for that one.
    pub(crate) fn claim_renewal(&self, now: Instant) -> bool {
        let age = millis(self.age(now));
        let next = self.next_renewal.load(Ordering::Relaxed);
        let then = age.saturating_add(millis(RENEWAL_PAUSE)).max(1);
        age >= next
            && self.next_renewal.compare_exchange(next, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Makes a reply of it.
    pub(crate) fn reply(&self, status: Status, now: Instant) -> Reply {
        let reply = Reply::from_kept(&self.kept).with_meta(with_status(&self.meta, status, self.age(now)));
        match self.sent_scope {
            Some(scope) => reply.with_hints(self.hints(scope, now)),
            None => reply,
        }
    }

    /// Returns what may be said of it downstream: for how long it is still fresh here.
    pub(crate) fn hints(&self, scope: CacheScope, now: Instant) -> Hints {
        Hints { ttl_ms: millis(self.fresh_until.saturating_duration_since(now)), scope }
    }
}

/// How long an answer lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lasts {
    pub(crate) fresh: Duration,
    pub(crate) stale: Duration,
    pub(crate) sent_scope: Option<CacheScope>,
}

/// Returns the members of a `_meta` with one more, which says where the result comes from.
pub(crate) fn with_status(meta: &[u8], status: Status, age: Duration) -> Vec<u8> {
    let mut members = Vec::with_capacity(meta.len() + 72);
    if !meta.is_empty() {
        members.extend_from_slice(meta);
        members.push(b',');
    }
    members.extend_from_slice(br#""io.trunkline/cache":{"status":""#);
    members.extend_from_slice(status.word().as_bytes());
    members.extend_from_slice(br#"","ageMs":"#);
    members.extend_from_slice(itoa::Buffer::new().format(millis(age)).as_bytes());
    members.push(b'}');
    members
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn held(sent_scope: Option<CacheScope>) -> Held {
        let kept = Kept {
            members: Bytes::from_static(br#""content":[]"#),
            structured: None,
            rows: Some(2),
            has_links: false,
        };
        let lasts = Lasts { fresh: Duration::from_secs(10), stale: Duration::from_secs(5), sent_scope };
        Held::new(kept, br#""a":1"#, &Arc::default(), Box::default(), Instant::now(), lasts)
    }

    #[test]
    fn a_reply_says_where_it_comes_from_and_for_how_long_it_is_fresh() {
        let held = held(Some(CacheScope::Private));
        let now = held.born + Duration::from_millis(1500);
        let reply = held.reply(Status::Hit, now);
        assert_eq!(reply.meta(), br#""a":1,"io.trunkline/cache":{"status":"hit","ageMs":1500}"#);
        assert_eq!(reply.hints(), Some(Hints { ttl_ms: 8500, scope: CacheScope::Private }));
        assert_eq!(reply.rows(), Some(2));
        let late = held.born + Duration::from_secs(12);
        assert_eq!(held.reply(Status::Stale, late).hints().map(|hints| hints.ttl_ms), Some(0));
        assert_eq!(tests::held(None).reply(Status::Hit, now).hints(), None);
    }

    #[test]
    fn one_renews_at_a_time() {
        let held = held(None);
        let old = held.born + Duration::from_secs(11);
        assert!(held.claim_renewal(old));
        assert!(!held.claim_renewal(old));
        assert!(held.claim_renewal(old + RENEWAL_PAUSE));
    }
}
