//! Malformed input in bulk: nothing panics, hangs or grows. A binary of its own, one test at a time, since what is measured
//! is the process.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../it/fixture.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod fixture;
#[path = "../it/raw_http.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod raw_http;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use trunkline_service::{Answer, Endpoint, Reply, Request, Service, ready};

use crate::fixture::{
    Piped, call, endpoint_of, initialize, live, modern, options, serve_http, serve_http_with, serve_stdio,
    serve_stdio_with,
};
use crate::raw_http::{Connection, Stream, modern_headers, post, post_legacy};

/// Lets one test run at a time, also where tests share a process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn st_02_ten_thousand_bad_lines_cost_no_memory() {
    let _alone = alone();
    let mut piped = serve_stdio();
    let burst = |piped: &mut Piped| {
        for _ in 0..50 {
            piped.write("not json\n".repeat(100).as_bytes());
            for _ in 0..100 {
                assert!(piped.line().contains("-32700"));
            }
        }
    };
    burst(&mut piped);
    let before = resident();
    burst(&mut piped);
    assert!(resident() < before + 8 * 1024 * 1024, "grew from {before} to {}", resident());
    assert_eq!(piped.ask(&modern("1", "tools/list", ""))["id"], 1);
}

#[test]
fn st_06_a_long_line_costs_the_limit_and_not_its_length() {
    let _alone = alone();
    let mut piped = serve_stdio_with(1000);
    piped.ask(&modern("1", "tools/list", ""));
    let before = resident();
    for _ in 0..64 {
        piped.write(&vec![b'x'; 1 << 20]);
    }
    piped.write(b"\n");
    assert!(piped.line().contains("-32600"));
    assert!(resident() < before + 16 * 1024 * 1024, "grew from {before} to {}", resident());
    assert_eq!(piped.ask(&modern("2", "tools/list", ""))["id"], 2);
}

/// Answers with ten megabytes that were written once.
struct Kept(Bytes);

impl Service for Kept {
    fn call(&self, _: Request) -> Answer<'_> {
        ready(Ok(Reply::from_shared(self.0.clone())))
    }
}

#[test]
fn fifty_readers_of_one_large_result_that_take_nothing_cost_little_more_than_one() {
    let _alone = alone();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(readers_of_a_large_result());
}

async fn readers_of_a_large_result() {
    let (live, seen) = live();
    let text = "x".repeat(10_000_000);
    let members = Bytes::from(format!(r#""content":[{{"type":"text","text":"{text}"}}],"isError":false"#));
    let before = resident();
    live.store(Endpoint { service: Arc::new(Kept(members)), ..endpoint_of(&live, 3) });
    let http = serve_http_with((live, seen), options()).await;
    let body = call("1", "noargs", "{}");
    let headers = modern_headers(&body, &[]);
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut readers = Vec::new();
    for _ in 0..50 {
        let mut reader = Connection::open_narrow(http.address).await;
        reader.send("POST", "/mcp", &headers, body.as_bytes()).await;
        reader.head().await;
        readers.push(reader);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 << 20, "it grew by {grown} bytes");
    assert_eq!(post(http.address, &body, &[]).await.json()["result"]["content"][0]["text"], text);
}

#[test]
fn streams_that_were_closed_leave_nothing() {
    let _alone = alone();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(rounds_of_streams());
}

async fn rounds_of_streams() {
    let http = serve_http().await;
    let listen = modern("1", "subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
    let slow = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","arguments":{"ms":20},"_meta":{"progressToken":1}}}"#;
    let mut before = 0;
    for round in 0..8 {
        let mut streams = Vec::new();
        for _ in 0..100 {
            let mut stream = Stream::post(http.address, &listen).await;
            stream.message().await.unwrap();
            let session = post_legacy(http.address, &initialize("2025-11-25"), None, &[]).await;
            let session = session.header("mcp-session-id").unwrap();
            streams.push(Stream::get(http.address, session, None).await);
            streams.push(Stream::post_legacy(http.address, session, slow).await);
            streams.push(stream);
        }
        drop(streams);
        if round == 3 {
            before = resident();
        }
    }
    assert!(resident() < before + 16 * 1024 * 1024, "grew from {before} to {}", resident());
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let valid = prop_oneof![
        Just(call("1", "echo", r#"{"text":"x"}"#)),
        Just(modern("\"a\"", "tools/list", "")),
        Just(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#.to_owned()),
        Just(initialize("2025-03-26")),
        Just("[]".to_owned()),
    ];
    let cut = (valid.clone(), any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(
        |(text, from, to)| {
            let (from, to) = (from.index(text.len()), to.index(text.len()));
            text.as_bytes()[from.min(to)..].to_vec()
        },
    );
    let changed = (valid, proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4))
        .prop_map(|(text, changes)| {
            let mut bytes = text.into_bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        });
    prop_oneof![cut, changed, proptest::collection::vec(any::<u8>(), 0..200)]
}

#[test]
fn fifty_thousand_hostile_lines() {
    let _alone = alone();
    let mut piped = serve_stdio();
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let strategy = hostile();
    let mut before = 0;
    for round in 0..500 {
        let mut burst = Vec::new();
        for _ in 0..100 {
            burst.extend(strategy.new_tree(&mut runner).unwrap().current());
            burst.push(b'\n');
        }
        burst.extend_from_slice(format!("{}\n", modern("\"end\"", "tools/list", "")).as_bytes());
        piped.write(&burst);
        // The answers may come in any order, but the session lives and everything written is a message.
        loop {
            let line = piped.line();
            let message: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(message["jsonrpc"], "2.0");
            if message["id"] == "end" {
                break;
            }
        }
        if round == 100 {
            before = resident();
        }
    }
    assert!(resident() < before + 32 * 1024 * 1024, "grew from {before} to {}", resident());
}

#[test]
fn fifty_thousand_hostile_headers() {
    let _alone = alone();
    let before = resident();
    use trunkline_protocol::header::{Allowed, accepts, decode, encode, host_name, is_json};
    let allowed = Allowed::new(&["mcp.example.com".to_owned()], &["https://claude.ai".to_owned()]);
    let pieces = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..64),
        "(=\\?base64\\?)?[A-Za-z0-9+/=%]{0,20}(\\?=)?".prop_map(String::into_bytes),
        "(https?://|)(localhost|127\\.0\\.0\\.1|\\[::1\\]|evil)?[.:@/a-z0-9]{0,12}"
            .prop_map(String::into_bytes),
        "[a-zA-Z*/;,=q0-9. ]{0,40}".prop_map(String::into_bytes),
    ];
    let mut runner =
        TestRunner::new(Config { cases: 50_000, failure_persistence: None, ..Config::default() });
    runner
        .run(&pieces, |value| {
            let _ = (accepts(&value), is_json(&value));
            if allowed.host(&value) || allowed.origin(&value) {
                let text = String::from_utf8(value.clone()).unwrap().to_ascii_lowercase();
                prop_assert!(!text.contains("evil"), "{}", text);
            }
            if let Ok(text) = std::str::from_utf8(&value) {
                let _ = host_name(text);
                let encoded = encode(text);
                prop_assert_eq!(decode(encoded.as_bytes()).unwrap(), text);
            }
            let _ = decode(&value);
            Ok(())
        })
        .unwrap();
    assert!(resident() < before + 16 * 1024 * 1024, "grew from {before} to {}", resident());
}
