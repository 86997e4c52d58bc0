//! No change of a token is accepted, however small and wherever.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Runtime;
use trunkline_guard::authenticate::{Identity, SignedToken};

use super::idp::Idp;
use super::signer::{EDDSA, ES256, RSA};
use super::{claims, identity, show, token};

struct World {
    runtime: Runtime,
    identity: Arc<Identity>,
    tokens: Vec<String>,
    _idp: Idp,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (idp, identity, tokens) = runtime.block_on(async {
        let idp = Idp::start().await;
        idp.publish(&[RSA.jwk(Some("r")), ES256.jwk(Some("e")), EDDSA.jwk(Some("d")), ES256.jwk(None)]);
        let identity = identity(&format!("[jwt.company]\nissuer = '{}'\njwks-ttl = '1h'", idp.issuer()));
        let nameless = ES256.token(&json!({ "alg": "ES256" }), &claims(&idp));
        let said = claims(&idp);
        let mut tokens = vec![token(&RSA, "r", &said), token(&ES256, "e", &said), token(&EDDSA, "d", &said)];
        for token in &tokens {
            show(&identity, token).await.unwrap();
        }
        tokens.push(nameless);
        (idp, identity, tokens)
    });
    World { runtime, identity, tokens, _idp: idp }
});

#[derive(Debug, Clone)]
enum Change {
    Replace(usize, u8),
    Insert(usize, u8),
    Remove(usize, usize),
    Swap(usize, usize),
    Append(String),
    /// A part of another token in place of the same one here.
    Splice(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![Just(b'.'), Just(b'='), Just(b'-'), Just(b'_'), Just(b'A'), 33..127_u8];
    prop_oneof![
        (any::<usize>(), byte.clone()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (any::<usize>(), byte).prop_map(|(at, byte)| Change::Insert(at, byte)),
        (any::<usize>(), 1..20_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<usize>(), any::<usize>()).prop_map(|(one, two)| Change::Swap(one, two)),
        "[A-Za-z0-9._~+/=-]{1,8}".prop_map(Change::Append),
        (0..3_usize, 0..4_usize).prop_map(|(part, of)| Change::Splice(part, of)),
    ]
}

fn apply(token: &mut Vec<u8>, change: &Change, all: &[String]) {
    let length = token.len().max(1);
    match change {
        Change::Replace(at, byte) => token[at % length] = *byte,
        Change::Insert(at, byte) => token.insert(at % length, *byte),
        Change::Remove(at, more) => {
            let start = at % length;
            token.drain(start..(start + more).min(length));
        }
        Change::Swap(one, two) => token.swap(one % length, two % length),
        Change::Append(text) => token.extend_from_slice(text.as_bytes()),
        Change::Splice(part, of) => {
            let other: Vec<&str> = all[*of].split('.').collect();
            let text = String::from_utf8(token.clone()).unwrap();
            let mut parts: Vec<&str> = text.split('.').collect();
            if let (Some(place), Some(new)) = (parts.get_mut(*part), other.get(*part)) {
                *place = new;
            }
            *token = parts.join(".").into_bytes();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_token_that_was_changed_is_refused(which in 0..3_usize, changes in prop::collection::vec(change(), 1..4)) {
        let world = &*WORLD;
        let mut changed = world.tokens[which].clone().into_bytes();
        for change in &changes {
            if !changed.is_empty() {
                apply(&mut changed, change, &world.tokens);
            }
        }
        let changed = String::from_utf8(changed).unwrap();
        prop_assume!(!changed.is_empty() && !world.tokens.contains(&changed));
        let judged = world.runtime.block_on(show(&world.identity, &changed));
        prop_assert!(judged.is_err(), "{changed}");
    }

    #[test]
    fn anything_at_all_is_taken_apart_without_a_panic(text in "\\PC{0,200}", header in "[{}\\[\\]\",:a-z0-9.eE+-]{0,60}") {
        let _ = SignedToken::read(&text);
        let made = format!("{}.{}.AA", super::signer::b64(&header), super::signer::b64(&text));
        let _ = SignedToken::read(&made);
    }
}
