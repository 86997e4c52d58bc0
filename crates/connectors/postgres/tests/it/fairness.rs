//! Many callers and few connections: each is served in turn, none is lost, and nobody's end is another's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use trunkline_sql::{DatabaseError, Value};
use trunkline_testkit::{postgres, within};

use crate::lanes::NAP;
use crate::support::{eventually, open, prepare, rows, run};

#[tokio::test]
async fn a_thousand_calls_over_eight_connections_are_served_in_the_order_of_asking() {
    let database = postgres::database().await;
    let postgres =
        Arc::new(open(&database.url, "pool = 8\nconnect-timeout = '60s'\nstatement-timeout = '60s'"));
    // When the server began with it, and that it took a while.
    let sql = "select $1::int, extract(epoch from clock_timestamp())::float8, pg_sleep(0.002)::text";
    let statement = Arc::new(prepare(&postgres, sql).await.0);
    assert_eq!(postgres.pool_wait().waits, 0);
    // All connections are there, so that none is late for being opened.
    let (open_all, _) = prepare(&postgres, "select pg_sleep(0.3)").await;
    let opened = futures_util::future::join_all((0..8).map(|_| run(&postgres, &open_all, vec![]))).await;
    assert!(opened.iter().all(Result::is_ok));
    let mut calls = JoinSet::new();
    // Tasks begin in the order they are spawned, so that is the order of asking.
    for number in 0..1000 {
        let (postgres, statement) = (Arc::clone(&postgres), Arc::clone(&statement));
        calls.spawn(async move {
            let deadline = Some(Instant::now() + Duration::from_secs(60));
            let run = trunkline_sql::Run {
                deadline,
                ..trunkline_sql::Run::new(vec![Value::Integer(number)], crate::support::Collector::default())
            };
            let ran = trunkline_sql::Database::run(&*postgres, &*statement, run).await.unwrap();
            assert_eq!(ran.rows.rows[0][0], json!(number), "the answer to another call");
            (number, ran.rows.rows[0][1].as_f64().unwrap())
        });
    }
    let mut served = Vec::new();
    while let Some(call) = calls.join_next().await {
        served.push(call.unwrap());
    }
    assert_eq!(served.len(), 1000);
    served.sort_by(|left, right| left.1.total_cmp(&right.1));
    let places = served.iter().enumerate();
    let mut moved: Vec<(u64, i64)> = places
        .map(|(place, (number, _))| (number.abs_diff(i64::try_from(place).unwrap()), *number))
        .collect();
    moved.sort_unstable();
    // So many may be on their way at once. A few are held up at a server that gets no processor for a while; in any other
    // order than that of asking it would be most of them.
    assert!(moved[980].0 <= 64, "so far from their place: {:?}", &moved[960..]);
    let wait = postgres.pool_wait();
    assert!((900..=992).contains(&wait.waits), "{wait:?}");
    assert!(wait.longest >= Duration::from_millis(200) && wait.longest < Duration::from_secs(60), "{wait:?}");
    assert!(wait.total > wait.longest * 100 && wait.total < wait.longest * 1000, "{wait:?}");
}

