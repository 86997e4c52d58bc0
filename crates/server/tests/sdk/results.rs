//! What tools return, as content.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use trunkline_protocol::Revision;
use trunkline_server::sdk::{
    Audio, Content, ContentAnnotations, Context, DynTool, EmbeddedResource, Image, IntoToolResult, Json,
    ResourceLink, Role, Server, Text, ToolError, ToolResult,
};

use crate::peer::Peer;
use crate::support::text;

/// What a tool that returns this answers.
async fn result_of<R, F>(make: F) -> Value
where
    R: IntoToolResult + 'static,
    F: Fn() -> R + Send + Sync + Clone + 'static,
{
    let tool = DynTool::new("t").handler(move |_: Context| {
        let make = make.clone();
        async move { make() }
    });
    Peer::new(Server::new("t", "1").tool(tool)).call("t", json!({})).await
}

#[tokio::test]
async fn text_and_what_displays_as_text() {
    assert_eq!(result_of(|| "a \"b\"\n").await["content"], json!([{ "type": "text", "text": "a \"b\"\n" }]));
    assert_eq!(text(&result_of(|| String::from("x")).await), "x");
    assert_eq!(text(&result_of(|| 42_u64).await), "42");
    assert_eq!(text(&result_of(|| 1.5_f64).await), "1.5");
    assert_eq!(text(&result_of(|| true).await), "true");
    assert_eq!(text(&result_of(|| ()).await), "done");
    assert_eq!(result_of(|| None::<String>).await["content"], json!([]));
}

#[tokio::test]
async fn every_kind_of_block() {
    let hints =
        || ContentAnnotations::new().audience(Role::User).priority(2.0).last_modified("2026-01-01T00:00:00Z");
    let blocks = move || -> Vec<Content> {
        vec![
            Text::new("t").annotations(hints()).meta(json!({ "k": 1 })).into(),
            Image::new(Bytes::from_static(b"\xff\x00\x01"), "image/png").into(),
            Audio::new(vec![1, 2, 3, 4], "audio/wav").into(),
            EmbeddedResource::text("x://1", "held").mime_type("text/plain").into(),
            EmbeddedResource::blob("x://2", vec![0]).into(),
            ResourceLink::new("x://3", "three")
                .title("Three")
                .description("d")
                .mime_type("a/b")
                .size(7)
                .into(),
        ]
    };
    let result = result_of(blocks).await;
    assert_eq!(
        result["content"],
        json!([
            { "type": "text", "text": "t", "annotations": { "audience": ["user"], "priority": 1.0, "lastModified": "2026-01-01T00:00:00Z" }, "_meta": { "k": 1 } },
            { "type": "image", "data": "/wAB", "mimeType": "image/png" },
            { "type": "audio", "data": "AQIDBA==", "mimeType": "audio/wav" },
            { "type": "resource", "resource": { "uri": "x://1", "mimeType": "text/plain", "text": "held" } },
            { "type": "resource", "resource": { "uri": "x://2", "blob": "AA==" } },
            { "type": "resource_link", "uri": "x://3", "name": "three", "title": "Three", "description": "d", "mimeType": "a/b", "size": 7 },
        ])
    );
}

#[tokio::test]
async fn several_parts_and_a_result_by_hand() {
    let result = result_of(|| ("a", 1, Some(Image::new(vec![1], "image/png")), None::<String>)).await;
    assert_eq!(result["content"].as_array().unwrap().len(), 3);
    let by_hand = || {
        let result = ToolResult::new().part("sorry").part(Text::new("more")).structured(&json!({ "a": 1 }));
        result.is_error(true).meta(json!({ "vendor/x": 1 }))
    };
    let result = result_of(by_hand).await;
    assert_eq!((&result["isError"], result.get("structuredContent")), (&true.into(), None));
    assert_eq!(result["content"][1]["text"], "more");
}

#[derive(Debug, Serialize, JsonSchema)]
struct Count {
    n: i64,
}

/// What `tools/list` says of the output of the only tool.
async fn listed_output(peer: &Peer) -> Option<Value> {
    let tools = peer.request("tools/list", json!({})).await.unwrap();
    tools["tools"][0].get("outputSchema").cloned()
}

