//! Names by which kept answers are thrown away, each with a generation: an answer holds as long as the generations of its tags are those
//! it was fetched under. Throwing away is one number that rises, however many answers it is about.
//!
//! Generations only rise, and what was fetched is compared with those that were read before it was asked for: so that nothing that comes
//! late, be it an old answer or an old number, makes an answer good again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::held::millis;

/// From when times are counted.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A tag.
#[derive(Debug)]
pub(crate) struct Tag {
    name: Box<str>,
    current: AtomicU64,
    /// When the generation was last seen to rise, in milliseconds from [`EPOCH`] and one; 0 for never.
    changed: AtomicU64,
    /// How many of those who would tell of a change cannot: while there is one, nothing that has the tag is given out or kept.
    suspects: AtomicU64,
    /// How many changes other nodes have not heard of.
    owed: AtomicU64,
}

impl Tag {
    fn new(name: &str) -> Self {
        let (current, changed, suspects, owed) = Default::default();
        Self { name: name.into(), current, changed, suspects, owed }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the generation.
    pub(crate) fn current(&self) -> u64 {
        self.current.load(Ordering::Acquire)
    }

    /// Takes note of a generation that was read or heard of.
    pub(crate) fn observe(&self, generation: u64) {
        if self.current.fetch_max(generation, Ordering::AcqRel) < generation {
            self.note_change();
        }
    }

    /// Makes what has the tag hold no longer, on this node.
    pub(crate) fn bump(&self) {
        self.current.fetch_add(1, Ordering::AcqRel);
        self.note_change();
    }

    fn note_change(&self) {
        self.changed.store(millis(EPOCH.elapsed()).saturating_add(1), Ordering::Release);
    }

    /// Tells whether it was changed less than `span` before `at`.
    fn changed_within(&self, span: Duration, at: Instant) -> bool {
        let changed = self.changed.load(Ordering::Acquire);
        let at = millis(at.saturating_duration_since(*EPOCH)).saturating_add(1);
        changed > 0 && changed.saturating_add(millis(span)) >= at
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspects.load(Ordering::Acquire) > 0
    }

    /// Says that somebody who would tell of changes cannot, until the same one calls [`trust`](Self::trust).
    pub(crate) fn suspect(&self) {
        self.suspects.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn trust(&self) {
        self.suspects.fetch_sub(1, Ordering::AcqRel);
    }

    /// Says that a change could not be told.
    pub(crate) fn owe(&self) {
        self.owed.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns how many changes are still to be told.
    pub(crate) fn owed(&self) -> u64 {
        self.owed.load(Ordering::Acquire)
    }

    /// Says that so many were told.
    pub(crate) fn settle(&self, told: u64) {
        self.owed.fetch_sub(told, Ordering::AcqRel);
    }
}

/// What a tag stands for; the kinds have names of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// Everything that is kept.
    All,
    /// What is kept of a connector.
    Connector(&'a str),
    /// What is kept of a tool.
    Tool(&'a str),
    /// What the file gives that tag.
    Tag(&'a str),
}

impl Named<'_> {
    /// Returns the name under which the generation is kept.
    pub(crate) fn name(self) -> Box<str> {
        match self {
            Self::All => "all".into(),
            Self::Connector(name) => format!("connector:{name}").into(),
            Self::Tool(name) => format!("tool:{name}").into(),
            Self::Tag(name) => format!("tag:{name}").into(),
        }
    }
}

/// All tags. They come from the configuration, which bounds them.
#[derive(Debug, Default)]
pub(crate) struct Tags(Mutex<FxHashMap<Box<str>, Arc<Tag>>>);

impl Tags {
    /// Returns the tag, making it when it is new.
    pub(crate) fn intern(&self, named: Named<'_>) -> Arc<Tag> {
        self.intern_whole(&named.name())
    }

    /// Returns the tag of that whole name, making it when it is new.
    pub(crate) fn intern_whole(&self, name: &str) -> Arc<Tag> {
        let mut tags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tags.entry(name.into()).or_insert_with_key(|name| Arc::new(Tag::new(name))))
    }

    /// Returns the tag; `None` when nothing has it.
    pub(crate) fn find(&self, named: Named<'_>) -> Option<Arc<Tag>> {
        self.by_name(&named.name())
    }

    /// Returns the tag of that whole name.
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Tag>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// Returns all of them.
    pub(crate) fn all(&self) -> Vec<Arc<Tag>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }
}

/// The generations an answer was fetched under, in the order of the tags of its tool.
pub(crate) type Stamps = Box<[u64]>;

/// Returns the generations of now.
pub(crate) fn stamps(tags: &[Arc<Tag>]) -> Stamps {
    tags.iter().map(|tag| tag.current()).collect()
}

/// Tells whether the generations are those.
pub(crate) fn same(tags: &[Arc<Tag>], stamps: &[u64]) -> bool {
    tags.len() == stamps.len() && tags.iter().zip(stamps).all(|(tag, stamp)| tag.current() == *stamp)
}

/// Tells whether some tag was changed less than `span` before `at`.
pub(crate) fn changed_within(tags: &[Arc<Tag>], span: Duration, at: Instant) -> bool {
    !span.is_zero() && tags.iter().any(|tag| tag.changed_within(span, at))
}

/// Tells whether what was fetched under those generations holds.
pub(crate) fn hold(tags: &[Arc<Tag>], stamps: &[u64]) -> bool {
    same(tags, stamps) && !tags.iter().any(|tag| tag.is_suspect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_before_a_change_holds_no_longer() {
        let tags = Tags::default();
        let of = [tags.intern(Named::All), tags.intern(Named::Tag("a"))];
        let before = stamps(&of);
        assert!(hold(&of, &before));
        tags.find(Named::Tag("a")).unwrap().bump();
        assert!(!hold(&of, &before));
        let after = stamps(&of);
        // A number that comes late changes nothing.
        of[1].observe(0);
        assert!(hold(&of, &after));
        of[0].suspect();
        assert!(!hold(&of, &after));
        of[0].trust();
        assert!(hold(&of, &after));
        assert!(tags.find(Named::Tool("a")).is_none());
    }
}
