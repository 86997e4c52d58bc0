//! What this node heard of a log that others write too. Positions are those of that log; where this node may have missed something,
//! its readers are told.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use super::super::log::{Budget, Log, Reader};

/// Most messages that are kept.
pub(super) const KEPT: usize = 512;

/// The end of a log, as far as it was heard.
#[derive(Debug)]
pub(super) struct Mirror(Arc<Log>);

impl Default for Mirror {
    fn default() -> Self {
        Self(Arc::new(Log::new(KEPT, usize::MAX, Budget::new(usize::MAX))))
    }
}

impl Deref for Mirror {
    type Target = Log;

    fn deref(&self) -> &Log {
        &self.0
    }
}

impl Mirror {
    /// Appends a message after the last one. Nobody closes it.
    pub(super) fn append(&self, message: Bytes) {
        let _ = self.0.append(message);
    }

    /// Reads what comes after a position, or from now on.
    pub(super) fn reader(&self, after: Option<u64>) -> Reader {
        self.0.reader_of_heard(after)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Follow as _, Followed};
    use super::*;
    use futures_util::FutureExt as _;

    fn text(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test]
    async fn what_was_missed_is_told_and_what_is_known_is_not_told_twice() {
        let log = Mirror::default();
        log.renew(100, vec![text("a"), text("b")]);
        let mut reader = log.reader(None);
        log.take(101, text("c"));
        log.take(101, text("c"));
        assert_eq!(reader.next().await, Followed::Message(101, text("c")));
        log.renew(103, vec![text("b"), text("c"), text("d"), text("e")]);
        assert_eq!(reader.next().await, Followed::Message(102, text("d")));
        assert_eq!(reader.next().await, Followed::Message(103, text("e")));
        log.take(110, text("x"));
        assert_eq!(reader.next().await, Followed::Lagged(110));
        log.renew(5, vec![text("y")]);
        assert_eq!(reader.next().await, Followed::Lagged(5), "the log was lost and began anew");
        log.lag();
        assert_eq!(reader.next().await, Followed::Lagged(5));
        assert!(reader.next().now_or_never().is_none());
        assert_eq!(log.reader(Some(4)).next().await, Followed::Message(5, text("y")));
        assert_eq!(log.reader(Some(2)).next().await, Followed::Lagged(4));
        assert_eq!(log.reader(Some(99)).next().await, Followed::Lagged(5));
    }

    #[tokio::test]
    async fn no_more_is_kept_than_the_bound() {
        let log = Mirror::default();
        (0..KEPT + 5).for_each(|_| log.append(text("a")));
        assert_eq!(log.reader(Some(0)).next().await, Followed::Lagged(5));
        log.take(KEPT as u64 + 6, text("b"));
        assert_eq!(log.reader(Some(0)).next().await, Followed::Lagged(6));
    }
}
