//! Where keys are found, and what is not believed on the way.

use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_guard::authenticate::Fault;
use trunkline_service::authenticate::DeniedKind;

use super::idp::Idp;
use super::signer::ES256;
use super::{assert_refused, claims, claims_with, eventually, identity, show, token};

#[tokio::test]
async fn metadata_is_found_at_each_of_its_addresses() {
    for (issuer_path, at) in [
        ("", "/.well-known/oauth-authorization-server"),
        ("", "/.well-known/openid-configuration"),
        ("/", "/.well-known/openid-configuration"),
        ("/t1", "/.well-known/oauth-authorization-server/t1"),
        ("/t1", "/.well-known/openid-configuration/t1"),
        ("/t1", "/t1/.well-known/openid-configuration"),
    ] {
        let idp = Idp::start().await;
        let issuer = format!("{}{issuer_path}", idp.issuer());
        idp.put(at, &json!({ "issuer": issuer, "jwks_uri": format!("{}/keys", idp.issuer()) }));
        idp.put("/keys", &json!({ "keys": [ES256.jwk(Some("k1"))] }));
        let identity = identity(&format!("[jwt.company]\nissuer = '{issuer}'"));
        let judged =
            show(&identity, &token(&ES256, "k1", &claims_with(&idp, json!({ "iss": issuer })))).await;
        judged.unwrap_or_else(|denied| panic!("{issuer_path} at {at}: {denied:?}"));
    }
}

#[tokio::test]
async fn a_document_of_another_issuer_brings_no_keys() {
    for said in ["https://evil.example", "SAME/", ""] {
        let idp = Idp::start().await;
        idp.publish(&[ES256.jwk(Some("k1"))]);
        let said = said.replace("SAME", &idp.issuer());
        let metadata = json!({ "issuer": said, "jwks_uri": format!("{}/keys", idp.issuer()) });
        idp.put("/.well-known/openid-configuration", &metadata);
        let identity = identity(&format!("[jwt.company]\nissuer = '{}'", idp.issuer()));
        assert_refused(show(&identity, &token(&ES256, "k1", &claims(&idp))).await, Fault::NoKeys, &said);
        assert_eq!(idp.hits("/keys"), 0);
    }
}

#[tokio::test]
async fn redirects_are_not_followed_and_oversized_or_broken_documents_count_for_nothing() {
    let idp = Idp::start().await;
    let issuer = idp.issuer();
    idp.put("/elsewhere", &json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }));
    idp.put("/keys", &json!({ "keys": [ES256.jwk(Some("k1"))] }));
    idp.redirect("/.well-known/oauth-authorization-server", "/elsewhere");
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(600 * 1024));
    idp.put_text("/huge", 200, &huge);
    idp.put_text("/broken", 200, "<html>");
    for (what, more) in [
        ("redirect", String::new()),
        ("huge", format!("jwks-url = '{issuer}/huge'")),
        ("broken", format!("jwks-url = '{issuer}/broken'")),
    ] {
        let identity = identity(&format!("[jwt.company]\nissuer = '{issuer}'\n{more}"));
        assert_refused(show(&identity, &token(&ES256, "k1", &claims(&idp))).await, Fault::NoKeys, what);
    }
    assert_eq!((idp.hits("/elsewhere"), idp.hits("/keys")), (0, 0));
    let direct = identity(&format!("[jwt.company]\nissuer = '{issuer}'\njwks-url = '{issuer}/keys'"));
    show(&direct, &token(&ES256, "k1", &claims(&idp))).await.unwrap();
}

#[tokio::test]
async fn a_start_waits_for_no_issuer_and_one_that_comes_later_is_found() {
    let idp = Idp::start().await;
    let (address, said) = (idp.address(), claims(&idp));
    drop(idp);
    let started = Instant::now();
    let identity = identity(&format!("[jwt.company]\nissuer = 'http://{address}'"));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let token = token(&ES256, "k1", &said);
    let denied = show(&identity, &token).await.unwrap_err();
    assert_eq!(denied.kind(), DeniedKind::Unavailable, "{denied:?}");
    let idp = Idp::start_at(address).await;
    idp.publish(&[ES256.jwk(Some("k1"))]);
    eventually("the issuer is found", async || show(&identity, &token).await.is_ok()).await;
}

#[tokio::test]
async fn an_issuer_that_never_answers_holds_nobody_for_long() {
    let idp = Idp::start().await;
    idp.publish(&[ES256.jwk(Some("k1"))]);
    idp.take(Duration::from_secs(60));
    let identity = identity(&format!("[jwt.company]\nissuer = '{}'", idp.issuer()));
    let started = Instant::now();
    assert_refused(show(&identity, &token(&ES256, "k1", &claims(&idp))).await, Fault::NoKeys, "silent");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_issuer_that_should_be_encrypted_and_is_not_is_not_talked_to() {
    let idp = Idp::start().await;
    idp.publish(&[ES256.jwk(Some("k1"))]);
    let issuer = idp.issuer().replace("http:", "https:");
    let identity = identity(&format!("[jwt.company]\nissuer = '{issuer}'"));
    let token = token(&ES256, "k1", &claims_with(&idp, json!({ "iss": issuer })));
    assert_refused(show(&identity, &token).await, Fault::NoKeys, "no TLS");
    assert!(idp.asked().is_empty());
}
