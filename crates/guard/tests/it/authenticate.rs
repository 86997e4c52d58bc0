//! Who asks: tokens of real keys, judged with the help of a real HTTP server.

mod checks;
mod discovery;
mod examined;
mod hostile;
mod idp;
mod introspection;
mod logged;
mod mutated;
mod remembering;
mod rotation;
mod signer;

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use trunkline_guard::authenticate::file::AuthFile;
use trunkline_guard::authenticate::{Fault, Identity, KeyCheck, Unassigned};
use trunkline_service::authenticate::{Authenticator as _, Credentials, Denied};
use trunkline_service::caller::Caller;

use idp::Idp;
use signer::{ES256, Signer};

/// What tokens of these tests are meant for.
const RESOURCE: &str = "https://gw.example/mcp";

fn identity(toml: &str) -> Arc<Identity> {
    identity_with(toml, None)
}

fn identity_with(toml: &str, keys: Option<Arc<dyn KeyCheck>>) -> Arc<Identity> {
    let file: AuthFile = toml::from_str(toml).unwrap();
    let (auth, problems) = file.resolve(Some(RESOURCE));
    assert!(problems.is_empty(), "{problems:?}");
    Identity::new(&auth, keys, Arc::new(Unassigned))
}

/// An issuer with one key on P-256, and an endpoint that believes it.
async fn usual(more: &str) -> (Idp, Arc<Identity>) {
    let idp = Idp::start().await;
    idp.publish(&[ES256.jwk(Some("k1"))]);
    let identity = identity(&format!("[jwt.company]\nissuer = '{}'\n{more}", idp.issuer()));
    (idp, identity)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that are accepted.
fn claims(idp: &Idp) -> Value {
    json!({
        "iss": idp.issuer(), "sub": "ann", "aud": RESOURCE, "iat": now(), "exp": now() + 300, "scope": "read write",
    })
}

/// The same with some of them replaced; null takes one away.
fn claims_with(idp: &Idp, other: Value) -> Value {
    let mut claims = claims(idp);
    for (name, value) in other.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn token(signer: &Signer, kid: &str, claims: &Value) -> String {
    signer.token(&json!({ "alg": signer.alg(), "kid": kid, "typ": "at+jwt" }), claims)
}

async fn show(identity: &Identity, token: &str) -> Result<Arc<Caller>, Denied> {
    let value = format!("Bearer {token}");
    identity.authenticate(Credentials { authorization: Some(value.as_bytes()), api_key: None }).await
}

fn is_remembered(identity: &Identity, token: &str) -> bool {
    let value = format!("Bearer {token}");
    identity.remembered(&Credentials { authorization: Some(value.as_bytes()), api_key: None }).is_some()
}

/// Checks that it was refused for that reason, of that kind.
#[track_caller]
fn assert_refused(judged: Result<Arc<Caller>, Denied>, fault: Fault, what: &str) {
    let denied = judged.err().unwrap_or_else(|| panic!("{what}: accepted"));
    let source = denied.source().map(ToString::to_string).unwrap_or_default();
    assert_eq!(denied.kind(), fault.kind(), "{what}: {source}");
    assert!(source.ends_with(&fault.to_string()), "{what}: {source}\n  instead of: {fault}");
}

/// Waits until something is so, at most 10 seconds.
async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut is_so: F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
