//! Sealed strings: what never changes rides with the client, and comes back unread and unaltered.
//!
//! AES-256-GCM-SIV, which forgives a repeated nonce. Purpose and caller are bound in as associated data, so that a cursor
//! is no session id and one caller's string is no other's; the expiry is inside. Text form: URL-safe base64 without padding.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 12;
const EXPIRY: usize = 8;
const TAG: usize = 16;
const HEAD: usize = 1 + KEY_ID + NONCE;

/// The longest sealed text that is looked at; longer ones are refused unread.
const MAX_SEALED: usize = 64 * 1024;

/// What a sealed string is for. A string sealed for one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `Mcp-Session-Id` of a legacy session.
    Session,
    /// `nextCursor` of a list.
    Cursor,
    /// `requestState` of a request that asks for input.
    State,
    /// `nextCursor` of a tool's result.
    Page,
    /// The address from which the rest of a tool's result is read.
    Results,
    /// A value that is kept in a store, for which the caller is the key it is kept under.
    Stored,
}

impl Purpose {
    const fn tag(self) -> u8 {
        match self {
            Self::Session => 1,
            Self::Cursor => 2,
            Self::State => 3,
            Self::Page => 4,
            Self::Results => 5,
            Self::Stored => 6,
        }
    }
}

/// Why a sealed string did not open. There is one answer on purpose: it does not tell a forger what was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed text is altered, expired, or sealed with another key")]
pub struct Unsealable;

/// The keys: the first seals, every one opens.
#[derive(Debug)]
pub struct Sealer {
    keys: Vec<([u8; KEY_ID], LessSafeKey)>,
}

impl Sealer {
    /// Makes a sealer with one random key: what it seals does not survive the process.
    ///
    /// # Errors
    /// [`Unsealable`] when the system gives no randomness.
    pub fn random() -> Result<Self, Unsealable> {
        let mut key = [0; 32];
        random(&mut key)?;
        Self::new(&[key])
    }

    /// Makes a sealer from 256-bit keys; the first seals, all open.
    ///
    /// # Errors
    /// [`Unsealable`] when there is no key.
    pub fn new(keys: &[[u8; 32]]) -> Result<Self, Unsealable> {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                let hash = digest::digest(&digest::SHA256, key);
                let id = hash.as_ref().first_chunk::<KEY_ID>().copied().unwrap_or_default();
                UnboundKey::new(&AES_256_GCM_SIV, key)
                    .map(|key| (id, LessSafeKey::new(key)))
                    .map_err(|_| Unsealable)
            })
            .collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(Unsealable) } else { Ok(Self { keys }) }
    }

    /// Seals `payload` for `purpose` and the caller of that identity, until `expires` (seconds since 1970; `None`: for ever).
    ///
    /// # Errors
    /// [`Unsealable`] when the system gives no randomness.
    pub fn seal(
        &self,
        purpose: Purpose,
        caller: &[u8],
        expires: Option<u64>,
        payload: &[u8],
    ) -> Result<String, Unsealable> {
        Ok(URL_SAFE_NO_PAD.encode(self.seal_bytes(purpose, caller, expires, payload)?))
    }

    /// Seals `payload` as [`Self::seal`] does, as bytes instead of text: for what does not ride with a client.
    ///
    /// # Errors
    /// [`Unsealable`] when the system gives no randomness.
    pub fn seal_bytes(
        &self,
        purpose: Purpose,
        caller: &[u8],
        expires: Option<u64>,
        payload: &[u8],
    ) -> Result<Vec<u8>, Unsealable> {
        let (id, key) = self.keys.first().ok_or(Unsealable)?;
        let mut nonce = [0; NONCE];
        random(&mut nonce)?;
        let mut sealed = Vec::with_capacity(HEAD + EXPIRY + payload.len() + TAG);
        sealed.push(VERSION);
        sealed.extend_from_slice(id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&expires.unwrap_or(u64::MAX).to_be_bytes());
        sealed.extend_from_slice(payload);
        let inner = sealed.get_mut(HEAD..).unwrap_or_default();
        let aad = Aad::from(associated(purpose, caller));
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, aad, inner).map_err(|_| Unsealable)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens a sealed text.
    ///
    /// # Errors
    /// [`Unsealable`] when it was altered, sealed for another purpose or caller or with an unknown key, or has expired.
    pub fn open(&self, purpose: Purpose, caller: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        if sealed.len() > MAX_SEALED {
            return Err(Unsealable);
        }
        self.open_bytes(purpose, caller, &URL_SAFE_NO_PAD.decode(sealed).map_err(|_| Unsealable)?)
    }

    /// Opens what [`Self::seal_bytes`] sealed, of any length: who calls has bounded it.
    ///
    /// # Errors
    /// [`Unsealable`] when it was altered, sealed for another purpose or caller or with an unknown key, or has expired.
    pub fn open_bytes(&self, purpose: Purpose, caller: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (head, rest) = sealed.split_first_chunk::<HEAD>().ok_or(Unsealable)?;
        let (version, rest_of_head) = head.split_first().ok_or(Unsealable)?;
        let (id, nonce) = rest_of_head.split_at(KEY_ID);
        let (_, key) = self.keys.iter().find(|(known, _)| known == id).ok_or(Unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        if *version != VERSION {
            return Err(Unsealable);
        }
        let mut rest = rest.to_vec();
        let aad = Aad::from(associated(purpose, caller));
        let length = key.open_in_place(nonce, aad, &mut rest).map_err(|_| Unsealable)?.len();
        let expires = rest.first_chunk::<EXPIRY>().ok_or(Unsealable)?;
        if u64::from_be_bytes(*expires) <= now() {
            return Err(Unsealable);
        }
        rest.truncate(length);
        rest.drain(..EXPIRY);
        Ok(rest)
    }
}