#[tokio::test]
async fn sd_03_errors_of_tools_with_an_output_schema_carry_no_structured_content() {
    let tool =
        DynTool::new("count").input_schema(json!({ "type": "object" })).handler(|ctx: Context| async move {
            match String::from_utf8_lossy(ctx.raw_arguments()).contains("fail") {
                true => Err(ToolError::new("no count today")),
                false => Ok(Json(Count { n: 3 })),
            }
        });
    let peer = Peer::new(Server::new("t", "1").tool(tool));
    let schema = listed_output(&peer).await.unwrap();
    assert_eq!((&schema["type"], &schema["required"]), (&json!("object"), &json!(["n"])), "{schema}");
    let validator = jsonschema::validator_for(&schema).unwrap();

    let value = peer.call("count", json!({})).await;
    assert!(validator.is_valid(&value["structuredContent"]));
    assert_eq!(
        serde_json::from_str::<Value>(text(&value)).unwrap(),
        value["structuredContent"],
        "the twin says the same"
    );

    let error = peer.call("count", json!({ "fail": true })).await;
    assert_eq!((&error["isError"], text(&error)), (&true.into(), "no count today"));
    assert!(error.get("structuredContent").is_none());
}

#[tokio::test]
async fn sd_03_a_value_that_violates_the_schema_is_not_sent() {
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let tool = DynTool::new("wrong")
        .output_schema(schema)
        .handler(|_: Context| async { Json(json!({ "n": "secret" })) });
    let peer = Peer::new(Server::new("t", "1").tool(tool));
    let error = peer.request("tools/call", json!({ "name": "wrong", "arguments": {} })).await.unwrap_err();
    assert_eq!(error["code"], -32603, "{error}");
    assert!(error.to_string().contains("`wrong`") && !error.to_string().contains("secret"), "{error}");

    // The author's bounds on a derived type are checked too.
    #[derive(Serialize, JsonSchema)]
    struct Low {
        #[schemars(range(max = 5))]
        n: i64,
    }
    let tool = DynTool::new("low").handler(|_: Context| async { Json(Low { n: 6 }) });
    let peer = Peer::new(Server::new("t", "1").tool(tool));
    assert!(peer.request("tools/call", json!({ "name": "low", "arguments": {} })).await.is_err());
}

#[tokio::test]
async fn sd_03_a_number_that_json_cannot_say_is_not_sent_as_null() {
    #[derive(Serialize, JsonSchema)]
    struct Sum {
        sum: f64,
        note: Option<String>,
    }
    let tool =
        DynTool::new("sum").input_schema(json!({ "type": "object" })).handler(|ctx: Context| async move {
            let fits = String::from_utf8_lossy(ctx.raw_arguments()).contains("fits");
            Json(Sum { sum: if fits { 1.5 } else { f64::INFINITY }, note: None })
        });
    let peer = Peer::new(Server::new("t", "1").tool(tool));
    let fine = peer.call("sum", json!({ "fits": true })).await;
    assert_eq!(fine["structuredContent"], json!({ "sum": 1.5, "note": null }));
    let error = peer.request("tools/call", json!({ "name": "sum", "arguments": {} })).await.unwrap_err();
    assert_eq!(error["code"], -32603, "{error}");
}

#[tokio::test]
async fn sd_03_lists_and_scalars_are_for_modern_callers() {
    let tool = DynTool::new("list").handler(|_: Context| async { Json(vec![1, 2]) });
    let modern = Peer::new(Server::new("t", "1").tool(tool));
    assert_eq!(modern.call("list", json!({})).await["structuredContent"], json!([1, 2]));
    assert_eq!(listed_output(&modern).await.unwrap()["type"], "array");
    let legacy = modern.speaking(Revision::LATEST_LEGACY, json!({}));
    assert_eq!(listed_output(&legacy).await, None);
    let reply = legacy.start("tools/call", json!({ "name": "list", "arguments": {} })).await.unwrap();
    let mut message = Vec::new();
    reply.write(&mut message, b"1", Revision::LATEST_LEGACY, b"");
    let message: Value = serde_json::from_slice(&message).unwrap();
    let result = &message["result"];
    assert_eq!((result.get("structuredContent"), text(result)), (None, "[1,2]"));
}
