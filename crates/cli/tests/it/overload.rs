//! Far more is asked than can be done, or one of two databases hangs: what can be done is done, at nearly the pace of an idle
//! server, and the rest is told at once.
//!
//! `scripts/soak` runs it for 30 s (`TRUNKLINE_OVERLOAD_SECONDS`), `scripts/test` for 5 s.

#![expect(clippy::print_stderr, reason = "the figures are for whoever looks at the log of a run")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use trunkline_testkit::postgres::PrivatePostgres;

use crate::support::{Folder, Server};

/// What the pool of the default size can do at most, and how long one such call takes: 8 over 50 ms.
const CAPACITY: u32 = 160;
const OFFERED: u32 = 800;

fn seconds() -> u64 {
    std::env::var("TRUNKLINE_OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

fn tools(connector: &str, url: &str) -> String {
    format!(
        "[connectors.{connector}]\ntype = \"postgres\"\nurl = \"{url}\"\n\
         [tools.{connector}_nap]\nconnector = \"{connector}\"\nsql = \"select 1 as n, pg_sleep(0.05)::text as s\"\n"
    )
}

fn start(folder: &Folder, connectors: &[(&str, &PrivatePostgres)]) -> Server {
    let tools: Vec<_> =
        connectors.iter().map(|(name, postgres)| tools(name, &postgres.url("postgres"))).collect();
    // What hangs for good is waited for by nobody for long.
    let head = "[server]\nlisten = \"127.0.0.1:0\"\ndeadline = \"5s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    folder.write(&format!("{head}{}", tools.concat()));
    Server::start(folder)
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    /// Told to come again.
    Busy,
    /// The source failed it.
    Failed,
}

/// Calls a server over connections that stay open.
struct Client {
    address: SocketAddr,
    idle: Mutex<Vec<TcpStream>>,
}

impl Client {
    fn new(server: &Server) -> Arc<Self> {
        Arc::new(Self { address: server.address, idle: Mutex::default() })
    }

    async fn call(&self, tool: &str) -> (Ended, Duration) {
        let params = json!({ "name": tool, "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }});
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
        let text = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
             MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {tool}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let known = self.idle.lock().unwrap().pop();
        let mut stream = match known {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await.unwrap(),
        };
        let started = Instant::now();
        stream.write_all(text.as_bytes()).await.unwrap();
        let (head, body) = answer(&mut stream).await;
        let took = started.elapsed();
        self.idle.lock().unwrap().push(stream);
        let answer: Value = serde_json::from_str(&body).unwrap();
        let ended = if head.starts_with("HTTP/1.1 503") {
            assert!(head.to_ascii_lowercase().contains("retry-after: 1"), "{head}");
            assert_eq!(answer["error"]["code"], 503);
            Ended::Busy
        } else if answer["result"]["isError"] == false {
            Ended::Done
        } else {
            let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
            if text.contains("more calls come than") { Ended::Busy } else { Ended::Failed }
        };
        (ended, took)
    }

    /// Asks at a steady pace, whatever becomes of it.
    async fn offer(self: &Arc<Self>, tool: &'static str, a_second: u32, lasting: Duration) -> Load {
        let mut calls = JoinSet::new();
        let started = Instant::now();
        let mut sent = 0;
        while started.elapsed() < lasting {
            while f64::from(sent) < started.elapsed().as_secs_f64() * f64::from(a_second) {
                let client = Arc::clone(self);
                calls.spawn(async move { client.call(tool).await });
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let outcomes = calls.join_all().await;
        Load::of(outcomes, started.elapsed())
    }

    /// Asks with so many clients that wait for their answers.
    async fn take_turns(self: &Arc<Self>, tool: &'static str, clients: usize, lasting: Duration) -> Load {
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        for _ in 0..clients {
            let client = Arc::clone(self);
            tasks.spawn(async move {
                let mut outcomes = Vec::new();
                while started.elapsed() < lasting {
                    outcomes.push(client.call(tool).await);
                }
                outcomes
            });
        }
        let outcomes = tasks.join_all().await.concat();
        Load::of(outcomes, started.elapsed())
    }
}

/// Reads one answer: its head and its body.
async fn answer(stream: &mut TcpStream) -> (String, String) {
    let mut read = Vec::with_capacity(1024);
    loop {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the connection was closed");
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length =
            length.split_once("content-length: ").unwrap().1.lines().next().unwrap().trim().parse::<usize>();
        if body.len() == length.unwrap() {
            return (head.to_owned(), body.to_owned());
        }
    }
}

/// What became of many calls.
#[derive(Debug)]
struct Load {
    done: Vec<Duration>,
    busy: Vec<Duration>,
    failed: usize,
    a_second: f64,
}

impl Load {
    fn of(outcomes: Vec<(Ended, Duration)>, lasting: Duration) -> Self {
        let of = |which| {
            let mut times: Vec<_> =
                outcomes.iter().filter(|(ended, _)| *ended == which).map(|(_, took)| *took).collect();
            times.sort_unstable();
            times
        };
        let done = of(Ended::Done);
        let a_second = f64::from(u32::try_from(done.len()).unwrap()) / lasting.as_secs_f64();
        Self { busy: of(Ended::Busy), failed: of(Ended::Failed).len(), done, a_second }
    }

    fn p99(&self) -> Duration {
        p99(&self.done)
    }
}

fn p99(times: &[Duration]) -> Duration {
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// The memory of a process that is in RAM, in KiB.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How often is measured at most.
const ROUNDS: u32 = 4;
/// The share of the machine that a round takes which is neither the server's nor ours: PostgreSQL and the kernel.
const USUAL: f64 = 0.25;

/// Measures again what was not good while others used the machine: then it says as much of them as of the server. On a machine
/// that has nothing else to do the first word counts, and so does the last one everywhere.
async fn measure(server: &Server, mut round: impl AsyncFnMut() -> Result<(), String>) {
    for left in (0..ROUNDS).rev() {
        let before = Processor::now(server);
        let Err(what) = round().await else { return };
        let others = Processor::now(server).others_since(&before);
        assert!(left > 0 && others > USUAL, "{what}; others took {:.0} % of the machine", others * 100.0);
        eprintln!("once more, as others took {:.0} % of the machine: {what}", others * 100.0);
    }
}

/// What the processors have done since the machine started, in ticks.
struct Processor {
    all: u64,
    idle: u64,
    /// For the server and this test.
    ours: u64,
}

impl Processor {
    fn now(server: &Server) -> Self {
        let numbers = |text: &str| -> Vec<u64> {
            text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
        };
        let text = std::fs::read_to_string("/proc/stat").unwrap();
        let all = numbers(text.lines().next().unwrap());
        let ours = [server.id(), std::process::id()].map(|process| {
            let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
            // Behind the name and the letter of the state: twelve numbers on are the times in user and kernel mode.
            let times = numbers(text.rsplit_once(')').unwrap().1);
            times[10] + times[11]
        });
        // The time of guests is in that of users already.
        Self { all: all[..8].iter().sum(), idle: all[3] + all[4], ours: ours.iter().sum() }
    }

    /// The share of the time since that went to others.
    fn others_since(&self, before: &Self) -> f64 {
        let all = self.all - before.all;
        let others = all.saturating_sub(self.idle - before.idle).saturating_sub(self.ours - before.ours);
        others as f64 / all.max(1) as f64
    }
}

/// Says what is wrong unless `is_so`.
fn expect(is_so: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_times_the_load_leaves_the_work_done_its_time_short_and_the_memory_flat() {
    let postgres = PrivatePostgres::start().await;
    let folder = Folder::new();
    let server = start(&folder, &[("db", &postgres)]);
    let client = Client::new(&server);
    // Every connection is opened, and the process grows by what it needs once it has seen such a load, which is not what is
    // asked about.
    client.take_turns("db_nap", 8, Duration::from_millis(500)).await;
    client.offer("db_nap", OFFERED, Duration::from_millis(500)).await;
    measure(&server, async || five_times(&client, &server).await).await;
}

async fn five_times(client: &Arc<Client>, server: &Server) -> Result<(), String> {
    let unloaded = client.take_turns("db_nap", 1, Duration::from_millis(1500)).await.p99();
    let capacity = client.take_turns("db_nap", 8, Duration::from_secs(1)).await.a_second;
    assert!(capacity <= f64::from(CAPACITY) * 1.1, "{capacity}");
    let before = memory(server);
    let overloaded = client.offer("db_nap", OFFERED, Duration::from_secs(seconds())).await;
    let after = memory(server);
    let recovered = client.take_turns("db_nap", 1, Duration::from_millis(500)).await;
    let (done, busy) = (overloaded.p99(), p99(&overloaded.busy));
    eprintln!(
        "capacity {capacity:.0}/s; offered {OFFERED}/s for {} s: {:.0}/s done, p99 {done:?} (unloaded {unloaded:?}), {} told to \
         come again, p99 {busy:?}; memory {before} to {after} KiB; after it p99 {:?}",
        seconds(),
        overloaded.a_second,
        overloaded.busy.len(),
        recovered.p99(),
    );
    assert_eq!((overloaded.failed, recovered.failed), (0, 0));
    assert!(recovered.busy.is_empty(), "{recovered:?}");
    expect(after < before + 16 * 1024, || format!("from {before} to {after} KiB"))?;
    expect(overloaded.a_second > capacity * 0.8, || format!("{} of {capacity}", overloaded.a_second))?;
    expect(done < unloaded * 4, || format!("{done:?}, unloaded {unloaded:?}"))?;
    expect(busy < unloaded * 4, || format!("{busy:?} to be told to come again, unloaded {unloaded:?}"))?;
    // At once: the first call after the load is as quick as any.
    expect(recovered.p99() < unloaded * 2, || format!("unloaded {unloaded:?}, then {recovered:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_leaves_the_other_one_its_pace() {
    let (hanging, healthy) = tokio::join!(PrivatePostgres::start(), PrivatePostgres::start());
    let folder = Folder::new();
    let server = start(&folder, &[("bad", &hanging), ("good", &healthy)]);
    let (bad, good) = (Client::new(&server), Client::new(&server));
    measure(&server, async || {
        bad.take_turns("bad_nap", 8, Duration::from_millis(300)).await;
        let unloaded = good.take_turns("good_nap", 4, Duration::from_millis(1500)).await;
        hanging.stop_process();
        let lasting = Duration::from_secs(3);
        let (hung, beside) =
            tokio::join!(bad.offer("bad_nap", 400, lasting), good.take_turns("good_nap", 4, lasting));
        hanging.cont();
        // And it is back as soon as it goes on.
        let end = Instant::now() + Duration::from_secs(10);
        while bad.call("bad_nap").await.0 != Ended::Done {
            assert!(Instant::now() < end, "it does not come back; it said:\n{}", server.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        keeps_its_pace(&unloaded, &beside, &hung)
    })
    .await;
}

fn keeps_its_pace(alone: &Load, beside: &Load, hung: &Load) -> Result<(), String> {
    eprintln!(
        "beside a database that hangs: {:.0}/s done, p99 {:?} (alone {:.0}/s, {:?}); of the hanging one {} done, {} told to come again, {} failed",
        beside.a_second,
        beside.p99(),
        alone.a_second,
        alone.p99(),
        hung.done.len(),
        hung.busy.len(),
        hung.failed,
    );
    assert_eq!((beside.busy.len(), beside.failed), (0, 0));
    expect(beside.a_second > alone.a_second * 0.8, || format!("{} of {}", beside.a_second, alone.a_second))?;
    expect(beside.p99() < alone.p99() * 2, || format!("{:?}, alone {:?}", beside.p99(), alone.p99()))
}
