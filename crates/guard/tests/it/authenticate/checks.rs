//! What a token must say to be accepted, and what becomes of it.

use aws_lc_rs::signature;
use serde_json::{Value, json};
use trunkline_guard::authenticate::Fault;
use trunkline_service::authenticate::{Authenticator as _, Credentials, DeniedKind};
use trunkline_service::caller::Proof;

use super::idp::Idp;
use super::signer::{EDDSA, ES256, ES384, RSA, Signer, b64};
use super::{RESOURCE, assert_refused, claims, claims_with, identity, now, show, token, usual};

#[tokio::test]
async fn a_token_says_who_asks_and_what_for() {
    let (idp, identity) = usual("").await;
    let said = claims_with(&idp, json!({ "groups": ["support"], "exp": now() + 300 }));
    let caller = show(&identity, &token(&ES256, "k1", &said)).await.unwrap();
    assert_eq!(caller.issuer.as_deref(), Some(idp.issuer().as_str()));
    assert_eq!(&*caller.subject, "ann");
    assert_eq!(caller.scopes, ["read".into(), "write".into()]);
    assert_eq!(caller.proof, Proof::Token { section: "company".into() });
    assert_eq!(caller.claims["groups"], json!(["support"]));
    assert_eq!(caller.expires, said["exp"].as_u64().map(|exp| exp + 30));
    assert!(!caller.is_local);
}

