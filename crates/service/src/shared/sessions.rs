//! What became of legacy sessions and what they set, in shards so that sessions rarely wait for each other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{NoRoom, Settings, SettingsChange};
use crate::seal::now;

/// Parts of the table.
const SHARDS: usize = 16;
/// Most sessions that one part remembers.
const MAX_SESSIONS: usize = 8192;
/// Most resources one session may subscribe to.
const MAX_SUBSCRIPTIONS: usize = 256;
/// Most bytes of subscriptions that one part remembers.
const MAX_BYTES: usize = 2 << 20;
/// What a subscription costs beside its URI, in bytes.
const OVERHEAD: usize = 64;
/// The longest URI that is remembered, in bytes.
const MAX_URI: usize = 2048;

/// Sessions of which there is something to remember.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    shards: [Shard; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    notes: Mutex<Notes>,
    /// How many there are, so that calls need no lock while nobody ended a session or set anything.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Notes {
    by_session: HashMap<u128, Note>,
    /// Bytes of all subscriptions.
    bytes: usize,
}

impl Notes {
    fn forget_expired(&mut self) {
        let now = now();
        self.by_session.retain(|_, note| note.expires > now);
        self.bytes = self.by_session.values().map(Note::bytes).sum();
    }
}

#[derive(Debug, Default)]
struct Note {
    /// When its id expires, in seconds since 1970.
    expires: u64,
    ended: bool,
    settings: Option<Arc<Settings>>,
    /// How often they were changed, where other nodes change them too.
    #[cfg(feature = "redis")]
    version: u64,
}

impl Note {
    fn bytes(&self) -> usize {
        let subscriptions = self.settings.iter().flat_map(|settings| &settings.subscriptions);
        subscriptions.map(|uri| uri.len() + OVERHEAD).sum()
    }
}

impl Shard {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Nothing in here panics half way.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a session, which may come to take `more` bytes than before.
    fn with<T>(
        &self,
        session: u128,
        expires: u64,
        more: usize,
        change: impl FnOnce(&mut Note) -> Result<T, NoRoom>,
    ) -> Result<T, NoRoom> {
        let mut notes = self.notes();
        let known = notes.by_session.contains_key(&session);
        let is_full = |notes: &Notes| {
            notes.by_session.len() >= MAX_SESSIONS && !known || notes.bytes + more > MAX_BYTES
        };
        if is_full(&notes) {
            notes.forget_expired();
            if is_full(&notes) {
                return Err(NoRoom);
            }
        }
        let note = notes.by_session.entry(session).or_default();
        note.expires = expires;
        let before = note.bytes();
        let done = change(note);
        let after = note.bytes();
        if done.is_err() && !known {
            notes.by_session.remove(&session);
        } else {
            notes.bytes = notes.bytes + after - before;
        }
        self.count.store(notes.by_session.len(), Ordering::Release);
        done
    }

    fn look<T>(&self, session: u128, look: impl FnOnce(&Note) -> Option<T>) -> Option<T> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.notes().by_session.get(&session).and_then(look)
    }
}

impl Sessions {
    fn shard(&self, session: u128) -> &Shard {
        let [first, ..] = &self.shards;
        usize::try_from(session % SHARDS as u128).ok().and_then(|part| self.shards.get(part)).unwrap_or(first)
    }

    pub(super) fn end(&self, session: u128, expires: u64) -> Result<bool, NoRoom> {
        self.shard(session).with(session, expires, 0, |note| {
            note.settings = None;
            Ok(!std::mem::replace(&mut note.ended, true))
        })
    }

    pub(super) fn is_ended(&self, session: u128) -> bool {
        self.shard(session).look(session, |note| note.ended.then_some(())).is_some()
    }

    pub(super) fn settings(&self, session: u128) -> Option<Arc<Settings>> {
        self.shard(session).look(session, |note| note.settings.clone())
    }

    pub(super) fn change(&self, session: u128, expires: u64, change: SettingsChange) -> Result<(), NoRoom> {
        let more = match &change {
            SettingsChange::Subscribe(uri) => uri.len() + OVERHEAD,
            SettingsChange::Level(_) | SettingsChange::Unsubscribe(_) => 0,
        };
        self.shard(session).with(session, expires, more, |note| {
            let mut settings = note.settings.as_deref().cloned().unwrap_or_default();
            apply(&mut settings, change)?;
            note.settings = Some(Arc::new(settings));
            Ok(())
        })
    }

