//! A primary with streaming replicas: where reads and writes go, and what happens when one of the servers does not keep up
//! or goes away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use trunkline_postgres::{NodeState, Postgres, PostgresStatement};
use trunkline_service::Caller;
use trunkline_sql::{Behalf, Database, DatabaseError, Run, Value};
use trunkline_testkit::postgres::{Client, PrivatePostgres};
use trunkline_testkit::within;

use crate::support::{Collector, eventually, open, prepare, reading, run, writing};

/// Tells on which server it ran; on the shared lane.
const SHARED: &str = "select inet_server_port()";
/// The same with a connection of its own.
const EXCLUSIVE: &str = "select inet_server_port(), random() < 2";
const WRITE: &str = "insert into t values ($1) returning inet_server_port()";
/// Tells whether a row is there and on which server that was looked up.
const FIND: &str = "select count(*), inet_server_port() from t where a = $1::int8";

/// A primary with a table `t`, and so many replicas of it.
pub(super) async fn servers(replicas: usize) -> (PrivatePostgres, Vec<PrivatePostgres>) {
    let primary = PrivatePostgres::start().await;
    Client::connect(&primary.url("postgres")).await.run("create table t (a int8)").await;
    let mut all = Vec::new();
    for _ in 0..replicas {
        all.push(primary.replica().await);
    }
    (primary, all)
}

pub(super) fn open_all(primary: &PrivatePostgres, replicas: &[PrivatePostgres], keys: &str) -> Postgres {
    let urls: Vec<String> = replicas.iter().map(|replica| format!("{:?}", replica.url("postgres"))).collect();
    let keys = format!("replicas = [{}]\naccess = 'read-write'\n{keys}", urls.join(", "));
    open(&primary.url("postgres"), &keys)
}

pub(super) async fn port(postgres: &Postgres, statement: &PostgresStatement) -> u16 {
    let ran = run(postgres, statement, Vec::new()).await.unwrap();
    as_port(&ran.rows.rows[0][0])
}

fn as_port(cell: &Json) -> u16 {
    u16::try_from(cell.as_u64().unwrap()).unwrap()
}

fn caller(name: &str) -> Arc<Caller> {
    Arc::new(Caller { subject: name.into(), ..Caller::default() })
}

async fn run_for(
    postgres: &Postgres,
    statement: &PostgresStatement,
    value: i64,
    caller: &Arc<Caller>,
) -> Result<Vec<Json>, DatabaseError> {
    let deadline = Some(Instant::now() + Duration::from_secs(10));
    let run = Run::new(vec![Value::Integer(value)], Collector::default());
    let ran = postgres.run(statement, Run { deadline, behalf: Behalf::of(caller), ..run }).await?;
    Ok(ran.rows.rows.into_iter().next().unwrap())
}

fn state(postgres: &Postgres, node: usize) -> NodeState {
    postgres.nodes()[node].state
}

#[tokio::test]
async fn reads_go_to_the_replicas_in_turn_and_writes_to_the_primary() {
    let (primary, replicas) = servers(2).await;
    let postgres = open_all(&primary, &replicas, "");
    let (write, _) = postgres.prepare(&writing(WRITE)).await.unwrap();
    for sql in [SHARED, EXCLUSIVE] {
        let (statement, _) = prepare(&postgres, sql).await;
        // The very first read waits for the first look.
        assert_ne!(port(&postgres, &statement).await, primary.port(), "{sql}");
        eventually(Duration::from_secs(3), async || state(&postgres, 1) == state(&postgres, 2)).await;
        let mut seen = [0; 2];
        for _ in 0..10 {
            let port = port(&postgres, &statement).await;
            let at = replicas.iter().position(|replica| replica.port() == port).unwrap();
            seen[at] += 1;
        }
        assert_eq!(seen, [5, 5], "{sql}");
    }
    for value in 0..5 {
        let ran = run(&postgres, &write, vec![Value::Integer(value)]).await.unwrap();
        assert_eq!(as_port(&ran.rows.rows[0][0]), primary.port());
        assert_eq!(ran.affected, Some(1));
    }
    let labels: Vec<_> = postgres.nodes().into_iter().map(|node| (node.label, node.state)).collect();
    let expected = ["primary", "replica 1", "replica 2"].map(|label| (label.to_owned(), NodeState::Healthy));
    assert_eq!(labels, expected);
}

#[tokio::test]
async fn a_replica_that_is_too_far_behind_is_not_read_from_until_it_has_caught_up() {
    let (primary, replicas) = servers(1).await;
    let postgres = open_all(&primary, &replicas, "max-lag = '300ms'");
    let (statement, _) = prepare(&postgres, SHARED).await;
    assert_eq!(port(&postgres, &statement).await, replicas[0].port());
    // Nothing to apply is no lag, however long it lasts.
    replicas[0].pause_replay().await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(port(&postgres, &statement).await, replicas[0].port());
    let writer = Client::connect(&primary.url("postgres")).await;
    writer.run("insert into t values (1)").await;
    let reads_from = async |expected: u16| {
        eventually(Duration::from_secs(5), async || port(&postgres, &statement).await == expected).await
    };
    reads_from(primary.port()).await;
    let status = postgres.nodes().remove(1);
    assert_eq!(status.state, NodeState::Lagging);
    assert!(status.lag.unwrap() > Duration::from_millis(300), "{status:?}");
    replicas[0].resume_replay().await;
    reads_from(replicas[0].port()).await;
}

