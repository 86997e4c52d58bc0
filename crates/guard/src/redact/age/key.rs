//! The keys of age: recipients, which seal, and identities, which open.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};

use super::SealError;
use super::bech32;

/// The public half of a key: `age1...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Recipient(pub(super) [u8; 32]);

/// The secret half of a key: `AGE-SECRET-KEY-1...`. Neither `Debug` nor anything else but [`Identity::expose`] shows it.
#[derive(Clone)]
pub struct Identity {
    secret: [u8; 32],
    recipient: Recipient,
}

/// A text that is no key of the kind that is wanted. It does not repeat the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKey {
    /// No recipient.
    #[error(
        "this is no recipient of age: it has to begin with `age1` and be copied whole; `trunkline secret keygen` prints one"
    )]
    Recipient,
    /// A secret key where a recipient is wanted.
    #[error(
        "this is a secret key, and what is wanted is its recipient, which begins with `age1`; take the key out of this file and make a new one"
    )]
    SecretAsRecipient,
    /// No identity.
    #[error("this is no secret key of age: it has to begin with `AGE-SECRET-KEY-1` and be copied whole")]
    Identity,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("recipient", &self.recipient).finish_non_exhaustive()
    }
}

const RECIPIENT: &str = "age";
const IDENTITY: &str = "age-secret-key-";

impl Recipient {
    /// Agrees on a secret with the holder of this key.
    pub(super) fn agree(&self, with: &PrivateKey) -> Option<[u8; 32]> {
        let peer = UnparsedPublicKey::new(&X25519, self.0);
        let shared =
            agreement::agree(with, peer, (), |secret| <[u8; 32]>::try_from(secret).map_err(|_| ())).ok()?;
        // A point of small order, whose secret everybody knows. RFC 7748 6.1.
        (shared != [0; 32]).then_some(shared)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(RECIPIENT, &self.0))
    }
}

impl FromStr for Recipient {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        if text.get(..IDENTITY.len()).is_some_and(|start| start.eq_ignore_ascii_case(IDENTITY)) {
            return Err(BadKey::SecretAsRecipient);
        }
        let bytes = bech32::decode(RECIPIENT, text).filter(|_| text.starts_with("age1"));
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(BadKey::Recipient)
    }
}

impl Identity {
    /// Draws a new key.
    ///
    /// # Errors
    /// [`SealError::Random`] when the system gives no randomness.
    pub fn random() -> Result<Self, SealError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| SealError::Random)?;
        Self::of(secret).ok_or(SealError::Random)
    }

    pub(super) fn of(secret: [u8; 32]) -> Option<Self> {
        let key = private(&secret)?;
        let public = key.compute_public_key().ok()?;
        let recipient = Recipient(public.as_ref().try_into().ok()?);
        Some(Self { secret, recipient })
    }

    /// Returns the public half.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        self.recipient
    }

    /// Returns the secret as it is written to a file of keys.
    #[must_use]
    pub fn expose(&self) -> String {
        bech32::encode(IDENTITY, &self.secret).to_ascii_uppercase()
    }

    /// Agrees on a secret with whoever drew a key for one message.
    pub(super) fn agree(&self, share: [u8; 32]) -> Option<[u8; 32]> {
        Recipient(share).agree(&private(&self.secret)?)
    }

    /// Reads the keys of a file: one on each line; lines that are empty or begin with `#` say nothing.
    ///
    /// # Errors
    /// [`BadKey`] when a line is something else, or no line is a key.
    pub fn read_all(text: &str) -> Result<Vec<Self>, BadKey> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let all = lines.map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() { Err(BadKey::Identity) } else { Ok(all) }
    }
}

impl FromStr for Identity {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let bytes = bech32::decode(IDENTITY, text).filter(|_| text.starts_with("AGE-SECRET-KEY-1"));
        bytes.and_then(|bytes| bytes.try_into().ok()).and_then(Self::of).ok_or(BadKey::Identity)
    }
}

/// Makes a key of the library from its bytes.
pub(super) fn private(secret: &[u8; 32]) -> Option<PrivateKey> {
    PrivateKey::from_private_key(&X25519, secret).ok()
}
