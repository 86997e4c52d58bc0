//! What `src/main.rs` says one will see, seen through its binary.

use std::time::Duration;

use serde_json::{Value, json};
use trunkline_example_tests::{Client, Example, Stdio, text, until};

const BINARY: &str = env!("CARGO_BIN_EXE_long-job");

fn with_progress(tool: &str, arguments: Value) -> Value {
    json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": "p" } })
}

async fn count(client: &Client) -> Value {
    client.call("count", json!({})).await["result"]["structuredContent"].clone()
}

async fn both_eras(example: &Example) -> [Client; 2] {
    [Client::modern(example.mcp(), json!({})), Client::legacy(example.mcp(), json!({})).await]
}

/// The numbers and texts of progress notifications, which must all be for our token.
fn progress(messages: &[Value]) -> Vec<(f64, String)> {
    let one = |message: &Value| {
        assert_eq!(message["method"], "notifications/progress", "{message}");
        assert_eq!(message["params"]["progressToken"], "p", "{message}");
        let text = message["params"]["message"].as_str().unwrap_or_default().to_owned();
        (message["params"]["progress"].as_f64().unwrap_or_default(), text)
    };
    messages.iter().map(one).collect()
}

#[tokio::test]
async fn each_step_is_reported_to_a_client_that_asked() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example).await {
        let params = with_progress("work", json!({ "steps": 5, "step_ms": 5 }));
        let (before, answer) = client.exchange("tools/call", params).await;
        assert_eq!(text(&answer), "did 5 steps");
        let told = progress(&before);
        assert_eq!(told.len(), 5, "{told:?}");
        assert_eq!(told[4], (5.0, "step 5 of 5".to_owned()));
        // Whoever asked for no progress gets none.
        let params = json!({ "name": "work", "arguments": { "steps": 2, "step_ms": 1 } });
        let (before, answer) = client.exchange("tools/call", params).await;
        assert!(before.is_empty(), "{before:?}");
        assert_eq!(text(&answer), "did 2 steps");
    }
}

#[tokio::test]
async fn a_request_that_is_closed_stops_the_work_behind_it() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), json!({}));
    let (_, mut messages) =
        client.open("tools/call", with_progress("work", json!({ "steps": 1000, "step_ms": 20 }))).await;
    assert!(messages.next().await.is_some());
    assert_eq!(count(&client).await["running"], 1);
    drop(messages);
    until("the job to stop", async || count(&client).await["stopped"] == 1).await;
    let counted = count(&client).await;
    assert_eq!((&counted["running"], &counted["finished"]), (&json!(0), &json!(0)), "{counted}");
    assert!(counted["steps"].as_u64().is_some_and(|steps| steps < 1000), "{counted}");
    // Ten steps would fit into this time.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(count(&client).await["steps"], counted["steps"]);
}

#[tokio::test]
async fn over_stdio_a_notification_stops_it_and_nothing_more_is_said() {
    let mut stdio = Stdio::start(BINARY, json!({}));
    let id = stdio.send("tools/call", with_progress("work", json!({ "steps": 1000, "step_ms": 20 }))).await;
    assert_eq!(stdio.next().await["method"], "notifications/progress");
    stdio.notify("notifications/cancelled", json!({ "requestId": id })).await;
    loop {
        let answer = stdio.ask("tools/call", json!({ "name": "count", "arguments": {} })).await;
        if answer["result"]["structuredContent"]["stopped"] == 1 {
            break;
        }
    }
    let count = stdio.send("tools/call", json!({ "name": "count", "arguments": {} })).await;
    assert_eq!(stdio.next().await["id"], count, "nothing may follow a cancelled request");
    assert!(stdio.end().await.success());
}

#[tokio::test]
async fn a_legacy_session_stops_a_call_by_a_notification() {
    let example = Example::start(BINARY).await;
    let client = Client::legacy(example.mcp(), json!({})).await;
    let (id, mut messages) =
        client.open("tools/call", with_progress("work", json!({ "steps": 1000, "step_ms": 20 }))).await;
    // The stream may begin with an event that only carries an id.
    assert!(messages.next().await.is_some());
    client.notify("notifications/cancelled", json!({ "requestId": id, "reason": "enough" })).await;
    until("the job to stop", async || count(&client).await["stopped"] == 1).await;
}

#[tokio::test]
async fn lines_arrive_one_by_one_and_together_at_the_end() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example).await {
        let (before, answer) =
            client.exchange("tools/call", with_progress("recite", json!({ "verses": 4 }))).await;
        let told: Vec<String> = progress(&before).into_iter().map(|(_, text)| text).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[0], "4 green bottles, hanging on the wall");
        let blocks = answer["result"]["content"].as_array().cloned().unwrap_or_default();
        let blocks: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        assert_eq!(blocks, told);
    }
}

fn tasks() -> Value {
    json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } })
}

#[tokio::test]
async fn a_client_that_follows_tasks_gets_one_and_polls_it_to_its_end() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), tasks());
    let answer = client.call("render", json!({ "frames": 3 })).await;
    assert_eq!(answer["result"]["resultType"], "task", "{answer}");
    assert_eq!(answer["result"]["status"], "working", "{answer}");
    let id = answer["result"]["taskId"].clone();
    until("the task to end", async || {
        client.ask("tasks/get", json!({ "taskId": id })).await["result"]["status"] == "completed"
    })
    .await;
    let task = client.ask("tasks/get", json!({ "taskId": id })).await;
    assert_eq!(task["result"]["result"]["content"][0]["text"], "rendered 3 frames", "{task}");
    assert_eq!(task["result"]["statusMessage"], "3 of 3 frames", "{task}");
}

#[tokio::test]
async fn a_task_that_is_cancelled_stops() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), tasks());
    let answer = client.call("render", json!({ "frames": 600 })).await;
    let id = answer["result"]["taskId"].clone();
    let acknowledged = client.ask("tasks/cancel", json!({ "taskId": id })).await;
    assert_eq!(acknowledged["result"]["resultType"], "complete", "{acknowledged}");
    until("the job to stop", async || count(&client).await["stopped"] == 1).await;
    let task = client.ask("tasks/get", json!({ "taskId": id })).await;
    assert_eq!(task["result"]["status"], "cancelled", "{task}");
}

#[tokio::test]
async fn for_every_other_client_it_is_an_ordinary_call() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example).await {
        let answer = client.call("render", json!({ "frames": 2 })).await;
        assert_eq!(text(&answer), "rendered 2 frames");
    }
}
