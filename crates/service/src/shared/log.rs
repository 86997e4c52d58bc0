//! One bounded log in memory, with readers that each keep their own place.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::{Follow, Followed, Later};

/// Messages in order; the first ever has position one.
#[derive(Debug)]
pub(super) struct Log {
    ring: Mutex<Ring>,
    max_messages: usize,
    max_bytes: usize,
    budget: Arc<Budget>,
    /// Told of every append and of the close.
    news: watch::Sender<()>,
}

/// How many bytes all logs of one kind may keep together.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    most: usize,
    /// What it is a part of.
    whole: Option<Arc<Budget>>,
}

impl Budget {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), most, whole: None })
    }

    /// Returns a part: what is used of it is used of the whole too.
    pub(super) fn part_of(whole: &Arc<Self>, most: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), most, whole: Some(Arc::clone(whole)) })
    }

    /// Tells whether nothing is left, of it or of the whole.
    pub(super) fn is_spent(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.most
            || self.whole.as_ref().is_some_and(|whole| whole.is_spent())
    }

    fn use_up(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.whole.iter().for_each(|whole| whole.use_up(bytes));
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.whole.iter().for_each(|whole| whole.give_back(bytes));
    }
}

#[derive(Debug, Default)]
struct Ring {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// The position of the last message.
    last: u64,
    closed: bool,
}

impl Log {
    pub(super) fn new(max_messages: usize, max_bytes: usize, budget: Arc<Budget>) -> Self {
        Self {
            ring: Mutex::default(),
            max_messages: max_messages.max(1),
            max_bytes,
            budget,
            news: watch::Sender::new(()),
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing in here panics half way.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a message; `None` once it is closed.
    pub(super) fn append(&self, message: Bytes) -> Option<u64> {
        let position = {
            let mut ring = self.ring();
            if ring.closed {
                return None;
            }
            ring.bytes += message.len();
            self.budget.use_up(message.len());
            ring.messages.push_back(message);
            ring.last += 1;
            let max_bytes = if self.budget.is_spent() { 0 } else { self.max_bytes };
            while ring.messages.len() > self.max_messages
                || (ring.bytes > max_bytes && ring.messages.len() > 1)
            {
                let dropped = ring.messages.pop_front().map_or(0, |message| message.len());
                ring.bytes -= dropped;
                self.budget.give_back(dropped);
            }
            ring.last
        };
        self.news.send_replace(());
        Some(position)
    }

    /// Returns the position of the last message.
    pub(super) fn last(&self) -> u64 {
        self.ring().last
    }

    pub(super) fn close(&self) {
        self.ring().closed = true;
        self.news.send_replace(());
    }

    pub(super) fn reader(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let news = self.news.subscribe();
        let last = self.last();
        // A position that was never reached belongs to another log: begin with what is there.
        let read = after.map_or(last, |after| if after > last { 0 } else { after });
        Reader { log: Arc::clone(self), read, news }
    }

    /// What stands after `read`; `None` when there is nothing yet.
    fn after(&self, read: u64) -> Option<Followed> {
        let ring = self.ring();
        let first = ring.last + 1 - ring.messages.len() as u64;
        if read + 1 < first {
            return Some(Followed::Lagged(first - 1));
        }
        let index = usize::try_from(read + 1 - first).unwrap_or(usize::MAX);
        match ring.messages.get(index) {
            Some(message) => Some(Followed::Message(read + 1, message.clone())),
            None => ring.closed.then_some(Followed::Closed),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let kept = self.ring().bytes;
        self.budget.give_back(kept);
    }
}

/// A place in a log.
pub(super) struct Reader {
    log: Arc<Log>,
    /// The position of the last message read.
    read: u64,
    news: watch::Receiver<()>,
}

impl Follow for Reader {
    fn next(&mut self) -> Later<'_, Followed> {
        Box::pin(async move {
            loop {
                // Seen before it is read: what comes in between wakes the wait below.
                self.news.mark_unchanged();
                if let Some(found) = self.log.after(self.read) {
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

    #[tokio::test]
    async fn readers_keep_their_own_place_and_hear_of_what_they_missed() {
        let log = Arc::new(Log::new(2, 1000, Budget::new(usize::MAX)));
        let mut late = log.reader(None);
        assert!(late.next().now_or_never().is_none());
        for text in ["a", "b", "c"] {
            log.append(Bytes::from_static(text.as_bytes()));
        }
        assert_eq!(late.next().await, Followed::Lagged(1));
        assert_eq!(late.next().await, Followed::Message(2, Bytes::from_static(b"b")));
        let mut resumed = log.reader(Some(2));
        assert_eq!(resumed.next().await, Followed::Message(3, Bytes::from_static(b"c")));
        log.close();
        assert_eq!(resumed.next().await, Followed::Closed);
        assert_eq!(log.append(Bytes::new()), None);
        assert_eq!(log.reader(Some(99)).next().await, Followed::Lagged(1), "a position of another log");
    }

    #[tokio::test]
    async fn bytes_are_bounded_but_the_last_message_stays() {
        let log = Arc::new(Log::new(10, 4, Budget::new(usize::MAX)));
        log.append(Bytes::from_static(b"123"));
        log.append(Bytes::from_static(b"123456"));
        let mut reader = log.reader(Some(0));
        assert_eq!(reader.next().await, Followed::Lagged(1));
        assert_eq!(reader.next().await, Followed::Message(2, Bytes::from_static(b"123456")));
    }

    #[tokio::test]
    async fn logs_together_keep_no_more_than_their_budget_and_give_it_back() {
        let budget = Budget::new(8);
        let first = Arc::new(Log::new(10, 100, Arc::clone(&budget)));
        let second = Arc::new(Log::new(10, 100, Arc::clone(&budget)));
        first.append(Bytes::from_static(b"12345"));
        second.append(Bytes::from_static(b"1"));
        second.append(Bytes::from_static(b"2"));
        assert_eq!(second.reader(Some(0)).next().await, Followed::Message(1, Bytes::from_static(b"1")));
        second.append(Bytes::from_static(b"345"));
        assert_eq!(second.reader(Some(0)).next().await, Followed::Lagged(2), "only the last one is kept");
        drop(first);
        assert_eq!(budget.used.load(Ordering::Relaxed), 3);
    }
}
