//! Keys in memory, followed from a real store: what is accepted, for how long, and what is told of it.

use std::future::Future;
use std::io::Write;
use std::sync::Mutex;

use tokio::time::{Instant, sleep, timeout};
use trunkline_service::shared::Later;

use super::super::{
    Absent, Issued, NewKey, Order, SqliteKeys, StoreError, Version, find, issue, renew, revoke,
};
use super::*;

/// The store of a test, which can be made to fall silent.
#[derive(Debug)]
struct Silent {
    keys: SqliteKeys,
    is_silent: AtomicBool,
    asked: AtomicU64,
}

impl KeyStore for Silent {
    fn changes(&self, since: Option<Version>) -> Later<'_, Result<Option<Changes>, StoreError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.is_silent.load(Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError::unavailable("it is silent")) });
        }
        self.keys.changes(since)
    }

    fn create(&self, key: NewKey) -> Later<'_, Result<(), StoreError>> {
        self.keys.create(key)
    }

    fn rotate(&self, old: KeyId, until: u64, new: NewKey) -> Later<'_, Result<(), StoreError>> {
        self.keys.rotate(old, until, new)
    }

    fn revoke(&self, id: KeyId, at: u64) -> Later<'_, Result<(), StoreError>> {
        self.keys.revoke(id, at)
    }

    fn touch(&self, uses: Vec<(KeyId, u64)>) -> Later<'_, Result<(), StoreError>> {
        self.keys.touch(uses)
    }
}

struct Node {
    store: Arc<Silent>,
    ring: Arc<Ring>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Node {
    async fn start(folder: &tempfile::TempDir) -> Self {
        Self::start_at(folder, Pace::default()).await
    }

    async fn start_at(folder: &tempfile::TempDir, pace: Pace) -> Self {
        let keys = SqliteKeys::new(folder.path().join("keys.db"), Absent::Create);
        let store = Arc::new(Silent { keys, is_silent: AtomicBool::new(false), asked: AtomicU64::new(0) });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let ring = Ring::start_at(pace, store.clone(), &tasks, stop.clone()).await;
        Self { store, ring, tasks, stop }
    }

    async fn make(&self, name: &str, expires: Option<Duration>) -> Issued {
        let order = Order {
            name: name.to_owned(),
            roles: vec!["support".to_owned()],
            scopes: vec!["files:read".to_owned()],
            expires,
        };
        let issued = issue(&*self.store, order).await.unwrap();
        self.knows(&issued).await;
        issued
    }

    /// Waits until the key is accepted.
    async fn knows(&self, issued: &Issued) {
        within_a_second(|| self.ring.check(issued.key.reveal()).is_ok()).await;
    }
}

async fn within_a_second(is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(1);
    while !is() {
        assert!(Instant::now() < end, "it does not happen within a second");
        sleep(Duration::from_millis(5)).await;
    }
}

fn kind(ring: &Ring, key: &str) -> Option<DeniedKind> {
    ring.check(key).err().map(|denied| denied.kind())
}

fn is_over(future: impl Future<Output = ()>) -> bool {
    use futures_util::FutureExt as _;
    future.now_or_never().is_some()
}

#[tokio::test]
async fn a_key_is_its_owner_with_the_rights_it_was_made_with() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder).await;
    let issued = node.make("ci", Some(Duration::from_secs(90))).await;
    assert!(node.ring.looks_like_key(issued.key.reveal()) && !node.ring.looks_like_key("eyJhbGciOi"));
    let Verified { caller, last_use } = node.ring.check(issued.key.reveal()).unwrap();
    assert_eq!((caller.issuer.as_deref(), &*caller.subject, caller.is_local), (None, "ci", false));
    assert_eq!((&*caller.roles, &*caller.scopes), (&["support".into()][..], &["files:read".into()][..]));
    let id = issued.key.id().as_str().into();
    assert_eq!(caller.proof, Proof::Key { id, name: "ci".into() });
    assert_eq!(caller.expires, issued.expires);
    assert!(last_use.unwrap().load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_key_revoked_on_one_node_is_refused_on_another_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Node::start(&folder).await, Node::start(&folder).await);
    let (issued, kept) = (one.make("ci", None).await, one.make("kept", None).await);
    other.knows(&issued).await;
    other.knows(&kept).await;
    let before = other.ring.generation();
    let (gone, stays) = (issued.key.id(), kept.key.id());
    assert!(!is_over(other.ring.ended(gone.as_str())));
    let ended = async {
        timeout(Duration::from_secs(1), other.ring.ended(gone.as_str())).await.unwrap();
    };
    let revoked = async { revoke(&*one.store, &find(&*one.store, "ci").await.unwrap()).await.unwrap() };
    tokio::join!(ended, revoked);
    for node in [&one, &other] {
        within_a_second(|| kind(&node.ring, issued.key.reveal()) == Some(DeniedKind::Invalid)).await;
        assert!(node.ring.check(kept.key.reveal()).is_ok());
    }
    assert!(other.ring.generation() > before);
    assert!(!is_over(other.ring.ended(stays.as_str())) && is_over(other.ring.ended(gone.as_str())));
}

