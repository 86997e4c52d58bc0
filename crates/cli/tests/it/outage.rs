//! The database dies under load and comes back: nobody hangs, nothing is lost silently, and nobody restarts anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trunkline_testkit::postgres::PrivatePostgres;

use crate::support::{Folder, Server, call};

const CALLERS: usize = 200;
/// The deadline in the file, and what a loaded test machine may add to it.
const DEADLINE: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_secs(3);

fn file(url: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndeadline = \"{}s\"\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [connectors.db]\ntype = \"postgres\"\nurl = \"{url}\"\n\n\
         [tools.quick]\nconnector = \"db\"\nsql = \"select :n::int8 as n\"\n\n\
         [tools.slow]\nconnector = \"db\"\nsql = \"select 1 as n, pg_sleep(0.05)::text as s, :n::int8 as m\"\n",
        DEADLINE.as_secs()
    )
}

fn is_row(answer: &Value) -> bool {
    answer["result"]["isError"] == false && answer["result"]["structuredContent"]["rowCount"] == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_under_200_callers() {
    let mut postgres = PrivatePostgres::start().await;
    let folder = Folder::new();
    folder.write(&file(&postgres.url("postgres")));
    let server = Server::start(&folder);
    let address = server.address;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || {
                let (mut longest, mut failed) = (Duration::ZERO, 0);
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let answer = call(
                        address,
                        if caller % 4 == 0 { "slow" } else { "quick" },
                        &json!({ "n": caller }),
                    );
                    longest = longest.max(started.elapsed());
                    assert_eq!(answer["id"], 1);
                    // A row, a result that a model can act on, or that it may come again: nothing was begun.
                    let is_told = answer["result"]["isError"] == true || answer["error"]["code"] == 503;
                    assert!(is_row(&answer) || is_told, "{answer}");
                    failed += usize::from(!is_row(&answer));
                    done.fetch_add(1, Ordering::Relaxed);
                }
                (longest, failed)
            })
        })
        .collect();
    while done.load(Ordering::Relaxed) < 2 * CALLERS {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    postgres.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let ends: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    let longest = ends.iter().map(|(longest, _)| *longest).max().unwrap();
    assert!(longest < DEADLINE + SLACK, "a call took {longest:?}");
    assert!(ends.iter().any(|(_, failed)| *failed > 0), "the kill was not noticed");
    let down = call(address, "quick", &json!({ "n": 1 }));
    let text = down["result"]["content"][0]["text"].as_str().unwrap();
    assert!(down["result"]["isError"] == true && !text.contains("127.0.0.1"), "{text}");

    postgres.restart().await;
    let back = Instant::now();
    while !is_row(&call(address, "quick", &json!({ "n": 1 })))
        || !is_row(&call(address, "slow", &json!({ "n": 1 })))
    {
        assert!(back.elapsed() < Duration::from_secs(5), "still down; it said:\n{}", server.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
