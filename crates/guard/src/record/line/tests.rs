//! What stands in a line, and what never does.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use trunkline_protocol::{Revision, scan};
use trunkline_service::{Failure, FailureKind, Reply};

use super::*;

/// What no line may ever hold.
const MARKER: &str = "S3CRET";
/// The most bytes of the members of a line.
const MAX_MEMBERS: usize = 32 * 1024;

fn names() -> Names {
    Names::of_test("search", &["id", "q", "filter", "tags"])
}

fn request_of(method: &str, params: &Value, caller: Caller) -> Request {
    let body =
        Bytes::from(json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string());
    let (_, envelope) = scan(&body).unwrap();
    Request::new(body, &envelope, Method::parse(method.as_bytes()), Revision::LATEST, Arc::new(caller), 0xf)
}

fn text(method: &str, params: &Value, caller: Caller, outcome: Option<&Outcome>) -> String {
    let line = Line::of_request(&request_of(method, params, caller), &names(), SystemTime::UNIX_EPOCH);
    let members = line.finish(&Decided::default(), Ended::Cancelled, outcome, Duration::from_micros(5));
    format!("{{{}}}", String::from_utf8(members).unwrap())
}

fn parsed(method: &str, params: &Value) -> Value {
    serde_json::from_str(&text(method, params, Caller::default(), None)).unwrap()
}

