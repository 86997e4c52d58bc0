//! A server that changes while it runs.

use std::time::Duration;

use serde_json::{Value, json};
use trunkline_server::sdk::{ChangeError, Context, DynPrompt, DynResource, DynTool, Server};
use trunkline_service::shared::Followed;

use crate::support::{body, post, serve};

fn tool(name: &'static str) -> DynTool {
    DynTool::new(name).handler(move |_: Context| async move { name })
}

async fn names(address: std::net::SocketAddr, method: &str, list: &str, key: &str) -> Vec<Value> {
    let answer = body(&post(address, method, None, json!({})).await);
    let listed = answer["result"][list].as_array().cloned().unwrap_or_default();
    listed.iter().map(|one| one[key].clone()).collect()
}

#[tokio::test]
async fn what_is_added_and_removed_shows_at_once_and_is_told() {
    let server = Server::new("t", "1").tool(tool("first")).build().unwrap();
    let handle = server.handle();
    let mut changes = server.live().shared().changes(None);
    let served = serve(server).await;
    let tools = || names(served.address, "tools/list", "tools", "name");
    assert_eq!(tools().await, ["first"]);

    handle.add_tool(tool("second")).unwrap();
    assert_eq!(tools().await, ["first", "second"]);
    let called = post(served.address, "tools/call", Some("second"), json!({ "name": "second" })).await;
    assert_eq!(body(&called)["result"]["content"][0]["text"], "second");
    assert!(handle.remove_tool("first").unwrap() && !handle.remove_tool("first").unwrap());
    assert_eq!(tools().await, ["second"]);
    let refused = handle.add_tool(tool("second")).unwrap_err();
    assert!(matches!(refused, ChangeError::Build(_)), "{refused}");
    assert_eq!(tools().await, ["second"]);

    handle.add_prompt(DynPrompt::new("p").handler(|_| async { "hi" })).unwrap();
    assert_eq!(names(served.address, "prompts/list", "prompts", "name").await, ["p"]);
    handle.add_resource(DynResource::new("x://a", "a").handler(|_| async { "a" })).unwrap();
    assert_eq!(names(served.address, "resources/list", "resources", "uri").await, ["x://a"]);
    assert!(handle.remove_prompt("p").unwrap() && handle.remove_resource("x://a").unwrap());
    handle.resource_updated("x://a");

    let mut told = Vec::new();
    for _ in 0..7 {
        let next = tokio::time::timeout(Duration::from_secs(5), changes.next()).await.unwrap();
        let Followed::Message(_, message) = next else { panic!("{next:?}") };
        told.push(String::from_utf8_lossy(&message).to_lowercase());
    }
    for (told, expected) in
        told.iter().zip(["tools", "tools", "prompts", "resources", "prompts", "resources", "x://a"])
    {
        assert!(told.contains(expected), "{told} {expected}");
    }
}

#[tokio::test]
async fn a_tool_may_change_the_server_it_is_part_of() {
    let tool = DynTool::new("grow").handler(|ctx: Context| async move {
        ctx.server().add_tool(tool("grown")).map_err(|error| error.to_string())
    });
    let served = serve(Server::new("t", "1").tool(tool).build().unwrap()).await;
    let grown = body(&post(served.address, "tools/call", Some("grow"), json!({ "name": "grow" })).await);
    assert_eq!(grown["result"]["isError"], false, "{grown}");
    assert_eq!(names(served.address, "tools/list", "tools", "name").await, ["grow", "grown"]);
    let again = body(&post(served.address, "tools/call", Some("grow"), json!({ "name": "grow" })).await);
    assert!(again["result"]["content"][0]["text"].as_str().unwrap().contains("two tools are named `grown`"));
}

#[tokio::test]
async fn a_handle_keeps_no_server_alive() {
    let server = Server::new("t", "1").build().unwrap();
    let handle = server.handle();
    drop(server);
    assert!(matches!(handle.add_tool(tool("late")), Err(ChangeError::Stopped)));
    handle.resource_updated("x://a");
}
