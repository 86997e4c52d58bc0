//! How messages are told apart, and what is refused with which id.

use super::*;

fn refused(body: &str) -> (i32, Option<&str>) {
    let refusal = scan(body.as_bytes()).unwrap_err();
    (refusal.code.0, refusal.id.map(|span| span.of_str(body)))
}

#[test]
fn members_decide_the_kind() {
    let kind = |body: &str| scan(body.as_bytes()).unwrap().0;
    assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), Message::Request);
    assert_eq!(kind(r#"{"jsonrpc":"2.0","id":"","method":"ping","params":null}"#), Message::Request);
    assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"x"}"#), Message::Notification);
    assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), Message::Response);
    assert_eq!(kind(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#), Message::Response);
}

#[test]
fn bad_messages_are_refused_with_the_id_they_have() {
    assert_eq!(refused("not json"), (-32700, None));
    assert_eq!(refused("[]"), (-32600, None));
    assert_eq!(refused("{}"), (-32600, None));
    assert_eq!(refused(r#"{"jsonrpc":"1.0","id":7,"method":"x"}"#), (-32600, Some("7")));
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":7}"#), (-32600, Some("7")));
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":7,"method":1}"#), (-32600, Some("7")));
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":7,"method":"x","params":[]}"#), (-32602, Some("7")));
    for id in ["null", "1.5", "1e3", "true", r#"{"a":1}"#, "[1]"] {
        assert_eq!(
            refused(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call"}}"#)),
            (-32600, None)
        );
    }
}

#[test]
fn a_repeated_key_is_answered_with_the_id_unless_the_id_repeats() {
    assert_eq!(
        refused(r#"{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":{"b":1,"\u0062":2}}}"#),
        (-32602, Some("7"))
    );
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":7,"method":"x","id":8}"#), (-32602, None));
    assert_eq!(
        refused(r#"{"jsonrpc":"2.0","params":{"name":"a","name":"b"},"id":"7","method":"x"}"#),
        (-32602, Some("\"7\""))
    );
}

#[test]
fn parts_are_found_whatever_their_order_and_spelling() {
    let body = r#" {"params":{"_meta":{"progressToken":0,"io.modelcontextprotocol/protocolVersion":"2026-07-28","x":1},"n\u0061me":"t",
        "arguments":{"a":[1,2]}},"id":9007199254740993,"jsonrpc":"2.0","method":"tools\/call"} "#;
    let (_, envelope) = scan(body.as_bytes()).unwrap();
    let bytes = body.as_bytes();
    assert_eq!(envelope.id.raw(bytes), b"9007199254740993");
    assert_eq!(envelope.method.text(bytes).unwrap(), "tools/call");
    assert_eq!(envelope.name.text(bytes).unwrap(), "t");
    assert_eq!(envelope.arguments.raw(bytes), br#"{"a":[1,2]}"#);
    assert_eq!(envelope.version.text(bytes).unwrap(), "2026-07-28");
    assert_eq!(envelope.progress_token.raw(bytes), b"0");
    assert_eq!(envelope.params.raw(bytes).first(), Some(&b'{'));
    assert_eq!(envelope.meta.raw(bytes).last(), Some(&b'}'));
}

#[test]
fn a_refused_notification_is_known_as_one() {
    for body in [
        r#"{"jsonrpc":"2.0","method":"x","params":[]}"#,
        r#"{"jsonrpc":"2.0","method":"x","params":{"a":1,"a":2}}"#,
        r#"{"method":"x"}"#,
    ] {
        assert!(scan(body.as_bytes()).unwrap_err().notification, "{body}");
    }
    assert!(!scan(br#"{"jsonrpc":"2.0","id":1,"method":"x","params":[]}"#).unwrap_err().notification);
}

#[test]
fn deep_nesting_is_refused_and_answered() {
    let body = format!(
        r#"{{"jsonrpc":"2.0","method":"x","params":{{"a":{}{}}},"id":3}}"#,
        "[".repeat(70),
        "]".repeat(70)
    );
    assert_eq!(refused(&body), (-32600, Some("3")));
}

#[test]
fn a_batch_is_split() {
    let text = r#"[{"a":1}, 2]"#;
    let spans = batch(text.as_bytes()).unwrap();
    assert_eq!(spans.iter().map(|span| span.of_str(text)).collect::<Vec<_>>(), [r#"{"a":1}"#, "2"]);
    let code = |text: &str| batch(text.as_bytes()).unwrap_err().code.0;
    assert_eq!((code("{}"), code("[]"), code("[[1]]"), code("[1]x")), (-32600, -32600, -32600, -32700));
    assert_eq!(code(&format!("[{}]", vec!["1"; MAX_BATCH + 1].join(","))), -32600);
    assert_eq!(batch(format!("[{}]", vec!["1"; MAX_BATCH].join(",")).as_bytes()).unwrap().len(), MAX_BATCH);
}