#[tokio::test]
async fn a_caller_reads_what_it_wrote_and_others_read_what_the_replica_has() {
    let (primary, replicas) = servers(1).await;
    let postgres = open_all(&primary, &replicas, "max-lag = '1h'");
    let (write, _) = postgres.prepare(&writing(WRITE)).await.unwrap();
    let (find, _) = prepare(&postgres, FIND).await;
    let (ann, bob) = (caller("ann"), caller("bob"));
    assert_eq!(run_for(&postgres, &find, 7, &ann).await.unwrap(), [json!(0), json!(replicas[0].port())]);
    replicas[0].pause_replay().await;
    run_for(&postgres, &write, 7, &ann).await.unwrap();
    for _ in 0..3 {
        assert_eq!(run_for(&postgres, &find, 7, &ann).await.unwrap(), [json!(1), json!(primary.port())]);
        assert_eq!(run_for(&postgres, &find, 7, &bob).await.unwrap(), [json!(0), json!(replicas[0].port())]);
    }
    replicas[0].resume_replay().await;
    eventually(Duration::from_secs(5), async || {
        run_for(&postgres, &find, 7, &ann).await.unwrap() == [json!(1), json!(replicas[0].port())]
    })
    .await;
    for value in 100..120 {
        run_for(&postgres, &write, value, &ann).await.unwrap();
        assert_eq!(run_for(&postgres, &find, value, &ann).await.unwrap()[0], json!(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_killed_under_load_fails_no_read_and_is_used_again_when_it_is_back() {
    let (primary, mut replicas) = servers(1).await;
    let postgres = Arc::new(open_all(&primary, &replicas, ""));
    let statements: Arc<[PostgresStatement]> = Arc::new([
        prepare(&postgres, SHARED).await.0,
        prepare(&postgres, EXCLUSIVE).await.0,
        // Rows were written when it breaks.
        prepare(&postgres, "select inet_server_port(), n from generate_series(1, 20000) n").await.0,
    ]);
    assert_eq!(port(&postgres, &statements[0]).await, replicas[0].port());
    let mut readers = JoinSet::new();
    let end = Instant::now() + Duration::from_millis(1500);
    for reader in 0..8_usize {
        let (postgres, statements) = (Arc::clone(&postgres), Arc::clone(&statements));
        readers.spawn(async move {
            let mut read = 0;
            while Instant::now() < end {
                let rows = run(&postgres, &statements[reader % 3], Vec::new()).await.unwrap().rows.rows;
                assert!(rows.len() == 1 || rows.len() == 20_000, "{}", rows.len());
                read += 1;
            }
            read
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    replicas[0].kill();
    let mut read = 0;
    while let Some(done) = readers.join_next().await {
        read += done.unwrap();
    }
    assert!(read > 100, "{read}");
    assert_eq!(port(&postgres, &statements[0]).await, primary.port());
    assert_eq!(state(&postgres, 1), NodeState::Down);
    replicas[0].restart().await;
    eventually(Duration::from_secs(5), async || port(&postgres, &statements[0]).await == replicas[0].port())
        .await;
}

#[tokio::test]
async fn without_its_primary_a_database_with_replicas_still_reads_and_says_that_nothing_was_written() {
    let (mut primary, replicas) = servers(1).await;
    let postgres = open_all(&primary, &replicas, "max-lag = '200ms'");
    let (write, _) = postgres.prepare(&writing(WRITE)).await.unwrap();
    let (read, _) = prepare(&postgres, SHARED).await;
    let (exclusive, _) = prepare(&postgres, EXCLUSIVE).await;
    run(&postgres, &write, vec![Value::Integer(1)]).await.unwrap();
    primary.kill();
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        for statement in [&read, &exclusive] {
            let ran = run_for_reader(&postgres, statement).await.unwrap();
            assert_eq!(as_port(&ran[0]), replicas[0].port());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The first may find a connection that it was sent on, broken.
    let _ = run(&postgres, &write, vec![Value::Integer(2)]).await;
    let error = run(&postgres, &write, vec![Value::Integer(3)]).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable { sent: false, .. }), "{error:?}");
    postgres.ping().await.unwrap();
    // A start without the primary serves reads, and writes as soon as it is there.
    let late = open_all(&primary, &replicas, "");
    late.ping().await.unwrap();
    let (late_read, _) = prepare(&late, SHARED).await;
    assert_eq!(port(&late, &late_read).await, replicas[0].port());
    let error = late.prepare(&writing(WRITE)).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable { sent: false, .. }), "{error:?}");
    primary.restart().await;
    eventually(Duration::from_secs(5), async || {
        run(&postgres, &write, vec![Value::Integer(4)]).await.is_ok()
    })
    .await;
    eventually(Duration::from_secs(5), async || late.prepare(&writing(WRITE)).await.is_ok()).await;
    eventually(Duration::from_secs(5), async || state(&postgres, 1) == NodeState::Healthy).await;
}

/// Another caller than the one who wrote, since that one waits for the replica to have what it wrote.
async fn run_for_reader(
    postgres: &Postgres,
    statement: &PostgresStatement,
) -> Result<Vec<Json>, DatabaseError> {
    let run = Run { behalf: Behalf::of(&caller("reader")), ..Run::new(Vec::new(), Collector::default()) };
    Ok(postgres.run(statement, run).await?.rows.rows.remove(0))
}

#[tokio::test]
async fn what_a_replica_cannot_do_or_does_not_know_yet_is_asked_of_the_primary() {
    let (primary, replicas) = servers(1).await;
    let postgres = open_all(&primary, &replicas, "max-lag = '1h'");
    let (position, _) = prepare(&postgres, "select pg_current_wal_lsn()::text").await;
    for _ in 0..3 {
        run(&postgres, &position, Vec::new()).await.unwrap();
    }
    replicas[0].pause_replay().await;
    let writer = Client::connect(&primary.url("postgres")).await;
    writer.run("create table fresh as select 7 as a").await;
    for sql in
        ["select a, inet_server_port() from fresh", "select a, inet_server_port(), random() from fresh"]
    {
        let (statement, _) = prepare(&postgres, sql).await;
        let ran = run(&postgres, &statement, Vec::new()).await.unwrap();
        assert_eq!(ran.rows.rows[0][..2], [json!(7), json!(primary.port())]);
    }
    // A mistake is a mistake on every server.
    let error = postgres.prepare(&reading("select nothing from fresh")).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Statement { .. }), "{error:?}");
    let (fault, _) = prepare(&postgres, "select 1 / (a - a) from t").await;
    writer.run("insert into t values (1)").await;
    replicas[0].resume_replay().await;
    eventually(Duration::from_secs(5), async || {
        matches!(run(&postgres, &fault, Vec::new()).await, Err(DatabaseError::Data { .. }))
    })
    .await;
}

#[tokio::test]
async fn a_promoted_replica_is_not_read_from_beside_its_old_primary() {
    let (mut primary, replicas) = servers(1).await;
    let postgres = open_all(&primary, &replicas, "");
    let (read, _) = prepare(&postgres, SHARED).await;
    assert_eq!(port(&postgres, &read).await, replicas[0].port());
    replicas[0].promote().await;
    eventually(Duration::from_secs(3), async || state(&postgres, 1) == NodeState::Detached).await;
    assert_eq!(port(&postgres, &read).await, primary.port());
    // It is all there is when the primary is gone.
    primary.kill();
    for _ in 0..20 {
        assert_eq!(port(&postgres, &read).await, replicas[0].port());
    }
}

#[tokio::test]
async fn writes_follow_a_promoted_replica_that_the_address_names_too() {
    let (mut primary, replicas) = servers(1).await;
    let both =
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", primary.port(), replicas[0].port());
    let keys = format!("replicas = [{:?}]\naccess = 'read-write'", replicas[0].url("postgres"));
    let postgres = open(&both, &keys);
    let (write, _) = postgres.prepare(&writing(WRITE)).await.unwrap();
    let (find, _) = prepare(&postgres, FIND).await;
    let ann = caller("ann");
    assert_eq!(run_for(&postgres, &write, 1, &ann).await.unwrap(), [json!(primary.port())]);
    assert_eq!(run_for(&postgres, &find, 1, &ann).await.unwrap()[0], json!(1));
    // What was not copied yet would be lost with the primary.
    eventually(Duration::from_secs(5), async || {
        run_for(&postgres, &find, 1, &ann).await.unwrap() == [json!(1), json!(replicas[0].port())]
    })
    .await;
    primary.kill();
    replicas[0].promote().await;
    eventually(Duration::from_secs(8), async || run_for(&postgres, &write, 2, &ann).await.is_ok()).await;
    for value in 1..3 {
        let found = run_for(&postgres, &find, value, &ann).await.unwrap();
        assert_eq!(found, [json!(1), json!(replicas[0].port())]);
    }
    // It is the primary now, and read from like any replica that has everything.
    eventually(Duration::from_secs(5), async || state(&postgres, 1) == NodeState::Healthy).await;
}

#[tokio::test]
async fn a_frozen_replica_is_left_within_two_seconds() {
    let (primary, replicas) = servers(1).await;
    let postgres = open_all(&primary, &replicas, "connect-timeout = '500ms'");
    let (read, _) = prepare(&postgres, SHARED).await;
    eventually(Duration::from_secs(5), async || port(&postgres, &read).await == replicas[0].port()).await;
    replicas[0].stop_process();
    let started = Instant::now();
    assert_eq!(port(&postgres, &read).await, primary.port());
    assert!(started.elapsed() < within(Duration::from_secs(2)), "{:?}", started.elapsed());
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(port(&postgres, &read).await, primary.port());
    }
    // Each would wait for half a second there.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    replicas[0].cont();
    eventually(Duration::from_secs(5), async || port(&postgres, &read).await == replicas[0].port()).await;
}
