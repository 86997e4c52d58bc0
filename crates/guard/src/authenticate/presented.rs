//! What the head of a request presents: one credential, taken out of `Authorization` or `X-API-Key`.
//!
//! RFC 6750 section 2.1; schemes are compared without regard to case, RFC 9110 section 11.1. A token in the query, a
//! cookie or the body is none.

use trunkline_service::authenticate::Credentials;

use super::fault::Fault;
use super::token::MAX_TOKEN;

/// The scheme and the space after it.
const SCHEME: &[u8] = b"bearer";

/// A credential and the place it came from.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'c> {
    pub(crate) text: &'c str,
    /// Whether it came as `X-API-Key`, where a token does not belong.
    pub(crate) is_key_only: bool,
}

/// The same before anybody looked at its characters: enough to compare it with what was accepted before.
#[derive(Clone, Copy)]
pub(crate) struct Located<'c> {
    pub(crate) bytes: &'c [u8],
    pub(crate) is_key_only: bool,
}

impl<'c> Located<'c> {
    /// Finds the credential, in the time that a few bytes of it take.
    ///
    /// # Errors
    /// [`Fault`] when there is none, or more than one.
    pub(crate) fn find(credentials: &Credentials<'c>) -> Result<Self, Fault> {
        let (bytes, is_key_only) = match (credentials.authorization, credentials.api_key) {
            (None, None) => return Err(Fault::Missing),
            (Some(value), None) => (bearer(value)?, false),
            (None, Some(key)) => (bounded(key)?, true),
            (Some(value), Some(key)) => match bearer(value)? {
                token if token == key => (token, true),
                _ => return Err(Fault::Two),
            },
        };
        Ok(Self { bytes, is_key_only })
    }
}

impl<'c> Presented<'c> {
    /// Takes the credential out. It costs nothing that grows with the number of callers, and allocates nothing.
    ///
    /// # Errors
    /// [`Fault`] when there is none, more than one, or one that cannot be.
    pub(crate) fn read(credentials: &Credentials<'c>) -> Result<Self, Fault> {
        let Located { bytes, is_key_only } = Located::find(credentials)?;
        if !is_token68(bytes) {
            let is_list = !is_key_only && bytes.iter().any(|byte| matches!(byte, b' ' | b'\t' | b','));
            return Err(if is_list { Fault::Header } else { Fault::Character });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::Character)?;
        Ok(Self { text, is_key_only })
    }
}

/// Returns what follows `Bearer`.
fn bearer(value: &[u8]) -> Result<&[u8], Fault> {
    let value = bounded(value)?;
    let space = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, token) = value.split_at_checked(space).ok_or(Fault::Header)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        // Another scheme is as good as nothing sent; what has no shape at all is a mistake to tell.
        let is_scheme =
            scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
        return Err(if is_scheme && !scheme.is_empty() { Fault::Scheme } else { Fault::Header });
    }
    // One space or more, says the grammar.
    let spaces = token.iter().take_while(|byte| **byte == b' ').count();
    let token = token.get(spaces..).unwrap_or_default();
    if token.is_empty() { Err(Fault::Header) } else { Ok(token) }
}

fn bounded(value: &[u8]) -> Result<&[u8], Fault> {
    match value.len() {
        0 => Err(Fault::Header),
        length if length > MAX_TOKEN => Err(Fault::TooLong),
        _ => Ok(value),
    }
}

/// Tells whether all of it is what a token is written with. RFC 9110 section 11.2.
fn is_token68(text: &[u8]) -> bool {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
    let plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    end > 0 && text.get(..end).is_some_and(|text| text.iter().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'c>(
        authorization: Option<&'c [u8]>,
        api_key: Option<&'c [u8]>,
    ) -> Result<(&'c str, bool), Fault> {
        Presented::read(&Credentials { authorization, api_key }).map(|found| (found.text, found.is_key_only))
    }

    #[test]
    fn au_04_the_scheme_is_read_in_any_case_and_no_other_place_counts() {
        for value in ["Bearer abc", "bearer abc", "BEARER   abc"] {
            assert_eq!(read(Some(value.as_bytes()), None), Ok(("abc", false)), "{value}");
        }
        for value in ["Basic abc", "DPoP abc", "Token abc", "abc", "Bearerabc", "access_token=abc"] {
            assert!(
                matches!(read(Some(value.as_bytes()), None), Err(Fault::Scheme | Fault::Header)),
                "{value}"
            );
        }
        assert_eq!(read(None, None), Err(Fault::Missing));
    }

    #[test]
    fn what_is_not_one_scheme_and_one_token_is_told_as_a_malformed_request() {
        for value in [
            "",
            " ",
            "Bearer",
            "Bearer ",
            "Bearer\tabc",
            "Bearer a b",
            "Bearer a, b",
            "Bearer a,Bearer b",
            " Bearer a",
        ] {
            assert_eq!(read(Some(value.as_bytes()), None), Err(Fault::Header), "{value:?}");
        }
        let bad: [&[u8]; 6] =
            [b"Bearer =", b"Bearer a=b", b"Bearer a\xffb", b"Bearer \"a\"", b"Bearer a;b", b"Bearer a%2e"];
        for value in bad {
            assert_eq!(read(Some(value), None), Err(Fault::Character), "{value:?}");
        }
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN));
        assert_eq!(read(Some(long.as_bytes()), None), Err(Fault::TooLong));
    }

    #[test]
    fn both_headers_are_one_credential_or_a_mistake() {
        assert_eq!(read(Some(b"Bearer abc"), Some(b"abc")), Ok(("abc", true)));
        assert_eq!(read(Some(b"Bearer abc"), Some(b"abd")), Err(Fault::Two));
        assert_eq!(read(Some(b"Bearer abc"), Some(b"")), Err(Fault::Two));
        assert_eq!(read(Some(b"Basic abc"), Some(b"abc")), Err(Fault::Scheme));
        assert_eq!(read(None, Some(b"abc")), Ok(("abc", true)));
        assert_eq!(read(None, Some(b"")), Err(Fault::Header));
    }
}
