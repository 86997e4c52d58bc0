//! Services that ask, before clients of the handshake era: requests of the server's own, over both edges and across nodes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use trunkline_service::Shared;
use trunkline_service::endpoint::Live;
use trunkline_service::shared::InMemory;

use crate::fixture::{Piped, Served, check, options, serve_http_with, serve_stdio_of};
use crate::raw_http::{Stream, post_legacy, request};
use crate::rich::{self, answer, call, initialize, plain, text};

async fn session(http: &Served, version: &str) -> String {
    let answer = post_legacy(http.address, &initialize(version), None, &[]).await;
    answer.header("mcp-session-id").unwrap().to_owned()
}

/// One client of a session, over whichever edge.
enum Client<'a> {
    Http { at: &'a Served, session: String, stream: Option<Stream> },
    Stdio(Piped),
}

impl Client<'_> {
    async fn send(&mut self, body: &str) {
        match self {
            Client::Stdio(piped) => piped.send(body),
            Client::Http { at, session, stream } => {
                if body.contains("\"method\":\"notifications/") || !body.contains("\"method\"") {
                    assert_eq!(post_legacy(at.address, body, Some(session), &[]).await.status, 202);
                } else {
                    *stream = Some(Stream::post_legacy(at.address, session, body).await);
                }
            }
        }
    }

    async fn next(&mut self, revision: &str) -> Value {
        let message = match self {
            Client::Stdio(piped) => serde_json::from_str(&piped.line()).unwrap(),
            Client::Http { stream, .. } => stream.as_mut().unwrap().message().await.unwrap(),
        };
        check(revision, "tools/call", &message);
        message
    }
}

