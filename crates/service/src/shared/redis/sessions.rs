//! What became of sessions, in the store: whether they were ended, and what they set.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use trunkline_protocol::LogLevel;

use super::super::sessions::apply;
use super::super::{Away, Change, NoRoom, Settings, SettingsChange};
use super::feed::News;
use super::{Core, NEWS, scripts};
use crate::seal::now;

/// Most sessions of which something is remembered.
const MAX_SESSIONS: usize = 100_000;
/// Most bytes of what they set, sealed.
const MAX_BYTES: usize = 24 << 20;
/// Most sessions of one caller among them.
const MAX_SESSIONS_OF_CALLER: usize = MAX_SESSIONS / 4;
/// Most bytes of one caller among those. Less than a quarter: each node keeps them unsealed, where a short URI takes several times as
/// much, and has not much more room for those of all.
const MAX_BYTES_OF_CALLER: usize = 1 << 20;
/// How often a change is tried while others change the same session.
const TRIES: usize = 16;
/// The longest that anything of a session is remembered, in seconds.
const MAX_LIFE: u64 = 30 * 24 * 60 * 60;
/// What the store has for a session that was ended.
pub(super) const ENDED: &[u8] = b"e";

/// What a session set, as it is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    /// How often it was changed.
    pub(super) version: u64,
    level: Option<String>,
    subscriptions: BTreeSet<Box<str>>,
}

impl Kept {
    fn new(version: u64, settings: Settings) -> Self {
        let level = settings.level.map(|level| level.as_str().to_owned());
        Self { version, level, subscriptions: settings.subscriptions }
    }

    pub(super) fn settings(self) -> Settings {
        let level = self.level.and_then(|name| LogLevel::parse(&name));
        Settings { level, subscriptions: self.subscriptions }
    }
}

/// What a session's settings are sealed with.
fn bound(session: u128) -> Vec<u8> {
    [b"session:", &session.to_be_bytes()[..]].concat()
}

const KEYS: [&[u8]; 5] =
    [b"sessions", b"sessions:value", b"sessions:bytes", NEWS.as_bytes(), b"sessions:owners"];

/// What a script answered that found no room.
fn no_room(answer: Option<i64>) -> NoRoom {
    if answer == Some(-2) { NoRoom::OfCaller } else { NoRoom::OfAll }
}

impl Core {
    pub(super) async fn end_session(&self, session: u128, expires: u64) -> Result<bool, NoRoom> {
        self.tell_end(session, expires).await.unwrap_or(Err(NoRoom::OfAll))
    }

    /// Tells the store that a session was ended, and says what it has to say of it.
    pub(super) async fn tell_end(&self, session: u128, expires: u64) -> Result<Result<bool, NoRoom>, Away> {
        let expires = expires.min(now() + MAX_LIFE);
        let change = Change::Session(session, self.feed.changes.last());
        let news = News::Ended { change: change.clone(), expires };
        let message = self.news(&news)?;
        let (id, expires_text) = (session.to_be_bytes(), expires.to_string());
        let [most, of_caller] = [MAX_SESSIONS, MAX_SESSIONS_OF_CALLER].map(|number| number.to_string());
        let args = [&id[..], expires_text.as_bytes(), most.as_bytes(), &message, of_caller.as_bytes()];
        match self.store.run(&scripts::END, &KEYS, &args).await?.as_int() {
            Some(done @ (0 | 1)) => {
                // There is room wherever there is room in the store, or else the store itself is asked again at the next gap.
                let _ = self.feed.sessions.end(session, expires);
                self.feed.session_log(session).append(change.to_bytes());
                Ok(Ok(done == 1))
            }
            other => Ok(Err(no_room(other))),
        }
    }

    pub(super) async fn change_settings(
        &self,
        session: u128,
        expires: u64,
        change: SettingsChange,
    ) -> Result<(), NoRoom> {
        let expires = expires.min(now() + MAX_LIFE);
        for _ in 0..TRIES {
            let old = self.session(session).await.map_err(|_| NoRoom::OfAll)?;
            if old == ENDED {
                return Ok(());
            }
            let (version, mut settings) = self
                .kept(session, &old)
                .map_or_else(Default::default, |kept| (kept.version, kept.settings()));
            apply(&mut settings, change.clone())?;
            if self.set(session, expires, &old, version + 1, settings).await? {
                return Ok(());
            }
        }
        Err(NoRoom::OfAll)
    }

    /// Writes what a session set; `false` when somebody else did meanwhile.
    async fn set(
        &self,
        session: u128,
        expires: u64,
        old: &[u8],
        version: u64,
        settings: Settings,
    ) -> Result<bool, NoRoom> {
        let kept = Kept::new(version, settings.clone());
        let text = serde_json::to_vec(&kept).map_err(|_| NoRoom::OfAll)?;
        let new = [b"s", &self.seal(&bound(session), &text).map_err(|_| NoRoom::OfAll)?[..]].concat();
        let change = Change::Session(session, self.feed.changes.last());
        let message =
            self.news(&News::Set { change: change.clone(), expires, kept }).map_err(|_| NoRoom::OfAll)?;
        let most = [MAX_SESSIONS, MAX_BYTES, MAX_SESSIONS_OF_CALLER, MAX_BYTES_OF_CALLER];
        let most = most.map(|number| number.to_string());
        let [sessions, bytes, of_caller, bytes_of_caller] = most.each_ref().map(String::as_bytes);
        let (id, expires_text) = (session.to_be_bytes(), expires.to_string());
        let expires_text = expires_text.as_bytes();
        let args = [&id[..], expires_text, sessions, old, &new, &message, bytes, of_caller, bytes_of_caller];
        match self
            .store
            .run(&scripts::SET, &KEYS, &args)
            .await
            .map_err(Away::from)
            .map(|answer| answer.as_int())
        {
            Ok(Some(0)) => Ok(false),
            Ok(Some(1)) => {
                self.feed.sessions.learn(session, expires, version, settings)?;
                self.feed.session_log(session).append(change.to_bytes());
                Ok(true)
            }
            answer => Err(no_room(answer.ok().flatten())),
        }
    }

    /// Reads what the store has for a session; empty when it has nothing.
    async fn session(&self, session: u128) -> Result<Vec<u8>, Away> {
        let answer =
            self.store.run(&scripts::SESSION, &[b"sessions:value"], &[&session.to_be_bytes()]).await?;
        Ok(answer.as_bytes().map(|value| value.to_vec()).unwrap_or_default())
    }

    /// Reads what a session set from the store's value; `None` when it set nothing, or that cannot be opened.
    pub(super) fn kept(&self, session: u128, value: &[u8]) -> Option<Kept> {
        let sealed = value.strip_prefix(b"s")?;
        serde_json::from_slice(&self.open(&bound(session), sealed)?).ok()
    }
}