#[tokio::test]
async fn who_gives_up_waiting_is_told_how_long_it_was_and_holds_no_place() {
    let database = postgres::database().await;
    let postgres = open(&database.url, "pool = 1\nconnect-timeout = '200ms'");
    let (slow, _) = prepare(&postgres, "select pg_sleep(2)").await;
    let (quick, _) = prepare(&postgres, "select random() < 2").await;
    let holder = run(&postgres, &slow, vec![]);
    let others = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let error = run(&postgres, &quick, vec![]).await.unwrap_err();
        assert!(
            matches!(error, DatabaseError::PoolExhausted { after } if after >= Duration::from_millis(200) && after < Duration::from_millis(1500)),
            "{error:?}"
        );
        // Dropped while they wait: their places are nobody's.
        for _ in 0..20 {
            let call = run(&postgres, &quick, vec![]);
            assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
        }
    };
    let (held, ()) = tokio::join!(holder, others);
    held.unwrap();
    assert_eq!(run(&postgres, &quick, vec![]).await.unwrap().rows.rows, [[json!(true)]]);
    assert!(postgres.pool_wait().waits >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobodys_cancel_hits_another_callers_statement() {
    let database = postgres::database().await;
    let postgres = Arc::new(open(&database.url, "pool = 3\nconnect-timeout = '30s'"));
    let (slow, _) = prepare(&postgres, "select pg_sleep(30)").await;
    let (neighbour, _) = prepare(&postgres, "select $1::int, pg_sleep(0.005)::text").await;
    let (reader, _) = prepare(&postgres, "select $1::int + 1").await;
    assert!(reader.is_shared() && !neighbour.is_shared());
    let (slow, neighbour, reader) = (Arc::new(slow), Arc::new(neighbour), Arc::new(reader));
    let end = Instant::now() + Duration::from_secs(4);
    let mut tasks = JoinSet::new();
    for canceller in 0..2_u64 {
        let (postgres, slow) = (Arc::clone(&postgres), Arc::clone(&slow));
        tasks.spawn(async move {
            let mut count = 0_u64;
            while Instant::now() < end {
                let wait = Duration::from_micros(500 + 700 * ((count + canceller) % 17));
                assert!(tokio::time::timeout(wait, run(&postgres, &slow, vec![])).await.is_err());
                count += 1;
            }
            count
        });
    }
    for number in 0..6 {
        let (postgres, neighbour, reader) =
            (Arc::clone(&postgres), Arc::clone(&neighbour), Arc::clone(&reader));
        tasks.spawn(async move {
            let mut count = 0;
            while Instant::now() < end {
                let value = number * 1_000_000 + count;
                let statement = if number < 4 { &neighbour } else { &reader };
                let ran = run(&postgres, statement, vec![Value::Integer(value)]).await;
                let ran = ran.unwrap_or_else(|error| panic!("a neighbour was hit: {error:?}"));
                let expected = if number < 4 { value } else { value + 1 };
                assert_eq!(ran.rows.rows[0][0], json!(expected));
                count += 1;
            }
            0
        });
    }
    let mut cancelled = 0;
    while let Some(count) = tasks.join_next().await {
        cancelled += count.unwrap();
    }
    assert!(cancelled > 20, "{cancelled}");
    let watcher = database.client().await;
    let sleeping = "select count(*) from pg_stat_activity where query like '%pg_sleep(30)%' and state = 'active' \
                    and datname = current_database() and pid <> pg_backend_pid()";
    eventually(Duration::from_secs(2), async || watcher.value(sleeping).await.unwrap() == "0").await;
}

#[tokio::test]
async fn a_slow_search_holds_up_no_look_up() {
    let database = postgres::database().await;
    database.run("create table t (id int primary key, name text); insert into t select g, 'n' || g from generate_series(1, 1000) g").await;
    let postgres = Arc::new(open(&database.url, "pool = 4"));
    // It starts on the lane of the look-ups, and stays there for half a second at most.
    database.run(NAP).await;
    let (search, _) = prepare(&postgres, "select nap(8) + $1::int").await;
    assert!(search.is_shared());
    let (look_up, _) = prepare(&postgres, "select name from t where id = $1").await;
    // The searches are known to be slow after half a second of the first one.
    let first = run(&postgres, &search, vec![Value::Integer(1)]);
    assert!(tokio::time::timeout(Duration::from_millis(1500), first).await.is_err());
    assert!(!search.is_shared());
    let search = Arc::new(search);
    let mut searches = JoinSet::new();
    for _ in 0..2 {
        let (postgres, search) = (Arc::clone(&postgres), Arc::clone(&search));
        searches.spawn(async move { run(&postgres, &search, vec![Value::Integer(1)]).await.map(drop) });
    }
    let watcher = database.client().await;
    let searching =
        "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
    eventually(Duration::from_secs(2), async || watcher.value(searching).await.unwrap() == "2").await;
    let mut took = Vec::new();
    for id in 1..=200 {
        let started = Instant::now();
        let found = run(&postgres, &look_up, vec![Value::Integer(id)]).await.unwrap().rows.rows;
        assert_eq!(found, [[json!(format!("n{id}"))]]);
        took.push(started.elapsed());
    }
    took.sort();
    assert!(took[190] < within(Duration::from_millis(100)), "{:?}", &took[180..]);
    assert!(searches.try_join_next().is_none(), "all were answered while both searches went on");
    searches.abort_all();
    assert_eq!(rows(&postgres, "select 7, random() < 2", vec![]).await, [[json!(7), json!(true)]]);
}
