//! The record in a real PostgreSQL, written by the recorder and read back by the verifier.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use trunkline_guard::record::verify::{Report, Verifier};
use trunkline_guard::record::{Audit, AuditKey, Recorder, SinkChoice};
use trunkline_postgres::{Postgres, PostgresFile};
use trunkline_service::{AccessRecord as _, Denied, DeniedKind, HeadInfo};
use trunkline_testkit::postgres::{PrivatePostgres, database};

use super::*;

fn open(url: &str) -> Postgres {
    let file: PostgresFile = toml::from_str(&format!("url = {url:?}")).unwrap();
    file.resolve("central").unwrap().0
}

fn writer(url: &str) -> Writer {
    open(url).writer(Duration::from_secs(3))
}

fn audit(node: &str) -> Audit {
    Audit::new(SinkChoice::Postgres("central".to_owned()), AuditKey::new(&[7; 32]), node)
}

async fn start(url: &str, node: &str) -> Recorder {
    Recorder::start(&audit(node), Box::new(PostgresSink::new("central", writer(url)))).await.unwrap()
}

/// Has a line written; whether it was.
async fn note(recorder: &Recorder) -> bool {
    let denied = Denied::new(DeniedKind::Invalid, "no");
    recorder.denied(&denied, HeadInfo::default()).await.is_ok()
}

async fn verify(url: &str) -> Report {
    let mut verifier = Verifier::new(AuditKey::new(&[7; 32]), true);
    let mut pages = Pages::new(writer(url));
    loop {
        let page = pages.next().await.unwrap();
        if page.is_empty() {
            return verifier.finish();
        }
        verifier.read("postgres:central", &*page).unwrap();
    }
}

async fn count(url: &str) -> i64 {
    writer(url).run("select count(*) from trunkline.audit", &[]).await.unwrap()[0].get(0)
}

#[tokio::test]
async fn each_node_has_its_chain_and_goes_on_with_it_after_a_restart() {
    let database = database().await;
    for _ in 0..2 {
        let (one, two) = (start(&database.url, "web-1").await, start(&database.url, "web-2").await);
        for _ in 0..5 {
            assert!(note(&one).await && note(&two).await);
        }
        one.stop().await;
        two.stop().await;
    }
    // A start, five lines and a stop, twice.
    assert_eq!(count(&database.url).await, 28);
    let report = verify(&database.url).await;
    assert_eq!((report.lines, report.nodes.len()), (28, 2));
    assert!(report.is_whole(), "{report:?}");
}

#[tokio::test]
async fn what_was_edited_or_removed_is_found_and_a_foreign_end_is_not_gone_on_with() {
    let database = database().await;
    let recorder = start(&database.url, "web-1").await;
    for _ in 0..5 {
        assert!(note(&recorder).await);
    }
    recorder.stop().await;
    database
        .run("create table kept as select * from trunkline.audit; delete from trunkline.audit where seq = 3")
        .await;
    assert!(!verify(&database.url).await.is_whole());
    database.run("insert into trunkline.audit select * from kept where seq = 3; update trunkline.audit set line = replace(line, 'denied', 'Denied') where seq = 7").await;
    database
        .run("update trunkline.audit set line = replace(line, '\"kind\"', '\"Kind\"') where seq = 7")
        .await;
    let sink = PostgresSink::new("central", writer(&database.url));
    let error = Recorder::start(&audit("web-1"), Box::new(sink)).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("does not end with lines of this `key`"), "{error}");
}

#[tokio::test]
async fn of_two_processes_with_one_name_the_chain_has_one() {
    let database = database().await;
    let one = start(&database.url, "web-1").await;
    assert!(note(&one).await);
    let two = start(&database.url, "web-1").await;
    assert!(note(&two).await);
    assert!(!note(&one).await);
    assert!(note(&two).await);
    one.stop().await;
    assert!(note(&two).await);
    two.stop().await;
    assert!(verify(&database.url).await.is_whole());
}

#[tokio::test]
async fn a_write_that_comes_late_adds_nothing() {
    let database = database().await;
    let prover = Prover::new(AuditKey::new(&[7; 32]), "web-1");
    let mut sink = PostgresSink::new("central", writer(&database.url));
    sink.begin(&prover).await.unwrap();
    let late = sink.turn;
    let mut again = PostgresSink::new("central", writer(&database.url));
    again.begin(&prover).await.unwrap();
    assert_ne!(again.turn, late);
    let values =
        [Value::Text(Some("web-1")), Value::Int(late), Value::Ints(&[1]), Value::Texts(&["a late line"])];
    let rows = writer(&database.url).run(ADD, &values).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 0);
    assert_eq!(count(&database.url).await, 0);
}

#[tokio::test]
async fn a_server_that_goes_away_leaves_a_gap_that_is_told_and_no_hole() {
    let mut server = PrivatePostgres::start().await;
    let database = server.create_database().await;
    let recorder = start(&database.url, "web-1").await;
    let mut written = 0;
    for _ in 0..20 {
        written += i64::from(note(&recorder).await);
    }
    assert_eq!(written, 20);
    server.kill();
    // In strict mode nobody is told that a line is written which is not.
    let end = Instant::now() + Duration::from_secs(5);
    while note(&recorder).await {
        assert!(Instant::now() < end);
    }
    server.restart().await;
    let end = Instant::now() + Duration::from_secs(20);
    while !note(&recorder).await {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(50)).await;
    }
    recorder.stop().await;
    let report = verify(&database.url).await;
    assert!(report.is_whole(), "{report:?}");
    assert!(count(&database.url).await > 21);
}
