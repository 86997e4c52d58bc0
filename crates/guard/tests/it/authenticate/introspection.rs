//! Tokens that say nothing by themselves, and an authorization server that is asked about them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use trunkline_guard::authenticate::{Fault, Identity};
use trunkline_service::Chain;
use trunkline_service::authenticate::Authenticator as _;
use trunkline_service::caller::Proof;

use super::idp::Idp;
use super::logged::Logged;
use super::signer::ES256;
use super::{
    RESOURCE, assert_refused, claims, claims_with, eventually, identity, is_remembered, now, show, token,
};

async fn asked(more: &str) -> (Idp, Arc<Identity>) {
    let idp = Idp::start().await;
    let identity = identity(&section(&idp, more));
    (idp, identity)
}

fn section(idp: &Idp, more: &str) -> String {
    let url = idp.issuer();
    format!(
        "[introspection.central]\nurl = '{url}/introspect'\nclient-id = 'gate way'\nclient-secret = 's/cret'\n{more}\n"
    )
}

/// An answer that is accepted, with some members replaced; null takes one away.
fn answer(other: Value) -> Value {
    let mut answer =
        json!({ "active": true, "sub": "ann", "aud": RESOURCE, "scope": "read", "exp": now() + 300 });
    for (name, value) in other.as_object().unwrap() {
        match value {
            Value::Null => answer.as_object_mut().unwrap().remove(name),
            value => answer.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    answer
}

#[tokio::test]
async fn an_active_token_says_who_asks_and_is_remembered() {
    let (idp, identity) = asked("").await;
    idp.knows("opaque-1", &answer(json!({})));
    let caller = show(&identity, "opaque-1").await.unwrap();
    assert_eq!((&*caller.subject, caller.scopes.join(" ").as_str()), ("ann", "read"));
    assert_eq!(
        caller.issuer,
        Some(format!("{}/introspect", idp.issuer()).into()),
        "nobody is without an issuer"
    );
    assert_eq!(caller.proof, Proof::Token { section: "central".into() });
    assert!(caller.expires.unwrap() <= now() + 30, "asked again within the cache time");
    assert!(!caller.claims.contains_key("active"));
    for _ in 0..5 {
        assert!(is_remembered(&identity, "opaque-1"));
        show(&identity, "opaque-1").await.unwrap();
    }
    let asked = idp.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].body, "token=opaque-1&token_type_hint=access_token");
    // gate+way:s%2Fcret, as RFC 6749 section 2.3.1 wants it.
    assert_eq!(asked[0].authorization, "Basic Z2F0ZSt3YXk6cyUyRmNyZXQ=");
}

