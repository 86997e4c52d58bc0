//! One bounded log in memory, with readers that each keep their own place: written here, or fed with what was heard of one that
//! others write (`redis/mirror.rs`).

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
    /// Rises whenever something may be missing.
    epoch: u64,
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
            self.push(&mut ring, message);
            ring.last
        };
        self.news.send_replace(());
        Some(position)
    }

    /// Puts a message after the last one; what is too much goes.
    fn push(&self, ring: &mut Ring, message: Bytes) {
        ring.bytes += message.len();
        self.budget.use_up(message.len());
        ring.messages.push_back(message);
        ring.last += 1;
        let max_bytes = if self.budget.is_spent() { 0 } else { self.max_bytes };
        while ring.messages.len() > self.max_messages || (ring.bytes > max_bytes && ring.messages.len() > 1) {
            let dropped = ring.messages.pop_front().map_or(0, |message| message.len());
            ring.bytes -= dropped;
            self.budget.give_back(dropped);
        }
    }

    /// Goes on after that position: what comes next follows nothing that is kept, and readers are told.
    #[cfg(feature = "redis")]
    fn go_on_after(&self, ring: &mut Ring, position: u64) {
        self.budget.give_back(ring.bytes);
        ring.bytes = 0;
        ring.messages.clear();
        ring.last = position;
        ring.epoch += 1;
    }

    /// Takes a message that has that position; one that is known already is nothing new.
    #[cfg(feature = "redis")]
    pub(super) fn take(&self, position: u64, message: Bytes) {
        {
            let mut ring = self.ring();
            if position <= ring.last {
                return;
            }
            if position != ring.last + 1 {
                self.go_on_after(&mut ring, position - 1);
            }
            self.push(&mut ring, message);
        }
        self.news.send_replace(());
    }

    /// Takes what the log has that this one follows: its last position, and the messages up to it.
    #[cfg(feature = "redis")]
    pub(super) fn renew(&self, last: u64, messages: Vec<Bytes>) {
        {
            let mut ring = self.ring();
            let missed = last.checked_sub(ring.last).and_then(|missed| usize::try_from(missed).ok());
            let new = missed.and_then(|missed| messages.len().checked_sub(missed));
            if new.is_none() {
                self.go_on_after(&mut ring, last.saturating_sub(messages.len() as u64));
            }
            messages.into_iter().skip(new.unwrap_or(0)).for_each(|message| self.push(&mut ring, message));
            ring.last = last;
        }
        self.news.send_replace(());
    }

    /// Says that something may be missing.
    #[cfg(feature = "redis")]
    pub(super) fn lag(&self) {
        self.ring().epoch += 1;
        self.news.send_replace(());
    }

    /// Returns the position of the last message.
    pub(super) fn last(&self) -> u64 {
        self.ring().last
    }

    pub(super) fn close(&self) {
        self.ring().closed = true;
        self.news.send_replace(());
    }

    /// Reads what comes after a position, or from now on.
    pub(super) fn reader(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let news = self.news.subscribe();
        let ring = self.ring();
        // A position that was never reached belongs to another log: begin with what is there.
        let read = after.map_or(ring.last, |after| if after > ring.last { 0 } else { after });
        Reader { log: Arc::clone(self), read, epoch: Some(ring.epoch), news }
    }

    /// Reads what comes after a position that may not have been heard of yet: what lies between is missing then.
    #[cfg(feature = "redis")]
    pub(super) fn reader_of_heard(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let last = self.last();
        match after.filter(|after| *after > last) {
            Some(_) => Reader { epoch: None, ..self.reader(None) },
            None => self.reader(after),
        }
    }

    /// What stands after `read`, and the epoch it is of; `None` when there is nothing yet.
    fn after(&self, read: u64, epoch: Option<u64>) -> Option<(Followed, u64)> {
        let ring = self.ring();
        if epoch != Some(ring.epoch) {
            return Some((Followed::Lagged(ring.last), ring.epoch));
        }
        let first = (ring.last + 1).saturating_sub(ring.messages.len() as u64);
        if read + 1 < first {
            return Some((Followed::Lagged(first - 1), ring.epoch));
        }
        let index = usize::try_from(read + 1 - first).unwrap_or(usize::MAX);
        let found = match ring.messages.get(index) {
            Some(message) => Followed::Message(read + 1, message.clone()),
            None if ring.closed => Followed::Closed,
            None => return None,
        };
        Some((found, ring.epoch))
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
    /// The epoch it was read in; `None` when something is missing from the start.
    epoch: Option<u64>,
    news: watch::Receiver<()>,
}

impl Follow for Reader {
    fn next(&mut self) -> Later<'_, Followed> {
        Box::pin(async move {
            loop {
                // Seen before it is read: what comes in between wakes the wait below.
                self.news.mark_unchanged();
                if let Some((found, epoch)) = self.log.after(self.read, self.epoch) {
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