async fn clients<'a>(http: &'a Served, version: &str) -> [Client<'a>; 2] {
    let (live, seen) = rich::live();
    let mut piped = serve_stdio_of(live, seen);
    piped.ask(&initialize(version));
    [Client::Http { at: http, session: session(http, version).await, stream: None }, Client::Stdio(piped)]
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_become_requests_of_the_server_and_their_answers_the_input() {
    let http = serve_http_with(rich::live(), options()).await;
    for version in ["2025-11-25", "2025-06-18"] {
        for mut client in clients(&http, version).await {
            for (tool, method, result) in [
                ("ask", "elicitation/create", json!({ "action": "accept", "content": { "name": "Ann" } })),
                (
                    "sample",
                    "sampling/createMessage",
                    json!({ "role": "assistant", "content": { "type": "text", "text": "x" }, "model": "m" }),
                ),
                ("roots", "roots/list", json!({ "roots": [{ "uri": "file:///a" }] })),
            ] {
                client.send(&call("1", tool, "{}")).await;
                let question = client.next(version).await;
                assert_eq!(question["method"], method);
                assert_eq!(question["id"].as_str().unwrap().len(), 32);
                client.send(&answer(&question, result.clone())).await;
                let said = client.next(version).await;
                let (responses, state) = text(&said).rsplit_once(' ').unwrap();
                let responses: Value = serde_json::from_str(responses).unwrap();
                assert_eq!(responses.as_object().unwrap().values().next(), Some(&result));
                assert_eq!(state, "sealed");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_questions_of_a_round_are_open_at_once_and_answered_in_any_order() {
    let http = serve_http_with(rich::live(), options()).await;
    for mut client in clients(&http, "2025-11-25").await {
        client.send(&call("1", "both", "{}")).await;
        let questions = [client.next("2025-11-25").await, client.next("2025-11-25").await];
        assert_ne!(questions[0]["id"], questions[1]["id"]);
        for question in questions.iter().rev() {
            let result = match question["method"].as_str().unwrap() {
                "roots/list" => json!({ "roots": [] }),
                _ => json!({ "action": "decline" }),
            };
            client.send(&answer(question, result)).await;
        }
        let said = client.next("2025-11-25").await;
        let responses: Value = serde_json::from_str(text(&said).rsplit_once(' ').unwrap().0).unwrap();
        assert_eq!(responses, json!({ "name": { "action": "decline" }, "r": { "roots": [] } }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_with_an_error_cancelled_or_refused() {
    let http = serve_http_with(rich::live(), options()).await;
    for mut client in clients(&http, "2025-11-25").await {
        let refusal = |question: &Value| {
            json!({ "jsonrpc": "2.0", "id": question["id"], "error": { "code": -1, "message": "rejected\nby Ann" } })
                .to_string()
        };
        client.send(&call("1", "ask", "{}")).await;
        let question = client.next("2025-11-25").await;
        client.send(&refusal(&question)).await;
        assert_eq!(text(&client.next("2025-11-25").await), r#"{"name":{"action":"cancel"}} sealed"#);
        client.send(&call("2", "sample", "{}")).await;
        let question = client.next("2025-11-25").await;
        client.send(&refusal(&question)).await;
        let said = client.next("2025-11-25").await;
        assert_eq!(said["result"]["isError"], true);
        assert!(text(&said).contains("client refused: rejectedby Ann"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_another_session_or_to_nothing_are_not_taken() {
    let http = serve_http_with(rich::live(), options()).await;
    let (mine, other) = (session(&http, "2025-11-25").await, session(&http, "2025-11-25").await);
    let mut stream = Stream::post_legacy(http.address, &mine, &call("1", "ask", "{}")).await;
    let question = stream.message().await.unwrap();
    let forged = answer(&question, json!({ "action": "accept", "content": { "name": "Eve" } }));
    assert_eq!(post_legacy(http.address, &forged, Some(&other), &[]).await.status, 202);
    let unknown = answer(&json!({ "id": "f".repeat(32) }), json!({}));
    assert_eq!(post_legacy(http.address, &unknown, Some(&mine), &[]).await.status, 202);
    let honest = answer(&question, json!({ "action": "decline" }));
    post_legacy(http.address, &honest, Some(&mine), &[]).await;
    assert_eq!(text(&stream.message().await.unwrap()), r#"{"name":{"action":"decline"}} sealed"#);
    // Too late is nothing.
    assert_eq!(post_legacy(http.address, &forged, Some(&mine), &[]).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_is_asked_for_once_and_its_completion_told() {
    let http = serve_http_with(rich::live(), options()).await;
    for mut client in clients(&http, "2025-11-25").await {
        client.send(&call("1", "ask_url", "{}")).await;
        let question = client.next("2025-11-25").await;
        assert_eq!(question["params"]["url"], "https://pay.example/1");
        let id = question["params"]["elicitationId"].as_str().unwrap().to_owned();
        client.send(&answer(&question, json!({ "action": "accept" }))).await;
        let told = client.next("2025-11-25").await;
        assert_eq!(told["method"], "notifications/elicitation/complete");
        assert_eq!(told["params"]["elicitationId"], id);
        assert_eq!(text(&client.next("2025-11-25").await), r#"{"go":{"action":"accept"}} 3"#);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_cannot_be_asked_is_a_result_that_says_so() {
    let http = serve_http_with(rich::live(), options()).await;
    for (version, tool, part) in [
        ("2025-03-26", "ask", "2025-03-26"),
        ("2025-06-18", "ask_url", "2025-06-18"),
        ("2025-11-25", "needs", "`sampling`"),
    ] {
        for mut client in clients(&http, version).await {
            client.send(&call("1", tool, "{}")).await;
            let said = client.next(version).await;
            assert_eq!(said["result"]["isError"], true, "{said}");
            assert!(text(&said).contains(part), "{said}");
        }
    }
    // No stream to be asked on.
    let id = session(&http, "2025-11-25").await;
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
        ("Mcp-Session-Id", id.as_str()),
    ];
    let said = request(http.address, "POST", "/mcp", &headers, call("1", "ask", "{}").as_bytes()).await;
    assert!(text(&said.json()).contains("event stream"), "{said:?}");
    // What has no result to say it in is an error.
    let prompt = plain("1", "prompts/get", r#""name":"ask_first""#);
    let said = request(http.address, "POST", "/mcp", &headers, prompt.as_bytes()).await;
    assert_eq!((said.status, said.code()), (200, -32602));
}

#[tokio::test(flavor = "multi_thread")]
async fn choices_are_written_as_the_revision_knows_them() {
    let http = serve_http_with(rich::live(), options()).await;
    for (version, name) in [("2025-06-18", "enumNames"), ("2025-11-25", "oneOf")] {
        for mut client in clients(&http, version).await {
            client.send(&call("1", "ask_choice", "{}")).await;
            let question = client.next(version).await;
            assert!(
                question["params"]["requestedSchema"]["properties"]["one"].get(name).is_some(),
                "{question}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_ask_too_and_a_state_alone_is_sent_again() {
    let http = serve_http_with(rich::live(), options()).await;
    for mut client in clients(&http, "2025-11-25").await {
        client.send(&plain("1", "prompts/get", r#""name":"ask_first""#)).await;
        let question = client.next("2025-11-25").await;
        client.send(&answer(&question, json!({ "action": "decline" }))).await;
        let said = match &mut client {
            Client::Stdio(piped) => serde_json::from_str(&piped.line()).unwrap(),
            Client::Http { stream, .. } => stream.as_mut().unwrap().message().await.unwrap(),
        };
        check("2025-11-25", "prompts/get", &said);
        assert!(said["result"]["messages"][0]["content"]["text"].as_str().unwrap().contains("decline"));
    }
    let id = session(&http, "2025-11-25").await;
    let started = std::time::Instant::now();
    let said = post_legacy(http.address, &call("1", "state_only", "{}"), Some(&id), &[]).await;
    assert_eq!(text(&said.json()), " 2");
    assert!(started.elapsed() >= Duration::from_millis(250), "it was not left alone in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_an_answer_is_cancelled_and_ends_with_its_session() {
    let http = serve_http_with(rich::live(), options()).await;
    let id = session(&http, "2025-11-25").await;
    let mut waiting = Stream::post_legacy(http.address, &id, &call("1", "ask", "{}")).await;
    waiting.message().await.unwrap();
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    post_legacy(http.address, cancel, Some(&id), &[]).await;
    assert_eq!(waiting.event().await, None);
    let mut waiting = Stream::post_legacy(http.address, &id, &call("2", "ask", "{}")).await;
    waiting.message().await.unwrap();
    request(http.address, "DELETE", "/mcp", &[("Mcp-Session-Id", &id)], b"").await;
    // The question may hear of it before the call is cancelled.
    if let Some(last) = waiting.message().await {
        assert!(text(&last).contains("session was ended"), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_arrives_at_another_node_and_the_stream_goes_on_there() {
    let shared: Arc<dyn Shared> = Arc::new(InMemory::default());
    let options = options();
    let node = || Live::with_shared(rich::endpoint(&shared, &options.sealer), Arc::clone(&shared));
    let here = serve_http_with((node(), Arc::default()), options.clone()).await;
    let there = serve_http_with((node(), Arc::default()), options.clone()).await;
    let id = session(&here, "2025-11-25").await;
    let mut stream = Stream::post_legacy(here.address, &id, &call("1", "ask", "{}")).await;
    let priming = stream.event().await.unwrap();
    let question = stream.message().await.unwrap();
    // The connection is lost; the client comes back to the other node, before anything was said.
    drop(stream);
    let mut resumed = Stream::get(there.address, &id, priming.id.as_deref()).await;
    assert_eq!(resumed.message().await.unwrap(), question);
    let said = answer(&question, json!({ "action": "accept", "content": { "name": "Bob" } }));
    assert_eq!(post_legacy(there.address, &said, Some(&id), &[]).await.status, 202);
    let said = resumed.message().await.unwrap();
    check("2025-11-25", "tools/call", &said);
    assert!(text(&said).contains("Bob"));
    assert_eq!(resumed.event().await, None);
    // Ended at one node, a session's questions end at the other.
    let mut waiting = Stream::post_legacy(here.address, &id, &call("2", "ask", "{}")).await;
    waiting.message().await.unwrap();
    request(there.address, "DELETE", "/mcp", &[("Mcp-Session-Id", &id)], b"").await;
    if let Some(last) = waiting.message().await {
        assert!(text(&last).contains("session was ended"), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_an_answer_ends_at_once_with_the_server() {
    let mut http = serve_http_with(rich::live(), options()).await;
    let id = session(&http, "2025-11-25").await;
    let mut waiting = Stream::post_legacy(http.address, &id, &call("1", "ask", "{}")).await;
    waiting.message().await.unwrap();
    let started = std::time::Instant::now();
    http.stop.cancel();
    let last = waiting.message().await.unwrap();
    check("2025-11-25", "tools/call", &last);
    assert_eq!(last["result"]["isError"], true, "{last}");
    assert!(text(&last).contains("stopping"), "{last}");
    http.ended.take().unwrap().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}
