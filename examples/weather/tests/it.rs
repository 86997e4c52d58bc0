//! What `src/main.rs` says one will see, seen through its binary.

use serde_json::json;
use trunkline::client::{Client as Sdk, ConnectOptions, Target};
use trunkline_example_tests::{Client, Example, Stdio, text};

const BINARY: &str = env!("CARGO_BIN_EXE_weather");

#[tokio::test]
async fn a_city_is_answered_as_data_and_as_text_of_the_same() {
    let example = Example::start(BINARY).await;
    for client in [Client::modern(example.mcp(), json!({})), Client::legacy(example.mcp(), json!({})).await] {
        let answer = client.call("weather", json!({ "city": "london", "month": 7 })).await;
        let data = &answer["result"]["structuredContent"];
        let expected = json!({
            "city": "London", "country": "United Kingdom", "month": 7,
            "temperature": 19.0, "units": "celsius", "rain_mm": 45,
        });
        assert_eq!(data, &expected, "{answer}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(text(&answer)).unwrap(), expected);
    }
}

#[tokio::test]
async fn units_are_celsius_unless_asked_otherwise() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), json!({}));
    let answer = client.call("weather", json!({ "city": "Cairo", "month": 1, "units": "fahrenheit" })).await;
    assert_eq!(answer["result"]["structuredContent"]["temperature"], 57.2, "{answer}");
    let list = client.ask("tools/list", json!({})).await;
    let schema = &list["result"]["tools"][0]["inputSchema"];
    assert_eq!(schema["properties"]["units"]["default"], "celsius", "{schema}");
    assert_eq!(schema["required"], json!(["city", "month"]));
}

#[tokio::test]
async fn an_unknown_city_is_an_error_result_that_names_the_known_ones() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), json!({}));
    let answer = client.call("weather", json!({ "city": "Atlantis", "month": 1 })).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(
        text(&answer).starts_with("no city called `Atlantis`; there are Cairo, London, Mumbai"),
        "{answer}"
    );
    assert!(answer["result"].get("structuredContent").is_none(), "{answer}");
}

#[tokio::test]
async fn a_month_out_of_range_is_refused_before_the_function_runs() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), json!({}));
    let answer = client.call("weather", json!({ "city": "Cairo", "month": 13 })).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(text(&answer).contains("month") && text(&answer).contains("12"), "{answer}");
}

#[tokio::test]
async fn the_tool_is_listed_with_the_schema_of_its_output() {
    let example = Example::start(BINARY).await;
    let client = Sdk::connect(Target::Http { url: example.mcp() }, ConnectOptions::default()).await.unwrap();
    let list = client.tools().await.unwrap();
    assert!(list.warnings.is_empty(), "{:?}", list.warnings);
    let names: Vec<&str> = list.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["weather", "cities"]);
    let raw = Client::modern(example.mcp(), json!({})).ask("tools/list", json!({})).await;
    let output = &raw["result"]["tools"][0]["outputSchema"];
    assert_eq!(output["type"], "object", "{output}");
    assert!(
        output["properties"]["rain_mm"]["description"]
            .as_str()
            .is_some_and(|text| text.contains("millimetres"))
    );
    assert!(raw["result"]["tools"][1].get("outputSchema").is_none());
    client.close().await;
}

#[tokio::test]
async fn the_cities_are_listed_over_stdio_too() {
    let mut stdio = Stdio::start(BINARY, json!({}));
    let answer = stdio.ask("tools/call", json!({ "name": "cities", "arguments": {} })).await;
    assert_eq!(text(&answer), "Cairo, London, Mumbai, New York, Reykjavik, Singapore, Sydney, Tokyo");
    assert!(stdio.end().await.success());
}
