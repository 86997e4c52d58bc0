//! What became of legacy sessions and what they set, in shards so that sessions rarely wait for each other.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{NoRoom, Settings, SettingsChange, owner};
use crate::seal::now;

/// Parts of the table.
const SHARDS: usize = 16;
/// Most sessions that one part remembers.
const MAX_SESSIONS: usize = 8192;
/// Most of those that are one caller's: sessions fall to the parts by chance, and so do each caller's.
const MAX_SESSIONS_OF_CALLER: usize = MAX_SESSIONS / 4;
/// Most resources one session may subscribe to.
const MAX_SUBSCRIPTIONS: usize = 256;
/// Most bytes of subscriptions that one part remembers.
const MAX_BYTES: usize = 2 << 20;
/// Most of those that are one caller's.
const MAX_BYTES_OF_CALLER: usize = MAX_BYTES / 4;
/// What a subscription costs beside its URI, in bytes.
const OVERHEAD: usize = 64;
/// The longest URI that is remembered, in bytes.
const MAX_URI: usize = 2048;

/// Sessions of which there is something to remember.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    shards: [Shard; SHARDS],
    /// Whether others decide what of one caller there is room for, and this only remembers it.
    #[cfg(feature = "redis")]
    is_mirror: bool,
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
    /// What each caller has of it.
    by_owner: HashMap<NonZeroU64, Room>,
    /// Bytes of all subscriptions.
    bytes: usize,
    /// No session expires before, in seconds since 1970.
    soonest: u64,
}

/// How much is remembered of one caller.
#[derive(Debug, Default, Clone, Copy)]
struct Room {
    sessions: usize,
    bytes: usize,
}

impl Notes {
    fn forget_expired(&mut self) {
        let now = now();
        // Whoever is refused again and again must not have all of it looked through each time.
        if self.soonest > now {
            return;
        }
        self.by_session.retain(|_, note| note.expires > now);
        self.bytes = self.by_session.values().map(Note::bytes).sum();
        self.soonest = self.by_session.values().map(|note| note.expires).min().unwrap_or(u64::MAX);
        self.by_owner.clear();
        for (session, note) in &self.by_session {
            if let Some(owner) = owner(*session) {
                let room = self.by_owner.entry(owner).or_default();
                room.sessions += 1;
                room.bytes += note.bytes();
            }
        }
    }

