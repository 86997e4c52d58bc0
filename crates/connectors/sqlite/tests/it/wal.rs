//! Databases in WAL mode where nothing may be written beside them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use trunkline_sql::{Database, DatabaseError, Run};
use trunkline_sqlite::Sqlite;

use crate::support::{Collected, Folder, contents, prepare, query};

const SCRIPT: &str = "PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1), (2)";
/// Set for the copy of this test that runs as another user: the database file, and whether it can be read.
const CHILD: &str = "TRUNKLINE_TEST_WAL";

#[test]
fn sl_03_wal_files_on_read_only_media() {
    if let Ok(path) = std::env::var(CHILD) {
        return as_another_user(Path::new(&path));
    }
    let folder = Folder::with(SCRIPT);
    set_mode(&folder.path, 0o444);
    set_mode(folder.directory.path(), 0o555);
    let before = contents(folder.directory.path());
    assert_eq!(before.len(), 1, "the last connection closed cleanly");
    run_as_nobody(&folder.path);
    assert_eq!(contents(folder.directory.path()), before);

    // The same in a directory that can be written.
    set_mode(folder.directory.path(), 0o777);
    set_mode(&folder.path, 0o666);
    run_as_nobody(&folder.path);
    assert_eq!(contents(folder.directory.path()), before);
}

#[tokio::test]
async fn changes_in_a_wal_that_cannot_be_shared_are_not_passed_over() {
    let path = match std::env::var(CHILD) {
        Ok(path) => {
            let error =
                query(&Sqlite::new("test", Path::new(&path)), "SELECT count(*) FROM t").await.unwrap_err();
            let DatabaseError::Unreachable { source, .. } = &error else { panic!("{error:?}") };
            let advice = source.to_string();
            assert!(
                advice.contains("WAL")
                    && advice.contains("-wal` holds changes")
                    && advice.contains("directory"),
                "{advice}"
            );
            return;
        }
        Err(_) => Folder::with(SCRIPT),
    };
    let writer = rusqlite::Connection::open(&path.path).unwrap();
    writer.execute_batch("INSERT INTO t VALUES (3)").unwrap();
    // The database and its changes, as a copy on a medium without the shared index.
    let copy = Folder::empty();
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        fs::copy(name(&path.path), name(&copy.path)).unwrap();
        set_mode(Path::new(&name(&copy.path)), 0o444);
    }
    set_mode(copy.directory.path(), 0o555);
    let before = copy.contents();
    spawn("wal::changes_in_a_wal_that_cannot_be_shared_are_not_passed_over", &copy.path);
    assert_eq!(copy.contents(), before);
    set_mode(copy.directory.path(), 0o755);
    assert_eq!(query(&copy.database(), "SELECT count(*) FROM t").await.unwrap(), [json!([3])]);
}

#[tokio::test]
async fn a_writer_that_comes_and_goes_is_seen() {
    let folder = Folder::with(SCRIPT);
    let database = folder.database();
    let count = "SELECT count(*) FROM t";
    assert_eq!(query(&database, count).await.unwrap(), [json!([2])]);
    assert_eq!(folder.contents().len(), 1);
    let writer = rusqlite::Connection::open(&folder.path).unwrap();
    writer.execute_batch("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(query(&database, count).await.unwrap(), [json!([3])]);
    writer.execute_batch("INSERT INTO t VALUES (4)").unwrap();
    assert_eq!(query(&database, count).await.unwrap(), [json!([4])]);
    drop(writer);
    assert_eq!(query(&database, count).await.unwrap(), [json!([4])]);
    folder.fill("INSERT INTO t VALUES (5)");
    assert_eq!(query(&database, count).await.unwrap(), [json!([5])]);
}

#[tokio::test]
async fn rows_read_while_the_file_changed_are_not_used() {
    let slow = "SELECT a, (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1000000 + a) SELECT count(*) FROM c) FROM t";
    for cannot_restart in [false, true] {
        let folder = Folder::with(SCRIPT);
        let database = folder.database();
        let (statement, _) = prepare(&database, slow).await.unwrap();
        let change = async {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            folder.fill("INSERT INTO t VALUES (9)");
        };
        let rows = Collected { cannot_restart, ..Collected::default() };
        let call = database.run(&statement, Run::new(Vec::new(), rows));
        let (outcome, ()) = futures_util::future::join(call, change).await;
        if cannot_restart {
            assert!(matches!(outcome, Err(DatabaseError::Unreachable { .. })), "{outcome:?}");
        } else {
            assert_eq!(
                outcome.unwrap().rows.rows,
                [json!([1, 1000001]), json!([2, 1000002]), json!([9, 1000009])]
            );
        }
    }
}

fn as_another_user(path: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = path.parent().unwrap();
        let listing = || contents(directory).into_keys().collect::<Vec<_>>();
        let before = listing();
        let database = Sqlite::new("test", path);
        assert_eq!(query(&database, "SELECT count(*) FROM t").await.unwrap(), [json!([2])]);
        assert_eq!(listing(), before, "while it is open");
    });
}

fn run_as_nobody(path: &Path) {
    spawn("wal::sl_03_wal_files_on_read_only_media", path);
}

/// Runs a test of this program again, as a user whom the modes of files bind.
fn spawn(test: &str, path: &Path) {
    let program = std::env::current_exe().unwrap();
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    let output = command.args(["--exact", test, "--nocapture"]).env(CHILD, path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
