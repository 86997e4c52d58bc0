//! What the claims of a token must say, signed or introspected: whom it is from, for whom, when, and what for.
//!
//! RFC 7519 section 4.1, RFC 9068 sections 2.2 and 4. Clocks may disagree by the leeway, on every time alike.

use serde_json::{Map, Value};

use super::audience::Audience;
use super::fault::Fault;

/// The last second of the year 9999: what lies beyond is a mistake, most likely milliseconds.
const LAST_SECOND: u64 = 253_402_300_799;
/// The longest `sub`, in bytes; OpenID Connect allows 255.
const MAX_SUBJECT: usize = 1024;
/// Most scopes of one token.
const MAX_SCOPES: usize = 1024;

/// What a section asks of the claims.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'r> {
    pub(crate) audience: &'r Audience,
    /// In seconds.
    pub(crate) leeway: u64,
    /// Whether `exp` may be missing, as an answer of an introspection endpoint may have it.
    pub(crate) may_last: bool,
}

/// What the claims said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) scopes: Vec<Box<str>>,
    /// The second at which it is over, leeway included.
    pub(crate) ends: Option<u64>,
}

/// Checks all but the issuer. `now` is in seconds since 1970.
///
/// # Errors
/// [`Fault`] for the first claim that does not fit.
pub(crate) fn check(claims: &Map<String, Value>, expected: &Expected<'_>, now: u64) -> Result<Said, Fault> {
    if !expected.audience.is_in(claims.get("aud")) {
        return Err(Fault::Audience);
    }
    let ends = match date(claims, "exp", f64::floor)? {
        None if expected.may_last => None,
        None => return Err(Fault::Date),
        Some(expires) => Some(expires.saturating_add(expected.leeway)),
    };
    if ends.is_some_and(|ends| ends <= now) {
        return Err(Fault::Expired);
    }
    let latest = now.saturating_add(expected.leeway);
    for name in ["nbf", "iat"] {
        if date(claims, name, f64::ceil)?.is_some_and(|from| from > latest) {
            return Err(Fault::NotYet);
        }
    }
    // Whoever shows such a token as a bearer proves nothing: it may have been taken. RFC 7800, RFC 9449 section 7.2.
    if claims.contains_key("cnf") {
        return Err(Fault::Bound);
    }
    Ok(Said { scopes: scopes(claims)?, ends })
}

/// Reads the subject from the claim of that name; `None` when it is not there.
///
/// # Errors
/// [`Fault::Subject`] when it is not fit to be a name.
pub(crate) fn subject(claims: &Map<String, Value>, name: &str) -> Result<Option<Box<str>>, Fault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text))
            if (1..=MAX_SUBJECT).contains(&text.len()) && !text.chars().any(char::is_control) =>
        {
            Ok(Some(text.as_str().into()))
        }
        Some(_) => Err(Fault::Subject),
    }
}

/// Reads a `NumericDate`, which may have a fraction. RFC 7519 section 2.
fn date(claims: &Map<String, Value>, name: &str, whole: fn(f64) -> f64) -> Result<Option<u64>, Fault> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    let number = claim.as_number().ok_or(Fault::Date)?;
    let seconds = match number.as_u64() {
        Some(seconds) => seconds,
        None => {
            let seconds = number.as_f64().map(whole).filter(|seconds| (0.0..1e12).contains(seconds));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole and within bounds"
            )]
            seconds.map(|seconds| seconds as u64).ok_or(Fault::Date)?
        }
    };
    if seconds > LAST_SECOND { Err(Fault::Date) } else { Ok(Some(seconds)) }
}

/// Reads `scope`, else `scp`: texts between spaces (RFC 6749 section 3.3), or a list, as some issuers have it.
fn scopes(claims: &Map<String, Value>) -> Result<Vec<Box<str>>, Fault> {
    let mut scopes: Vec<Box<str>> = match claims.get("scope").or_else(|| claims.get("scp")) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split(' ').map(Into::into).collect(),
        Some(Value::Array(all)) => {
            let each = all.iter().map(|one| one.as_str().map(Into::into).ok_or(Fault::Scopes));
            each.collect::<Result<_, _>>()?
        }
        Some(_) => return Err(Fault::Scopes),
    };
    scopes.retain(|scope| !scope.is_empty());
    scopes.truncate(MAX_SCOPES);
    Ok(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn judge(leeway: u64, claims: Value) -> Result<Said, Fault> {
        let mut claims = claims.as_object().cloned().unwrap_or_default();
        claims.entry("aud").or_insert_with(|| "a".into());
        claims.entry("exp").or_insert_with(|| (NOW + 300).into());
        check(&claims, &Expected { audience: &Audience::new("a"), leeway, may_last: false }, NOW)
    }

    fn fault(leeway: u64, claims: Value) -> Option<Fault> {
        judge(leeway, claims).err()
    }

    #[test]
    fn au_07_the_leeway_holds_for_every_time_and_no_further() {
        use serde_json::json;
        assert_eq!(fault(60, json!({ "iat": NOW + 20, "nbf": NOW + 20 })), None);
        assert_eq!(fault(60, json!({ "iat": NOW + 20 })), None);
        assert_eq!(fault(60, json!({ "nbf": NOW + 600 })), Some(Fault::NotYet));
        assert_eq!(fault(60, json!({ "exp": NOW - 600 })), Some(Fault::Expired));
        assert_eq!(fault(60, json!({ "exp": NOW - 20 })), None);
        for late in [json!({ "nbf": NOW + 20 }), json!({ "nbf": NOW + 600 })] {
            assert_eq!(fault(0, late), Some(Fault::NotYet));
        }
        for over in [json!({ "exp": NOW - 600 }), json!({ "exp": NOW - 20 }), json!({ "exp": NOW })] {
            assert_eq!(fault(0, over), Some(Fault::Expired));
        }
        assert_eq!(fault(0, json!({ "exp": NOW + 1, "nbf": NOW, "iat": NOW })), None);
    }

    #[test]
    fn times_are_numbers_of_seconds_that_somebody_can_have_meant() {
        use serde_json::json;
        let ends = |exp: Value| judge(0, json!({ "exp": exp })).map(|said| said.ends);
        assert_eq!(ends(json!(NOW as f64 + 1.9)).unwrap(), Some(NOW + 1));
        assert_eq!(ends(json!(NOW as f64 + 0.9)).unwrap_err(), Fault::Expired);
        for wrong in [
            json!("9999999999"),
            json!(-1),
            json!(-0.5),
            json!(1e300),
            json!(u64::MAX),
            json!(NOW * 1000),
            json!(null),
            json!(true),
            json!([NOW + 9]),
        ] {
            assert_eq!(ends(wrong.clone()).unwrap_err(), Fault::Date, "{wrong}");
        }
    }

    #[test]
    fn scopes_are_read_from_either_claim_in_either_form() {
        use serde_json::json;
        let scopes = |claims: Value| judge(0, claims).map(|said| said.scopes.join("|"));
        assert_eq!(scopes(json!({ "scope": "a  b" })).unwrap(), "a|b");
        assert_eq!(scopes(json!({ "scp": ["a", "b"] })).unwrap(), "a|b");
        assert_eq!(scopes(json!({ "scp": "a b", "scope": "c" })).unwrap(), "c");
        assert_eq!(scopes(json!({ "scope": 1 })).unwrap_err(), Fault::Scopes);
        assert_eq!(scopes(json!({ "scp": ["a", 1] })).unwrap_err(), Fault::Scopes);
    }
}