#[tokio::test]
async fn a_new_key_or_a_last_use_takes_nothing_away_so_nothing_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder).await;
    let before = node.ring.generation();
    let issued = node.make("ci", None).await;
    node.store.touch(vec![(issued.key.id(), now())]).await.unwrap();
    node.make("cd", None).await;
    assert_eq!(node.ring.generation(), before);
}

#[tokio::test]
async fn a_rotated_key_is_the_same_caller_and_the_old_one_goes_on_for_the_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder).await;
    let old = node.make("ci", None).await;
    let before = node.ring.check(old.key.reveal()).unwrap().caller;
    let entry = find(&*node.store, "ci").await.unwrap().remove(0);
    let generation = node.ring.generation();
    let new = renew(&*node.store, &entry, Duration::from_secs(2), None).await.unwrap();
    node.knows(&new).await;
    let (first, second) = (
        node.ring.check(old.key.reveal()).unwrap().caller,
        node.ring.check(new.key.reveal()).unwrap().caller,
    );
    assert_eq!(before.identity(), second.identity());
    assert_eq!((&first.roles, &first.scopes), (&second.roles, &second.scopes));
    // What remembers the old one without an end has to look again.
    assert!(node.ring.generation() > generation && first.expires.is_some() && second.expires.is_none());
    timeout(Duration::from_secs(3), node.ring.ended(entry.id.as_str())).await.unwrap();
    assert_eq!(kind(&node.ring, old.key.reveal()), Some(DeniedKind::Invalid));
    assert!(node.ring.check(new.key.reveal()).is_ok());
}

#[tokio::test]
async fn a_key_ends_with_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder).await;
    let issued = node.make("ci", Some(Duration::from_secs(2))).await;
    let id = issued.key.id();
    let ended = node.ring.ended(id.as_str());
    timeout(Duration::from_secs(3), ended).await.unwrap();
    assert!(now() >= issued.expires.unwrap());
    assert_eq!(kind(&node.ring, issued.key.reveal()), Some(DeniedKind::Invalid));
}

#[tokio::test]
async fn whatever_is_wrong_with_a_key_the_caller_reads_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder).await;
    let (right, revoked) = (node.make("a", None).await, node.make("b", None).await);
    revoke(&*node.store, &find(&*node.store, "b").await.unwrap()).await.unwrap();
    within_a_second(|| node.ring.check(revoked.key.reveal()).is_err()).await;
    let unknown = format::Key::random().unwrap();
    let mut typed = right.key.reveal().to_owned();
    let last = typed.pop().unwrap();
    typed.push(if last == 'x' { 'y' } else { 'x' });
    // A secret of another key under this key's id, with a check that fits.
    let forged = format::Key::forge(right.key.id());
    let all = [unknown.reveal(), revoked.key.reveal(), &typed, forged.reveal(), "", "tlk_"];
    let told = all.map(|key| {
        let denied = node.ring.check(key).unwrap_err();
        assert_eq!(denied.kind(), DeniedKind::Invalid);
        denied.public().to_owned()
    });
    assert!(told.iter().all(|text| *text == told[0]), "{told:?}");
    assert!(node.ring.check(right.key.reveal()).is_ok());
}

#[tokio::test]
async fn keys_go_on_for_a_while_without_their_store_and_then_nobody_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let pace =
        Pace { look: Duration::from_millis(20), stale: Duration::from_millis(1500), ..Pace::default() };
    let node = Node::start_at(&folder, pace).await;
    let issued = node.make("ci", None).await;
    node.store.is_silent.store(true, Ordering::Relaxed);
    let asked = node.store.asked.load(Ordering::Relaxed);
    within_a_second(|| node.store.asked.load(Ordering::Relaxed) > asked + 2).await;
    assert!(node.ring.check(issued.key.reveal()).is_ok());
    let before = node.ring.generation();
    timeout(Duration::from_secs(10), node.ring.ended(issued.key.id().as_str())).await.unwrap();
    assert_eq!(kind(&node.ring, issued.key.reveal()), Some(DeniedKind::Unavailable));
    // Who remembers it must ask again.
    assert!(node.ring.generation() > before);
    // What is no key is known without the store.
    assert_eq!(kind(&node.ring, "tlk_"), Some(DeniedKind::Invalid));
    node.store.is_silent.store(false, Ordering::Relaxed);
    node.knows(&issued).await;
}

