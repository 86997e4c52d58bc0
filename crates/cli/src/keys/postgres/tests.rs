//! The store in a real PostgreSQL, shared by several nodes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trunkline_guard::authenticate::KeyCheck as _;
use trunkline_guard::authenticate::keys::{IssueError, Issued, Order, Ring, find, issue, now, renew, revoke};
use trunkline_postgres::{Postgres, PostgresFile};
use trunkline_service::Chain;
use trunkline_service::authenticate::DeniedKind;
use trunkline_testkit::postgres::{self, PrivatePostgres};

use super::*;

fn open(url: &str) -> Postgres {
    let file: PostgresFile = toml::from_str(&format!("url = {url:?}")).unwrap();
    file.resolve("central").unwrap().0
}

/// A store as a node or a command has it, with connections of its own.
fn store(url: &str) -> Arc<PostgresKeys> {
    store_at(url, Absent::Create)
}

fn store_at(url: &str, absent: Absent) -> Arc<PostgresKeys> {
    let (postgres, within) = (open(url), Duration::from_secs(3));
    Arc::new(PostgresKeys::new("central", postgres.writer(within), postgres.writer(within), absent))
}

fn order(name: &str) -> Order {
    Order { name: name.to_owned(), roles: vec!["support".to_owned()], ..Order::default() }
}

