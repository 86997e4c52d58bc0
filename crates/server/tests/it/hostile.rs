//! Malformed input in bulk: nothing panics, hangs or grows.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::{call, modern, serve_stdio};
use crate::stdio::resident;

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let valid = prop_oneof![
        Just(call("1", "echo", r#"{"text":"x"}"#)),
        Just(modern("\"a\"", "tools/list", "")),
        Just(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#.to_owned()),
        Just(crate::fixture::initialize("2025-03-26")),
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
}
