//! `[audit]` and `trunkline audit verify` as they are used: a real server writes the record, and it is changed or the server
//! killed.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{COUNT, Folder, Server, call, config, http, pause};

const AUDIT: &str = "[audit]\nsink = \"file:audit.jsonl\"\nnode = \"n1\"\n\
     key = \"0101010101010101010101010101010101010101010101010101010101010101\"\n";

fn folder(audit: &str) -> Folder {
    let folder = Folder::new();
    folder.write(&config(&format!("{audit}{COUNT}")));
    folder
}

/// What the command says, and its exit code.
fn verify(folder: &Folder, words: &[&str]) -> (String, i32) {
    let Output { status, stdout, stderr } = folder.run(&[&["audit", "verify"], words].concat());
    let text = [stdout, stderr].concat();
    (String::from_utf8(text).unwrap(), status.code().unwrap())
}

fn lines(folder: &Folder) -> Vec<Value> {
    let text = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn a_served_record_is_whole_and_what_is_done_to_it_is_found() {
    let folder = folder(AUDIT);
    let mut server = Server::start(&folder);
    let answer = call(server.address, "count_customers", &json!({}));
    assert_eq!(answer["result"]["structuredContent"]["rowCount"], 1, "{answer}");
    call(server.address, "count_customers", &json!({ "S3CRET": "S3CRET" }));
    call(server.address, "drop_customers", &json!({}));
    server.signal("TERM");
    server.wait();
    let log = folder.path().join("log");
    fs::write(&log, server.said()).unwrap();

    let (said, code) = verify(&folder, &["--heads", "log"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("node n1: lines 1 to 5, stopped\nthe record is whole: 5 lines in 1 file"),
        "{said}"
    );
    let lines = lines(&folder);
    let told: Vec<_> = lines.iter().map(|line| (line["kind"].as_str(), line["outcome"].as_str())).collect();
    let call = Some("call");
    assert_eq!(
        told,
        [
            (Some("start"), None),
            (call, Some("ok")),
            (call, Some("tool-error")),
            (call, Some("invalid-params")),
            (Some("stop"), None)
        ]
    );
    assert_eq!((&lines[1]["tool"], &lines[1]["rows"]), (&json!("count_customers"), &json!(1)));
    assert_eq!((&lines[2]["args"], &lines[2]["unlisted"]), (&json!({}), &json!(1)));
    let path = folder.path().join("audit.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    assert!(!whole.contains("S3CRET"));

    fs::write(&path, whole.replacen("\"ok\"", "\"no\"", 1)).unwrap();
    let (said, code) = verify(&folder, &[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("audit.jsonl:2: line 2 was edited (node n1)"), "{said}");
    assert!(said.contains("the record was changed: 1 problem"), "{said}");
    let (said, code) = verify(&folder, &["--output", "json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["whole"]), (1, &json!(false)));
    assert_eq!(
        (&report["problems"][0]["kind"], &report["problems"][0]["seq"]),
        (&json!("edited"), &json!(2))
    );

    let cut: String = whole.split_inclusive('\n').take(3).collect();
    fs::write(&path, cut).unwrap();
    let (said, code) = verify(&folder, &[]);
    assert_eq!(code, 0, "{said}");
    let (said, code) = verify(&folder, &["--heads", "log"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("the record ends with line 3, and the log tells of line 5: the end was cut"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_looked_at_has_its_own_exit_code() {
    let without = folder("");
    let (said, code) = verify(&without, &[]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("has no `[audit]`"), "{said}");
    let wrong = folder("[audit]\nsink = \"stdout\"\n");
    let (said, code) = verify(&wrong, &[]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("needs a `key`"), "{said}");
    let folder = folder(AUDIT);
    let (said, code) = verify(&folder, &[]);
    assert_eq!(code, 2, "{said}");
    let (said, code) = verify(&folder, &["no.jsonl"]);
    assert_eq!(code, 2, "{said}");
    fs::write(folder.path().join("audit.jsonl"), "").unwrap();
    fs::write(folder.path().join("log"), "nothing\n").unwrap();
    let (said, code) = verify(&folder, &["--heads", "log"]);
    assert_eq!(code, 2, "{said}");
    folder.write(&fs::read_to_string(folder.config()).unwrap().replace("file:audit.jsonl", "stdout"));
    let (said, code) = verify(&folder, &[]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("name the files"), "{said}");
}

/// Sends a call with a trace of its own, by which its line is known; `None` when the server was gone.
fn traced(address: SocketAddr, number: u64) -> Option<String> {
    let trace = format!("{number:032x}");
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "count_customers", "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "traceparent": format!("00-{trace}-00f067aa0ba902b7-01"),
        },
    }});
    let head = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
                MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: count_customers\r\n";
    let body = body.to_string();
    let answered = std::panic::catch_unwind(|| http(address, "POST /mcp", head, &body));
    answered.ok().filter(|(status, body)| *status == 200 && body.contains("rowCount")).map(|_| trace)
}

#[test]
fn every_call_a_killed_server_answered_is_in_the_record() {
    let folder = folder(AUDIT);
    let (numbers, answered) = (Arc::new(AtomicU64::new(1)), Arc::new(Mutex::new(Vec::new())));
    for kill in 0..4 {
        let server = Server::start(&folder);
        let address = server.address;
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let (numbers, answered) = (Arc::clone(&numbers), Arc::clone(&answered));
                std::thread::spawn(move || {
                    while let Some(trace) = traced(address, numbers.fetch_add(1, Ordering::Relaxed)) {
                        answered.lock().unwrap().push(trace);
                    }
                })
            })
            .collect();
        let before = answered.lock().unwrap().len();
        while answered.lock().unwrap().len() < before + 10 + kill * 7 {
            pause();
        }
        server.signal("KILL");
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        drop(server);
        let (said, code) = verify(&folder, &[]);
        assert_eq!(code, 0, "{said}");
    }
    let lines = lines(&folder);
    let recorded: HashSet<&str> = lines.iter().filter_map(|line| line["trace"].as_str()).collect();
    let answered = answered.lock().unwrap();
    let missing: Vec<_> = answered.iter().filter(|trace| !recorded.contains(trace.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} of {} were answered and have no line", answered.len());
}

#[test]
fn a_record_that_cannot_be_begun_keeps_the_server_from_starting() {
    let folder = folder(&AUDIT.replace("file:audit", "file:no/audit"));
    let output = folder.run(&["serve"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("no/audit.jsonl") && said.contains("cannot be opened"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_postgresql_is_proven_and_an_edited_row_found() {
    let database = trunkline_testkit::postgres::database().await;
    let audit = AUDIT.replace("file:audit.jsonl", "postgres:central");
    let central = format!("[connectors.central]\ntype = \"postgres\"\nurl = \"{}\"\n", database.url);
    let folder = folder(&format!("{central}{audit}"));
    tokio::task::block_in_place(|| {
        let mut server = Server::start(&folder);
        call(server.address, "count_customers", &json!({}));
        server.signal("TERM");
        server.wait();
        fs::write(folder.path().join("log"), server.said()).unwrap();
        let (said, code) = verify(&folder, &["--heads", "log"]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("the record is whole: 3 lines"), "{said}");
    });
    let edit =
        "update trunkline.audit set line = replace(line, '\"ok\"', '\"no\"') where seq = 2 returning seq";
    assert_eq!(database.client().await.value(edit).await.as_deref(), Some("2"));
    tokio::task::block_in_place(|| {
        let (said, code) = verify(&folder, &[]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("trunkline.audit:2: line 2 was edited (node n1)"), "{said}");
    });
}
