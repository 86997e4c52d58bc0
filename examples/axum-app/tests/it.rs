//! What `src/main.rs` says one will see, seen through its binary.

use reqwest::StatusCode;
use serde_json::json;
use trunkline_example_tests::{Client, Example, Stdio, text};

const BINARY: &str = env!("CARGO_BIN_EXE_axum-app");

#[tokio::test]
async fn what_one_side_writes_the_other_reads() {
    let example = Example::start(BINARY).await;
    let web = reqwest::Client::new();
    let signed = web.post(example.url("/sign")).body("from a browser").send().await.unwrap();
    assert_eq!(signed.status(), StatusCode::CREATED);
    for client in [Client::modern(example.mcp(), json!({})), Client::legacy(example.mcp(), json!({})).await] {
        let answer = client.call("sign_book", json!({ "line": "from a model" })).await;
        assert!(text(&answer).starts_with("this is line "), "{answer}");
        let answer = client.call("read_book", json!({})).await;
        assert!(text(&answer).starts_with("from a browser\nfrom a model"), "{answer}");
    }
    let page = web.get(example.url("/")).send().await.unwrap().text().await.unwrap();
    assert_eq!(page, "Guest book\n\nfrom a browser\nfrom a model\nfrom a model\n");
}

#[tokio::test]
async fn both_sides_refuse_the_same_line_in_their_own_way() {
    let example = Example::start(BINARY).await;
    let refused = reqwest::Client::new().post(example.url("/sign")).body("  ").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let answer = Client::modern(example.mcp(), json!({})).call("sign_book", json!({ "line": "  " })).await;
    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(text(&answer), "a line has 1 to 200 characters");
}

#[tokio::test]
async fn a_path_that_is_nobodys_is_not_found() {
    let example = Example::start(BINARY).await;
    let answer = reqwest::get(example.url("/elsewhere")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_page_of_another_site_cannot_use_it() {
    let example = Example::start(BINARY).await;
    let request = reqwest::Client::new().post(example.mcp()).header("origin", "https://evil.example");
    let answer = request.header("content-type", "application/json").body("{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

#[cfg(unix)]
#[tokio::test]
async fn an_open_subscription_does_not_hold_the_end_up() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), json!({}));
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let (id, mut stream) = client.open("subscriptions/listen", wanted).await;
    assert!(stream.next().await.is_some());
    assert!(example.interrupt().await.success());
    // The client is told that it ended, and is not cut off.
    assert_eq!(stream.next().await.map(|last| last["id"].clone()), Some(json!(id)));
}

#[tokio::test]
async fn over_stdio_there_are_the_tools_alone() {
    let mut stdio = Stdio::start(BINARY, json!({}));
    assert_eq!(stdio.tools().await, ["read_book", "sign_book"]);
    assert!(stdio.end().await.success());
}
