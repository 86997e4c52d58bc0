//! What this node heard of a log that others write too, with readers that each keep their own place.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::super::{Follow, Followed, Later};

/// Most messages that are kept.
pub(super) const KEPT: usize = 512;

/// The end of a log. Positions are those of the log; where this node may have missed something, its readers are told.
#[derive(Debug)]
pub(super) struct Mirror {
    ring: Mutex<Ring>,
    /// Told of everything that happens.
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Ring {
    messages: VecDeque<Bytes>,
    /// The position of the last message.
    last: u64,
    /// Rises whenever something may be missing.
    epoch: u64,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { ring: Mutex::default(), news: watch::Sender::new(()) }
    }
}

impl Mirror {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing in here panics half way.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a message after the last one.
    pub(super) fn append(&self, message: Bytes) {
        let position = self.last() + 1;
        self.take(position, message);
    }

    /// Takes a message that has that position; one that is known already is nothing new.
    pub(super) fn take(&self, position: u64, message: Bytes) {
        {
            let mut ring = self.ring();
            if position <= ring.last {
                return;
            }
            if position != ring.last + 1 {
                ring.messages.clear();
                ring.epoch += 1;
            }
            ring.last = position;
            ring.messages.push_back(message);
            if ring.messages.len() > KEPT {
                ring.messages.pop_front();
            }
        }
        self.news.send_replace(());
    }

    /// Takes what the log has: its last position, and the messages up to it.
    pub(super) fn renew(&self, last: u64, messages: Vec<Bytes>) {
        {
            let mut ring = self.ring();
            let missed = last.checked_sub(ring.last).and_then(|missed| usize::try_from(missed).ok());
            match missed.filter(|missed| *missed <= messages.len()) {
                Some(missed) => ring.messages.extend(messages.into_iter().rev().take(missed).rev()),
                None => {
                    ring.epoch += 1;
                    ring.messages = messages.into();
                }
            }
            ring.last = last;
            let surplus = ring.messages.len().saturating_sub(KEPT);
            ring.messages.drain(..surplus);
        }
        self.news.send_replace(());
    }

    /// Says that something may be missing.
    pub(super) fn lag(&self) {
        self.ring().epoch += 1;
        self.news.send_replace(());
    }

    /// Returns the position of the last message.
    pub(super) fn last(&self) -> u64 {
        self.ring().last
    }

    /// Reads what comes after a position, or from now on.
    pub(super) fn reader(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let news = self.news.subscribe();
        let ring = self.ring();
        let (last, epoch) = (ring.last, ring.epoch);
        drop(ring);
        match after {
            // A position that was not heard of: what lies between is not known.
            Some(after) if after > last => Reader { log: Arc::clone(self), read: last, epoch: None, news },
            after => Reader { log: Arc::clone(self), read: after.unwrap_or(last), epoch: Some(epoch), news },
        }
    }
}

/// A place in a log.
#[derive(Debug)]
pub(super) struct Reader {
    log: Arc<Mirror>,
    /// The position of the last message read.
    read: u64,
    /// The epoch it was read in; `None` when something is missing from the start.
    epoch: Option<u64>,
    news: watch::Receiver<()>,
}

impl Reader {
    fn look(&self) -> Option<(Followed, u64)> {
        let ring = self.log.ring();
        if self.epoch != Some(ring.epoch) {
            return Some((Followed::Lagged(ring.last), ring.epoch));
        }
        let first = (ring.last + 1).saturating_sub(ring.messages.len() as u64);
        if self.read + 1 < first {
            return Some((Followed::Lagged(first - 1), ring.epoch));
        }
        let index = usize::try_from(self.read + 1 - first).ok()?;
        let message = ring.messages.get(index)?.clone();
        Some((Followed::Message(self.read + 1, message), ring.epoch))
    }
}

impl Follow for Reader {
    fn next(&mut self) -> Later<'_, Followed> {
        Box::pin(async move {
            loop {
                // Seen before it is read: what comes in between wakes the wait below.
                self.news.mark_unchanged();
                if let Some((found, epoch)) = self.look() {
                    self.epoch = Some(epoch);
                    if let Followed::Message(position, _) | Followed::Lagged(position) = found {
                        self.read = position;
                    }
                    return found;
                }
                // The sender lives as long as the log, which this reader holds.
                let _ = self.news.changed().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn text(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test]
    async fn what_was_missed_is_told_and_what_is_known_is_not_told_twice() {
        let log = Arc::new(Mirror::default());
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
        let log = Arc::new(Mirror::default());
        (0..KEPT + 5).for_each(|_| log.append(text("a")));
        assert_eq!(log.reader(Some(0)).next().await, Followed::Lagged(5));
        assert_eq!(log.ring().messages.len(), KEPT);
    }
}
