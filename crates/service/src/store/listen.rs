//! One connection on which this node hears what is published, for all who want to hear it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::address::{Address, Place};
use super::backoff::Backoff;
use super::dial::{READ, Wire, primary, reach};
use super::resp::{Command, Value};

/// Most messages that wait for one subscription.
const MAX_WAITING: usize = 1024;
/// Most bytes of them.
const MAX_WAITING_BYTES: usize = 8 << 20;
/// How often the server is asked whether it is there.
const ASK: Duration = Duration::from_secs(1);
/// How often sentinels are asked whether another server is the primary.
const LOOK: Duration = Duration::from_secs(2);

/// What a subscription comes upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something was published.
    Message(Bytes),
    /// Messages may be missing: the subscription took effect just now (also for the first time), or more came than fits. What
    /// is published is heard from here on; whoever needs the state reads it now.
    Gap,
}

/// Hears what is published on one channel. Dropping it ends it.
pub struct Subscription {
    inbox: Arc<Inbox>,
    ears: Arc<Ears>,
    channel: Bytes,
}

/// The channels that are listened to.
#[derive(Debug, Default)]
pub(super) struct Ears {
    channels: Mutex<HashMap<Bytes, Channel>>,
    /// Told when a channel comes or goes.
    changed: Notify,
    /// Whether the connection is there.
    is_live: AtomicBool,
}

#[derive(Debug, Default)]
struct Channel {
    /// Whether the server said that we hear it.
    is_heard: bool,
    inboxes: Vec<Arc<Inbox>>,
}

#[derive(Debug, Default)]
struct Inbox {
    waiting: Mutex<Waiting>,
    news: Notify,
    is_heard: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Bytes>,
    bytes: usize,
    has_gap: bool,
}

// ---- Subscription ----

impl Subscription {
    /// Waits for the next message. Never comes to an end once the store was closed.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Event {
        loop {
            let news = self.inbox.news.notified();
            if let Some(event) = self.inbox.take() {
                return event;
            }
            news.await;
        }
    }

    /// Tells whether what is published now is heard.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.inbox.is_heard.load(Ordering::Acquire)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut channels = self.ears.channels();
        if let Some(channel) = channels.get_mut(&self.channel) {
            channel.inboxes.retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
            self.ears.changed.notify_one();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("is_live", &self.is_live()).finish_non_exhaustive()
    }
}

// ---- Inbox ----

impl Inbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Event> {
        let mut waiting = self.waiting();
        if std::mem::take(&mut waiting.has_gap) {
            return Some(Event::Gap);
        }
        let message = waiting.messages.pop_front()?;
        waiting.bytes -= message.len();
        Some(Event::Message(message))
    }

    fn put(&self, message: Bytes) {
        {
            let mut waiting = self.waiting();
            waiting.bytes += message.len();
            waiting.messages.push_back(message);
            if waiting.messages.len() > MAX_WAITING || waiting.bytes > MAX_WAITING_BYTES {
                *waiting = Waiting { has_gap: true, ..Waiting::default() };
            }
        }
        self.news.notify_one();
    }

    /// Says that messages may be missing; those that wait are older than that and go.
    fn gap(&self) {
        self.is_heard.store(true, Ordering::Release);
        *self.waiting() = Waiting { has_gap: true, ..Waiting::default() };
        self.news.notify_one();
    }
}

// ---- Ears ----

impl Ears {
    fn channels(&self) -> MutexGuard<'_, HashMap<Bytes, Channel>> {
        // Nothing in here panics half way.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the connection is there.
    pub(super) fn is_live(&self) -> bool {
        self.is_live.load(Ordering::Relaxed)
    }

    /// Begins to hear a channel.
    pub(super) fn subscribe(self: &Arc<Self>, channel: Bytes) -> Subscription {
        let inbox = Arc::new(Inbox::default());
        {
            let mut channels = self.channels();
            let known = channels.entry(channel.clone()).or_default();
            known.inboxes.push(Arc::clone(&inbox));
            if known.is_heard {
                inbox.gap();
            } else {
                self.changed.notify_one();
            }
        }
        Subscription { inbox, ears: Arc::clone(self), channel }
    }

    /// Listens until the future is dropped.
    pub(super) async fn listen(
        &self,
        address: &Address,
        tls: Option<&Arc<ClientConfig>>,
        patience: Duration,
    ) {
        let mut backoff = Backoff::default();
        loop {
            // No connection is made for nobody.
            while self.channels().is_empty() {
                self.changed.notified().await;
            }
            // What went wrong is told by the connection for commands.
            if let Ok(wire) = reach(address, tls).await {
                let since = Instant::now();
                self.is_live.store(true, Ordering::Relaxed);
                Box::pin(self.hear(wire, address, tls, patience)).await;
                self.forget_heard();
                if since.elapsed() >= ASK {
                    backoff.reset();
                    continue;
                }
            }
            sleep(backoff.next()).await;
        }
    }

    fn forget_heard(&self) {
        self.is_live.store(false, Ordering::Relaxed);
        for channel in self.channels().values_mut() {
            channel.is_heard = false;
            for inbox in &channel.inboxes {
                inbox.is_heard.store(false, Ordering::Release);
            }
        }
    }

