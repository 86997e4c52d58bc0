//! `trunkline serve --stdio`: how it ends, what it tells of its own accord, and that nothing keeps it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trunkline_testkit::postgres::{self, PrivatePostgres};
use trunkline_testkit::spec::Spec;
use trunkline_testkit::within;

use crate::support::{COUNT, Folder, PATIENCE, SLOW, config, eventually, free_port, pause, trunkline, wait};

/// A host's end of a server: lines are read by a thread, so that no test waits for ever.
pub(crate) struct Host {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Host {
    pub(crate) fn start(folder: &Folder) -> Self {
        let (mut child, input, output) = spawn(folder);
        child.stdin = None;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, input: Some(input), lines }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    fn next(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    pub(crate) fn ask(&mut self, id: u32, method: &str, params: Value) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let answer = self.next();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    pub(crate) fn initialize(&mut self) -> Value {
        let client = json!({ "name": "it", "version": "1" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        let answer = self.ask(0, "initialize", params);
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        answer
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &process]).status().unwrap().success());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Folder) -> (Child, ChildStdin, ChildStdout) {
    let mut command = trunkline();
    command.args(["serve", "--stdio", "-c"]).arg(folder.config());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, input, output)
}

/// Returns the state of a process and the processor time it has used; it can be read until the process is waited for.
fn processor_time(child: &Child) -> (char, Duration) {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // Ticks of a hundredth of a second on every Linux that tests run on.
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    (fields[0].chars().next().unwrap(), Duration::from_millis(10 * (ticks(11) + ticks(12))))
}

/// Waits for the end after the input was closed, and checks that it came soon and without work.
fn ends_quietly(child: &mut Child, before: Duration, what: &str) {
    let closed = Instant::now();
    eventually(what, || processor_time(child).0 == 'Z');
    assert!(closed.elapsed() < within(Duration::from_secs(2)), "{what}: {:?}", closed.elapsed());
    let used = processor_time(child).1 - before;
    assert!(used < Duration::from_millis(200), "{what}: {used:?} of processor time after the end of input");
    assert_eq!(wait(child).code(), Some(0), "{what}");
}

#[test]
fn st_05_the_end_of_input_costs_no_processor_time() {
    let folder = Folder::new();
    folder.write(&config(COUNT));
    let mut host = Host::start(&folder);
    host.initialize();
    assert!(host.ask(1, "tools/call", json!({ "name": "count_customers" }))["result"].is_object());
    let before = processor_time(&host.child).1;
    host.input = None;
    ends_quietly(&mut host.child, before, "it does not end");
}

#[test]
fn st_05_a_client_that_reads_nothing_does_not_keep_the_server() {
    let folder = Folder::new();
    folder.write(&config(COUNT));
    let (mut child, mut input, output) = spawn(&folder);
    // Little enough to be written at once, with more to answer than the pipe holds.
    let mut requests = String::new();
    for id in 0..300 {
        requests.push_str(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"initialize\",\"params\":{{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{{}},\"clientInfo\":{{\"name\":\"it\",\"version\":\"1\"}}}}}}\n\
             {{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",\"method\":\"tools/list\"}}\n"
        ));
    }
    assert!(requests.len() < 64 * 1024);
    input.write_all(requests.as_bytes()).unwrap();
    // What was read is being answered before the end comes.
    for _ in 0..20 {
        pause();
    }
    let before = processor_time(&child).1;
    drop(input);
    ends_quietly(&mut child, before, "it waits for someone to read");
    drop(output);
}

#[test]
fn a_signal_lets_the_call_in_flight_finish_and_its_line_be_whole() {
    let folder = Folder::new();
    folder.write(&config(SLOW));
    let mut host = Host::start(&folder);
    host.initialize();
    host.send(&json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "slow", "arguments": { "n": 1_000_000 } } }));
    // Long enough for the call to be read, much shorter than it takes.
    for _ in 0..10 {
        pause();
    }
    host.signal("TERM");
    let answer = host.next();
    assert_eq!(
        (&answer["id"], &answer["result"]["structuredContent"]["rows"][0]["x"]),
        (&json!(7), &json!(1_000_000)),
        "{answer}"
    );
    assert_eq!(wait(&mut host.child).code(), Some(0));
}

