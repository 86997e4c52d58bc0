//! The signing keys of an issuer: a JWK set, with each key ready to verify and good for certain algorithms only.
//!
//! What a key may be used for is decided here, from its type and what it says of itself, and never by a token. Keys of
//! unknown kinds, weak keys, keys for other uses and keys whose private half was published are left out. RFC 7517,
//! RFC 7518 section 6, RFC 8037 section 2.

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Family};
use super::fault::Fault;
use super::token::SignedToken;
use crate::digest::sha256;

/// Most keys of a set that are looked at.
const MAX_KEYS: usize = 128;
/// Most keys that one token is tried with: several may have no id, or the same one.
const MAX_TRIES: usize = 4;
/// The smallest modulus of an RSA key, in bits. RFC 7518 section 3.3.
const MIN_RSA_BITS: usize = 2048;

/// The keys of an issuer.
#[derive(Default)]
pub(crate) struct KeySet {
    keys: Vec<SigningKey>,
}

/// One key.
struct SigningKey {
    id: Option<Box<str>>,
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
    /// Tells this key, with its id and uses, from every other.
    print: [u8; 32],
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.len()).finish()
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a JWK set; `None` when it is none. Keys that cannot be used are left out.
    pub(crate) fn read(document: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(document).ok()?;
        let keys =
            document.keys.iter().take(MAX_KEYS).filter_map(Value::as_object).filter_map(SigningKey::read);
        Some(Self { keys: keys.collect() })
    }

    /// Returns how many keys can be used.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Tells whether a key can verify that algorithm.
    pub(crate) fn has_key_for(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.verifier(algorithm).is_some())
    }

    /// Tells whether every key of `older` is still here and unchanged.
    pub(crate) fn keeps(&self, older: &Self) -> bool {
        let prints: BTreeSet<&[u8; 32]> = self.keys.iter().map(|key| &key.print).collect();
        older.keys.iter().all(|key| prints.contains(&key.print))
    }

    /// Tells whether the signature is of one of the keys.
    ///
    /// A token that names a key is tried with keys of that id; one that names none only where a single key fits.
    ///
    /// # Errors
    /// [`Fault::NoSuchKey`] when no key fits the token, [`Fault::Signature`] when none of those that fit made it.
    pub(crate) fn verify(&self, token: &SignedToken<'_>) -> Result<(), Fault> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| token.key_id.is_none() || key.id == token.key_id)
            .filter_map(|key| key.verifier(token.algorithm))
            .take(MAX_TRIES)
            .peekable();
        if fitting.peek().is_none() {
            return Err(Fault::NoSuchKey);
        }
        let fitting: Vec<_> = fitting.collect();
        if token.key_id.is_none() && fitting.len() > 1 {
            return Err(Fault::NoSuchKey);
        }
        let is_signed = fitting.iter().any(|key| key.verify_sig(token.message, &token.signature).is_ok());
        if is_signed { Ok(()) } else { Err(Fault::Signature) }
    }
}

impl SigningKey {
    fn read(key: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        if key.contains_key("d") || key.contains_key("k") {
            tracing::warn!("a key of an issuer is published with its secret half and is not used");
            return None;
        }
        if !is_for_signatures(key) {
            return None;
        }
        let named = match key.get("alg") {
            None => None,
            Some(name) => Some(Algorithm::named(name.as_str()?)?),
        };
        let made = match text("kty")? {
            "RSA" => rsa(text("n")?, text("e")?)?,
            "EC" => elliptic(text("crv")?, text("x")?, text("y")?)?,
            "OKP" => edwards(text("crv")?, text("x")?)?,
            _ => return None,
        };
        let verifiers: Vec<_> =
            made.into_iter().filter(|(algorithm, _)| named.is_none_or(|named| named == *algorithm)).collect();
        if verifiers.is_empty() {
            return None;
        }
        let id = match key.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?.into()),
        };
        Some(Self { print: print(key), id, verifiers })
    }

    fn verifier(&self, wanted: Algorithm) -> Option<&ParsedPublicKey> {
        self.verifiers.iter().find(|(algorithm, _)| *algorithm == wanted).map(|(_, key)| key)
    }
}

/// Tells whether `use` and `key_ops` allow verifying. RFC 7517 sections 4.2 and 4.3.
fn is_for_signatures(key: &Map<String, Value>) -> bool {
    let for_use = key.get("use").is_none_or(|value| value.as_str() == Some("sig"));
    let for_verifying = key.get("key_ops").is_none_or(|value| {
        value.as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some("verify")))
    });
    for_use && for_verifying
}

fn rsa(modulus: &str, exponent: &str) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    // Some publish the sign byte of their big number library in front.
    let number = |text| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..).map(<[u8]>::to_vec)
    };
    let (n, e) = (number(modulus)?, number(exponent)?);
    let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
    if bits < MIN_RSA_BITS {
        tracing::warn!(bits, "an RSA key of an issuer is shorter than 2048 bits and is not used");
        return None;
    }
    // Odd, more than 1 (with which anybody can sign) and of at most 33 bits.
    let is_exponent = e.last().is_some_and(|last| last % 2 == 1) && *e != [1] && e.len() <= 5;
    if !is_exponent || n.last().is_none_or(|last| last % 2 == 0) {
        return None;
    }
    let components = PublicKeyComponents { n, e };
    let made = Algorithm::RSA.into_iter().filter_map(|algorithm| match algorithm.family() {
        Family::Rsa(parameters) => Some((algorithm, components.to_parsed_public_key(parameters).ok()?)),
        Family::Other(_) => None,
    });
    Some(made.collect())
}

fn elliptic(curve: &str, x: &str, y: &str) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    let (algorithm, width) = match curve {
        "P-256" => (Algorithm::ES256, 32),
        "P-384" => (Algorithm::ES384, 48),
        _ => return None,
    };
    let coordinate = |text| URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == width);
    let mut point = vec![4];
    point.extend(coordinate(x)?);
    point.extend(coordinate(y)?);
    plain(algorithm, &point)
}

fn edwards(curve: &str, x: &str) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    let point = URL_SAFE_NO_PAD.decode(x).ok().filter(|point| curve == "Ed25519" && point.len() == 32)?;
    plain(Algorithm::EdDSA, &point)
}

fn plain(algorithm: Algorithm, key: &[u8]) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    match algorithm.family() {
        Family::Other(by) => Some(vec![(algorithm, ParsedPublicKey::new(by, key).ok()?)]),
        Family::Rsa(_) => None,
    }
}

/// Digests what makes a key what it is, in a fixed order whatever the document's.
fn print(key: &Map<String, Value>) -> [u8; 32] {
    let mut text = String::new();
    for name in ["kty", "kid", "alg", "crv", "n", "e", "x", "y"] {
        text.push_str(key.get(name).and_then(Value::as_str).unwrap_or("\n"));
        text.push('\0');
    }
    sha256(text.as_bytes())
}
