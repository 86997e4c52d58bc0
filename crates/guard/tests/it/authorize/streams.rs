//! Subscriptions: what they tell, and when they end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use trunkline_guard::authorize::Authorize;
use trunkline_protocol::Method;
use trunkline_service::authenticate::{Authenticator, Credentials, Denied, DeniedKind};
use trunkline_service::catalog::Parts;
use trunkline_service::endpoint::{Endpoint, Live};
use trunkline_service::shared::{InMemory, Later, Shared as _};
use trunkline_service::{Caller, Change, Event, RouterOptions, ServerInfo, Service as _};

use super::world::{World, catalog, policy, resource, streamed, template, tool};

const ROLES: &str = r#"
[roles.docs]
match = { claim = "groups", has = "docs" }
allow = ["resources:x://dir/*", "resources:x://t/*"]
deny = ["resources:x://dir/secret*"]
"#;

fn parts() -> Parts {
    Parts {
        tools: vec![tool("a", json!({ "type": "object" }))],
        resources: ["x://dir/", "x://dir/open", "x://dir/secret", "x://other"].map(resource).into(),
        templates: vec![template("x://t/{id}")],
        ..Parts::default()
    }
}

async fn next(events: &mut tokio::sync::mpsc::Receiver<Event>) -> Value {
    let event = tokio::time::timeout(Duration::from_secs(5), events.recv()).await.unwrap().unwrap();
    match event {
        Event::Message(message) | Event::Positioned(message, _) => serde_json::from_slice(&message).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_told_of_what_is_denied_also_where_it_stands_under_what_was_asked_for() {
    let world = World::new(policy(ROLES), parts());
    let ann = world.caller(json!({ "groups": ["docs"] }), &[]);
    let wanted =
        ["x://dir/", "x://dir/secret", "x://other", "x://none", "x://t/7", "x://t/..", "x://dir/%73ecret"];
    let filter =
        json!({ "toolsListChanged": true, "resourcesListChanged": true, "resourceSubscriptions": wanted });
    let (request, mut events, closing) =
        streamed(&ann, Method::SubscriptionsListen, json!({ "notifications": filter }));
    let guard = Arc::clone(&world.guard);
    let mut streams = JoinSet::new();
    streams.spawn(async move { guard.call(request).await });
    let agreed = next(&mut events).await;
    assert_eq!(
        agreed["params"]["notifications"],
        json!({ "resourcesListChanged": true, "resourceSubscriptions": ["x://dir/", "x://t/7"] }),
        "there are no tools for this caller"
    );
    for uri in ["x://dir/secret", "x://dir/secret/a", "x://dir/../x", "x://other", "x://dir/open", "x://t/7"]
    {
        world.shared.announce(Change::Resource(uri.into()));
    }
    assert_eq!(next(&mut events).await["params"]["uri"], "x://dir/open");
    assert_eq!(next(&mut events).await["params"]["uri"], "x://t/7");
    closing.cancel();
    assert!(streams.join_next().await.unwrap().unwrap().is_ok());
}

/// Ends every proof when it is told to.
#[derive(Debug, Default)]
struct Ends(Notify);

impl Authenticator for Ends {
    fn remembered(&self, _: &Credentials<'_>) -> Option<Arc<Caller>> {
        None
    }

    fn authenticate<'a>(&'a self, _: Credentials<'a>) -> Later<'a, Result<Arc<Caller>, Denied>> {
        Box::pin(std::future::ready(Err(Denied::new(DeniedKind::Invalid, "no"))))
    }

    fn generation(&self) -> u64 {
        0
    }

    fn ended<'a>(&'a self, _: &'a Caller) -> Later<'a, ()> {
        Box::pin(self.0.notified())
    }
}

#[tokio::test]
async fn a_stream_ends_gracefully_when_the_proof_ends() {
    let policy = policy(ROLES);
    let ends = Arc::new(Ends::default());
    let options = RouterOptions::new(Arc::new(InMemory::default()));
    let guard = Authorize::new(Arc::clone(&policy), catalog(parts()), &ServerInfo::new("t", "1"), options)
        .with_authenticator(Arc::clone(&ends) as _);
    let caller = World::new(policy, parts()).caller(json!({ "groups": ["docs"] }), &[]);
    let filter = json!({ "resourcesListChanged": true });
    let (request, mut events, closing) =
        streamed(&caller, Method::SubscriptionsListen, json!({ "notifications": filter }));
    let mut stream = guard.call(request);
    tokio::select! {
        _ = &mut stream => panic!("ended by itself"),
        agreed = next(&mut events) => assert_eq!(agreed["method"], "notifications/subscriptions/acknowledged"),
    }
    ends.0.notify_waiters();
    ends.0.notify_one();
    let reply = tokio::time::timeout(Duration::from_secs(5), stream).await.unwrap().unwrap();
    assert!(reply.members().is_empty(), "the result that ends a subscription");
    assert!(!closing.is_cancelled(), "the edge goes on");
}

fn endpoint(text: &str, shared: &Arc<InMemory>) -> (Endpoint, Arc<Authorize>) {
    let (catalog, info) = (catalog(parts()), ServerInfo::new("t", "1"));
    let options = RouterOptions::new(Arc::clone(shared) as _);
    let guard = Arc::new(Authorize::new(policy(text), Arc::clone(&catalog), &info, options));
    let capabilities = guard.capabilities();
    let endpoint = Endpoint::new(Arc::clone(&guard) as _, catalog, info, capabilities, None);
    (endpoint.with_views(Arc::clone(&guard) as _), guard)
}

#[tokio::test]
async fn a_change_of_the_rules_ends_streams_and_announces_every_list_and_nothing_else_does() {
    let shared = Arc::new(InMemory::default());
    let (first, guard) = endpoint(ROLES, &shared);
    let live = Live::with_shared(first, Arc::clone(&shared) as _);
    let caller = World::new(policy(ROLES), parts()).caller(json!({ "groups": ["docs"] }), &[]);
    let filter = json!({ "resourcesListChanged": true });
    let (request, mut events, _closing) =
        streamed(&caller, Method::SubscriptionsListen, json!({ "notifications": filter }));
    let mut stream = guard.call(request);
    tokio::select! {
        _ = &mut stream => panic!("ended by itself"),
        _ = next(&mut events) => {}
    }
    live.store(endpoint(ROLES, &shared).0);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut stream).await.is_err(),
        "the rules are the same"
    );
    let mut changes = shared.changes(None);
    live.store(endpoint(&ROLES.replace("secret*", "secret/*"), &shared).0);
    // Though it was begun two states of the endpoint before.
    tokio::time::timeout(Duration::from_secs(5), stream).await.unwrap().unwrap();
    for _ in 0..3 {
        changes.next().await;
    }
}

#[tokio::test]
async fn capabilities_and_the_local_user_are_those_of_the_view() {
    let shared = Arc::new(InMemory::default());
    let text = format!("{ROLES}[roles.me]\nmatch = {{ local = true }}\nallow = [\"tools:*\"]\n");
    let (endpoint, _) = endpoint(&text, &shared);
    let ann = World::new(policy(&text), parts()).caller(json!({ "groups": ["docs"] }), &[]);
    let of = |caller: &Caller| endpoint.capabilities_for(caller).into_owned();
    assert!(of(&ann).get("tools").is_none() && of(&ann).get("resources").is_some());
    let local = endpoint.local();
    assert_eq!(&*local.roles, ["me".into()]);
    assert!(of(&local).get("tools").is_some() && of(&local).get("resources").is_none());
    assert!(
        endpoint.catalog_for(&local).find(b"a").is_some() && endpoint.catalog_for(&ann).find(b"a").is_none()
    );
}
