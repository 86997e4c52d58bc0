//! What is remembered of a proof that held, and what makes it forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use trunkline_guard::authenticate::{Assign, Fault, Identity, KeyCheck, Unassigned, Verified};
use trunkline_service::authenticate::{Authenticator as _, Credentials, Denied, DeniedKind};
use trunkline_service::caller::{Caller, Proof};
use trunkline_service::shared::Later;

use super::signer::ES256;
use super::{
    assert_refused, claims, claims_with, identity, identity_with, is_remembered, now, show, token, usual,
};

#[derive(Debug)]
struct Role(&'static str);

impl Assign for Role {
    fn assign(&self, mut caller: Caller) -> Arc<Caller> {
        caller.roles.push(self.0.into());
        Arc::new(caller)
    }
}

#[tokio::test]
async fn a_token_is_remembered_with_its_roles_until_they_change() {
    let (idp, identity) = usual("").await;
    let token = token(&ES256, "k1", &claims(&idp));
    assert!(!is_remembered(&identity, &token));
    let caller = show(&identity, &token).await.unwrap();
    assert!(is_remembered(&identity, &token));
    assert!(!is_remembered(&identity, &token[1..]), "a part of it is another one");
    let (generation, ended) = (identity.generation(), identity.ended(&caller));
    identity.reassign(Arc::new(Role("support")));
    tokio::time::timeout(Duration::from_secs(1), ended).await.expect("the stream goes on");
    assert!(identity.generation() > generation);
    assert!(!is_remembered(&identity, &token));
    // What was judged before is over for streams that begin only now.
    tokio::time::timeout(Duration::from_secs(1), identity.ended(&caller)).await.expect("it is of the past");
    assert_eq!(show(&identity, &token).await.unwrap().roles, ["support".into()]);
}

#[tokio::test]
async fn no_two_authenticators_ever_have_the_same_generation() {
    let (_idp, one) = usual("").await;
    let two = identity("[jwt.x]\nissuer = 'http://127.0.0.1:1'");
    let mut met = std::collections::BTreeSet::new();
    for _ in 0..10 {
        for identity in [&one, &two] {
            assert!(met.insert(identity.generation()));
            identity.retire();
        }
    }
}

#[tokio::test]
async fn a_token_ends_and_so_do_its_streams() {
    let (idp, identity) = usual("leeway = '0s'").await;
    let token = token(&ES256, "k1", &claims_with(&idp, json!({ "exp": now() + 2 })));
    let caller = show(&identity, &token).await.unwrap();
    assert!(is_remembered(&identity, &token));
    tokio::time::timeout(Duration::from_secs(4), identity.ended(&caller)).await.expect("the stream goes on");
    assert!(!is_remembered(&identity, &token));
    assert_refused(show(&identity, &token).await, Fault::Expired, "over");
}

#[tokio::test]
async fn two_tokens_of_one_user_are_the_same_caller() {
    let (idp, identity) = usual("").await;
    let one = show(&identity, &token(&ES256, "k1", &claims(&idp))).await.unwrap();
    let two = show(&identity, &token(&ES256, "k1", &claims_with(&idp, json!({ "jti": "2" })))).await.unwrap();
    assert_eq!(one.identity(), two.identity());
}

// --------------------------------------------------------------------------------------------------------------------
// API keys.

/// Keys in memory: `key-NAME` is that of NAME.
#[derive(Debug)]
struct Keys {
    held: Mutex<HashMap<String, Arc<AtomicU64>>>,
    generation: AtomicU64,
    checks: AtomicU64,
    changed: watch::Sender<()>,
}

impl Keys {
    fn of(names: &[&str]) -> Arc<Self> {
        let held = names.iter().map(|name| ((*name).to_owned(), Arc::default())).collect();
        let (generation, checks) = (AtomicU64::new(1), AtomicU64::new(0));
        Arc::new(Self { held: Mutex::new(held), generation, checks, changed: watch::Sender::new(()) })
    }

    fn revoke(&self, name: &str) {
        self.held.lock().unwrap().remove(name);
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.changed.send_replace(());
    }
}

impl KeyCheck for Keys {
    fn looks_like_key(&self, credential: &str) -> bool {
        credential.starts_with("key-")
    }

    fn check(&self, key: &str) -> Result<Verified, Denied> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        let name = key.strip_prefix("key-").unwrap_or_default();
        let held = self.held.lock().unwrap();
        let last_use = held.get(name).ok_or_else(|| Denied::new(DeniedKind::Invalid, "no such key"))?;
        let proof = Proof::Key { id: name.into(), name: name.into() };
        let caller = Caller { subject: name.into(), proof, ..Caller::default() };
        Ok(Verified { caller, last_use: Some(Arc::clone(last_use)) })
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn ended<'a>(&'a self, id: &'a str) -> Later<'a, ()> {
        let mut changed = self.changed.subscribe();
        Box::pin(async move {
            while self.held.lock().unwrap().contains_key(id) {
                let _ = changed.changed().await;
            }
        })
    }
}

fn with_keys(names: &[&str]) -> (Arc<Keys>, Arc<Identity>) {
    let keys = Keys::of(names);
    let check: Arc<dyn KeyCheck> = keys.clone();
    (keys, identity_with("", Some(check)))
}

#[tokio::test]
async fn a_key_is_taken_from_either_header_and_asked_for_once() {
    let (keys, identity) = with_keys(&["ann", "bob"]);
    let in_own = Credentials { authorization: None, api_key: Some(b"key-ann") };
    let as_bearer = Credentials { authorization: Some(b"Bearer key-ann"), api_key: None };
    let both = Credentials { authorization: Some(b"Bearer key-ann"), api_key: Some(b"key-ann") };
    let two = Credentials { authorization: Some(b"Bearer key-ann"), api_key: Some(b"key-bob") };
    for shown in [in_own, as_bearer, both] {
        assert_eq!(&*identity.authenticate(shown).await.unwrap().subject, "ann");
        assert!(identity.remembered(&shown).is_some());
    }
    assert_eq!(keys.checks.load(Ordering::Relaxed), 1);
    assert_refused(identity.authenticate(two).await, Fault::Two, "two keys");
    assert!(identity.remembered(&two).is_none());
    let wrong = identity.authenticate(Credentials { authorization: None, api_key: Some(b"key-eve") }).await;
    assert_eq!(wrong.unwrap_err().kind(), DeniedKind::Invalid);
}

#[tokio::test]
async fn the_use_of_a_remembered_key_is_noted() {
    let (keys, identity) = with_keys(&["ann"]);
    let shown = Credentials { authorization: None, api_key: Some(b"key-ann") };
    identity.authenticate(shown).await.unwrap();
    let last_use = Arc::clone(&keys.held.lock().unwrap()["ann"]);
    assert!(now() - last_use.swap(0, Ordering::Relaxed) <= 1);
    assert!(identity.remembered(&shown).is_some());
    let noted = last_use.load(Ordering::Relaxed);
    assert!(noted == 0 || now() - noted <= 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(identity.remembered(&shown).is_some());
    assert!(now() - last_use.load(Ordering::Relaxed) <= 1);
}

#[tokio::test]
async fn a_revoked_key_is_forgotten_at_once_with_its_streams() {
    let (keys, identity) = with_keys(&["ann", "bob"]);
    let ann = Credentials { authorization: None, api_key: Some(b"key-ann") };
    let bob = Credentials { authorization: None, api_key: Some(b"key-bob") };
    let (caller, other) =
        (identity.authenticate(ann).await.unwrap(), identity.authenticate(bob).await.unwrap());
    let (ended, goes_on) = (identity.ended(&caller), identity.ended(&other));
    let generation = identity.generation();
    // Streams look at their key first when they are begun.
    let begin = async {
        tokio::time::timeout(Duration::from_millis(50), async {
            tokio::join!(ended, async { keys.revoke("ann") })
        })
        .await
    };
    assert!(begin.await.is_ok(), "the stream goes on");
    assert!(
        tokio::time::timeout(Duration::from_millis(100), goes_on).await.is_err()
            || identity.generation() != generation
    );
    assert!(identity.remembered(&ann).is_none());
    assert_eq!(identity.authenticate(ann).await.unwrap_err().kind(), DeniedKind::Invalid);
    assert_eq!(&*identity.authenticate(bob).await.unwrap().subject, "bob");
}

#[tokio::test]
async fn without_keys_nothing_in_their_header_counts() {
    let (_idp, identity) = usual("").await;
    identity.reassign(Arc::new(Unassigned));
    let shown = Credentials { authorization: None, api_key: Some(b"key-ann") };
    assert_refused(identity.authenticate(shown).await, Fault::NoKey, "no keys");
}
