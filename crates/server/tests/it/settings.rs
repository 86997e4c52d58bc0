//! What sessions set, and what their handshake tells them they can.

use serde_json::{Value, json};
use trunkline_service::Change;

use crate::fixture::{Piped, Served, check, options, serve_http_with, serve_stdio_of};
use crate::raw_http::{Stream, post_legacy};
use crate::rich::{self, call, initialize, plain};

/// A session over HTTP.
struct Session<'a> {
    http: &'a Served,
    id: String,
}

impl<'a> Session<'a> {
    async fn new(http: &'a Served, version: &str) -> Self {
        let answer = post_legacy(http.address, &initialize(version), None, &[]).await;
        Self { http, id: answer.header("mcp-session-id").unwrap().to_owned() }
    }

    async fn ask(&self, body: &str) -> Vec<Value> {
        let answer = post_legacy(self.http.address, body, Some(&self.id), &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.messages()
    }
}

fn ask(piped: &mut Piped, body: &str) -> Vec<Value> {
    piped.send(body);
    let mut messages: Vec<Value> = Vec::new();
    while messages.last().is_none_or(|message| message.get("id").is_none()) {
        messages.push(serde_json::from_str(&piped.line()).unwrap());
    }
    messages
}

#[tokio::test]
async fn a_handshake_tells_what_the_endpoint_can_as_its_revision_knows_it() {
    let http = serve_http_with(rich::live(), options()).await;
    let (live, seen) = rich::live();
    let mut piped = serve_stdio_of(live, seen);
    for version in ["2025-11-25", "2025-06-18", "2025-03-26"] {
        let over_http = post_legacy(http.address, &initialize(version), None, &[]).await.json();
        for answer in [over_http, piped.ask(&initialize(version))] {
            check(version, "initialize", &answer);
            assert_eq!(
                answer["result"]["capabilities"],
                json!({
                    "tools": { "listChanged": true },
                    "prompts": { "listChanged": true },
                    "resources": { "subscribe": true, "listChanged": true },
                    "logging": {},
                })
            );
            assert_eq!(answer["result"]["serverInfo"], json!({ "name": "rich", "version": "1" }));
        }
    }
}

#[tokio::test]
async fn a_level_holds_for_the_later_requests_of_its_session() {
    let http = serve_http_with(rich::live(), options()).await;
    let (live, seen) = rich::live();
    let mut piped = serve_stdio_of(live, seen);
    ask(&mut piped, &initialize("2025-11-25"));
    let (session, other) = (Session::new(&http, "2025-11-25").await, Session::new(&http, "2025-11-25").await);
    let level = |level: &str| plain("5", "logging/setLevel", &format!(r#""level":"{level}""#));
    let levels = |messages: &[Value]| -> Vec<String> {
        messages.iter().for_each(|message| check("2025-11-25", "tools/call", message));
        assert_eq!(rich::text(messages.last().unwrap()), "logged");
        messages.iter().filter_map(|one| one["params"]["level"].as_str().map(str::to_owned)).collect()
    };
    let log = call("6", "log", "{}");
    assert!(levels(&session.ask(&log).await).is_empty() && levels(&ask(&mut piped, &log)).is_empty());
    for (set, expected) in [("info", &["info", "error"][..]), ("error", &["error"])] {
        for answer in [session.ask(&level(set)).await, ask(&mut piped, &level(set))] {
            assert_eq!(answer, [json!({ "jsonrpc": "2.0", "id": 5, "result": {} })]);
        }
        assert_eq!(levels(&session.ask(&log).await), expected);
        assert_eq!(levels(&ask(&mut piped, &log)), expected);
    }
    assert!(levels(&other.ask(&log).await).is_empty(), "another session");
    for answer in [session.ask(&level("loud")).await, ask(&mut piped, &level("loud"))] {
        assert_eq!(answer[0]["error"]["code"], -32602);
    }
}

#[tokio::test]
async fn subscriptions_are_heard_on_the_stand_alone_stream() {
    let (live, seen) = rich::live();
    let http = serve_http_with((live.clone(), seen), options()).await;
    let session = Session::new(&http, "2025-11-25").await;
    let mut stream = Stream::get(http.address, &session.id, None).await;
    let (piped_live, seen) = rich::live();
    let mut piped = serve_stdio_of(piped_live.clone(), seen);
    ask(&mut piped, &initialize("2025-11-25"));
    let on =
        |method: &str, uri: &str| plain("5", &format!("resources/{method}"), &format!(r#""uri":"{uri}""#));

    for (body, code) in [
        (on("subscribe", "test://nowhere"), Some(-32002)),
        (plain("5", "resources/subscribe", ""), Some(-32602)),
        (on("subscribe", "test://still"), None),
        (on("subscribe", "test://watched"), None),
        (on("unsubscribe", "test://nowhere"), None),
    ] {
        for answer in [session.ask(&body).await, ask(&mut piped, &body)] {
            check("2025-11-25", "resources/subscribe", &answer[0]);
            match code {
                Some(code) => assert_eq!(answer[0]["error"]["code"], code, "{body}"),
                None => assert_eq!(answer[0]["result"], json!({}), "{body}"),
            }
        }
    }
    let changes = |live: &trunkline_service::endpoint::Live| {
        live.announce(Change::Resource("test://watched".into()));
        live.announce(Change::Prompts);
    };
    changes(&live);
    changes(&piped_live);
    let expected = ["notifications/resources/updated", "notifications/prompts/list_changed"];
    for method in expected {
        let messages =
            [stream.message().await.unwrap(), serde_json::from_str::<Value>(&piped.line()).unwrap()];
        for message in messages {
            check("2025-11-25", "", &message);
            assert_eq!(message["method"], method);
            assert!(message["params"].get("_meta").is_none());
        }
    }
    session.ask(&on("unsubscribe", "test://watched")).await;
    ask(&mut piped, &on("unsubscribe", "test://watched"));
    changes(&live);
    changes(&piped_live);
    assert_eq!(stream.message().await.unwrap()["method"], expected[1]);
    assert!(piped.line().contains(expected[1]));
}

#[tokio::test]
async fn what_the_endpoint_does_not_have_is_no_method() {
    let http = crate::fixture::serve_http().await;
    let session = Session::new(&http, "2025-11-25").await;
    for body in [
        plain("5", "logging/setLevel", r#""level":"info""#),
        plain("5", "resources/subscribe", r#""uri":"a""#),
        plain("5", "resources/unsubscribe", r#""uri":"a""#),
    ] {
        assert_eq!(session.ask(&body).await[0]["error"]["code"], -32601, "{body}");
    }
}
