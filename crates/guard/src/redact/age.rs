//! The file format age v1, so far as it takes to seal short texts for a person's key and to open them again: recipients of type
//! X25519, in binary, as ASCII armor, or in base64 on one line.
//!
//! Specification: C2SP `age.md` (age-encryption.org/v1). Whoever has the key opens what is sealed here with the official tool, and
//! what that tool seals for such a key is opened here. Passphrases, SSH keys and plugins are not known.
//!
//! It is written on the cryptography that is linked already: X25519, HKDF and HMAC with SHA-256, ChaCha20-Poly1305.

mod armor;
mod bech32;
mod header;
mod key;
mod payload;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

pub use key::{BadKey, Identity, Recipient};

/// Why something sealed was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is not of the format, or was changed.
    #[error("this is nothing that was sealed with age, or it was changed")]
    Malformed,
    /// None of the keys is one that it was sealed for.
    #[error("this was sealed for another key than those that are here")]
    NoMatch,
    /// It has more stanzas or bytes than are read.
    #[error("this has more than is opened: at most 64 recipients and 16 MiB")]
    TooLarge,
}

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The system gives no randomness, or the cryptography refuses.
    #[error("the system gives no randomness to seal with")]
    Random,
    /// There is nobody to seal for.
    #[error("there is no recipient to seal for")]
    NoRecipient,
}

/// Seals several texts for the same recipients: they share a header and its key, each has a key of its own below that.
///
/// The header costs two multiplications on the curve for each recipient, some 100 us, and a text next to nothing.
pub struct Sealing {
    header: Vec<u8>,
    file_key: [u8; FILE_KEY],
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealing").finish_non_exhaustive()
    }
}

const FILE_KEY: usize = 16;

impl Sealing {
    /// Draws a key and wraps it for every recipient.
    ///
    /// # Errors
    /// [`SealError`] when there is no recipient, or no randomness.
    pub fn new(recipients: &[Recipient]) -> Result<Self, SealError> {
        let mut file_key = [0; FILE_KEY];
        getrandom::fill(&mut file_key).map_err(|_| SealError::Random)?;
        let header = header::write(recipients, &file_key)?;
        Ok(Self { header, file_key })
    }

    /// Seals a text, in binary.
    ///
    /// # Errors
    /// [`SealError::Random`] when the system gives no randomness.
    pub fn seal(&self, text: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut out = self.header.clone();
        payload::seal(&self.file_key, text, &mut out)?;
        Ok(out)
    }

    /// Seals a text as one line of base64, which begins with `YWdlLWVuY3J5cHRpb24ub3Jn`.
    ///
    /// # Errors
    /// [`SealError::Random`] when the system gives no randomness.
    pub fn seal_line(&self, text: &[u8]) -> Result<String, SealError> {
        self.seal(text).map(|sealed| armor::line(&sealed))
    }
}

/// Opens what was sealed for one of the keys: binary, armored, or base64 on one line.
///
/// # Errors
/// [`OpenError`] tells whether it is malformed, too large, or sealed for others.
pub fn open(sealed: &[u8], identities: &[Identity]) -> Result<Vec<u8>, OpenError> {
    if sealed.len() > MOST_SEALED {
        return Err(OpenError::TooLarge);
    }
    let binary = armor::read(sealed)?;
    let (file_key, body) = header::read(&binary, identities)?;
    payload::open(&file_key, body)
}

/// As text: a third more than 16 MiB.
const MOST_SEALED: usize = 24 << 20;

/// Writes something sealed as ASCII armor.
#[must_use]
pub fn armored(sealed: &[u8]) -> String {
    armor::write(sealed)
}

/// The length of a key that is derived.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF with SHA-256 (RFC 5869), 32 bytes.
fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Option<[u8; 32]> {
    let salt = if salt.is_empty() { Salt::none(HKDF_SHA256) } else { Salt::new(HKDF_SHA256, salt) };
    let mut key = [0; 32];
    salt.extract(secret).expand(&[info], Length(32)).and_then(|okm| okm.fill(&mut key)).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests;
