//! What this node knows of what the others did: fed by what they publish, and read anew whenever something may be missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::super::sessions::Sessions;
use super::super::{Away, Change};
use super::mirror::Mirror;
use super::sessions::{ENDED, Kept};
use super::{Core, NEWS, scripts};
use crate::seal::now;
use crate::store::{Event, Value};

/// Logs that the changes of sessions are spread over, so that one session wakes few others.
const SESSION_LOGS: usize = 64;
/// How often it is noted that this node still hears.
const NOTE: Duration = Duration::from_secs(1);
/// How long the store is left alone after it could not be read.
const REST: Duration = Duration::from_millis(100);
/// Sessions read at a time.
const PAGE: &[u8] = b"256";
/// Most sessions whose end the store is told again at one gap.
const MAX_TOLD: usize = 10_000;
/// Most pages that are read at one gap.
const MAX_PAGES: usize = 10_000;
/// What news are sealed with.
const BOUND: &[u8] = b"news";
/// What changes are sealed with.
pub(super) const CHANGES: &[u8] = b"changes";

/// What this node knows.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) sessions: Sessions,
    pub(super) changes: Mirror,
    pub(super) tasks: Mirror,
    session_logs: [Mirror; SESSION_LOGS],
    /// When this node last knew that it hears, in seconds since 1970.
    heard: AtomicU64,
    is_current: watch::Sender<bool>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            sessions: Sessions::mirror(),
            changes: Mirror::default(),
            tasks: Mirror::default(),
            session_logs: std::array::from_fn(|_| Mirror::default()),
            heard: AtomicU64::new(0),
            is_current: watch::Sender::new(false),
        }
    }
}

impl Feed {
    pub(super) fn session_log(&self, session: u128) -> &Mirror {
        let [first, ..] = &self.session_logs;
        let place = usize::try_from(session % SESSION_LOGS as u128).unwrap_or(0);
        self.session_logs.get(place).unwrap_or(first)
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(super) fn is_current(&self) -> bool {
        *self.is_current.borrow()
    }

    pub(super) async fn until_current(&self) {
        // The sender lives as long as this.
        let _ = self.is_current.subscribe().wait_for(|is_current| *is_current).await;
    }

    fn note(&self, is_current: bool) {
        if is_current {
            self.heard.store(now(), Ordering::Relaxed);
        }
        self.is_current.send_if_modified(|was| std::mem::replace(was, is_current) != is_current);
    }

    /// Takes in that a session was ended, or what it set.
    fn learn(&self, session: u128, expires: u64, kept: Option<Kept>) {
        let learned = match kept {
            None => self.sessions.end(session, expires).map(|_| ()),
            Some(kept) => self.sessions.learn(session, expires, kept.version, kept.settings()),
        };
        if learned.is_err() {
            tracing::warn!("this node has no room for what it heard of a session");
        }
    }
}

/// What one node tells the others, beside changes of lists and resources.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum News {
    /// A session was ended.
    Ended { change: Change, expires: u64 },
    /// A session set something.
    Set { change: Change, expires: u64, kept: Kept },
    /// Something that is only told.
    Told(Change),
}

impl Core {
    /// Returns news as they are published.
    pub(super) fn news(&self, news: &News) -> Result<Vec<u8>, Away> {
        let text = serde_json::to_vec(news).map_err(|_| Away)?;
        Ok([&b"n"[..], &self.node, &self.seal(BOUND, &text)?].concat())
    }

    /// Takes what was published. What cannot be read is of nodes with other keys, and nothing for us.
    fn hear(&self, message: &[u8]) {
        match message.split_first() {
            Some((b'c', rest)) => {
                let Some(colon) = rest.iter().take(20).position(|byte| *byte == b':') else { return };
                let (position, sealed) = rest.split_at(colon);
                let position = std::str::from_utf8(position).ok().and_then(|text| text.parse().ok());
                let Some(position) = position else { return };
                self.feed.changes.take(position, self.change(sealed.get(1..).unwrap_or_default()));
            }
            Some((b'n', rest)) => {
                let Some((node, sealed)) = rest.split_first_chunk::<16>() else { return };
                if *node == self.node {
                    return;
                }
                let news = self.open(BOUND, sealed).and_then(|text| serde_json::from_slice(&text).ok());
                if let Some(news) = news {
                    self.take(news);
                }
            }
            _ => {}
        }
    }