#[tokio::test]
async fn answers_that_do_not_fit_are_refused() {
    let (idp, identity) = asked("issuer = 'https://login.example'").await;
    let cases = [
        (json!({ "active": false }), Fault::Inactive),
        (json!({ "active": "true" }), Fault::NoAnswer),
        (json!({ "active": 1 }), Fault::NoAnswer),
        (json!({ "active": null }), Fault::NoAnswer),
        (json!({ "aud": null }), Fault::Audience),
        (json!({ "aud": "https://other.example" }), Fault::Audience),
        (json!({ "exp": now() - 60 }), Fault::Expired),
        (json!({ "exp": "soon" }), Fault::Date),
        (json!({ "nbf": now() + 60 }), Fault::NotYet),
        (json!({ "iss": "https://login.example/" }), Fault::Issuer),
        (json!({ "iss": "" }), Fault::Issuer),
        (json!({ "iss": 7 }), Fault::Issuer),
        (json!({ "sub": null }), Fault::Subject),
        (json!({ "sub": "" }), Fault::Subject),
        (json!({ "sub": "a\nb" }), Fault::Subject),
        (json!({ "scope": 5 }), Fault::Scopes),
        (json!({ "token_type": "DPoP" }), Fault::Bound),
        (json!({ "cnf": { "jkt": "x" } }), Fault::Bound),
    ];
    for (at, (other, fault)) in cases.into_iter().enumerate() {
        let token = format!("opaque-{at}");
        idp.knows(&token, &answer(other.clone()));
        assert_refused(show(&identity, &token).await, fault, &other.to_string());
        assert!(!is_remembered(&identity, &token));
        if fault != Fault::NoAnswer {
            let asked = idp.hits("/introspect");
            assert_refused(show(&identity, &token).await, fault, &other.to_string());
            assert_eq!(idp.hits("/introspect"), asked, "asked again within a moment: {other}");
        }
    }
    idp.put_text(
        "/introspect",
        200,
        r#"{"active":false,"active":true,"aud":"https://gw.example/mcp","sub":"x"}"#,
    );
    assert_refused(show(&identity, "twice").await, Fault::Repeated, "active stands twice");
    idp.put_text("/introspect", 400, r#"{"error":"unsupported_token_type"}"#);
    assert_refused(show(&identity, "unsupported").await, Fault::Inactive, "not a token to talk about");
    idp.put_text("/introspect", 401, "{}");
    assert_refused(show(&identity, "denied").await, Fault::NoAnswer, "the client is not known there");
    idp.redirect("/introspect", "/elsewhere");
    assert_refused(show(&identity, "moved").await, Fault::NoAnswer, "a redirect");
    assert_eq!(idp.hits("/elsewhere"), 0);
}

#[tokio::test]
async fn what_an_answer_need_not_have_may_be_missing() {
    let (idp, identity) = asked("issuer = 'https://login.example'").await;
    idp.knows("robot", &answer(json!({ "sub": null, "client_id": "robot-7", "exp": null })));
    let caller = show(&identity, "robot").await.unwrap();
    assert_eq!(&*caller.subject, "robot-7");
    assert_eq!(caller.issuer.as_deref(), Some("https://login.example"));
}

#[tokio::test]
async fn however_many_show_a_token_one_question_is_asked() {
    let (idp, identity) = asked("").await;
    idp.take(Duration::from_millis(200));
    idp.knows("shared", &answer(json!({})));
    for judged in join_all((0..100).map(|_| show(&identity, "shared"))).await {
        judged.unwrap();
    }
    for judged in join_all((0..100).map(|_| show(&identity, "unknown"))).await {
        assert_refused(judged, Fault::Inactive, "unknown");
    }
    assert_refused(show(&identity, "unknown").await, Fault::Inactive, "asked a moment ago");
    assert_eq!(idp.hits("/introspect"), 2);
    // Whoever leaves does not take the question along.
    let left = tokio::time::timeout(Duration::from_millis(50), show(&identity, "left")).await;
    assert!(left.is_err());
    let _ = show(&identity, "left").await;
    assert_eq!(idp.hits("/introspect"), 3);
}

#[tokio::test]
async fn a_no_is_believed_for_a_short_time_only() {
    let (idp, identity) = asked("cache = '1s'").await;
    assert_refused(show(&identity, "early").await, Fault::Inactive, "not yet");
    idp.knows("early", &answer(json!({})));
    eventually("the token became valid", async || show(&identity, "early").await.is_ok()).await;
}

#[tokio::test]
async fn a_token_that_is_revoked_stops_with_its_cache_time_and_ends_its_streams() {
    let (idp, identity) = asked("cache = '1s'").await;
    idp.knows("opaque", &answer(json!({})));
    let caller = show(&identity, "opaque").await.unwrap();
    let mut ended = identity.ended(&caller);
    let asked_again = tokio::time::timeout(Duration::from_millis(2500), &mut ended).await;
    assert!(asked_again.is_err(), "a stream ended though the token is active");
    assert!(idp.hits("/introspect") >= 3);
    idp.forgets("opaque");
    tokio::time::timeout(Duration::from_secs(4), ended).await.expect("the stream goes on");
    eventually("it is refused", async || show(&identity, "opaque").await.is_err()).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_waited_for_five_seconds() {
    let (idp, identity) = asked("").await;
    idp.take(Duration::from_secs(60));
    let started = Instant::now();
    assert_refused(show(&identity, "opaque").await, Fault::NoAnswer, "silent");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_signed_token_of_a_known_issuer_is_shown_to_nobody() {
    let idp = Idp::start().await;
    idp.publish(&[ES256.jwk(Some("k1"))]);
    let issuer = idp.issuer();
    let both = identity(&format!("{}[jwt.company]\nissuer = '{issuer}'\n", section(&idp, "")));
    show(&both, &token(&ES256, "k1", &claims(&idp))).await.unwrap();
    let over = token(&ES256, "k1", &claims_with(&idp, json!({ "exp": now() - 60 })));
    assert_refused(show(&both, &over).await, Fault::Expired, "over");
    assert_eq!(idp.hits("/introspect"), 0);
    // One of somebody else may be known there.
    let other = token(&ES256, "k1", &claims_with(&idp, json!({ "iss": "https://partner.example" })));
    idp.knows(&other, &answer(json!({})));
    show(&both, &other).await.unwrap();
    assert_eq!(idp.hits("/introspect"), 1);
}

#[tokio::test]
async fn a_section_with_an_issuer_is_not_asked_about_tokens_of_others() {
    let (idp, identity) = asked("issuer = 'https://login.example'").await;
    let other = token(&ES256, "k1", &claims_with(&idp, json!({ "iss": "https://partner.example" })));
    idp.knows(&other, &answer(json!({})));
    assert_refused(show(&identity, &other).await, Fault::Issuer, "of somebody else");
    assert_eq!(idp.hits("/introspect"), 0);
}

#[tokio::test]
async fn of_several_servers_the_one_that_knows_the_token_decides() {
    let (one, two) = (Idp::start().await, Idp::start().await);
    let text = format!("{}{}", section(&one, ""), section(&two, "").replace("central", "other"));
    let both = identity(&text);
    two.knows("opaque", &answer(json!({})));
    assert_eq!(show(&both, "opaque").await.unwrap().proof, Proof::Token { section: "other".into() });
    assert_refused(show(&both, "unknown").await, Fault::Inactive, "unknown to both");
    one.put_text("/introspect", 500, "");
    assert_refused(show(&both, "unknown-2").await, Fault::NoAnswer, "the first might have known it");
    two.knows("opaque-2", &answer(json!({})));
    show(&both, "opaque-2").await.unwrap();
}

#[tokio::test]
async fn a_token_is_told_to_its_endpoint_and_to_nobody_else() {
    let (logged, _guard) = Logged::listen();
    let (idp, identity) = asked("cache = '1s'").await;
    let token = "opaque-s3cr3t-0123456789";
    let mut told = Vec::new();
    for body in
        [r#"{"active":false}"#, r#"{"active":true,"sub":"s3cr3t"}"#, r#"{"active":"s3cr3t"}"#, "s3cr3t", "{"]
    {
        idp.put_text("/introspect", 200, body);
        let denied = show(&identity, &format!("{token}-{}", told.len())).await.unwrap_err();
        told.push(format!("{denied:?} {}", Chain(&denied)));
    }
    for status in [302, 401, 500] {
        idp.put_text("/introspect", status, "s3cr3t");
        let denied = show(&identity, &format!("{token}-{status}")).await.unwrap_err();
        told.push(format!("{denied:?} {}", Chain(&denied)));
    }
    drop(idp);
    let denied = show(&identity, &format!("{token}-gone")).await.unwrap_err();
    told.push(format!("{denied:?} {}", Chain(&denied)));
    told.push(format!("{identity:?}"));
    let log = logged.text();
    assert!(log.contains("TRACE") && log.contains("introspection"), "nothing was captured");
    for text in ["s3cr3t", "s/cret", "s%2Fcret", "Z2F0ZSt3YXk6cyUyRmNyZXQ"] {
        assert!(!log.contains(text), "`{text}` was logged");
        assert!(!told.iter().any(|told| told.contains(text)), "`{text}` is told in {told:?}");
    }
}