#[tokio::test]
async fn a_store_that_never_answered_lets_nobody_in_and_one_that_is_not_followed_neither() {
    let folder = tempfile::tempdir().unwrap();
    let keys = SqliteKeys::new(folder.path().join("none").join("keys.db"), Absent::Create);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let ring = Ring::start(Arc::new(keys), Duration::from_secs(60), &tasks, stop).await;
    let key = format::Key::random().unwrap();
    assert_eq!(kind(&ring, key.reveal()), Some(DeniedKind::Unavailable));
    std::fs::create_dir(folder.path().join("none")).unwrap();
    within_a_second(|| kind(&ring, key.reveal()) == Some(DeniedKind::Invalid)).await;

    let node = Node::start(&folder).await;
    let issued = node.make("ci", None).await;
    node.stop.cancel();
    node.tasks.close();
    node.tasks.wait().await;
    assert_eq!(kind(&node.ring, issued.key.reveal()), Some(DeniedKind::Unavailable));
}

#[tokio::test]
async fn nobody_follows_a_store_for_keys_that_nobody_asks() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder).await;
    drop(node.ring);
    node.tasks.close();
    timeout(Duration::from_secs(2), node.tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn the_last_use_is_written_back_seldom_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let pace = Pace { look: Duration::from_millis(20), write: Duration::from_millis(100), ..Pace::default() };
    let node = Node::start_at(&folder, pace).await;
    let issued = node.make("ci", None).await;
    let last = node.ring.check(issued.key.reveal()).unwrap().last_use.unwrap();
    let stored = async || find(&*node.store, "ci").await.unwrap()[0].last_use;
    let end = Instant::now() + Duration::from_secs(2);
    while stored().await.is_none() {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(10)).await;
    }
    // Someone who remembers the key wrote a later one.
    last.store(now() + 1000, Ordering::Relaxed);
    node.stop.cancel();
    node.tasks.close();
    node.tasks.wait().await;
    assert!(stored().await.is_some_and(|at| at > now() + 900));
}

#[tokio::test]
async fn ten_thousand_keys_are_found_as_fast_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder).await;
    let issued = node.make("ci", None).await;
    let rounds = |key: &str| {
        let best = (0..20).map(|_| {
            let began = std::time::Instant::now();
            for _ in 0..200 {
                assert!(node.ring.check(std::hint::black_box(key)).is_ok());
            }
            began.elapsed()
        });
        best.min().unwrap()
    };
    let one = rounds(issued.key.reveal());
    let entry = find(&*node.store, "ci").await.unwrap().remove(0);
    let others = (0..10_000).map(|number| Entry {
        id: KeyId::random().unwrap(),
        name: format!("robot-{number}").into(),
        ..entry.clone()
    });
    let version = Version { epoch: 0, number: 0 };
    node.ring.apply(Changes { version, is_whole: false, entries: others.collect() });
    assert_eq!(node.ring.len(), 10_001);
    let many = rounds(issued.key.reveal());
    assert!(many < one * 2, "one key takes {one:?}, one of ten thousand {many:?}");
}

/// Everything that is logged in this process.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_part_of_a_secret_is_in_any_log_error_or_debug_text() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let folder = tempfile::tempdir().unwrap();
    let pace = Pace { look: Duration::from_millis(20), stale: Duration::from_millis(50), ..Pace::default() };
    let node = Node::start_at(&folder, pace).await;
    let issued = node.make("ci", None).await;
    let mut told = vec![format!("{issued:?} {:?}", node.ring)];
    let mut note = |denied: Denied| told.push(format!("{denied} {denied:?}"));
    let key = issued.key.reveal();
    note(node.ring.check(&key[..60]).unwrap_err());
    note(node.ring.check(format::Key::forge(issued.key.id()).reveal()).unwrap_err());
    node.store.is_silent.store(true, Ordering::Relaxed);
    within_a_second(|| node.ring.is_stale()).await;
    note(node.ring.check(key).unwrap_err());
    node.store.is_silent.store(false, Ordering::Relaxed);
    node.knows(&issued).await;
    revoke(&*node.store, &find(&*node.store, "ci").await.unwrap()).await.unwrap();
    within_a_second(|| node.ring.check(key).is_err()).await;
    note(node.ring.check(key).unwrap_err());
    told.push(find(&*node.store, key).await.unwrap_err().to_string());
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    // It was told once that the store is silent, once that it is over, and once that it is back.
    assert_eq!(logged.lines().count(), 3, "{logged}");
    told.push(logged);
    for text in told {
        for part in [&key[17..60], &key[17..30], &key[47..60]] {
            assert!(!text.contains(part), "{text}");
        }
    }
}
