//! Built servers behind the real edge of HTTP.

use serde_json::json;
use trunkline_server::sdk::{Context, DynTool, Json, Parts, Server};

use crate::support::{body, post, serve};

#[tokio::test]
async fn a_call_over_http() {
    let echo =
        DynTool::new("echo").input_schema(json!({ "type": "object" })).handler(|ctx: Context| async move {
            Json(serde_json::from_slice::<serde_json::Value>(ctx.raw_arguments()).unwrap_or_default())
        });
    let served = serve(Server::new("echo-server", "2.0").title("Echo").tool(echo).build().unwrap()).await;
    let params = json!({ "name": "echo", "arguments": { "a": 1 } });
    let answer = post(served.address, "tools/call", Some("echo"), params).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let message = body(&answer);
    assert_eq!(message["result"]["structuredContent"], json!({ "a": 1 }));
    assert_eq!(message["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["title"], "Echo");
}

#[tokio::test]
async fn parts_over_http_are_events_before_the_answer() {
    let tool =
        DynTool::new("t").handler(|_: Context| async { Parts(futures_util::stream::iter(["a", "b"])) });
    let served = serve(Server::new("t", "1").tool(tool).build().unwrap()).await;
    let answer =
        post(served.address, "tools/call", Some("t"), json!({ "name": "t", "progressToken": 1 })).await;
    assert!(answer.contains("text/event-stream"), "{answer}");
    let events: Vec<serde_json::Value> =
        answer.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    assert_eq!(events.len(), 3, "{answer}");
    assert_eq!(events[1]["params"]["message"], "b");
    assert_eq!(events[2]["result"]["content"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_ends_when_it_is_told_to() {
    let mut served = serve(Server::new("t", "1").build().unwrap()).await;
    served.stop.cancel();
    (&mut served.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handle_ends_a_server_that_listens() {
    let server = Server::new("t", "1").build().unwrap();
    let handle = server.handle();
    let mut served = serve(server).await;
    handle.stop().await;
    tokio::time::timeout(std::time::Duration::from_secs(5), &mut served.ended)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[cfg(feature = "axum")]
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test owns the task through its handle")]
async fn a_server_is_part_of_an_axum_application() {
    let tool = DynTool::new("t").handler(|ctx: Context| async move {
        ctx.server().add_tool(DynTool::new("later").handler(|_: Context| async {}))?;
        Ok::<_, trunkline_server::sdk::ToolError>("called")
    });
    let mcp = Server::new("t", "1").tool(tool).into_router().unwrap();
    let app = axum::Router::new().route("/health", axum::routing::get(|| async { "fine" })).merge(mcp);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Enough of axum's own serve for a test: its feature for that is not ours to turn on.
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let app = hyper_util::service::TowerToHyperService::new(app.clone());
            let connection =
                hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            tokio::spawn(async move {
                let _ = connection.serve_connection(hyper_util::rt::TokioIo::new(stream), app).await;
            });
        }
    });
    for _ in 0..2 {
        let answer = body(&post(address, "tools/call", Some("t"), json!({ "name": "t" })).await);
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text == "called" || text.contains("two tools are named `later`"), "{answer}");
    }
    let listed = body(&post(address, "tools/list", None, json!({})).await);
    assert_eq!(listed["result"]["tools"].as_array().map(Vec::len), Some(2));
    serving.abort();
}
