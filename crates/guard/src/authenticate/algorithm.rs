//! The signature algorithms that are accepted, and no others: RSA, RSA-PSS, ECDSA on two curves, Ed25519.
//!
//! `none` and everything symmetric have no name here, so no configuration and no token can bring them in. RFC 8725
//! section 3.1 and 3.2.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, VerificationAlgorithm,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// A signature algorithm by its name of RFC 7518 section 3.1, and of RFC 8037 for Ed25519.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    #[serde(alias = "Ed25519")]
    EdDSA,
}

/// The kinds of key that the algorithms work with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Family {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

impl Algorithm {
    /// The algorithms of an RSA key.
    pub(crate) const RSA: [Self; 6] =
        [Self::RS256, Self::RS384, Self::RS512, Self::PS256, Self::PS384, Self::PS512];

    /// Reads the name, exactly as RFC 7518 spells it; RFC 9864 calls EdDSA on that curve `Ed25519`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::RS256,
            "RS384" => Self::RS384,
            "RS512" => Self::RS512,
            "PS256" => Self::PS256,
            "PS384" => Self::PS384,
            "PS512" => Self::PS512,
            "ES256" => Self::ES256,
            "ES384" => Self::ES384,
            "EdDSA" | "Ed25519" => Self::EdDSA,
            _ => return None,
        })
    }

    /// Returns how to verify it.
    pub(crate) fn family(self) -> Family {
        match self {
            Self::RS256 => Family::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => Family::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::RS512 => Family::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Self::PS256 => Family::Rsa(&RSA_PSS_2048_8192_SHA256),
            Self::PS384 => Family::Rsa(&RSA_PSS_2048_8192_SHA384),
            Self::PS512 => Family::Rsa(&RSA_PSS_2048_8192_SHA512),
            Self::ES256 => Family::Other(&ECDSA_P256_SHA256_FIXED),
            Self::ES384 => Family::Other(&ECDSA_P384_SHA384_FIXED),
            Self::EdDSA => Family::Other(&ED25519),
        }
    }
}
