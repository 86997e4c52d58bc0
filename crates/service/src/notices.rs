//! A source that tells when what it holds has changed, and whoever wants to know: what is kept of its answers is wrong from then on.

use std::fmt;

use crate::shared::Later;

/// A source that tells of changes.
pub trait Notices: fmt::Debug + Send + Sync + 'static {
    /// Follows the changes from now on. The first word is [`Notice::Heard`] or [`Notice::Lost`].
    fn follow(&self) -> Box<dyn FollowNotices>;
}

/// A reader of what a source tells.
pub trait FollowNotices: Send {
    /// Waits for the next word; for ever when there will be none.
    ///
    /// # Cancel safety
    /// Nothing is skipped when the future is dropped.
    fn next(&mut self) -> Later<'_, Notice>;
}

/// What a source tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Changes are heard from now on; some may have been missed.
    Heard,
    /// Changes are not heard until it says so: nothing is known to hold.
    Lost,
    /// Something has changed: what has that tag; `None` for all that the source holds.
    Changed(Option<Box<str>>),
}