#[test]
fn st_01_a_database_that_refuses_connections_costs_stdout_nothing() {
    let folder = Folder::new();
    folder.write(&config(&format!(
        "{COUNT}[connectors.down]\ntype = \"postgres\"\nurl = \"postgres://u:letmein@127.0.0.1:{}/db\"\n\
         [tools.unreachable]\nconnector = \"down\"\nsql = \"select 1 as one\"\n",
        free_port()
    )));
    let mut host = Host::start(&folder);
    host.initialize();
    let list = host.ask(1, "tools/list", json!({}));
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 2, "{list}");
    let answer = host.ask(2, "tools/call", json!({ "name": "unreachable" }));
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(!answer.to_string().contains("letmein") && !answer.to_string().contains("127.0.0.1"), "{answer}");
    assert!(
        host.ask(3, "tools/call", json!({ "name": "count_customers" }))["result"]["structuredContent"]
            .is_object()
    );
    host.input = None;
    assert_eq!(wait(&mut host.child).code(), Some(0));
    assert_eq!(host.lines.try_iter().count(), 0, "nothing unasked");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_while_rows_come_and_before_the_answer() {
    let database = postgres::database().await;
    let folder = Folder::new();
    // A second of rows, of which a page takes all.
    let sql = "select n, repeat('x', 2000) as x, pg_sleep(0.02)::text as s from generate_series(1, 50) n";
    folder.write(&config(&format!(
        "[connectors.db]\ntype = \"postgres\"\nmax-bytes = \"150KB\"\nurl = \"{}\"\n\
         [tools.slow]\nconnector = \"db\"\nsql = \"{sql}\"\n",
        database.url
    )));
    let mut host = Host::start(&folder);
    host.initialize();
    let call = |id: u32, meta: Value| {
        let params = json!({ "name": "slow", "arguments": {}, "_meta": meta });
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
    };
    host.send(&call(1, json!({ "progressToken": "p-1" })));
    let (mut told, sent) = (Vec::new(), Instant::now());
    let answer = loop {
        let message = host.next();
        if message.get("id").is_some() {
            break message;
        }
        told.push((sent.elapsed(), message));
    };
    let took = sent.elapsed();
    assert_eq!((&answer["id"], &answer["result"]["structuredContent"]["rowCount"]), (&json!(1), &json!(50)));
    assert!((2..=20).contains(&told.len()), "news each quarter of a second, in {took:?}: {told:?}");
    let mut before = 0;
    for (_, message) in &told {
        assert_eq!(message["method"], "notifications/progress", "{message}");
        assert_eq!(message["params"]["progressToken"], "p-1");
        let rows = message["params"]["progress"].as_u64().unwrap();
        assert!(rows > before && rows <= 50 && message["params"].get("total").is_none(), "{told:?}");
        before = rows;
        if let Some(spec) = Spec::find() {
            spec.check("2025-11-25", "", message).unwrap();
        }
    }
    // The first came while most rows were still to be made.
    assert!(told[0].0 < took * 3 / 4, "{told:?} in {took:?}");
    assert!(told[0].1["params"]["progress"].as_u64().unwrap() < 40, "{told:?}");
    // Who asks for none gets none.
    host.send(&call(2, json!({})));
    assert_eq!(host.next()["id"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_late_changes_the_list_and_clients_are_told() {
    let mut postgres = PrivatePostgres::start().await;
    let database = postgres.create_database().await;
    database.run("create table item (id integer primary key, name text not null)").await;
    database.run("insert into item values (1, 'cup'), (2, 'pot')").await;
    let url = database.url.clone();
    postgres.stop();
    let folder = Folder::new();
    folder.write(&config(&format!(
        "[connectors.late]\ntype = \"postgres\"\nurl = \"{url}\"\n\
         [tools.items]\nconnector = \"late\"\nsql = \"select id, name from item where id <= :most order by id\"\n"
    )));
    let mut host = Host::start(&folder);
    let agreed = host.initialize();
    assert_eq!(agreed["result"]["capabilities"]["tools"]["listChanged"], true, "{agreed}");
    let list = host.ask(1, "tools/list", json!({}));
    let tool = &list["result"]["tools"][0];
    assert!(tool["name"] == "items" && tool.get("outputSchema").is_none(), "{list}");
    let answer = host.ask(2, "tools/call", json!({ "name": "items", "arguments": { "most": 1 } }));
    assert_eq!(answer["result"]["isError"], true, "{answer}");

    postgres.restart().await;
    let told = host.next();
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    if let Some(spec) = Spec::find() {
        spec.check("2025-11-25", "", &told).unwrap();
    }
    let list = host.ask(3, "tools/list", json!({}));
    let tool = &list["result"]["tools"][0];
    assert!(tool["outputSchema"].is_object(), "{list}");
    assert_eq!(tool["inputSchema"]["properties"]["most"]["type"], "integer", "{list}");
    let answer = host.ask(4, "tools/call", json!({ "name": "items", "arguments": { "most": 1 } }));
    assert_eq!(
        answer["result"]["structuredContent"]["rows"],
        json!([{ "id": 1, "name": "cup" }]),
        "{answer}"
    );
    host.input = None;
    assert_eq!(wait(&mut host.child).code(), Some(0));
    assert_eq!(host.lines.try_iter().count(), 0, "it is told once");
}