    /// Tells what there is no room for: `is_new` for one more session, and so many bytes more. `owner` has a bound of their own.
    fn refusal(&self, owner: Option<NonZeroU64>, is_new: bool, more: usize) -> Option<NoRoom> {
        if is_new && self.by_session.len() >= MAX_SESSIONS || self.bytes + more > MAX_BYTES {
            return Some(NoRoom::OfAll);
        }
        let room = owner.and_then(|owner| self.by_owner.get(&owner)).copied().unwrap_or_default();
        let is_full = is_new && room.sessions >= MAX_SESSIONS_OF_CALLER
            || more > 0 && room.bytes + more > MAX_BYTES_OF_CALLER;
        (owner.is_some() && is_full).then_some(NoRoom::OfCaller)
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
        (session, bounded): (u128, Option<NonZeroU64>),
        expires: u64,
        more: usize,
        change: impl FnOnce(&mut Note) -> Result<T, NoRoom>,
    ) -> Result<T, NoRoom> {
        let mut notes = self.notes();
        let mut known = notes.by_session.contains_key(&session);
        if notes.refusal(bounded, !known, more).is_some() {
            notes.forget_expired();
            known = notes.by_session.contains_key(&session);
            if let Some(refusal) = notes.refusal(bounded, !known, more) {
                return Err(refusal);
            }
        }
        notes.soonest = notes.soonest.min(expires);
        let note = notes.by_session.entry(session).or_default();
        note.expires = expires;
        let before = note.bytes();
        let done = change(note);
        let after = note.bytes();
        if done.is_err() && !known {
            notes.by_session.remove(&session);
        } else {
            notes.bytes = notes.bytes + after - before;
            if let Some(owner) = owner(session) {
                let room = notes.by_owner.entry(owner).or_default();
                room.sessions += usize::from(!known);
                room.bytes = (room.bytes + after).saturating_sub(before);
            }
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
    /// Remembers what others decided.
    #[cfg(feature = "redis")]
    pub(super) fn mirror() -> Self {
        Self { is_mirror: true, ..Self::default() }
    }

    /// A session, and the caller whose sessions are bounded together, if any.
    fn place(&self, session: u128) -> (u128, Option<NonZeroU64>) {
        #[cfg(feature = "redis")]
        if self.is_mirror {
            return (session, None);
        }
        (session, owner(session))
    }

    fn shard(&self, session: u128) -> &Shard {
        let [first, ..] = &self.shards;
        usize::try_from(session % SHARDS as u128).ok().and_then(|part| self.shards.get(part)).unwrap_or(first)
    }

    pub(super) fn end(&self, session: u128, expires: u64) -> Result<bool, NoRoom> {
        self.shard(session).with(self.place(session), expires, 0, |note| {
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
        self.shard(session).with(self.place(session), expires, more, |note| {
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
        self.shard(session).with(self.place(session), expires, more, |note| {
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
                return Err(NoRoom::OfCaller);
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
        assert_eq!(one_more(1), Err(NoRoom::OfAll));
    }

    #[test]
    fn one_caller_does_not_take_the_room_of_all_and_has_it_again_when_sessions_expire() {
        let sessions = Sessions::default();
        let mine = |number: usize| (7_u128 << 64) | (number as u128 * 16);
        assert_eq!(sessions.end(mine(0), 1), Ok(true));
        for number in 1..MAX_SESSIONS_OF_CALLER {
            assert_eq!(sessions.end(mine(number), u64::MAX), Ok(true));
        }
        assert_eq!(sessions.end(mine(1), u64::MAX), Ok(false), "one that is known needs no room");
        assert_eq!(sessions.end(mine(MAX_SESSIONS), u64::MAX), Ok(true), "the expired one made room");
        assert_eq!(sessions.end(mine(MAX_SESSIONS + 1), u64::MAX), Err(NoRoom::OfCaller));
        let level = || SettingsChange::Level(LogLevel::Error);
        assert_eq!(sessions.change(mine(MAX_SESSIONS + 1), u64::MAX, level()), Err(NoRoom::OfCaller));
        // Another caller, and whoever is nobody in particular, have the rest.
        assert_eq!(sessions.end(8 << 64, u64::MAX), Ok(true));
        for number in 1..MAX_SESSIONS - MAX_SESSIONS_OF_CALLER {
            assert_eq!(sessions.end(number as u128 * 16, u64::MAX), Ok(true));
        }
        assert_eq!(sessions.end(0, u64::MAX), Err(NoRoom::OfAll));
    }

    #[test]
    fn one_caller_does_not_take_all_bytes_of_subscriptions() {
        let sessions = Sessions::default();
        let subscribe = |caller: u128, session: u128, number: usize| {
            let uri = format!("{number:02000}").into();
            sessions.change((caller << 64) | (session * 16), u64::MAX, SettingsChange::Subscribe(uri))
        };
        let of = |caller| {
            (0..2000).filter(|number| subscribe(caller, *number as u128 / 100, *number).is_ok()).count()
        };
        let each = MAX_BYTES_OF_CALLER / (2000 + OVERHEAD);
        assert_eq!([of(1), of(2)], [each; 2]);
        assert_eq!(subscribe(1, 0, 9999), Err(NoRoom::OfCaller));
        // What is given back can be had again.
        sessions.end(1 << 64, u64::MAX).unwrap();
        assert_eq!(subscribe(1, 1, 9999), Ok(()));
        let rest = (3..9).map(of).sum::<usize>();
        assert!(rest > 2 * each - 200, "{rest}");
        assert_eq!(subscribe(9, 0, 9999), Err(NoRoom::OfAll));
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
        assert_eq!(
            sessions.change(6, u64::MAX, SettingsChange::Subscribe("one more".into())),
            Err(NoRoom::OfCaller)
        );
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
