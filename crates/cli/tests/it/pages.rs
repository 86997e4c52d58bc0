//! A result too large for anyone's memory, read to its end through the binary: every row once, and no more memory than before.
//!
//! `TRUNKLINE_PAGES_ROWS` says how many rows; 300,000 unless it is set.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trunkline_testkit::postgres;

use crate::support::{Folder, PATIENCE, Server, ask, config, raw};

/// How much a process may grow.
const GROWTH: u64 = 20 << 20;

/// Bytes that each row has beside its number, so that even the least result is larger than what a process may grow by.
const PADDING: u64 = 100;

fn rows() -> u64 {
    std::env::var("TRUNKLINE_PAGES_ROWS").map_or(300_000, |rows| rows.parse().unwrap())
}

fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Sees to it that numbers come one after the other, from 1.
#[derive(Default)]
struct Count(u64);

impl Count {
    fn see(&mut self, n: &Value) {
        self.0 += 1;
        assert_eq!(n.as_u64(), Some(self.0));
    }
}

fn read_by_cursor(server: &Server, arguments: &Value, pages: usize, count: &mut Count) -> Option<Value> {
    let mut arguments = arguments.clone();
    let mut last = None;
    for _ in 0..pages {
        let answer = server.call("numbers", &arguments);
        let result = &answer["result"]["structuredContent"];
        let rows = result["rows"].as_array().unwrap_or_else(|| panic!("{answer}"));
        rows.iter().for_each(|row| count.see(&row["n"]));
        last = Some(answer.clone());
        let cursor = result["nextCursor"].as_str()?;
        arguments["cursor"] = cursor.into();
    }
    last
}

fn read_by_link(server: &Server, uri: &str, count: &mut Count) {
    let mut next = Some(uri.replace("/csv/", "/jsonl/"));
    while let Some(uri) = next {
        let answer = ask(server.address, "resources/read", Some(&uri), json!({ "uri": uri }));
        let content = &answer["result"]["contents"][0];
        let text = content["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
        text.lines().for_each(|row| count.see(&serde_json::from_str::<Value>(row).unwrap()["n"]));
        next = answer["result"]["_meta"]["io.trunkline/next"].as_str().map(str::to_owned);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_any_size_is_read_in_pages_and_the_process_does_not_grow() {
    let database = postgres::database().await;
    let folder = Folder::new();
    let tool = "[connectors.db]\ntype = \"postgres\"\nmax-bytes = \"150KB\"\nurl = \"$URL\"\n[tools.numbers]\nconnector = \"db\"\nsql = \"select n, repeat(chr(97 + n % 26), $PADDING) as s from generate_series(1, :count::int) n\"\n";
    let tool = tool.replace("$URL", &database.url).replace("$PADDING", &PADDING.to_string());
    folder.write(&config(&tool));
    let server = Server::start(&folder);
    let (total, mut growths) = (rows(), BTreeMap::new());
    assert!(total * PADDING > GROWTH * 4 / 3, "{total} rows that were all kept would not be noticed");
    let arguments = json!({ "count": total });
    // Connected, prepared, and its first pages told.
    let mut first = Count::default();
    let answer = read_by_cursor(&server, &arguments, 20, &mut first).unwrap();
    let link = answer["result"]["content"][1].clone();
    assert_eq!(link["type"], "resource_link", "{answer}");
    let before = resident(&server);

    let mut count = Count::default();
    assert_eq!(read_by_cursor(&server, &arguments, usize::MAX, &mut count), None);
    assert_eq!(count.0, total);
    growths.insert("by cursor", resident(&server).saturating_sub(before));

    let mut count = first;
    read_by_link(&server, link["uri"].as_str().unwrap(), &mut count);
    assert_eq!(count.0, total);
    growths.insert("by link", resident(&server).saturating_sub(before));
    println!("of {total} rows, the process grew: {growths:?}");
    assert!(growths.values().all(|growth| *growth < GROWTH), "{growths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_while_rows_come_to_whoever_asked_for_it() {
    let database = postgres::database().await;
    let folder = Folder::new();
    let tool = "[connectors.db]\ntype = \"postgres\"\nmax-bytes = \"150KB\"\nurl = \"$URL\"\n[tools.slow]\nconnector = \"db\"\nsql = \"select n, repeat('x', 2000) as x, pg_sleep(0.02)::text as s from generate_series(1, 50) n\"\n";
    folder.write(&config(&tool.replace("$URL", &database.url)));
    let server = Server::start(&folder);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": "p",
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "slow", "arguments": {}, "_meta": meta } });
    let head = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: slow\r\n";
    let started = std::time::Instant::now();
    let answer = raw(server.address, "POST /mcp", head, &body.to_string());
    assert!(started.elapsed() < PATIENCE);
    let told: Vec<Value> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok())
        .filter(|message| message["method"] == "notifications/progress")
        .collect();
    assert!((2..=20).contains(&told.len()), "a second of rows and news each quarter: {told:?}");
    for message in &told {
        let params = &message["params"];
        assert_eq!(params["progressToken"], "p");
        assert!((1..=50).contains(&params["progress"].as_u64().unwrap()) && params["total"].is_null());
    }
}
