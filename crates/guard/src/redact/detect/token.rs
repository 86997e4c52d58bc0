//! Credentials: tokens and keys whose form says what they are, private keys, passwords in addresses, and what looks random behind
//! a name like `password`.
//!
//! A digest, a UUID or an id is not counted for looking random: only its name would tell, and then it is.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::before;
use super::name::is_secret;

pub(super) fn find(bytes: &[u8], key: &str, each: &mut dyn FnMut(Range<usize>)) {
    let mut at = 0;
    let mut is_start = true;
    while let Some(byte) = bytes.get(at) {
        let found = match byte {
            b':' if bytes.get(at + 1..at + 3) == Some(b"//") => password_of_address(bytes, at),
            b'-' if is_start && bytes.get(at..at + BEGIN.len()) == Some(BEGIN) => private_key(bytes, at),
            _ if is_start && byte.is_ascii_alphanumeric() => of_known_form(bytes, at),
            _ => None,
        };
        is_start = !byte.is_ascii_alphanumeric();
        match found {
            // The last byte is looked at again, so that what follows knows what is before it.
            Some(range) => {
                at = range.end.max(at + 1);
                each(range);
                is_start = true;
            }
            None => at += 1,
        }
    }
    named(bytes, each);
    if is_secret(key.as_bytes()) && looks_random(bytes.trim_ascii()) {
        each(0..bytes.len());
    }
}

// ---- tokens that say what they are ----

/// The form of a kind of token: how it begins, what it is made of behind that, and how much of it there is at least.
struct Form {
    prefix: &'static str,
    made_of: fn(u8) -> bool,
    least: usize,
}