fn associated(purpose: Purpose, caller: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(caller.len() + 1);
    aad.push(purpose.tag());
    aad.extend_from_slice(caller);
    aad
}

/// Fills `bytes` from the system's source of randomness.
///
/// Straight from the kernel: the generator of the cryptographic library gathers entropy of its own first, which costs more
/// than all the rest of a start.
///
/// # Errors
/// [`Unsealable`] when it gives none.
pub fn random(bytes: &mut [u8]) -> Result<(), Unsealable> {
    getrandom::fill(bytes).map_err(|_| Unsealable)
}

/// Returns the SHA-256 of the parts, each with its length so that no other parts have the same.
#[must_use]
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// Returns the seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_what_it_sealed_and_only_for_the_same_purpose_and_caller() {
        let sealer = Sealer::random().unwrap();
        let sealed = sealer.seal(Purpose::Session, b"ann", Some(now() + 60), b"payload").unwrap();
        assert_eq!(sealer.open(Purpose::Session, b"ann", sealed.as_bytes()).unwrap(), b"payload");
        assert_eq!(sealer.open(Purpose::Session, b"bob", sealed.as_bytes()), Err(Unsealable));
        assert_eq!(sealer.open(Purpose::Cursor, b"ann", sealed.as_bytes()), Err(Unsealable));
        assert_eq!(
            Sealer::random().unwrap().open(Purpose::Session, b"ann", sealed.as_bytes()),
            Err(Unsealable)
        );
        for at in 0..sealed.len() {
            let mut altered = sealed.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sealer.open(Purpose::Session, b"ann", &altered), Err(Unsealable), "at {at}");
        }
    }

    #[test]
    fn expires() {
        let sealer = Sealer::random().unwrap();
        let sealed = sealer.seal(Purpose::Session, b"", Some(now().saturating_sub(1)), b"x").unwrap();
        assert_eq!(sealer.open(Purpose::Session, b"", sealed.as_bytes()), Err(Unsealable));
    }

    #[test]
    fn an_older_key_still_opens() {
        let sealed = Sealer::new(&[[1; 32]]).unwrap().seal(Purpose::Cursor, b"", None, b"x").unwrap();
        let rotated = Sealer::new(&[[2; 32], [1; 32]]).unwrap();
        assert_eq!(rotated.open(Purpose::Cursor, b"", sealed.as_bytes()).unwrap(), b"x");
    }
}
