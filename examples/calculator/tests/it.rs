//! What `src/main.rs` says one will see, seen through its binary.

use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use trunkline::client::{ChildStderr, Client as Sdk, ConnectOptions, Target};
use trunkline_example_tests::{Client, Example, Stdio, text};

const BINARY: &str = env!("CARGO_BIN_EXE_calculator");

#[tokio::test]
async fn five_and_three_are_eight_in_both_eras() {
    let example = Example::start(BINARY).await;
    let arguments = json!({ "operation": "add", "a": 5, "b": 3 });
    for client in [Client::modern(example.mcp(), json!({})), Client::legacy(example.mcp(), json!({})).await] {
        let answer = client.call("calculate", arguments.clone()).await;
        assert_eq!(text(&answer), "5 + 3 = 8");
        assert_ne!(answer["result"]["isError"], true);
    }
}

#[tokio::test]
async fn every_operation_does_what_it_is_called() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), json!({}));
    for (operation, expected) in
        [("subtract", "7 - 2 = 5"), ("multiply", "7 * 2 = 14"), ("divide", "7 / 2 = 3.5")]
    {
        let answer = client.call("calculate", json!({ "operation": operation, "a": 7, "b": 2 })).await;
        assert_eq!(text(&answer), expected);
    }
}

#[tokio::test]
async fn a_division_by_zero_is_an_error_result_and_not_a_protocol_error() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), json!({}));
    let answer = client.call("calculate", json!({ "operation": "divide", "a": 1, "b": 0 })).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(text(&answer), "division by zero: choose a `b` other than 0");
    let answer = client.call("calculate", json!({ "operation": "multiply", "a": 1e308, "b": 10 })).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(text(&answer).contains("too large"), "{answer}");
}

#[tokio::test]
async fn an_unknown_operation_is_told_those_there_are() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), json!({}));
    let answer = client.call("calculate", json!({ "operation": "power", "a": 2, "b": 3 })).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    for known in ["operation", "add", "subtract", "multiply", "divide"] {
        assert!(text(&answer).contains(known), "{answer}");
    }
}

#[tokio::test]
async fn the_list_describes_the_tool_as_the_code_does() {
    let example = Example::start(BINARY).await;
    let list = Client::modern(example.mcp(), json!({})).ask("tools/list", json!({})).await;
    let tool = &list["result"]["tools"][0];
    assert_eq!(tool["name"], "calculate");
    assert_eq!(tool["title"], "Calculator");
    assert_eq!(tool["description"], "Performs basic arithmetic.");
    assert_eq!(tool["annotations"]["readOnlyHint"], true);
    assert_eq!(tool["inputSchema"]["required"], json!(["operation", "a", "b"]));
    let written = tool["inputSchema"]["properties"]["operation"].to_string();
    for expected in ["add", "divide", "What to do with the two numbers."] {
        assert!(written.contains(expected), "{written}");
    }
}

#[tokio::test]
async fn the_same_tool_answers_over_stdio_through_our_own_client() {
    let argv = vec![BINARY.into(), "--stdio".into()];
    let target = Target::Command { argv, stderr: ChildStderr::Keep };
    let client = Sdk::connect(target, ConnectOptions::default()).await.unwrap();
    let arguments = to_raw_value(&json!({ "operation": "add", "a": 0.1, "b": 0.2 })).unwrap();
    let called = client.call("calculate", &arguments).await.unwrap();
    assert!(!called.is_error);
    let result: Value = serde_json::from_str(called.result.get()).unwrap();
    assert_eq!(result["content"][0]["text"], "0.1 + 0.2 = 0.30000000000000004");
    client.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_ends_it_well() {
    assert!(Example::start(BINARY).await.interrupt().await.success());
}

#[tokio::test]
async fn over_stdio_it_ends_with_its_input() {
    let mut stdio = Stdio::start(BINARY, json!({}));
    assert_eq!(stdio.tools().await, ["calculate"]);
    assert!(stdio.end().await.success());
}