    /// Returns the sessions that were ended and when their ids expire, as far as they are not among `known`.
    #[cfg(feature = "redis")]
    pub(super) fn ended_beside(&self, known: &std::collections::HashSet<u128>) -> Vec<(u128, u64)> {
        let now = now();
        let mut found = Vec::new();
        for shard in &self.shards {
            let notes = shard.notes();
            let ended = notes.by_session.iter().filter(|(_, note)| note.ended && note.expires > now);
            found.extend(
                ended
                    .filter(|(session, _)| !known.contains(*session))
                    .map(|(session, note)| (*session, note.expires)),
            );
        }
        found
    }

    /// Takes over what another node knows of a session, unless something newer is known.
    #[cfg(feature = "redis")]
    pub(super) fn learn(
        &self,
        session: u128,
        expires: u64,
        version: u64,
        settings: Settings,
    ) -> Result<(), NoRoom> {
        let more = settings.subscriptions.iter().map(|uri| uri.len() + OVERHEAD).sum();
        self.shard(session).with(session, expires, more, |note| {
            if version > note.version && !note.ended {
                note.version = version;
                note.settings = Some(Arc::new(settings));
            }
            Ok(())
        })
    }
}

/// Changes settings.
///
/// # Errors
/// [`NoRoom`] when there are too many subscriptions, or the URI is too long.
pub(super) fn apply(settings: &mut Settings, change: SettingsChange) -> Result<(), NoRoom> {
    match change {
        SettingsChange::Level(level) => settings.level = Some(level),
        SettingsChange::Unsubscribe(uri) => {
            settings.subscriptions.remove(&uri);
        }
        SettingsChange::Subscribe(uri) => {
            let is_full =
                settings.subscriptions.len() >= MAX_SUBSCRIPTIONS && !settings.subscriptions.contains(&uri);
            if is_full || uri.len() > MAX_URI {
                return Err(NoRoom);
            }
            settings.subscriptions.insert(uri);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_protocol::LogLevel;

    #[test]
    fn what_is_remembered_is_bounded_and_expires() {
        let sessions = Sessions::default();
        assert_eq!((sessions.end(1, u64::MAX), sessions.end(1, u64::MAX)), (Ok(true), Ok(false)));
        assert!(sessions.is_ended(1) && !sessions.is_ended(2) && !sessions.is_ended(17));
        for number in 1..MAX_SESSIONS as u128 {
            assert_eq!(sessions.end(number * 16, u64::MAX), Ok(true));
        }
        assert_eq!(sessions.end(0, 1), Ok(true));
        let one_more = |number: u128| sessions.end((MAX_SESSIONS as u128 + number) * 16, u64::MAX);
        assert_eq!(one_more(0), Ok(true), "the expired one made room");
        assert_eq!(one_more(1), Err(NoRoom));
    }

    #[test]
    fn settings_are_kept_for_their_session_until_it_ends() {
        let sessions = Sessions::default();
        assert_eq!(sessions.settings(5), None);
        sessions.change(5, u64::MAX, SettingsChange::Level(LogLevel::Error)).unwrap();
        sessions.change(5, u64::MAX, SettingsChange::Subscribe("a".into())).unwrap();
        sessions.change(5, u64::MAX, SettingsChange::Subscribe("b".into())).unwrap();
        sessions.change(5, u64::MAX, SettingsChange::Unsubscribe("a".into())).unwrap();
        let settings = sessions.settings(5).unwrap();
        assert_eq!(settings.level, Some(LogLevel::Error));
        assert_eq!(settings.subscriptions.iter().map(|uri| &**uri).collect::<Vec<_>>(), ["b"]);
        assert_eq!(sessions.settings(21), None, "same shard, other session");
        for number in 0..MAX_SUBSCRIPTIONS {
            let _ = sessions.change(6, u64::MAX, SettingsChange::Subscribe(number.to_string().into()));
        }
        assert_eq!(sessions.change(6, u64::MAX, SettingsChange::Subscribe("one more".into())), Err(NoRoom));
        sessions.end(5, u64::MAX).unwrap();
        assert_eq!(sessions.settings(5), None);
    }

    #[test]
    fn subscriptions_of_all_sessions_together_are_bounded_in_bytes() {
        let sessions = Sessions::default();
        let mut taken = 0;
        for number in 0..4000_u128 {
            for uri in 0..10 {
                let uri = format!("{uri:02000}").into();
                taken += usize::from(
                    sessions.change(number * 16, u64::MAX, SettingsChange::Subscribe(uri)).is_ok(),
                );
            }
        }
        assert!((1000..1100).contains(&taken), "{taken}");
        for number in 0..4000_u128 {
            let _ = sessions.end(number * 16, u64::MAX);
        }
        assert!(sessions.change(1 << 20, u64::MAX, SettingsChange::Subscribe("a".into())).is_ok());
    }
}
