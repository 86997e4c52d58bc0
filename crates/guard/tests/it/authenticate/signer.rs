//! Keys of every kind that signs tokens, made once for all tests, and what they sign.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(crate) static RSA: LazyLock<Signer> =
    LazyLock::new(|| Signer::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())));
pub(crate) static ES256: LazyLock<Signer> = LazyLock::new(Signer::es256);
pub(crate) static ES384: LazyLock<Signer> =
    LazyLock::new(|| Signer::Es384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()));
pub(crate) static EDDSA: LazyLock<Signer> =
    LazyLock::new(|| Signer::EdDsa(Ed25519KeyPair::generate().unwrap()));

/// A key with its secret half.
pub(crate) enum Signer {
    Rsa(Box<RsaKeyPair>),
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// Makes a key on P-256.
    pub(crate) fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn alg(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Es256(_) => "ES256",
            Self::Es384(_) => "ES384",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    /// The public half as a JWK.
    pub(crate) fn jwk(&self, kid: Option<&str>) -> Value {
        let mut jwk = match self {
            Self::Rsa(pair) => {
                let (n, e) = rsa_numbers(pair.public_key().as_ref());
                json!({ "kty": "RSA", "n": b64(n), "e": b64(e) })
            }
            Self::Es256(pair) => elliptic("P-256", pair.public_key().as_ref()),
            Self::Es384(pair) => elliptic("P-384", pair.public_key().as_ref()),
            Self::EdDsa(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref()) })
            }
        };
        jwk["use"] = "sig".into();
        if let Some(kid) = kid {
            jwk["kid"] = kid.into();
        }
        jwk
    }

    /// Signs with the usual algorithm of the key.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(_) => self.sign_rsa(&signature::RSA_PKCS1_SHA256, message),
            Self::Es256(pair) | Self::Es384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub(crate) fn sign_rsa(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let Self::Rsa(pair) = self else { panic!("no RSA key") };
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// Signs a header and claims of any text.
    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", b64(signature))
    }
}

fn elliptic(curve: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    json!({ "kty": "EC", "crv": curve, "x": b64(x), "y": b64(y) })
}

/// Reads modulus and exponent out of an `RSAPublicKey` in DER.
pub(crate) fn rsa_numbers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    fn element(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, start) = match der[1] {
            short if short < 0x80 => (usize::from(short), 2),
            0x81 => (usize::from(der[2]), 3),
            _ => (usize::from(der[2]) * 256 + usize::from(der[3]), 4),
        };
        (&der[start..start + length], &der[start + length..])
    }
    let (n, rest) = element(element(der).0);
    let (e, _) = element(rest);
    let plain = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
    (plain(n), plain(e))
}