const fn form(prefix: &'static str, made_of: fn(u8) -> bool, least: usize) -> Form {
    Form { prefix, made_of, least }
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn url_safe(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

fn dotted(byte: u8) -> bool {
    url_safe(byte) || byte == b'.'
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// What issuers say of their own tokens, and what secret scanners look for; ours is in `authenticate/keys/format.rs`.
const FORMS: [Form; 45] = [
    form("tlk_", word, 12),
    form("sk-", url_safe, 20),
    form("sk_live_", word, 16),
    form("sk_test_", word, 16),
    form("rk_live_", word, 16),
    form("rk_test_", word, 16),
    form("whsec_", word, 16),
    form("ghp_", word, 20),
    form("gho_", word, 20),
    form("ghu_", word, 20),
    form("ghs_", word, 20),
    form("ghr_", word, 20),
    form("github_pat_", word, 20),
    form("glpat-", url_safe, 16),
    form("gldt-", url_safe, 16),
    form("glrt-", url_safe, 16),
    form("xoxa-", url_safe, 10),
    form("xoxb-", url_safe, 10),
    form("xoxc-", url_safe, 10),
    form("xoxd-", url_safe, 10),
    form("xoxe-", url_safe, 10),
    form("xoxe.", dotted, 10),
    form("xoxp-", url_safe, 10),
    form("xoxr-", url_safe, 10),
    form("xoxs-", url_safe, 10),
    form("xapp-", url_safe, 10),
    form("AKIA", upper, 16),
    form("ASIA", upper, 16),
    form("ABIA", upper, 16),
    form("ACCA", upper, 16),
    form("AIza", url_safe, 35),
    form("ya29.", dotted, 20),
    form("GOCSPX-", url_safe, 20),
    form("npm_", word, 30),
    form("pypi-", url_safe, 30),
    form("dop_v1_", word, 32),
    form("hf_", word, 24),
    form("SG.", dotted, 40),
    form("shpat_", word, 24),
    form("shpss_", word, 24),
    form("AGE-SECRET-KEY-1", upper, 40),
    form("AGE-PLUGIN-", url_safe, 20),
    form("PMAK-", url_safe, 30),
    form("NRAK-", url_safe, 20),
    form("lin_api_", word, 24),
];

fn of_known_form(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes.get(at..)?;
    let first = rest.first()?;
    match first {
        b'e' if rest.starts_with(b"eyJ") && !before(bytes, at).is_some_and(|byte| url_safe(*byte)) => {
            return signed_token(bytes, at);
        }
        b'B' | b'b' => return scheme(bytes, at),
        // Written as some libraries write it, all small.
        b'a' if rest.starts_with(b"age-secret-key-1") => {
            let length = rest.iter().take_while(|byte| url_safe(**byte)).count();
            return (length > 50).then_some(at..at + length);
        }
        _ => {}
    }
    FORMS.iter().filter(|form| form.prefix.as_bytes().first() == Some(first)).find_map(|form| {
        let rest = rest.strip_prefix(form.prefix.as_bytes())?;
        let is_part = |byte: &&u8| (form.made_of)(**byte);
        // No more of it is looked at than it takes to know, or words of words would be read again and again.
        let known = rest.iter().take(MOST_LOOKED_AT).take_while(is_part).count();
        // `sk-` also begins names; one that is a token has digits or letters of both cases.
        let text = rest.get(..known)?;
        let fits = known >= form.least && (is_mixed(text) || form.prefix.len() > 4);
        fits.then(|| at..at + form.prefix.len() + rest.iter().take_while(is_part).count())
    })
}

/// A JSON Web Token: three parts (five when encrypted) in base64url, the first of which is an object with `alg`. RFC 7515 7.1.
fn signed_token(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes.get(at..)?;
    let header = rest.get(..rest.iter().take(LONGEST_HEADER).position(|byte| !url_safe(*byte))?)?;
    let decoded = URL_SAFE_NO_PAD.decode(header).ok()?;
    let is_header = decoded.starts_with(b"{") && decoded.windows(5).any(|window| window == b"\"alg\"");
    let claims = rest.get(header.len()..)?.strip_prefix(b".")?;
    if !is_header || !claims.iter().take(2).all(|byte| url_safe(*byte)) || claims.len() < 2 {
        return None;
    }
    let length = rest.iter().take_while(|byte| dotted(**byte)).count();
    let text = rest.get(..length)?;
    let trimmed = text.iter().rev().take_while(|byte| **byte == b'.').count();
    // `alg: none` has an empty signature, whose dot goes with it.
    Some(at..at + length - trimmed.saturating_sub(1))
}

const LONGEST_HEADER: usize = 4096;
const MOST_LOOKED_AT: usize = 128;

/// `Bearer ...` and `Basic ...`, as headers have them. RFC 6750 2.1, RFC 7617 2.
fn scheme(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().take(8).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (name, rest) = rest.split_at_checked(length)?;
    let (bearer, basic) = (name.eq_ignore_ascii_case(b"bearer"), name.eq_ignore_ascii_case(b"basic"));
    let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if !(bearer || basic) || spaces == 0 {
        return None;
    }
    let is_part = |byte: &&u8| dotted(**byte) || b"~+/=".contains(byte);
    let value = rest.get(spaces..)?;
    let value = value.get(..value.iter().take_while(is_part).count())?;
    let start = at + name.len() + spaces;
    // `Bearer token` and `Bearer authentication` are words.
    let is_token = bearer && (value.len() >= 16 || (value.len() >= 8 && is_mixed(value)));
    (is_token || (basic && value.len() >= 8 && is_pair(value))).then_some(start..start + value.len())
}

/// Tells whether it is base64 of a user and a password.
fn is_pair(value: &[u8]) -> bool {
    let decoded = base64::engine::general_purpose::STANDARD.decode(value);
    decoded.is_ok_and(|pair| pair.contains(&b':'))
}

// ---- private keys ----

const BEGIN: &[u8] = b"-----BEGIN ";

/// A private key in PEM (RFC 7468), from its first line to its last; all of the rest where that is missing.
fn private_key(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes.get(at..)?;
    let label = rest.get(BEGIN.len()..)?;
    let label = label.get(..label.iter().take(64).position(|byte| *byte == b'-')?)?;
    if !label.ends_with(b"PRIVATE KEY") && !label.ends_with(b"PRIVATE KEY BLOCK") {
        return None;
    }
    let end = memchr::memmem::find(rest, b"-----END ");
    let end = end.and_then(|end| {
        let tail = rest.get(end + 9..)?;
        let dashes = memchr::memmem::find(tail, b"-----")?;
        Some(end + 9 + dashes + 5)
    });
    Some(at..at + end.unwrap_or(rest.len()))
}

// ---- passwords in addresses ----

/// The password of `scheme://user:password@host`. RFC 3986 3.2.1.
fn password_of_address(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    if !before(bytes, at).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let start = at + 3;
    let rest = bytes.get(start..)?;
    // A password may hold nearly anything that nobody percent-encoded.
    let length = rest
        .iter()
        .take(LONGEST_AUTHORITY)
        .take_while(|byte| !byte.is_ascii_whitespace() && !b"\"'`<>\\".contains(byte))
        .count();
    let text = rest.get(..length)?;
    let path = text.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(length);
    let end = text
        .get(..path)?
        .iter()
        .rposition(|byte| *byte == b'@')
        .or_else(|| text.iter().rposition(|byte| *byte == b'@'))?;
    let colon = text.get(..end)?.iter().position(|byte| *byte == b':')?;
    (colon + 1 < end).then_some(start + colon + 1..start + end)
}

const LONGEST_AUTHORITY: usize = 512;

// ---- what stands behind a name ----

/// `password = hunter2!x`, `"api_key": "..."`, `client_secret=...&`: the name says secret, and the value looks random.
fn named(bytes: &[u8], each: &mut dyn FnMut(Range<usize>)) {
    let mut from = 0;
    while let Some(sign) = bytes.get(from..).and_then(|rest| memchr::memchr2(b'=', b':', rest)) {
        let sign = from + sign;
        from = sign + 1;
        if !is_secret(name_before(bytes, sign)) {
            continue;
        }
        let near = bytes.get(..from + MOST_LOOKED_AT).unwrap_or(bytes);
        let mut value = value_behind(near, from);
        if looks_random(near.get(value.clone()).unwrap_or_default()) {
            // What is that long is hidden as far as it goes.
            if value.end == near.len() {
                value = value_behind(bytes, from);
            }
            from = value.end;
            each(value);
        }
    }
}

/// Returns the name that ends right before a sign, without quotes.
pub(super) fn name_before(bytes: &[u8], sign: usize) -> &[u8] {
    const LONGEST: usize = 64;
    let head = bytes.get(sign.saturating_sub(LONGEST)..sign).unwrap_or_default().trim_ascii_end();
    let head = head.strip_suffix(b"\"").or_else(|| head.strip_suffix(b"'")).unwrap_or(head);
    let head = head.strip_suffix(b"\\").unwrap_or(head);
    let length = head.iter().rev().take_while(|byte| url_safe(**byte)).count();
    head.get(head.len() - length..).unwrap_or_default()
}

/// Returns where the value stands that begins behind a sign: in its quotes, or up to what ends a value without.
pub(super) fn value_behind(bytes: &[u8], from: usize) -> Range<usize> {
    let rest = bytes.get(from..).unwrap_or_default();
    let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\\' | b'=' | b'>')).count();
    let start = from + spaces;
    let rest = rest.get(spaces..).unwrap_or_default();
    match rest.first() {
        Some(quote @ (b'"' | b'\'' | b'`')) => {
            let text = rest.get(1..).unwrap_or_default();
            let end = text.iter().position(|byte| byte == quote || (*byte == b'\\' && quote == &b'"'));
            start + 1..start + 1 + end.unwrap_or(text.len())
        }
        _ => {
            let end =
                rest.iter().position(|byte| byte.is_ascii_whitespace() || b",;&\"'`)}]<>".contains(byte));
            start..start + end.unwrap_or(rest.len())
        }
    }
}

/// Tells whether a text is more like a credential than like a word: eight characters of two kinds, whose letters repeat little.
fn looks_random(text: &[u8]) -> bool {
    // What was hidden already.
    if text.starts_with(b"[redacted") || text.starts_with(b"[token") {
        return false;
    }
    text.len() >= 8
        && text.len() <= 4096
        && !text.contains(&b' ')
        && is_mixed(text)
        && entropy(text) >= LEAST_ENTROPY
}

/// In bits for each character; English words of that length have about 2.6, random hexadecimal 3.2 and more.
const LEAST_ENTROPY: f64 = 2.5;

fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let length = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length)
        .map(|share| -share * share.log2())
        .sum()
}

/// Tells whether it has a digit beside letters, or letters of both cases within.
fn is_mixed(text: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| text.iter().any(is);
    let (digits, lower, upper) = (
        has(u8::is_ascii_digit),
        has(u8::is_ascii_lowercase),
        text.iter().skip(1).any(u8::is_ascii_uppercase),
    );
    let signs = has(|byte| !byte.is_ascii_alphanumeric() && !b"_-./:".contains(byte));
    usize::from(digits) + usize::from(lower) + usize::from(upper) + usize::from(signs) >= 2
}
