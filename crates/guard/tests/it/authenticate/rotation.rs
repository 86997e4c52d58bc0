//! Signing keys rotate while tokens come.

use std::time::Duration;

use serde_json::json;
use trunkline_guard::authenticate::Fault;
use trunkline_service::authenticate::Authenticator as _;

use super::idp::Idp;
use super::signer::{ES256, Signer};
use super::{assert_refused, claims, claims_with, eventually, identity, is_remembered, show, token, usual};

#[tokio::test]
async fn au_03_a_new_key_works_at_once_and_through_a_flood_of_unknown_ones() {
    let (idp, identity) = usual("").await;
    show(&identity, &token(&ES256, "k1", &claims(&idp))).await.unwrap();
    let new = Signer::es256();
    idp.publish(&[new.jwk(Some("k2"))]);
    let fresh = |name: usize| token(&new, "k2", &claims_with(&idp, json!({ "sub": format!("user {name}") })));
    show(&identity, &fresh(0)).await.unwrap();
    let before = idp.hits("/keys");
    for name in 1..=200 {
        let kid = format!("random {name}");
        let judged = show(&identity, &token(&Signer::es256(), &kid, &claims(&idp))).await;
        assert_refused(judged, Fault::NoSuchKey, &kid);
        show(&identity, &fresh(name)).await.unwrap();
    }
    let brought_about = idp.hits("/keys") - before;
    assert!((1..=4).contains(&brought_about), "{brought_about} fetches");
    // What was signed with the old key is refused now, remembered or not.
    assert_refused(show(&identity, &token(&ES256, "k1", &claims(&idp))).await, Fault::NoSuchKey, "k1");
}

#[tokio::test]
async fn au_03_a_key_that_left_proves_nothing_once_its_lifetime_is_over() {
    let (idp, identity) = usual("jwks-ttl = '1s'").await;
    let old = token(&ES256, "k1", &claims(&idp));
    let caller = show(&identity, &old).await.unwrap();
    assert!(is_remembered(&identity, &old));
    let generation = identity.generation();
    // Nothing changes for keys that stay, however often they are fetched.
    let hits = idp.hits("/keys");
    eventually("another fetch", async || idp.hits("/keys") > hits + 1).await;
    assert_eq!(identity.generation(), generation);
    assert!(is_remembered(&identity, &old));
    idp.publish(&[ES256.jwk(Some("k1")), Signer::es256().jwk(Some("k2"))]);
    let hits = idp.hits("/keys");
    eventually("a key came", async || idp.hits("/keys") > hits + 1).await;
    assert!(is_remembered(&identity, &old), "a key that came is no reason to forget");

    let ended = identity.ended(&caller);
    idp.publish(&[Signer::es256().jwk(Some("k2"))]);
    tokio::time::timeout(Duration::from_secs(3), ended).await.expect("the stream goes on");
    assert!(identity.generation() > generation);
    assert!(!is_remembered(&identity, &old));
    assert_refused(show(&identity, &old).await, Fault::NoSuchKey, "k1");
}

#[tokio::test]
async fn au_03_the_same_kid_with_another_key_is_another_key() {
    let (idp, identity) = usual("jwks-ttl = '1s'").await;
    let old = token(&ES256, "k1", &claims(&idp));
    show(&identity, &old).await.unwrap();
    let new = Signer::es256();
    idp.publish(&[new.jwk(Some("k1"))]);
    eventually("the old one is forgotten", async || !is_remembered(&identity, &old)).await;
    assert_refused(show(&identity, &old).await, Fault::Signature, "the old key");
    show(&identity, &token(&new, "k1", &claims(&idp))).await.unwrap();
}

#[tokio::test]
async fn au_03_a_single_key_without_a_name_is_usable_and_two_are_not() {
    let idp = Idp::start().await;
    idp.publish(&[ES256.jwk(None)]);
    let identity = identity(&format!("[jwt.company]\nissuer = '{}'\njwks-ttl = '1s'", idp.issuer()));
    let nameless =
        |sub: &str| ES256.token(&json!({ "alg": "ES256" }), &claims_with(&idp, json!({ "sub": sub })));
    show(&identity, &nameless("a")).await.unwrap();
    assert_refused(
        show(&identity, &token(&ES256, "k1", &claims(&idp))).await,
        Fault::NoSuchKey,
        "a name it has not",
    );
    idp.publish(&[ES256.jwk(None), Signer::es256().jwk(None)]);
    eventually("it is not clear which", async || {
        show(&identity, &nameless("b")).await.is_err() || {
            // Each try needs a token that is not remembered.
            identity.reassign(std::sync::Arc::new(trunkline_guard::authenticate::Unassigned));
            false
        }
    })
    .await;
}

#[tokio::test]
async fn keys_are_used_for_a_while_when_the_issuer_does_not_answer() {
    let (idp, identity) = usual("jwks-ttl = '1s'").await;
    show(&identity, &token(&ES256, "k1", &claims(&idp))).await.unwrap();
    idp.put_text("/keys", 500, "broken");
    let hits = idp.hits("/keys");
    eventually("two failures", async || idp.hits("/keys") > hits + 1).await;
    show(&identity, &token(&ES256, "k1", &claims_with(&idp, json!({ "sub": "bob" })))).await.unwrap();
    // A key that may be new is nobody's fault now.
    let unknown = token(&Signer::es256(), "k2", &claims(&idp));
    assert_refused(show(&identity, &unknown).await, Fault::NoKeys, "k2");
    let new = Signer::es256();
    idp.publish(&[ES256.jwk(Some("k1")), new.jwk(Some("k2"))]);
    eventually("it recovers", async || show(&identity, &token(&new, "k2", &claims(&idp))).await.is_ok())
        .await;
}

#[tokio::test]
async fn however_many_wait_the_keys_are_fetched_once() {
    let idp = Idp::start().await;
    idp.publish(&[ES256.jwk(Some("k1"))]);
    idp.take(Duration::from_millis(200));
    let identity = identity(&format!("[jwt.company]\nissuer = '{}'", idp.issuer()));
    let tokens: Vec<String> = (0..100)
        .map(|name| token(&ES256, "k1", &claims_with(&idp, json!({ "sub": format!("user {name}") }))))
        .collect();
    let all = tokens.iter().map(|token| show(&identity, token));
    for judged in futures_util::future::join_all(all).await {
        judged.unwrap();
    }
    assert_eq!(idp.hits("/keys"), 1);
}
