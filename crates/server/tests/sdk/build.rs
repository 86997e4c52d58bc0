//! What keeps a server from being built, all of it at once, and how one is listed.

use std::any::TypeId;

use serde_json::{Value, json};
use trunkline_server::sdk::{
    BuildProblem, DynPrompt, DynResource, DynTool, Icon, PromptArgument, ServeError, Server, State, Tool,
    ToolFuture, ToolSpec,
};

use crate::peer::Peer;

struct Wants;

impl Tool for Wants {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new("wants").states(&[(TypeId::of::<u32>(), "u32")])
    }

    fn call(&self, ctx: trunkline_server::sdk::Context) -> ToolFuture {
        Box::pin(async move {
            let State(number) = State(ctx.state::<u32>()?);
            trunkline_server::sdk::IntoToolResult::into_outcome(number, &ctx).await
        })
    }
}

#[tokio::test]
async fn every_problem_is_told_at_once() {
    let nothing = || DynTool::new("twice").handler(|_| async {});
    let header =
        json!({ "type": "object", "properties": { "a": { "type": "number", "x-mcp-header": "A" } } });
    let error = Server::new("t", "1")
        .tool(nothing())
        .tool(nothing())
        .tool(Wants)
        .tool(DynTool::new("no name").handler(|_| async {}))
        .tool(DynTool::new("list").input_schema(json!({ "type": "array" })).handler(|_| async {}))
        .tool(
            DynTool::new("kind")
                .input_schema(json!({ "type": "object", "properties": { "a": { "type": "text" } } }))
                .handler(|_| async {}),
        )
        .tool(
            DynTool::new("remote")
                .input_schema(
                    json!({ "type": "object", "properties": { "a": { "$ref": "https://example.com/a" } } }),
                )
                .handler(|_| async {}),
        )
        .tool(DynTool::new("header").input_schema(header).handler(|_| async {}))
        .resource(DynResource::new("x://{", "bad").handler(|_| async { "" }))
        .prompt(DynPrompt::new("p").icon(Icon::new("http://example.com/i.png")).handler(|_| async { "" }))
        .icon(Icon::new("i.png"))
        .build()
        .unwrap_err();
    let told = error.to_string();
    assert_eq!(error.problems().len(), 10, "{told}");
    for expected in [
        "two tools are named `twice`",
        "the tool `wants` asks for state of type `u32`, which the server was not given; add `.state(..)`",
        "`no name` is no tool name",
        "the input schema of the tool `list` cannot be used: the root must be",
        "the input schema of the tool `kind` cannot be used",
        "the input schema of the tool `remote` cannot be used",
        "the tool `header` would be dropped by clients",
        "the resource template `x://{` cannot be read",
        "an icon of the prompt `p` cannot be used: it is neither an `https:` address nor a `data:` URI",
        "an icon of the server cannot be used",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    assert_eq!(format!("{error:?}"), told, "what main prints is readable");
    assert!(matches!(error.problems()[0], BuildProblem::NameClash { .. }));
}

#[tokio::test]
async fn state_is_given_by_type() {
    let peer = Peer::new(Server::new("t", "1").tool(Wants).state(7_u32));
    assert_eq!(peer.call("wants", json!({})).await["content"][0]["text"], "7");
}

#[tokio::test]
async fn a_server_tells_who_it_is_and_what_it_has() {
    let tool = DynTool::new("add_note")
        .title("Add a note")
        .description("Adds.")
        .read_only(false)
        .destructive(false)
        .icon(Icon::new("https://example.com/i.png").mime_type("image/png").size("48x48"))
        .meta(json!({ "vendor/x": 1 }))
        .handler(|_| async {});
    let prompt =
        DynPrompt::new("p").argument(PromptArgument::new("a").required(true)).handler(|_| async { "hi" });
    let resource = DynResource::new("x://a", "a").subscribe(true).size(3).handler(|_| async { "abc" });
    let server = Server::new("t", "1").tool(tool).prompt(prompt).resource(resource).instructions("Be kind.");
    let peer = Peer::new(server);
    let tools = peer.request("tools/list", json!({})).await.unwrap();
    let tool = &tools["tools"][0];
    assert_eq!((&tool["title"], &tool["_meta"]), (&json!("Add a note"), &json!({ "vendor/x": 1 })));
    assert_eq!(tool["annotations"]["readOnlyHint"], false);
    assert_eq!(tool["annotations"]["destructiveHint"], false);
    assert_eq!(tool["icons"][0]["sizes"], json!(["48x48"]));
    let told = peer.request("server/discover", json!({})).await.unwrap();
    assert_eq!(told["instructions"], "Be kind.");
    let capabilities = &told["capabilities"];
    for capability in ["tools", "prompts", "resources", "logging"] {
        assert!(capabilities[capability].is_object(), "{capabilities}");
    }
    assert_eq!(capabilities["resources"]["subscribe"], true);
    let prompts = peer.request("prompts/list", json!({})).await.unwrap();
    assert_eq!(prompts["prompts"][0]["arguments"], json!([{ "name": "a", "required": true }]));
    let resources = peer.request("resources/list", json!({})).await.unwrap();
    assert_eq!(
        (&resources["resources"][0]["uri"], &resources["resources"][0]["size"]),
        (&json!("x://a"), &json!(3))
    );
}

#[tokio::test]
async fn pages_are_as_long_as_they_are_said_to_be() {
    let mut server = Server::new("t", "1").page_size(2);
    for number in 0..3 {
        server = server.tool(DynTool::new(format!("t{number}")).handler(|_| async {}));
    }
    let peer = Peer::new(server);
    let page = peer.request("tools/list", json!({})).await.unwrap();
    assert_eq!(page["tools"].as_array().map(Vec::len), Some(2));
    let next = peer.request("tools/list", json!({ "cursor": page["nextCursor"] })).await.unwrap();
    assert_eq!((&next["tools"][0]["name"], next.get("nextCursor")), (&json!("t2"), None::<&Value>));
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused_with_what_to_do() {
    let refused = Server::new("t", "1").run("0.0.0.0:0").await.unwrap_err();
    assert!(matches!(refused, ServeError::Unauthenticated(_)), "{refused}");
    let told = refused.to_string();
    assert!(told.contains("127.0.0.1:3000") && told.contains("danger_allow_unauthenticated"), "{told}");
    let refused = Server::new("t", "1").run("not an address").await.unwrap_err();
    assert!(matches!(refused, ServeError::BadAddress(_)), "{refused:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = Server::new("t", "1").run(taken.local_addr().unwrap()).await.unwrap_err();
    assert!(matches!(refused, ServeError::Bind { .. }), "{refused:?}");
}