    /// Hears until the connection ends.
    async fn hear(
        &self,
        mut wire: Wire,
        address: &Address,
        tls: Option<&Arc<ClientConfig>>,
        patience: Duration,
    ) {
        let mut asked: HashSet<Bytes> = HashSet::new();
        let mut ask = interval(ASK);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        // What was asked before must have brought something until then.
        let (mut is_asked, mut is_due) = (false, true);
        loop {
            if std::mem::take(&mut is_due) && !self.follow_changes(&mut wire, &mut asked, patience).await {
                return;
            }
            wire.input.reserve(READ);
            tokio::select! {
                count = wire.stream.read_buf(&mut wire.input) => {
                    if !matches!(count, Ok(1..)) || !self.take(&mut wire) {
                        return;
                    }
                    (heard, is_asked) = (Instant::now(), false);
                }
                () = self.changed.notified() => is_due = true,
                _ = ask.tick() => {
                    if is_asked && heard.elapsed() >= ASK + patience {
                        return;
                    }
                    is_asked = true;
                    if !send(&mut wire, Command::of(&[b"PING"]), patience).await {
                        return;
                    }
                }
                _ = look.tick(), if matches!(address.place, Place::Sentinels { .. }) => {
                    let named = timeout(ASK, primary(address, tls)).await;
                    if matches!(named, Ok(Ok(host)) if host != wire.host) {
                        return;
                    }
                }
            }
        }
    }

    /// Tells the server which channels came and went; `false` when it does not take it.
    async fn follow_changes(&self, wire: &mut Wire, asked: &mut HashSet<Bytes>, patience: Duration) -> bool {
        let (mut came, mut went) = (Vec::new(), Vec::new());
        {
            let mut channels = self.channels();
            channels.retain(|_, channel| !channel.inboxes.is_empty());
            went.extend(asked.iter().filter(|channel| !channels.contains_key(*channel)).cloned());
            came.extend(
                channels.iter().filter(|(name, _)| !asked.contains(*name)).map(|(name, _)| name.clone()),
            );
        }
        went.iter().for_each(|channel| drop(asked.take(channel)));
        asked.extend(came.iter().cloned());
        for (word, names) in [(&b"UNSUBSCRIBE"[..], went), (b"SUBSCRIBE", came)] {
            for name in names {
                if !send(wire, Command::of(&[word, &name]), patience).await {
                    return false;
                }
            }
        }
        true
    }

    /// Takes what has come; `false` when it is nothing that a server says to who listens.
    fn take(&self, wire: &mut Wire) -> bool {
        loop {
            match wire.decoder.next(&mut wire.input) {
                Ok(None) => return true,
                Ok(Some(Ok(Value::Array(parts)))) => self.told(&parts),
                // The answer to our question from a server that heard it before the first subscription.
                Ok(Some(Ok(Value::Text(_)))) => {}
                Ok(Some(Ok(Value::Nil | Value::Int(_)) | Err(_))) | Err(_) => return false,
            }
        }
    }

    fn told(&self, parts: &[Value]) {
        let [Value::Text(kind), Value::Text(name), rest @ ..] = parts else { return };
        let mut channels = self.channels();
        let Some(channel) = channels.get_mut(name) else { return };
        match (&**kind, rest) {
            (b"message", [Value::Text(message)]) => {
                channel.inboxes.iter().for_each(|inbox| inbox.put(message.clone()));
            }
            (b"subscribe", _) => {
                channel.is_heard = true;
                channel.inboxes.iter().for_each(|inbox| inbox.gap());
            }
            (b"unsubscribe", _) => {
                channel.is_heard = false;
                channel.inboxes.iter().for_each(|inbox| inbox.is_heard.store(false, Ordering::Release));
            }
            _ => {}
        }
    }
}

async fn send(wire: &mut Wire, command: Command, patience: Duration) -> bool {
    let sent = async {
        wire.stream.write_all(&command.into_bytes()).await?;
        wire.stream.flush().await
    };
    matches!(timeout(patience, sent).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(ears: &Ears, kind: &'static str, name: &'static str, rest: Value) {
        let text = |text: &'static str| Value::Text(Bytes::from_static(text.as_bytes()));
        ears.told(&[text(kind), text(name), rest]);
    }

    #[tokio::test]
    async fn a_subscription_begins_with_a_gap_and_hears_only_its_channel() {
        let ears = Arc::new(Ears::default());
        let mut first = ears.subscribe(Bytes::from_static(b"a"));
        assert!(!first.is_live());
        heard(&ears, "subscribe", "a", Value::Int(1));
        assert!(first.is_live());
        let mut second = ears.subscribe(Bytes::from_static(b"a"));
        heard(&ears, "message", "a", Value::Text(Bytes::from_static(b"x")));
        heard(&ears, "message", "b", Value::Text(Bytes::from_static(b"y")));
        for subscription in [&mut first, &mut second] {
            assert_eq!(subscription.next().await, Event::Gap);
            assert_eq!(subscription.next().await, Event::Message(Bytes::from_static(b"x")));
            assert_eq!(subscription.inbox.take(), None);
        }
        drop((first, second));
        assert!(ears.channels().values().all(|channel| channel.inboxes.is_empty()));
    }

    #[tokio::test]
    async fn who_does_not_read_has_a_gap_instead_of_a_queue_without_end() {
        let ears = Arc::new(Ears::default());
        let mut slow = ears.subscribe(Bytes::from_static(b"a"));
        heard(&ears, "subscribe", "a", Value::Int(1));
        for _ in 0..=MAX_WAITING {
            heard(&ears, "message", "a", Value::Text(Bytes::from_static(b"x")));
        }
        assert!(slow.inbox.waiting().messages.len() < MAX_WAITING);
        assert_eq!(slow.next().await, Event::Gap);
        heard(&ears, "message", "a", Value::Text(Bytes::from(vec![0; MAX_WAITING_BYTES + 1])));
        assert_eq!(slow.next().await, Event::Gap);
        assert_eq!(slow.inbox.take(), None);
    }
}
