//! Prompts, resources and their templates, and completions.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use trunkline_server::sdk::{
    Completion, CompletionContext, Contents, Context, DynPrompt, DynResource, Image, Json, PromptArgument,
    PromptError, PromptMessages, ResourceError, Server,
};
use trunkline_service::CacheScope;

use crate::peer::Peer;

fn peer() -> Peer {
    let review = DynPrompt::new("review")
        .description("Asks for a review.")
        .argument(PromptArgument::new("language").required(true))
        .argument(PromptArgument::new("depth"))
        .complete("language", |ctx: CompletionContext| async move {
            Completion::ranked(["Rust", "Python", "Crust"], ctx.value())
        })
        .complete("depth", |ctx: CompletionContext| async move {
            let language = ctx.argument("language").unwrap_or("none").to_owned();
            (0..150).map(|depth| format!("{language}-{depth}")).collect::<Vec<_>>()
        })
        .handler(|ctx: Context| async move {
            let language: String = ctx.prompt_argument("language")?;
            let depth: Option<u8> = ctx.optional_prompt_argument("depth")?;
            if language == "cobol" {
                return Err(PromptError::new("nobody reviews that"));
            }
            let messages = PromptMessages::new().description("d").user(format!("{language} {depth:?}"));
            Ok(messages.assistant(Image::new(vec![1], "image/png")))
        });
    let fixed = DynResource::new("note://all", "all")
        .mime_type("text/plain")
        .cache(Duration::from_secs(2), CacheScope::Public)
        .handler(|_: Context| async { "everything" });
    let note = DynResource::new("note://{id}", "note").complete("id", |_| async { ["1", "2"] }).handler(
        |ctx: Context| async move {
            let id: u32 = ctx.variable("id")?;
            match id {
                1 => Ok(Contents::text("one")
                    .mime_type("text/plain")
                    .and_blob("note://1/picture", vec![0xff_u8])),
                _ => Err(ResourceError::NotFound),
            }
        },
    );
    let data =
        DynResource::new("data://json", "json").handler(|_: Context| async { Json(json!({ "a": 1 })) });
    let bytes = DynResource::new("data://bytes", "bytes")
        .handler(|_: Context| async { Bytes::from_static(b"\0\x01") });
    Peer::new(
        Server::new("t", "1").prompt(review).resource(fixed).resource(note).resource(data).resource(bytes),
    )
}

#[tokio::test]
async fn a_prompt_is_made_from_its_arguments() {
    let peer = peer();
    let get = |arguments| peer.request("prompts/get", json!({ "name": "review", "arguments": arguments }));
    let result = get(json!({ "language": "rust", "depth": "7" })).await.unwrap();
    assert_eq!(result["description"], "d");
    assert_eq!(
        result["messages"],
        json!([
            { "role": "user", "content": { "type": "text", "text": "rust Some(7)" } },
            { "role": "assistant", "content": { "type": "image", "data": "AQ==", "mimeType": "image/png" } },
        ])
    );
    for (arguments, told) in [
        (json!({}), "argument `language` is required: a string"),
        (json!({ "language": 7 }), "argument `language` must be a string"),
        (json!({ "language": "rust", "depth": "many" }), "argument `depth` cannot be read as `u8`"),
        (json!({ "language": "cobol" }), "nobody reviews that"),
    ] {
        let error = get(arguments).await.unwrap_err();
        assert_eq!((&error["code"], error["message"].as_str()), (&json!(-32602), Some(told)));
    }
}

#[tokio::test]
async fn completions_are_ranked_and_bounded() {
    let peer = peer();
    let complete = |reference, name, value, others| {
        let argument = json!({ "name": name, "value": value });
        let params = json!({ "ref": reference, "argument": argument, "context": { "arguments": others } });
        let peer = peer.clone();
        async move { peer.request("completion/complete", params).await.unwrap()["completion"].clone() }
    };
    let prompt = json!({ "type": "ref/prompt", "name": "review" });
    let found = complete(prompt.clone(), "language", "ru", json!({})).await;
    assert_eq!(found, json!({ "values": ["Rust", "Crust"], "total": 2, "hasMore": false }));
    let found = complete(prompt.clone(), "depth", "", json!({ "language": "rust" })).await;
    assert_eq!(found["values"].as_array().unwrap().len(), 100);
    assert_eq!(
        (&found["values"][0], &found["total"], &found["hasMore"]),
        (&json!("rust-0"), &json!(150), &json!(true))
    );
    let found = complete(prompt, "nothing", "", json!({})).await;
    assert_eq!(found["values"], json!([]));
    let template = json!({ "type": "ref/resource", "uri": "note://{id}" });
    let found = complete(template, "id", "", json!({})).await;
    assert_eq!(found["values"], json!(["1", "2"]));
}

#[tokio::test]
async fn resources_are_read_at_their_address_or_through_a_template() {
    let peer = peer();
    let read = |uri: &'static str| peer.request("resources/read", json!({ "uri": uri }));
    let fixed = read("note://all").await.unwrap();
    assert_eq!(
        fixed["contents"],
        json!([{ "uri": "note://all", "mimeType": "text/plain", "text": "everything" }])
    );
    assert_eq!((&fixed["ttlMs"], &fixed["cacheScope"]), (&json!(2000), &json!("public")));
    let one = read("note://1").await.unwrap();
    assert_eq!(
        one["contents"],
        json!([{ "uri": "note://1", "mimeType": "text/plain", "text": "one" }, { "uri": "note://1/picture", "blob": "/w==" }])
    );
    assert_eq!((&one["ttlMs"], &one["cacheScope"]), (&json!(0), &json!("private")));
    let json = read("data://json").await.unwrap();
    assert_eq!(
        (&json["contents"][0]["mimeType"], &json["contents"][0]["text"]),
        (&json!("application/json"), &json!("{\"a\":1}"))
    );
    assert_eq!(read("data://bytes").await.unwrap()["contents"][0]["blob"], "AAE=");
    for missing in ["note://2", "nothing://here"] {
        let error = read(missing).await.unwrap_err();
        assert_eq!((&error["code"], &error["data"]["uri"]), (&json!(-32602), &json!(missing)), "{error}");
    }
    assert_eq!(read("note://x").await.unwrap_err()["message"], "variable `id` cannot be read as `u32`");
}