    /// Opens a change; empty, which nobody takes for one, when it cannot be opened.
    fn change(&self, sealed: &[u8]) -> Bytes {
        self.open(CHANGES, sealed).map(Bytes::from).unwrap_or_default()
    }

    fn take(&self, news: News) {
        let (change, expires, kept) = match news {
            News::Ended { change, expires } => (change, expires, None),
            News::Set { change, expires, kept } => (change, expires, Some(kept)),
            News::Told(change) => {
                match &change {
                    Change::Session(session, _) | Change::Cancel(session, _) => {
                        self.feed.session_log(*session).append(change.to_bytes());
                    }
                    Change::Task(_) => self.feed.tasks.append(change.to_bytes()),
                    Change::Tools | Change::Prompts | Change::Resources | Change::Resource(_) => {}
                }
                return;
            }
        };
        if let Change::Session(session, _) = change {
            // First what is true, then that it changed.
            self.feed.learn(session, expires, kept);
            self.feed.session_log(session).append(change.to_bytes());
        }
    }

    /// Reads everything that nodes know of.
    async fn read_all(&self) -> Result<(), Away> {
        let answer = self.store.run(&scripts::CHANGES, &[b"changes:last", b"changes"], &[]).await?;
        let Some([last, messages]) = answer.as_array() else { return Err(Away) };
        let last = last.as_int().and_then(|last| u64::try_from(last).ok()).ok_or(Away)?;
        let messages = messages.as_array().unwrap_or_default().iter().filter_map(Value::as_bytes);
        self.feed.changes.renew(last, messages.map(|sealed| self.change(sealed)).collect());
        let (mut cursor, mut ended) = (Bytes::from_static(b"0"), HashSet::new());
        for _ in 0..MAX_PAGES {
            cursor = self.read_sessions(&cursor, &mut ended).await?;
            if *cursor == *b"0" {
                break;
            }
        }
        // A store that lost what it had learns it again from who remembers.
        for (session, expires) in self.feed.sessions.ended_beside(&ended).into_iter().take(MAX_TOLD) {
            if self.tell_end(session, expires).await?.is_err() {
                // For this node it goes on to count.
                tracing::debug!("the store has no room for the end of a session that this node remembers");
            }
        }
        // What was only told meanwhile is lost: who waits for it looks again.
        self.feed.tasks.lag();
        self.feed.session_logs.iter().for_each(|log| log.lag());
        Ok(())
    }

    /// Reads some sessions, and adds those that were ended to `ended`.
    async fn read_sessions(&self, cursor: &[u8], ended: &mut HashSet<u128>) -> Result<Bytes, Away> {
        let keys: [&[u8]; 2] = [b"sessions:value", b"sessions"];
        let answer = self.store.run(&scripts::SESSIONS, &keys, &[cursor, PAGE]).await?;
        let Some([next, found]) = answer.as_array() else { return Err(Away) };
        for session in found.as_array().unwrap_or_default().chunks_exact(3) {
            let [Value::Text(id), Value::Text(value), expires] = session else { continue };
            let (Ok(id), Some(expires)) = (<[u8; 16]>::try_from(&**id), expires.as_int()) else { continue };
            let (session, expires) = (u128::from_be_bytes(id), u64::try_from(expires).unwrap_or(0));
            if **value == *ENDED {
                ended.insert(session);
                self.feed.learn(session, expires, None);
            } else if let Some(kept) = self.kept(session, value) {
                self.feed.learn(session, expires, Some(kept));
            }
        }
        next.as_bytes().cloned().ok_or(Away)
    }
}

/// Hears what the others tell, for as long as the future lives.
pub(super) async fn follow(core: Arc<Core>) {
    let mut news = core.store.subscribe(NEWS);
    let mut note = interval(NOTE);
    note.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_read = false;
    // Sessions that begin before the store is first reached are vouched for from here on.
    core.feed.heard.store(now(), Ordering::Relaxed);
    loop {
        tokio::select! {
            biased;
            event = news.next() => match event {
                Event::Message(message) => core.hear(&message),
                Event::Gap => is_read = false,
            },
            _ = note.tick() => {}
        }
        if !is_read && news.is_live() {
            match core.read_all().await {
                Ok(()) => is_read = true,
                Err(Away) => sleep(REST).await,
            }
        }
        core.feed.note(is_read && news.is_live());
    }
}