#[tokio::test]
async fn every_algorithm_is_accepted_with_a_key_made_for_it() {
    let idp = Idp::start().await;
    let signers: [(&Signer, &str); 4] = [(&RSA, "r"), (&ES256, "e"), (&ES384, "f"), (&EDDSA, "d")];
    idp.publish(&signers.map(|(signer, kid)| signer.jwk(Some(kid))));
    let identity = identity(&format!("[jwt.company]\nissuer = '{}'", idp.issuer()));
    for (signer, kid) in signers {
        show(&identity, &token(signer, kid, &claims(&idp))).await.unwrap();
    }
    let rsa: [(&str, &'static dyn signature::RsaEncoding); 6] = [
        ("RS256", &signature::RSA_PKCS1_SHA256),
        ("RS384", &signature::RSA_PKCS1_SHA384),
        ("RS512", &signature::RSA_PKCS1_SHA512),
        ("PS256", &signature::RSA_PSS_SHA256),
        ("PS384", &signature::RSA_PSS_SHA384),
        ("PS512", &signature::RSA_PSS_SHA512),
    ];
    for (alg, encoding) in rsa {
        let header = json!({ "alg": alg, "kid": "r" });
        let message = format!("{}.{}", b64(header.to_string()), b64(claims(&idp).to_string()));
        let signed = format!("{message}.{}", b64(RSA.sign_rsa(encoding, message.as_bytes())));
        show(&identity, &signed).await.unwrap_or_else(|denied| panic!("{alg}: {denied:?}"));
    }
    // RFC 9864 gives EdDSA on this curve a name of its own.
    show(&identity, &EDDSA.token(&json!({ "alg": "Ed25519", "kid": "d" }), &claims(&idp))).await.unwrap();
}

#[tokio::test]
async fn a_key_is_used_for_nothing_but_what_it_says_it_is_for() {
    let idp = Idp::start().await;
    let with = |kid: &str, more: Value| {
        let mut jwk = RSA.jwk(Some(kid));
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    };
    idp.publish(&[
        json!("no key"),
        json!({ "kty": "oct", "kid": "oct", "k": "AAAA" }),
        json!({ "kty": "ML-DSA", "kid": "new" }),
        with("enc", json!({ "use": "enc" })),
        with("ops", json!({ "key_ops": ["encrypt"] })),
        with("ps", json!({ "alg": "PS256" })),
        with("odd", json!({ "alg": "RSA-OAEP" })),
        with("secret", json!({ "d": "AAAA" })),
        with("short", json!({ "n": b64([0xC1; 255]) })),
        with("even", json!({ "e": "AQAC" })),
        with("one", json!({ "e": "AQ" })),
        with("good", json!({ "key_ops": ["verify"], "alg": "RS256" })),
        json!({ "kty": "EC", "kid": "off", "crv": "P-256", "x": b64([1; 32]), "y": b64([1; 32]) }),
    ]);
    let identity = identity(&format!("[jwt.company]\nissuer = '{}'", idp.issuer()));
    show(&identity, &token(&RSA, "good", &claims(&idp))).await.unwrap();
    for kid in ["enc", "ops", "ps", "odd", "secret", "short", "even", "one"] {
        assert_refused(show(&identity, &token(&RSA, kid, &claims(&idp))).await, Fault::NoSuchKey, kid);
    }
    for (signer, kid) in [(&ES256, "off"), (&ES256, "good"), (&EDDSA, "good")] {
        assert_refused(show(&identity, &token(signer, kid, &claims(&idp))).await, Fault::NoSuchKey, kid);
    }
}

#[tokio::test]
async fn au_02_the_audience_is_this_server_or_the_token_is_refused() {
    let idp = Idp::start().await;
    idp.publish(&[ES256.jwk(Some("k1"))]);
    let of = |audience: &str| {
        identity(&format!("[jwt.company]\nissuer = '{}'\naudience = '{audience}'", idp.issuer()))
    };
    let root = of("https://gw.example");
    for aud in ["https://gw.example", "https://gw.example/", "HTTPS://GW.example"] {
        show(&root, &token(&ES256, "k1", &claims_with(&idp, json!({ "aud": aud })))).await.unwrap();
    }
    for aud in ["https://gw.example.evil", "https://gw.example/x"] {
        let judged = show(&root, &token(&ES256, "k1", &claims_with(&idp, json!({ "aud": aud })))).await;
        assert_refused(judged, Fault::Audience, aud);
    }
    let path = of(RESOURCE);
    for aud in [json!(RESOURCE), json!(["x", RESOURCE])] {
        show(&path, &token(&ES256, "k1", &claims_with(&idp, json!({ "aud": aud })))).await.unwrap();
    }
    for aud in
        [json!("https://gw.example/mcp2"), json!("https://gw.example"), json!(null), json!([]), json!({})]
    {
        let judged = show(&path, &token(&ES256, "k1", &claims_with(&idp, json!({ "aud": aud })))).await;
        assert_refused(judged, Fault::Audience, &aud.to_string());
    }
}

#[tokio::test]
async fn au_04_a_valid_token_counts_in_its_header_alone() {
    let (idp, identity) = usual("").await;
    let token = token(&ES256, "k1", &claims(&idp));
    for (scheme, is_fine) in
        [("Bearer", true), ("bearer", true), ("BEARER", true), ("Basic", false), ("DPoP", false)]
    {
        let value = format!("{scheme} {token}");
        let shown = Credentials { authorization: Some(value.as_bytes()), api_key: None };
        let judged = identity.authenticate(shown).await;
        assert_eq!(
            judged.as_ref().err().map(|denied| denied.kind()),
            (!is_fine).then_some(DeniedKind::Missing),
            "{scheme}"
        );
        assert_eq!(identity.remembered(&shown).is_some(), is_fine, "{scheme}");
    }
    // Remembered or not, a token is no API key.
    let as_key = Credentials { authorization: None, api_key: Some(token.as_bytes()) };
    assert!(identity.remembered(&as_key).is_none());
    assert_refused(identity.authenticate(as_key).await, Fault::NoKey, "X-API-Key");
}

#[tokio::test]
async fn au_05_tokens_that_must_fail_fail_and_say_nothing_of_why() {
    let (idp, identity) = usual("").await;
    let good = token(&ES256, "k1", &claims(&idp));
    let with = |other: Value| token(&ES256, "k1", &claims_with(&idp, other));
    let mut flipped = good.clone().into_bytes();
    let middle = good.find('.').unwrap() + 20;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let header = b64(r#"{"alg":"none"}"#);
    let cases = [
        ("none", format!("{header}.{}.", b64(claims(&idp).to_string())), Fault::Algorithm),
        ("no exp", with(json!({ "exp": null })), Fault::Date),
        ("exp as text", with(json!({ "exp": "9999999999" })), Fault::Date),
        ("other case", with(json!({ "iss": idp.issuer().to_uppercase() })), Fault::Issuer),
        ("slash", with(json!({ "iss": format!("{}/", idp.issuer()) })), Fault::Issuer),
        (
            "crit",
            ES256.token(&json!({ "alg": "ES256", "kid": "k1", "crit": ["x"] }), &claims(&idp)),
            Fault::Critical,
        ),
        ("audience", with(json!({ "aud": "https://other.example" })), Fault::Audience),
    ];
    let mut told = Vec::new();
    for (what, token, fault) in cases {
        let judged = show(&identity, &token).await;
        told.push(judged.as_ref().unwrap_err().public().to_owned());
        assert_refused(judged, fault, what);
    }
    let judged = show(&identity, std::str::from_utf8(&flipped).unwrap()).await;
    told.push(judged.unwrap_err().public().to_owned());
    told.dedup();
    assert_eq!(told, ["the token or key was not accepted"]);
    show(&identity, &good).await.unwrap();
}

#[tokio::test]
async fn au_07_clocks_may_disagree_by_the_leeway() {
    let (idp, wide) = usual("leeway = '60s'").await;
    let narrow = identity(&format!("[jwt.company]\nissuer = '{}'\nleeway = '0s'", idp.issuer()));
    let (soon, late) = (now() + 20, now() + 600);
    let cases = [
        (json!({ "iat": soon, "nbf": soon }), None, Some(Fault::NotYet)),
        (json!({ "iat": soon }), None, Some(Fault::NotYet)),
        (json!({ "nbf": late }), Some(Fault::NotYet), Some(Fault::NotYet)),
        (json!({ "exp": now() - 600 }), Some(Fault::Expired), Some(Fault::Expired)),
        (json!({ "exp": now() - 20 }), None, Some(Fault::Expired)),
    ];
    for (claims, by_wide, by_narrow) in cases {
        let token = token(&ES256, "k1", &claims_with(&idp, claims.clone()));
        for (identity, expected) in [(&wide, by_wide), (&narrow, by_narrow)] {
            let judged = show(identity, &token).await;
            match expected {
                None => drop(judged.unwrap()),
                Some(fault) => assert_refused(judged, fault, &claims.to_string()),
            }
        }
    }
}

#[tokio::test]
async fn a_section_may_accept_less() {
    let (idp, es_only) = usual("algorithms = ['ES256', 'ES384']\ntyp = 'at+jwt'").await;
    idp.publish(&[ES256.jwk(Some("k1")), EDDSA.jwk(Some("d"))]);
    show(&es_only, &token(&ES256, "k1", &claims(&idp))).await.unwrap();
    assert_refused(show(&es_only, &token(&EDDSA, "d", &claims(&idp))).await, Fault::Algorithm, "EdDSA");
    let plain = ES256.token(&json!({ "alg": "ES256", "kid": "k1", "typ": "JWT" }), &claims(&idp));
    assert_refused(show(&es_only, &plain).await, Fault::Type, "JWT");
    let long =
        ES256.token(&json!({ "alg": "ES256", "kid": "k1", "typ": "application/AT+jwt" }), &claims(&idp));
    show(&es_only, &long).await.unwrap();
}

#[tokio::test]
async fn two_sections_of_one_issuer_are_told_apart_by_audience_and_share_its_keys() {
    let idp = Idp::start().await;
    idp.publish(&[ES256.jwk(Some("k1"))]);
    let issuer = idp.issuer();
    let both = identity(&format!(
        "[jwt.a]\nissuer = '{issuer}'\naudience = 'a'\n[jwt.b]\nissuer = '{issuer}'\naudience = 'b'"
    ));
    for name in ["a", "b"] {
        let caller =
            show(&both, &token(&ES256, "k1", &claims_with(&idp, json!({ "aud": name })))).await.unwrap();
        assert_eq!(caller.proof, Proof::Token { section: name.into() });
    }
    assert_refused(show(&both, &token(&ES256, "k1", &claims(&idp))).await, Fault::Audience, "neither");
    assert_eq!(idp.hits("/keys"), 1);
}
