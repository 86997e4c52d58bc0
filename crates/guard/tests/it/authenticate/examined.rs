//! What `trunkline check` says of issuers and endpoints that it asks.

use serde_json::json;
use trunkline_guard::authenticate::examine;
use trunkline_guard::authenticate::file::AuthFile;
use trunkline_service::file::Severity;

use super::RESOURCE;
use super::idp::Idp;
use super::signer::{ES256, b64};

/// The only problem of a section, as `key: severity: text`.
async fn told(toml: &str) -> Option<String> {
    let (auth, problems) = toml::from_str::<AuthFile>(toml).unwrap().resolve(Some(RESOURCE));
    assert!(problems.is_empty(), "{problems:?}");
    let mut found = examine(&auth).await;
    assert!(found.len() <= 1, "{found:?}");
    let problem = found.pop()?;
    let key = problem.path.last().cloned().unwrap_or_default();
    Some(format!("{key}: {:?}: {}", problem.severity, problem.message))
}

#[tokio::test]
async fn an_issuer_that_can_be_used_is_no_problem() {
    let idp = Idp::start().await;
    idp.publish(&[ES256.jwk(Some("k1"))]);
    assert_eq!(told(&format!("[jwt.a]\nissuer = '{}'", idp.issuer())).await, None);
    let url = idp.issuer();
    let asked = format!("[introspection.a]\nurl = '{url}/introspect'\nclient-id = 'a'\nclient-secret = 'b'");
    assert_eq!(told(&asked).await, None);
}

#[tokio::test]
async fn a_wrong_address_is_told_apart_from_a_server_that_is_down() {
    let idp = Idp::start().await;
    let url = idp.issuer();
    let starts = |told: Option<String>, expected: &str| {
        let told = told.unwrap_or_default();
        assert!(told.starts_with(expected), "{told}\n  instead of {expected}");
    };
    let jwt = format!("[jwt.a]\nissuer = '{url}'");
    let wrong = format!("{:?}", Severity::Wrong);
    let down = format!("{:?}", Severity::Unavailable);
    starts(told(&jwt).await, &format!("issuer: {wrong}: the metadata of issuer `{url}` was found at none"));
    idp.put("/.well-known/openid-configuration", &json!({ "issuer": format!("{url}/"), "jwks_uri": url }));
    starts(told(&jwt).await, &format!("issuer: {wrong}: the document at"));
    idp.publish(&[]);
    starts(told(&jwt).await, &format!("issuer: {down}: the keys at"));
    idp.publish(&[json!({ "kty": "RSA", "n": b64([0xC1; 128]), "e": "AQAB" })]);
    starts(told(&jwt).await, &format!("issuer: {down}: the keys at"));
    idp.publish(&[ES256.jwk(Some("k1"))]);
    starts(told(&format!("{jwt}\nalgorithms = ['RS256']")).await, &format!("issuer: {down}: no key at"));
    starts(
        told(&format!("{jwt}\njwks-url = '{url}/none'")).await,
        &format!("jwks-url: {wrong}: `{url}/none` answered"),
    );
    idp.put_text("/keys", 503, "");
    starts(told(&jwt).await, &format!("issuer: {down}: `{url}/keys` answered with status 503"));
    let asked = |path: &str| {
        format!("[introspection.a]\nurl = '{url}/{path}'\nclient-id = 'a'\nclient-secret = 'hunter2'")
    };
    starts(told(&asked("none")).await, &format!("url: {wrong}: "));
    idp.put_text("/introspect", 401, "");
    let refused = told(&asked("introspect")).await;
    assert!(!refused.as_deref().unwrap_or_default().contains("hunter2"));
    starts(refused, &format!("client-id: {wrong}: "));
    idp.put_text("/introspect", 200, "<html>");
    starts(told(&asked("introspect")).await, &format!("url: {wrong}: the answer of"));
    drop(idp);
    starts(told(&jwt).await, &format!("issuer: {down}: "));
    starts(told(&asked("introspect")).await, &format!("url: {down}: no answer from"));
}
