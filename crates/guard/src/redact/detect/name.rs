//! Names of secrets: `password`, `api_key`, `clientSecret`, `Authorization` and their like, as keys of logs and data have them.

/// Splits a name into its words: `clientSecret`, `client_secret`, `CLIENT-SECRET` and `x.client.secret` have the same.
pub(super) fn words(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let start = rest.iter().position(u8::is_ascii_alphanumeric)?;
        rest = rest.get(start..)?;
        let mut end = 1;
        while let Some(byte) = rest.get(end) {
            let last = rest.get(end - 1).copied().unwrap_or_default();
            if !byte.is_ascii_alphanumeric() || (byte.is_ascii_uppercase() && last.is_ascii_lowercase()) {
                break;
            }
            end += 1;
        }
        let (word, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(word)
    })
}

/// Tells whether what has this name is a secret.
///
/// `key` alone is too common a word to be one; `api_key`, `secret_key` and `private_key` are. Names that only speak of a secret are
/// none: `token_type`, `password_changed_at`, `max_tokens`.
#[must_use]
pub fn is_secret(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > LONGEST {
        return false;
    }
    let mut last: &[u8] = b"";
    let mut before: &[u8] = b"";
    for word in words(name) {
        (before, last) = (last, word);
    }
    let is =
        |word: &[u8], known: &[&str]| known.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    is(last, &SECRETS)
        || (is(last, &["key", "keys"]) && is(before, &KEYS))
        || (is(last, &["code"]) && is(before, &["auth", "authorization", "verification"]))
        || (is(last, &["value", "hash", "text", "plain"]) && is(before, &SECRETS))
}

const LONGEST: usize = 128;

/// Last words of the names of secrets.
const SECRETS: [&str; 26] = [
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "secret",
    "secrets",
    "token",
    "apikey",
    "secretkey",
    "privatekey",
    "accesskey",
    "authorization",
    "credential",
    "credentials",
    "cookie",
    "bearer",
    "jwt",
    "pin",
    "otp",
    "signature",
    "assertion",
    "verifier",
    "dsn",
    "authtoken",
];

/// What a `key` has to be of to be secret.
const KEYS: [&str; 14] = [
    "api",
    "secret",
    "private",
    "access",
    "seal",
    "encryption",
    "signing",
    "master",
    "shared",
    "audit",
    "auth",
    "account",
    "session",
    "client",
];
