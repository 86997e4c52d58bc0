//! How a key is written: `tlk_<id>_<secret><check>`.
//!
//! The id finds the key and may be shown. The secret is 43 characters of 62, which is 256 bits. The check is a CRC-32 of all
//! that stands before it, so that a typing mistake is told from a key without a look-up, and a scanner for leaked secrets
//! tells a key from what only looks like one. Nothing here is ever stretched: what is random cannot be guessed.

use std::fmt;
use std::str;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::digest::sha256;

/// What every key begins with.
const PREFIX: &str = "tlk_";
/// The characters of an id: 32, none of which is easily taken for another.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_LENGTH: usize = 12;
/// The characters of secret and check.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 43 of 62 characters are 256.03 bits.
const SECRET_LENGTH: usize = 43;
/// 6 of 62 characters hold 32 bits.
const CHECK_LENGTH: usize = 6;
const CHECKED_LENGTH: usize = PREFIX.len() + ID_LENGTH + 1 + SECRET_LENGTH;
const KEY_LENGTH: usize = CHECKED_LENGTH + CHECK_LENGTH;

/// The public part of a key, by which it is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; ID_LENGTH]);

impl KeyId {
    /// Draws a new one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut id = [0; ID_LENGTH];
        fill(&mut id, ID_ALPHABET)?;
        Ok(Self(id))
    }

    /// Reads an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; ID_LENGTH] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| ID_ALPHABET.contains(byte)).then_some(Self(bytes))
    }

    /// Returns the id of a text that is a whole key, by its form and its check.
    #[must_use]
    pub fn of_key(text: &str) -> Option<Self> {
        well_formed(text)
    }

    /// Returns its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only characters of the alphabet come in.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.as_str())
    }
}

/// What is kept of a key: its SHA-256.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Takes a hash as a store kept it; `None` when it has not 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// Returns its bytes, for a store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns one that no key has: nobody knows what it is the hash of.
    pub(super) const fn nobody() -> Self {
        Self([0; 32])
    }

    fn of(text: &str) -> Self {
        Self(sha256(text.as_bytes()))
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// A key that was just made, to be shown once. Neither `Debug` nor an error ever shows it.
pub struct Key {
    id: KeyId,
    text: Box<str>,
}

impl Key {
    /// Makes a new key.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        Self::with_id(KeyId::random()?)
    }

    fn with_id(id: KeyId) -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET_LENGTH];
        fill(&mut secret, ALPHABET)?;
        let checked = format!("{PREFIX}{id}_{}", str::from_utf8(&secret).unwrap_or_default());
        let check = check(checked.as_bytes());
        let text = format!("{checked}{}", str::from_utf8(&check).unwrap_or_default());
        Ok(Self { id, text: text.into() })
    }

    /// Makes one that someone would who knows an id and nothing else.
    #[cfg(test)]
    pub(super) fn forge(id: KeyId) -> Self {
        Self::with_id(id).unwrap()
    }

    /// Returns the public id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns what a store keeps of it.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.text)
    }

    /// Returns the key itself, for the one time that it is shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The text is no key: it has another form, or its check does not fit. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no key: a letter is wrong or missing, or it is something else")]
pub struct NotAKey;

/// Tells whether a text begins as every key does.
pub(super) fn looks_like_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Reads a key: the id to find it by, and the hash to compare.
///
/// # Errors
/// [`NotAKey`], known from the text alone.
pub(super) fn parse(text: &str) -> Result<(KeyId, KeyHash), NotAKey> {
    let id = well_formed(text).ok_or(NotAKey)?;
    Ok((id, KeyHash::of(text)))
}

/// Returns the id of a text that is a key by its form and its check.
fn well_formed(text: &str) -> Option<KeyId> {
    if text.len() != KEY_LENGTH {
        return None;
    }
    let (id, rest) = text.strip_prefix(PREFIX)?.split_at_checked(ID_LENGTH)?;
    let id = KeyId::parse(id)?;
    let is_plain = rest.strip_prefix('_')?.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (checked, sent) = text.as_bytes().split_at_checked(CHECKED_LENGTH)?;
    (is_plain && check(checked) == *sent).then_some(id)
}