async fn within_a_second(is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(1);
    while !is() {
        assert!(Instant::now() < end, "it does not happen within a second");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn ring(store: Arc<dyn KeyStore>, stale: u64) -> Arc<Ring> {
    Ring::start(store, Duration::from_secs(stale), &TaskTracker::new(), CancellationToken::new()).await
}

fn is_invalid(ring: &Ring, issued: &Issued) -> bool {
    ring.check(issued.key.reveal()).is_err_and(|denied| denied.kind() == DeniedKind::Invalid)
}

#[tokio::test]
async fn a_key_revoked_on_one_node_is_refused_on_another_within_a_second() {
    let database = postgres::database().await;
    let (one, other) = (store(&database.url), store(&database.url));
    let ring = ring(other, 60).await;
    let order = Order {
        scopes: vec!["files:read".to_owned()],
        expires: Some(Duration::from_secs(1000)),
        ..order("ci")
    };
    let issued = issue(&*one, order).await.unwrap();
    within_a_second(|| ring.check(issued.key.reveal()).is_ok()).await;
    let caller = ring.check(issued.key.reveal()).unwrap().caller;
    assert_eq!((&*caller.subject, &*caller.roles[0], &*caller.scopes[0]), ("ci", "support", "files:read"));
    assert_eq!(caller.expires, issued.expires);
    let generation = ring.generation();
    revoke(&*one, &find(&*one, "ci").await.unwrap()).await.unwrap();
    timeout(Duration::from_secs(1), ring.ended(issued.key.id().as_str())).await.unwrap();
    assert!(is_invalid(&ring, &issued) && ring.generation() > generation);
    let hash = database.client().await.value("select encode(hash, 'hex') from trunkline.api_keys").await;
    let kept: String = issued.key.hash().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, Some(kept));
}

#[tokio::test]
async fn only_what_changed_is_told_and_a_store_put_back_is_read_whole() {
    let database = postgres::database().await;
    let keys = store(&database.url);
    let first = issue(&*keys, order("a")).await.unwrap().key.id();
    let seen = keys.changes(None).await.unwrap().unwrap();
    assert!(seen.is_whole && keys.changes(Some(seen.version)).await.unwrap().is_none());
    let second = issue(&*keys, order("b")).await.unwrap().key.id();
    let changes = keys.changes(Some(seen.version)).await.unwrap().unwrap();
    assert_eq!(changes.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [second]);
    keys.touch(vec![(first, 5), (second, 6)]).await.unwrap();
    keys.touch(vec![(first, 3)]).await.unwrap();
    assert!(keys.changes(Some(changes.version)).await.unwrap().is_none());
    assert_eq!(find(&*keys, "a").await.unwrap()[0].last_use, Some(5));
    database.run("update trunkline.api_keys_version set number = 1").await;
    assert!(keys.changes(Some(changes.version)).await.unwrap().unwrap().is_whole);
}

#[tokio::test]
async fn a_rotated_key_goes_on_for_a_while_and_has_one_successor() {
    let database = postgres::database().await;
    let keys = store(&database.url);
    issue(&*keys, order("ci")).await.unwrap();
    let old = find(&*keys, "ci").await.unwrap().remove(0);
    let new = renew(&*keys, &old, Duration::from_secs(60), None).await.unwrap();
    let after = find(&*keys, old.id.as_str()).await.unwrap().remove(0);
    assert_eq!(after.replaced_by, Some(new.key.id()));
    assert!(after.expires.is_some_and(|end| end >= now() + 58 && end <= now() + 60));
    let made = find(&*keys, new.key.id().as_str()).await.unwrap().remove(0);
    assert_eq!((&made.name, &made.roles, made.expires), (&old.name, &old.roles, None));
    let again = renew(&*keys, &after, Duration::ZERO, None).await.unwrap_err();
    assert!(matches!(again, IssueError::Store(StoreError::Over { .. })), "{again}");
    let unknown = Entry { id: KeyId::random().unwrap(), ..after.clone() };
    let unknown = renew(&*keys, &unknown, Duration::ZERO, None).await.unwrap_err();
    assert!(matches!(unknown, IssueError::Store(StoreError::NoSuchKey { .. })), "{unknown}");
    assert!(matches!(keys.revoke(KeyId::random().unwrap(), 1).await, Err(StoreError::NoSuchKey { .. })));
    let twin = NewKey {
        id: after.id,
        hash: after.hash,
        name: "twin".into(),
        roles: Vec::new(),
        scopes: Vec::new(),
        created: 1,
        expires: None,
    };
    assert!(matches!(keys.create(twin).await, Err(StoreError::IdTaken { .. })));
}

#[tokio::test]
async fn many_nodes_that_begin_at_once_lose_nothing() {
    let database = postgres::database().await;
    let makers = (0..6).map(|maker| {
        let keys = store(&database.url);
        async move {
            for number in 0..5 {
                issue(&*keys, order(&format!("{maker}-{number}"))).await.unwrap();
            }
            // One name is for one of them.
            match issue(&*keys, order("all")).await {
                Ok(_) => 1,
                Err(IssueError::Store(StoreError::NameTaken { .. })) => 0,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let won: u32 = futures_util::future::join_all(makers).await.into_iter().sum();
    assert_eq!(won, 1);
    assert_eq!(store(&database.url).changes(None).await.unwrap().unwrap().entries.len(), 31);
}

#[tokio::test]
async fn keys_outlive_a_server_that_restarts() {
    let mut server = PrivatePostgres::start().await;
    let database = server.create_database().await;
    let keys = store(&database.url);
    let issued = issue(&*keys, order("ci")).await.unwrap();
    let ring = ring(store(&database.url), 60).await;
    assert!(ring.check(issued.key.reveal()).is_ok());
    server.kill();
    sleep(Duration::from_millis(800)).await;
    assert!(ring.check(issued.key.reveal()).is_ok());
    let down = keys.changes(None).await.unwrap_err();
    assert!(matches!(down, StoreError::Unavailable { .. }), "{down}");
    server.restart().await;
    let entries = loop {
        // Whoever failed before waits a little.
        match find(&*keys, "ci").await {
            Ok(entries) => break entries,
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    revoke(&*keys, &entries).await.unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while !is_invalid(&ring, &issued) {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_and_nothing_is_made_unasked() {
    let database = postgres::database().await;
    let absent = store_at(&database.url, Absent::Refuse).changes(None).await.unwrap_err();
    assert!(matches!(absent, StoreError::Absent { .. }), "{absent}");
    let client = database.client().await;
    assert_eq!(client.value("select to_regnamespace('trunkline')").await, None);
    let (base, name) = database.url.rsplit_once('/').unwrap();
    client.run(&format!("create role {name}_keys login")).await;
    let host = base.rsplit_once(['@', '/']).unwrap().1;
    let denied = store(&format!("postgres://{name}_keys@{host}/{name}")).changes(None).await.unwrap_err();
    let told = Chain(&denied).to_string();
    assert!(matches!(denied, StoreError::Refused { .. }), "{told}");
    assert!(
        told.contains("permission denied") && told.contains("create schema if not exists trunkline"),
        "{told}"
    );
    assert!(!told.contains(&format!("{name}_keys")), "{told}");
}