#[test]
fn what_a_request_names_is_told_without_what_may_be_a_secret_in_it() {
    let line =
        parsed("resources/read", &json!({ "uri": "https://u:S3CRET@a.example/x@y?key=S3CRET#S3CRET" }));
    assert_eq!(line["resource"], "https://a.example/x@y");
    let line = parsed("resources/read", &json!({ "uri": "files://docs/a?x" }));
    assert_eq!(line["resource"], "files://docs/a");
    let line = parsed("prompts/get", &json!({ "name": "p\u{1b}[31m\n", "arguments": { "a": "b" } }));
    assert_eq!((&line["prompt"], &line["unlisted"]), (&json!("p\u{1b}[31m\n"), &json!(1)));
    let params = json!({ "ref": { "type": "ref/resource", "uri": "db://{table}" }, "argument": { "name": "table", "value": "S3CRET" } });
    assert_eq!(parsed("completion/complete", &params)["template"], "db://{table}");
    let params = json!({ "notifications": { "resourceSubscriptions": ["a://x?S3CRET", "b://y"] } });
    assert_eq!(parsed("subscriptions/listen", &params)["resources"], json!(["a://x", "b://y"]));
    let params =
        json!({ "_meta": { "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" } });
    assert_eq!(parsed("tools/list", &params)["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
    for bad in ["", "00-S3CRET", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "x-y-z-w"] {
        let line = parsed("tools/list", &json!({ "_meta": { "traceparent": bad } }));
        assert_eq!(line.get("trace"), None, "{bad}");
    }
}

#[test]
fn shapes_have_kinds_and_sizes_of_declared_arguments_alone() {
    let arguments = json!({
        "id": 5, "q": "a\"b", "filter": { "a": { "b": [] }, "c": 1 }, "tags": [1, [2, 3], {}], "S3CRET": 1, "x": { "y": 1 },
    });
    let line = parsed("tools/call", &json!({ "name": "search", "arguments": arguments }));
    let expected =
        json!({ "id": "integer", "q": { "string": 4 }, "filter": { "object": 2 }, "tags": { "array": 3 } });
    assert_eq!((&line["args"], &line["unlisted"]), (&expected, &json!(2)));
    let line = parsed(
        "tools/call",
        &json!({ "name": "search", "arguments": { "id": null, "q": false, "tags": 1.5 } }),
    );
    assert_eq!(line["args"], json!({ "id": "null", "q": "boolean", "tags": "number" }));
    let line = parsed("tools/call", &json!({ "name": "search", "arguments": "S3CRET" }));
    assert_eq!(line["args"], "string");
    assert_eq!(parsed("tools/call", &json!({ "name": "search" })).get("args"), None);
}

#[test]
fn who_asks_is_told_by_what_proved_it_and_never_by_a_claim_that_no_rule_looks_at() {
    let caller = Caller {
        issuer: Some("https://login.example".into()),
        subject: "ann".into(),
        claims: Map::from_iter([("email".to_owned(), json!(MARKER))]),
        scopes: vec!["read".into()],
        roles: vec!["support".into()],
        proof: Proof::Token { section: "company".into() },
        evidence: r#"{"groups":["support"]}"#.into(),
        ..Caller::default()
    };
    let line: Value = serde_json::from_str(&text("tools/list", &json!({}), caller, None)).unwrap();
    let caller =
        json!({ "issuer": "https://login.example", "subject": "ann", "by": "token", "section": "company" });
    assert_eq!(line["caller"], caller);
    assert_eq!((&line["roles"], &line["scopes"]), (&json!(["support"]), &json!(["read"])));
    assert_eq!(line["evidence"], json!({ "groups": ["support"] }));
    let caller = Caller {
        subject: "ci".into(),
        proof: Proof::Key { id: "k1".into(), name: "ci".into() },
        ..Caller::default()
    };
    let line: Value = serde_json::from_str(&text("tools/list", &json!({}), caller, None)).unwrap();
    assert_eq!(line["caller"], json!({ "subject": "ci", "by": "key", "key": "k1", "name": "ci" }));
}

#[test]
fn a_line_stays_short_whatever_a_caller_sends_and_says_what_was_cut() {
    let long = "\u{1}".repeat(5000);
    let many: Vec<Box<str>> = (0..5000).map(|number| format!("scope-{number}").into()).collect();
    let caller = Caller {
        issuer: Some(long.as_str().into()),
        subject: long.as_str().into(),
        scopes: many.clone(),
        roles: many,
        proof: Proof::Key { id: long.as_str().into(), name: long.as_str().into() },
        evidence: format!(r#"{{"a":"{}"}}"#, "x".repeat(20_000)).into(),
        ..Caller::default()
    };
    let arguments: Map<String, Value> =
        (0..5000).map(|number| (format!("a{number}"), json!(number))).collect();
    for (method, params) in [
        ("tools/call", json!({ "name": long, "arguments": arguments })),
        ("resources/read", json!({ "uri": format!("x://{long}") })),
        (
            "subscriptions/listen",
            json!({ "notifications": { "resourceSubscriptions": vec![long.clone(); 20] } }),
        ),
    ] {
        let text = text(method, &params, caller.clone(), None);
        assert!(text.len() < MAX_MEMBERS, "{method}: {}", text.len());
        let line: Value = serde_json::from_str(&text).unwrap();
        let cut = line["cut"].as_array().unwrap();
        assert!(cut.contains(&json!("evidence")) && cut.contains(&json!("roles")), "{cut:?}");
    }
}

#[test]
fn every_kind_of_end_has_its_word() {
    let ok = |reply| Ended::of(&Ok(reply), false).word();
    assert_eq!(ok(Reply::text("x")), "ok");
    assert_eq!(ok(Reply::tool_error("x")), "tool-error");
    assert_eq!(ok(Reply::task(Vec::new())), "task");
    assert_eq!(ok(Reply::input_required(b"{}", None)), "input-required");
    assert_eq!(Ended::of(&Ok(Reply::text("x")), true).word(), "ended");
    let words: Vec<&str> =
        FailureKind::ALL.iter().map(|kind| Ended::of(&Err(Failure::new(*kind, "x")), true).word()).collect();
    let mut different = words.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), words.len(), "{words:?}");
    assert!(!words.contains(&"failed"));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\\n]{0,5}".prop_map(|text| json!(format!("{text}{MARKER}"))),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z]{0,4}", inner), 0..5).prop_map(|members| members
                .into_iter()
                .map(|(key, value)| (format!("{key}{MARKER}"), value))
                .collect()),
        ]
    })
}

fn arguments() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("id".to_owned()),
        Just("q".to_owned()),
        Just("filter".to_owned()),
        Just("tags".to_owned()),
        "[a-z]{0,6}".prop_map(|name| format!("{name}{MARKER}")),
    ];
    prop_oneof![4 => prop::collection::btree_map(name, value(), 0..8).prop_map(|members| members.into_iter().collect()), 1 => value()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_value_and_no_name_that_is_not_declared_is_in_a_line(arguments in arguments(), fails: bool) {
        let outcome = if fails {
            Err(Failure::new(FailureKind::InvalidParams, MARKER).with_source(MARKER))
        } else {
            Ok(Reply::text(MARKER))
        };
        let text = text("tools/call", &json!({ "name": "search", "arguments": arguments }), Caller::default(), Some(&outcome));
        prop_assert!(!text.contains(MARKER), "{}", text);
        let line: Value = serde_json::from_str(&text).unwrap();
        if let Some(members) = arguments.as_object() {
            let named = line["args"].as_object().unwrap().len();
            let unlisted = usize::try_from(line["unlisted"].as_u64().unwrap_or(0)).unwrap();
            prop_assert_eq!(named + unlisted, members.len());
        }
    }
}
