//! Two processes that share a Redis are one server: whatever begins at one goes on at the other.

#![expect(clippy::panic, reason = "a test ends at its first fault")]

use std::time::Duration;

use serde_json::{Value, json};
use trunkline_example_tests::{Client, Example, Messages, text, until};
use trunkline_testkit::redis::Server;

/// Two processes, and the Redis that they share.
struct Nodes {
    one: Example,
    other: Example,
    redis: Server,
}

impl Nodes {
    async fn start() -> Self {
        let redis = Server::start().await;
        let url = redis.url();
        let (arguments, key) = (["--store", &url], "07".repeat(32));
        let variables = [("SEAL_KEY", key.as_str())];
        let start = || Example::start_with(env!("CARGO_BIN_EXE_everything"), &arguments, &variables);
        let (one, other) = tokio::join!(start(), start());
        Self { one, other, redis }
    }

    /// One client of the handshake era, at both nodes.
    async fn legacy(&self) -> (Client, Client) {
        let here =
            Client::legacy(self.one.mcp(), json!({ "elicitation": {}, "sampling": {}, "roots": {} })).await;
        let there = here.at(self.other.mcp());
        (here, there)
    }
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({ "name": tool, "arguments": arguments })
}

/// The next message that is no news of how far something is.
async fn next(messages: &mut Messages) -> Value {
    loop {
        let message = messages.next().await.unwrap_or_else(|| panic!("the stream ended"));
        if message["method"] != "notifications/progress" {
            return message;
        }
    }
}

#[tokio::test]
async fn a_session_begun_at_one_process_is_used_and_ended_at_the_other() {
    let nodes = Nodes::start().await;
    let (here, there) = nodes.legacy().await;
    let echo = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    assert!(there.ask("ping", json!({})).await["result"].is_object());
    let slow = there.open("tools/call", call("slow", json!({ "ms": 60_000 })));
    let ((_, mut running), ()) = tokio::join!(slow, async {
        until("the call runs there", async || {
            let counts = Client::modern(nodes.other.mcp(), json!({})).call("slow_calls", json!({})).await;
            counts["result"]["structuredContent"]["started"] == 1
        })
        .await;
        assert_eq!(here.end().await, 204);
    });
    assert_eq!(here.status(&echo).await, 404);
    until("the other knows", async || there.status(&echo).await == 404).await;
    while let Some(message) = running.next().await {
        assert!(message["result"]["content"].is_null(), "the call ended with its session: {message}");
    }
    assert_eq!(there.end().await, 404);
}

#[tokio::test]
async fn a_call_is_cancelled_through_the_other_process() {
    let nodes = Nodes::start().await;
    let (here, there) = nodes.legacy().await;
    let modern = Client::modern(nodes.one.mcp(), json!({}));
    let counts = async || modern.call("slow_calls", json!({})).await["result"]["structuredContent"].clone();
    let params = json!({ "name": "slow", "arguments": { "ms": 60_000 }, "_meta": { "progressToken": 1 } });
    let (id, mut messages) = here.open("tools/call", params).await;
    messages.next().await.unwrap();
    there.notify("notifications/cancelled", json!({ "requestId": id })).await;
    until("the call is dropped", async || counts().await["cancelled"] == 1).await;
}

#[tokio::test]
async fn a_stream_lost_at_one_process_goes_on_at_the_other_with_the_question_it_missed() {
    let nodes = Nodes::start().await;
    let (here, there) = nodes.legacy().await;
    let (id, mut messages) =
        here.open("tools/call", call("test_elicitation", json!({ "message": "Who?" }))).await;
    let question = next(&mut messages).await;
    assert_eq!(question["method"], "elicitation/create");
    let asked_at = messages.last_event().unwrap().to_owned();
    // Back to before the question: its place is one less.
    let (stream, place) = asked_at.rsplit_once('-').unwrap();
    let before = format!("{stream}-{}", place.parse::<u64>().unwrap() - 1);
    drop(messages);
    let mut resumed = there.resume(&before).await;
    assert_eq!(next(&mut resumed).await, question);
    // The answer comes to the node where nothing runs, and the call goes on where it does.
    let content = json!({ "username": "ann", "email": "ann@example.com" });
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept", "content": content } });
    assert_eq!(there.status(&answer).await, 202);
    let said = next(&mut resumed).await;
    assert_eq!(said["id"], id);
    assert!(text(&said).contains("username=ann"), "{said}");
    assert!(resumed.next().await.is_none(), "the stream ends with the call");
}

