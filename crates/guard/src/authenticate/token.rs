//! A signed token taken apart: the compact form of a JWS, its header and its claims, before anything is believed.
//!
//! Stricter than most: base64url without padding and without spare bits, no member twice, no extension that would have to
//! be understood. `jku`, `x5u`, `x5c` and `jwk` are never looked at, since keys come from the issuer alone. RFC 7515
//! section 7.1, RFC 7519 section 7.2, RFC 8725 section 3.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use trunkline_protocol::json::Scanner;

use super::algorithm::Algorithm;
use super::fault::Fault;

/// The longest credential that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;
/// The longest `kid`, in bytes.
const MAX_KEY_ID: usize = 256;
/// Header members that change what the rest means, none of which is supported.
const EXTENSIONS: [&str; 5] = ["crit", "b64", "enc", "zip", "cty"];

/// A token in its three parts.
pub struct SignedToken<'t> {
    /// What the signature is over: header and claims as they came.
    pub(crate) message: &'t [u8],
    pub(crate) signature: Vec<u8>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<Box<str>>,
    /// `typ` in lower case and without `application/`.
    pub(crate) kind: Option<Box<str>>,
    pub(crate) claims: Map<String, Value>,
}

impl fmt::Debug for SignedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedToken").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl<'t> SignedToken<'t> {
    /// Takes a token apart. `None` when it does not look like a signed token at all: somebody else's to judge.
    ///
    /// # Errors
    /// [`Fault`] when it looks like one and is not well-formed, or asks for what is not accepted.
    pub fn read(token: &'t str) -> Result<Option<Self>, Fault> {
        if token.len() > MAX_TOKEN {
            return Err(Fault::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let Some(header) = URL_SAFE_NO_PAD.decode(header).ok().filter(|header| starts_object(header)) else {
            return Ok(None);
        };
        let header = Header::read(&object(&header)?)?;
        let claims = object(&URL_SAFE_NO_PAD.decode(claims).map_err(|_| Fault::Base64)?)?;
        let dot = token.rfind('.').ok_or(Fault::Base64)?;
        Ok(Some(Self {
            message: token.as_bytes().get(..dot).ok_or(Fault::Base64)?,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| Fault::Base64)?,
            algorithm: header.algorithm,
            key_id: header.key_id,
            kind: header.kind,
            claims,
        }))
    }

    /// Returns what the token says of its issuer, which nobody has checked.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }
}

/// What of a header is used.
struct Header {
    algorithm: Algorithm,
    key_id: Option<Box<str>>,
    kind: Option<Box<str>>,
}

impl Header {
    fn read(header: &Map<String, Value>) -> Result<Self, Fault> {
        if EXTENSIONS.iter().any(|name| header.contains_key(*name)) {
            return Err(Fault::Critical);
        }
        let algorithm =
            header.get("alg").and_then(Value::as_str).and_then(Algorithm::named).ok_or(Fault::Algorithm)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if (1..=MAX_KEY_ID).contains(&id.len()) => Some(id.as_str().into()),
            Some(_) => return Err(Fault::KeyId),
        };
        let kind = match header.get("typ") {
            None => None,
            Some(Value::String(kind)) => Some(plain_type(kind)),
            Some(_) => return Err(Fault::Type),
        };
        Ok(Self { algorithm, key_id, kind })
    }
}

/// Brings a media type to one spelling: lower case, without `application/`. RFC 7515 section 4.1.9.
pub(crate) fn plain_type(kind: &str) -> Box<str> {
    let kind = kind.to_ascii_lowercase();
    kind.strip_prefix("application/").unwrap_or(&kind).into()
}

fn starts_object(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'{')
}

/// Reads a JSON object in which no member stands twice, however deep, and that is not nested too deeply.
pub(crate) fn object(text: &[u8]) -> Result<Map<String, Value>, Fault> {
    let text = std::str::from_utf8(text).map_err(|_| Fault::Json)?;
    let mut scanner = Scanner::new(text).map_err(|_| Fault::Json)?;
    scanner.value().and_then(|_| scanner.end()).map_err(|_| Fault::Json)?;
    if scanner.is_too_deep() {
        return Err(Fault::Json);
    }
    if scanner.repeated_key().is_some() {
        return Err(Fault::Repeated);
    }
    serde_json::from_str(text).map_err(|_| Fault::Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_taken_apart_and_keys_named_in_it_are_not_looked_at() {
        let text = token(
            r#"{"alg":"ES256","kid":"k","typ":"application/AT+JWT","jku":"https://e"}"#,
            r#"{"iss":"i"}"#,
        );
        let read = SignedToken::read(&text).unwrap().unwrap();
        assert_eq!(
            (read.algorithm, read.key_id.as_deref(), read.kind.as_deref()),
            (Algorithm::ES256, Some("k"), Some("at+jwt"))
        );
        assert_eq!((read.issuer(), read.signature.as_slice()), (Some("i"), b"sig".as_slice()));
        assert_eq!(read.message, text.strip_suffix(".c2ln").unwrap().as_bytes());
    }

    #[test]
    fn what_does_not_look_like_a_signed_token_is_left_to_others() {
        for opaque in
            ["", "a", "a.b", "a.b.c", "a.b.c.d.e", "..", &token("[]", "{}"), "eyJhbGciOiJub25lIn0.e30"]
        {
            assert!(matches!(SignedToken::read(opaque), Ok(None)), "{opaque}");
        }
    }

    #[test]
    fn members_that_stand_twice_are_found_under_any_spelling() {
        let twice = [
            token(r#"{"alg":"none","alg":"ES256"}"#, "{}"),
            token(r#"{"alg":"ES256","\u0061lg":"none"}"#, "{}"),
            token(r#"{"alg":"ES256"}"#, r#"{"a":[{"b":1,"b":2}]}"#),
        ];
        for text in &twice {
            assert_eq!(SignedToken::read(text).err(), Some(Fault::Repeated));
        }
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(70), "]".repeat(70));
        assert_eq!(SignedToken::read(&token(r#"{"alg":"ES256"}"#, &deep)).err(), Some(Fault::Json));
    }
}