/// Fills with characters of an alphabet, each as likely as any other.
fn fill(out: &mut [u8], alphabet: &[u8]) -> Result<(), getrandom::Error> {
    let size = alphabet.len();
    // Numbers from here on would make the first characters more likely.
    let fair = 256 - 256 % size;
    let mut random = [0; 64];
    let mut left = [].iter();
    for place in out {
        *place = loop {
            let Some(byte) = left.next() else {
                getrandom::fill(&mut random)?;
                left = random.iter();
                continue;
            };
            let number = usize::from(*byte);
            if let Some(character) = alphabet.get(number % size).filter(|_| number < fair) {
                break *character;
            }
        };
    }
    Ok(())
}

/// Writes the CRC-32 of the bytes in six characters.
fn check(bytes: &[u8]) -> [u8; CHECK_LENGTH] {
    let mut rest = crc32(bytes);
    let mut text = [b'0'; CHECK_LENGTH];
    for place in text.iter_mut().rev() {
        let digit = usize::try_from(rest % 62).unwrap_or_default();
        *place = ALPHABET.get(digit).copied().unwrap_or(b'0');
        rest /= 62;
    }
    text
}

/// The CRC-32 of ISO 3309, as Ethernet and zip have it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_has_only_characters_of_a_url() {
        for _ in 0..200 {
            let key = Key::random().unwrap();
            let text = key.reveal();
            assert_eq!(text.len(), 66);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{text}");
            let (id, hash) = parse(text).unwrap();
            assert_eq!(id, key.id());
            assert!(hash.matches(&key.hash()));
        }
    }

    #[test]
    fn one_wrong_character_is_found_without_a_look_up_wherever_it_is() {
        let key = Key::random().unwrap();
        let text = key.reveal();
        for at in 0..text.len() {
            for wrong in ALPHABET.iter().chain(b"_-. ") {
                let mut bytes = text.as_bytes().to_vec();
                if bytes[at] != *wrong {
                    bytes[at] = *wrong;
                    let typed = String::from_utf8(bytes).unwrap();
                    assert_eq!(parse(&typed).unwrap_err(), NotAKey, "at {at}");
                }
            }
            if at > 0 && text.as_bytes()[at] != text.as_bytes()[at - 1] {
                let mut bytes = text.as_bytes().to_vec();
                bytes.swap(at, at - 1);
                assert!(parse(&String::from_utf8(bytes).unwrap()).is_err(), "swapped at {at}");
            }
        }
        for typed in
            ["", "tlk_", &text[1..], &text[..65], &format!("{text}0"), &format!(" {text}"), &"é".repeat(33)]
        {
            assert!(parse(typed).is_err());
        }
    }

    #[test]
    fn the_check_is_the_crc_that_others_compute() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(check(b"123456789"), *b"3jZRME");
    }

    #[test]
    fn neither_key_nor_hash_is_shown() {
        let key = Key::random().unwrap();
        let shown = format!("{key:?} {:?} {NotAKey}", key.hash());
        assert!(shown.contains(key.id().as_str()));
        assert!(!shown.contains(&key.reveal()[17..]), "{shown}");
        assert_eq!(format!("{:?}", key.hash()), "KeyHash(..)");
    }

    #[test]
    fn all_characters_are_as_likely() {
        let mut counts = [0_u32; 256];
        for _ in 0..500 {
            let mut secret = [0; SECRET_LENGTH];
            fill(&mut secret, ALPHABET).unwrap();
            secret.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        }
        // 21,500 draws of 62: 347 each, with a deviation of 18.
        assert!(ALPHABET.iter().all(|byte| (220..480).contains(&counts[usize::from(*byte)])));
    }
}
