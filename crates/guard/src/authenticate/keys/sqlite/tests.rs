//! The store in a file, used by several at once and put in other places.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::super::{Entry, IssueError, Order, find, issue, now, renew, revoke};
use super::*;

fn order(name: &str) -> Order {
    Order { name: name.to_owned(), roles: vec!["support".to_owned()], ..Order::default() }
}

fn store(folder: &tempfile::TempDir) -> SqliteKeys {
    SqliteKeys::new(folder.path().join("keys.db"), Absent::Create)
}

async fn all(store: &SqliteKeys) -> Vec<Entry> {
    store.changes(None).await.unwrap().unwrap().entries
}

#[tokio::test]
async fn a_key_is_kept_as_a_hash_in_a_file_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let keys = store(&folder);
    let issued = issue(&keys, order("ci")).await.unwrap();
    let found = all(&keys).await;
    assert_eq!((found[0].id, &*found[0].name), (issued.key.id(), "ci"));
    assert!(found[0].hash.matches(&issued.key.hash()));
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
        let bytes = fs::read(&path).unwrap();
        let secret = &issued.key.reveal().as_bytes()[17..];
        assert!(!bytes.windows(secret.len()).any(|part| part == secret));
    }
}

#[tokio::test]
async fn only_what_changed_is_told_and_nothing_when_nothing_did() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, other) = (store(&folder), store(&folder));
    let first = issue(&keys, order("a")).await.unwrap().key.id();
    let seen = other.changes(None).await.unwrap().unwrap();
    assert!(seen.is_whole);
    assert!(other.changes(Some(seen.version)).await.unwrap().is_none());
    let second = issue(&keys, order("b")).await.unwrap().key.id();
    let changes = other.changes(Some(seen.version)).await.unwrap().unwrap();
    assert_eq!(changes.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [second]);
    assert!(!changes.is_whole);
    keys.touch(vec![(first, 5), (first, 3)]).await.unwrap();
    assert!(other.changes(Some(changes.version)).await.unwrap().is_none());
    assert_eq!(find(&other, "a").await.unwrap()[0].last_use, Some(5));
}

#[tokio::test]
async fn a_store_in_the_place_of_another_is_read_whole() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = store(&folder);
    issue(&keys, order("a")).await.unwrap();
    let seen = keys.changes(None).await.unwrap().unwrap().version;
    {
        issue(&store(&elsewhere), order("b")).await.unwrap();
    }
    for file in ["keys.db", "keys.db-wal", "keys.db-shm"] {
        let _ = fs::remove_file(folder.path().join(file));
        let _ = fs::rename(elsewhere.path().join(file), folder.path().join(file));
    }
    let changes = keys.changes(Some(seen)).await.unwrap().unwrap();
    assert!(changes.is_whole);
    assert_eq!(changes.entries.iter().map(|entry| &*entry.name).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_name_has_one_key_at_a_time_and_a_new_one_once_that_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let keys = store(&folder);
    let first = issue(&keys, order("ci")).await.unwrap();
    let taken = issue(&keys, order("ci")).await.unwrap_err();
    assert!(matches!(&taken, IssueError::Store(StoreError::NameTaken { id, .. }) if *id == first.key.id()));
    revoke(&keys, &find(&keys, "ci").await.unwrap()).await.unwrap();
    let second = issue(&keys, order("ci")).await.unwrap();
    assert_ne!(second.key.id(), first.key.id());
    assert_eq!(find(&keys, "ci").await.unwrap().len(), 2);
    assert_eq!(find(&keys, first.key.id().as_str()).await.unwrap().len(), 1);
    assert!(matches!(find(&keys, "cd").await, Err(IssueError::Unknown { .. })));
}

#[tokio::test]
async fn a_rotated_key_goes_on_for_a_while_and_has_one_successor() {
    let folder = tempfile::tempdir().unwrap();
    let keys = store(&folder);
    let life = Some(Duration::from_secs(1000));
    issue(&keys, Order { expires: life, ..order("ci") }).await.unwrap();
    let old = find(&keys, "ci").await.unwrap().remove(0);
    let new = renew(&keys, &old, Duration::from_secs(60), None).await.unwrap();
    let (after, made) = (find(&keys, old.id.as_str()).await.unwrap().remove(0), new.key.id());
    assert_eq!(after.replaced_by, Some(made));
    assert!(after.expires.is_some_and(|end| end >= now() + 58 && end <= now() + 60));
    let successor = find(&keys, made.as_str()).await.unwrap().remove(0);
    assert!(successor.has_rights_of(&old));
    assert!(successor.expires.is_some_and(|end| end >= now() + 998));
    let twice = renew(&keys, &after, Duration::ZERO, None).await.unwrap_err();
    assert!(matches!(twice, IssueError::Store(StoreError::Over { .. })), "{twice}");
    // An overlap never makes a key last longer than it would have.
    let short = renew(&keys, &successor, Duration::from_secs(5000), None).await.unwrap();
    assert_eq!(find(&keys, made.as_str()).await.unwrap()[0].expires, successor.expires);
    assert!(short.expires.is_some());
}

#[tokio::test]
async fn many_makers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let makers = (0..8).map(|maker| {
        // Each with connections of its own, as processes have, and all begin with no file.
        let keys = store(&folder);
        async move {
            for number in 0..10 {
                issue(&keys, order(&format!("{maker}-{number}"))).await.unwrap();
            }
            // One name is for one of them.
            u32::from(issue(&keys, order("all")).await.is_ok())
        }
    });
    let won: u32 = futures_util::future::join_all(makers).await.into_iter().sum();
    assert_eq!(won, 1);
    let found = store(&folder).changes(None).await.unwrap().unwrap();
    assert_eq!((found.entries.len(), found.version.number), (81, 81));
}

#[tokio::test]
async fn what_cannot_be_trusted_or_is_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let told = async |path: PathBuf, absent| {
        let error = SqliteKeys::new(path, absent).changes(None).await.unwrap_err();
        trunkline_service::Chain(&error).to_string()
    };
    assert!(told(at("none/keys.db"), Absent::Create).await.contains("does not exist; make it"));
    assert!(told(at("none.db"), Absent::Refuse).await.contains("is not there"));
    assert!(!at("none.db").exists());
    assert!(told(folder.path().to_owned(), Absent::Create).await.contains("is no file"));
    fs::write(at("text"), "x".repeat(5000)).unwrap();
    fs::set_permissions(at("text"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(told(at("text"), Absent::Create).await.contains("no database"));
    Connection::open(at("shop.db")).unwrap().execute_batch("create table t (a)").unwrap();
    fs::set_permissions(at("shop.db"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(told(at("shop.db"), Absent::Create).await.contains("of something else"));
    issue(&store(&folder), order("a")).await.unwrap();
    fs::set_permissions(at("keys.db"), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(told(at("keys.db"), Absent::Create).await.contains("can be written by others (666)"));
}

#[tokio::test]
async fn an_order_without_sense_is_told_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let keys = store(&folder);
    let scope = |scope: &str| Order { scopes: vec![scope.to_owned()], ..order("a") };
    let role = |role: &str| Order { roles: vec![role.to_owned()], ..order("a") };
    for wrong in
        [order(""), order(" a"), order("a\nb"), order(&"a".repeat(129)), scope("a b"), scope(""), role("")]
    {
        assert!(matches!(issue(&keys, wrong).await, Err(IssueError::Order { .. })));
    }
    assert!(!folder.path().join("keys.db").exists());
}
