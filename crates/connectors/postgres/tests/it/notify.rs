//! What a database tells of its changes is heard, and when it is not, that is said.

use std::time::{Duration, Instant};

use trunkline_postgres::PostgresFile;
use trunkline_service::notices::{FollowNotices, Notice, Notices as _};
use trunkline_testkit::pgbouncer::PgBouncer;
use trunkline_testkit::postgres::{self, PrivatePostgres};
use trunkline_testkit::within;

use crate::support::open;

fn follow(url: &str) -> Box<dyn FollowNotices> {
    open(url, "notify = 'a \"channel\"'").channel().unwrap().follow()
}

async fn next(notices: &mut Box<dyn FollowNotices>) -> Notice {
    tokio::time::timeout(within(Duration::from_secs(20)), notices.next()).await.unwrap()
}

fn changed(tag: &str) -> Notice {
    Notice::Changed((!tag.is_empty()).then(|| tag.into()))
}

#[tokio::test]
async fn every_notice_is_heard_in_its_order_and_soon() {
    let database = postgres::database().await;
    let mut notices = follow(&database.url);
    assert_eq!(next(&mut notices).await, Notice::Heard);
    let client = database.client().await;
    client.run("notify \"a \"\"channel\"\"\"; notify \"another\", 'x'").await;
    assert_eq!(next(&mut notices).await, changed(""));
    let told = Instant::now();
    client.run("notify \"a \"\"channel\"\"\", 'customers'").await;
    assert_eq!(next(&mut notices).await, changed("customers"));
    println!("a notice took {:?}", told.elapsed());
    assert!(told.elapsed() < within(Duration::from_millis(500)), "{:?}", told.elapsed());
    // More than wait at a time.
    client.run("select pg_notify('a \"channel\"', n::text) from generate_series(1, 3000) n").await;
    for number in 1..=3000 {
        assert_eq!(next(&mut notices).await, changed(&number.to_string()));
    }
    // What was not committed has not changed.
    client
        .run("begin; notify \"a \"\"channel\"\"\", 'never'; rollback; notify \"a \"\"channel\"\"\", 'then'")
        .await;
    assert_eq!(next(&mut notices).await, changed("then"));
}

#[tokio::test]
async fn a_connection_that_ends_is_told_and_made_anew() {
    let mut server = PrivatePostgres::start().await;
    let mut notices = follow(&server.url("postgres"));
    assert_eq!(next(&mut notices).await, Notice::Heard);
    let database = server.create_database().await;
    database
        .client()
        .await
        .run("select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen %' and pid <> pg_backend_pid()")
        .await;
    assert_eq!(next(&mut notices).await, Notice::Lost);
    assert_eq!(next(&mut notices).await, Notice::Heard);
    server.stop();
    assert_eq!(next(&mut notices).await, Notice::Lost);
    // Dropped and asked again, it goes on where it was.
    for _ in 0..5 {
        let early = tokio::time::timeout(Duration::from_millis(20), notices.next()).await;
        assert!(early.is_err());
    }
    server.restart().await;
    assert_eq!(next(&mut notices).await, Notice::Heard);
}

#[tokio::test]
async fn behind_a_pooler_nothing_is_said_to_be_heard() {
    let database = postgres::database().await;
    let port = url_port(&database.url);
    let pooler = PgBouncer::start(port, "pool_mode = transaction").await;
    let name = database.url.rsplit('/').next().unwrap();
    let mut notices = follow(&pooler.url(name));
    assert_eq!(next(&mut notices).await, Notice::Lost);
    assert!(tokio::time::timeout(Duration::from_millis(700), notices.next()).await.is_err());
}

fn url_port(url: &str) -> u16 {
    url.split('@')
        .nth(1)
        .unwrap()
        .split(['/', '?'])
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_name_that_no_channel_has_is_told() {
    let file: PostgresFile = toml::from_str("url = 'postgres://a@127.0.0.1/b'\nnotify = ''").unwrap();
    let problems = file.resolve("shop").unwrap_err();
    assert_eq!(problems[0].path, ["connectors", "shop", "notify"]);
}
