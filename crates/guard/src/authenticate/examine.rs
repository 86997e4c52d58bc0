//! Whether those that `[auth]` names can be asked: for `trunkline check`, before the first token comes.

use futures_util::future::{join, join_all};
use reqwest::Url;
use serde_json::Value;
use trunkline_service::Chain;
use trunkline_service::file::Problem;

use super::discovery::{DiscoveryError, find_keys};
use super::fetch::{Fetch, FetchError, shown};
use super::file::{Auth, Introspection, Jwt};
use super::introspection::form;
use super::key_set::KeySet;
use super::token::object;

/// A token that nobody has.
const NO_TOKEN: &str = "trunkline-check";

/// Asks every issuer for its keys and every introspection endpoint about a token that does not exist, all at once and each once.
/// Whoever does not answer is told as unavailable, an answer that does not fit the file as wrong.
///
/// # Cancel safety
/// Nothing is left behind.
pub async fn examine(auth: &Auth) -> Vec<Problem> {
    let fetch = Fetch::default();
    let signed = join_all(auth.jwt.iter().map(|section| examine_jwt(&fetch, section)));
    let asked = join_all(auth.introspection.iter().map(|section| examine_introspection(&fetch, section)));
    let (signed, asked) = join(signed, asked).await;
    signed.into_iter().chain(asked).flatten().collect()
}

async fn examine_jwt(fetch: &Fetch, section: &Jwt) -> Option<Problem> {
    let at = |key: &str, message: String| Problem::new(&["auth", "jwt", &section.name, key], message);
    let (key, url) = match &section.source.keys {
        Some(url) => ("jwks-url", url.clone()),
        None => match find_keys(fetch, &section.source.issuer, &section.source.address).await {
            Ok(url) => ("issuer", url),
            Err(error) => return Some(of_discovery(&error, at("issuer", Chain(&error).to_string()))),
        },
    };
    match fetch.get(&url).await {
        Ok(document) => unfit(section, &url, &document).map(|message| at(key, message).unavailable()),
        Err(error) => Some(of_fetch(&error, at(key, Chain(&error).to_string()))),
    }
}

/// Says why a key set cannot verify a single token.
fn unfit(section: &Jwt, url: &Url, document: &[u8]) -> Option<String> {
    let url = shown(url);
    let Some(set) = KeySet::read(document) else {
        return Some(format!("the document at `{url}` is no JWK set"));
    };
    if set.len() == 0 {
        return Some(format!(
            "the keys at `{url}` are none that can be used: RSA from 2048 bits, P-256, P-384, Ed25519"
        ));
    }
    let fits = section.algorithms.is_empty()
        || section.algorithms.iter().any(|algorithm| set.has_key_for(*algorithm));
    (!fits).then(|| format!("no key at `{url}` is for one of the `algorithms` of the section"))
}

async fn examine_introspection(fetch: &Fetch, section: &Introspection) -> Option<Problem> {
    let at =
        |key: &str, message: String| Problem::new(&["auth", "introspection", &section.name, key], message);
    let answer = fetch.post_form(&section.url, section.authorization.clone(), form(NO_TOKEN)).await;
    match answer {
        Ok(answer) => match object(&answer).map(|answer| answer.get("active").is_some_and(Value::is_boolean))
        {
            Ok(true) => None,
            _ => Some(at(
                "url",
                format!(
                    "the answer of `{}` is none of RFC 7662: no object with `active`",
                    shown(&section.url)
                ),
            )),
        },
        Err(FetchError::Status { status: 401 | 403, url }) => {
            let message = format!("`{url}` does not accept `client-id` and `client-secret`");
            Some(
                at("client-id", message)
                    .help("see how this server is registered there, for HTTP Basic authentication"),
            )
        }
        Err(error) => Some(of_fetch(&error, at("url", Chain(&error).to_string()))),
    }
}

/// Tells a server that is down, or says that it cannot do it now, from an address that is wrong.
fn of_fetch(error: &FetchError, problem: Problem) -> Problem {
    match error {
        FetchError::Status { status, .. } if *status < 500 => {
            problem.help("see whether the address is right; redirects are not followed")
        }
        FetchError::Open { .. } => problem,
        _ => problem.unavailable(),
    }
}

fn of_discovery(error: &DiscoveryError, problem: Problem) -> Problem {
    match error {
        DiscoveryError::NotFound { source, .. } => of_fetch(source, problem)
            .help("see whether `issuer` is right, or say where the keys are with `jwks-url`"),
        _ => problem,
    }
}