#[tokio::test]
async fn subscriptions_hear_at_one_process_of_what_changed_at_the_other() {
    let nodes = Nodes::start().await;
    let (here, there) = nodes.legacy().await;
    let uri = "test://watched-resource";
    let mut standing = there.listen_legacy().await;
    here.ask("resources/subscribe", json!({ "uri": uri })).await;
    let modern = Client::modern(nodes.other.mcp(), json!({}));
    let filter = json!({ "notifications": { "resourceSubscriptions": [uri] } });
    let (_, mut listening) = modern.open("subscriptions/listen", filter).await;
    assert_eq!(listening.next().await.unwrap()["method"], "notifications/subscriptions/acknowledged");
    // The settings are at the other node as soon as it heard of them, which nobody waits for.
    let mut heard = None;
    for _ in 0..200 {
        here.call("touch", json!({ "uri": uri })).await;
        heard = tokio::time::timeout(Duration::from_millis(100), standing.next()).await.ok().flatten();
        if heard.is_some() {
            break;
        }
    }
    let heard = heard.unwrap_or_else(|| panic!("the session was told nothing"));
    assert_eq!(
        (&heard["method"], &heard["params"]["uri"]),
        (&json!("notifications/resources/updated"), &json!(uri))
    );
    let heard = listening.next().await.unwrap();
    assert_eq!(heard["method"], "notifications/resources/updated");
    // Lost, and taken up at the other node after what was told.
    here.call("touch", json!({ "uri": uri })).await;
    next(&mut standing).await;
    let last = standing.last_event().unwrap().to_owned();
    drop(standing);
    here.call("touch", json!({ "uri": uri })).await;
    let mut again = here.resume(&last).await;
    assert_eq!(next(&mut again).await["params"]["uri"], uri);
}

#[tokio::test]
async fn a_task_is_asked_about_answered_and_cancelled_at_the_other_process() {
    let nodes = Nodes::start().await;
    let able = json!({ "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let here = Client::modern(nodes.one.mcp(), able.clone());
    let there = Client::modern(nodes.other.mcp(), able);
    let begun = here.call("confirm_delete", json!({ "filename": "a.txt" })).await;
    let id = begun["result"]["taskId"].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned();
    let get = async || there.ask("tasks/get", json!({ "taskId": id })).await["result"].clone();
    until("it asks", async || get().await["status"] == "input_required").await;
    let asked = get().await;
    let (key, _) = asked["inputRequests"].as_object().unwrap().iter().next().unwrap();
    let answer = json!({ "action": "accept", "content": { "confirm": true } });
    there.ask("tasks/update", json!({ "taskId": id, "inputResponses": { key: answer } })).await;
    until("it is done", async || get().await["status"] == "completed").await;
    assert_eq!(here.ask("tasks/get", json!({ "taskId": id })).await["result"]["status"], "completed");
    let slow = here.call("slow_compute", json!({ "seconds": 600.0 })).await;
    let id = slow["result"]["taskId"].as_str().unwrap();
    there.ask("tasks/cancel", json!({ "taskId": id })).await;
    until("it is cancelled", async || {
        here.ask("tasks/get", json!({ "taskId": id })).await["result"]["status"] == "cancelled"
    })
    .await;
}

#[tokio::test]
async fn without_the_store_calls_go_on_and_what_cannot_be_kept_is_said() {
    let mut nodes = Nodes::start().await;
    let (here, there) = nodes.legacy().await;
    nodes.redis.kill();
    assert!(
        text(&there.call("echo", json!({ "message": "a" })).await).contains('a'),
        "a session needs no store"
    );
    until("an end that nobody can be told of is refused", async || here.end().await == 503).await;
    let able = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let modern = Client::modern(nodes.one.mcp(), able);
    let refused = modern.call("failing_job", json!({})).await;
    assert!(refused["error"].is_object() || refused["result"]["isError"] == true, "{refused}");
    nodes.redis.restart().await;
    until("it is back", async || modern.call("failing_job", json!({})).await["result"]["taskId"].is_string())
        .await;
    until("sessions can be ended", async || here.end().await == 204).await;
    until("the other hears of it", async || {
        there.status(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" })).await == 404
    })
    .await;
}
