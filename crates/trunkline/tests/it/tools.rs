//! `#[tool]`: schemas, arguments that fit and do not, state, streams.

use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use trunkline::{Args, Context, Json, Server, State, Tester, ToolError, tool};

#[derive(Clone)]
struct Shop(&'static str);

#[derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
struct Point {
    x: i64,
    /// How far up.
    y: i64,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Celsius,
    Kelvin,
}

/// Orders something.
///
/// It arrives
/// tomorrow.
#[tool(title = "Order", destructive = false, idempotent)]
async fn order(
    ctx: &Context,
    State(shop): State<Shop>,
    /// Name of the thing.
    #[arg(min_length = 2)]
    name: String,
    #[arg(default = 1, range = 1..=10)] count: u32,
    #[arg(rename = "giftNote")] note: Option<String>,
    #[arg(default = "north", header = "Region")] region: String,
) -> Result<String, ToolError> {
    let _ = ctx.caller();
    if name == "nothing" {
        return Err("nothing is not for sale; name a thing".into());
    }
    Ok(format!("{}: {count} {name} {note:?} {region}", shop.0))
}

#[tool]
fn swap(Args(Point { x, y }): Args<Point>) -> Json<Point> {
    Json(Point { x: y, y: x })
}

#[tool(description = "In the attribute.")]
fn warm(degrees: f64, unit: Unit) -> String {
    match unit {
        Unit::Celsius => degrees.to_string(),
        Unit::Kelvin => (degrees - 273.0).to_string(),
    }
}

#[tool]
fn count(to: u32) -> impl Stream<Item = String> {
    stream::iter((1..=to).map(|number| number.to_string()))
}

#[tool(name = "count-or-not")]
async fn count_or_not(to: u32) -> Result<impl Stream<Item = String>, ToolError> {
    if to > 3 {
        Err(ToolError::new("too many"))
    } else {
        Ok(stream::iter((1..=to).map(|number| number.to_string())))
    }
}

#[tool]
fn nothing() {}

fn tester() -> Tester {
    Server::new("shop", "1.0.0")
        .state(Shop("corner"))
        .tool(order)
        .tool(swap)
        .tool(warm)
        .tool(count)
        .tool(count_or_not)
        .tool(nothing)
        .tester()
        .unwrap()
}

async fn listed(name: &str) -> Value {
    let list = tester().request("tools/list", json!({})).await.unwrap();
    let tools = list["tools"].as_array().unwrap();
    tools.iter().find(|tool| tool["name"] == name).unwrap_or(&Value::Null).clone()
}

async fn text(name: &str, arguments: Value) -> String {
    let called = tester().call(name, arguments).await.unwrap();
    assert!(!called.is_error(), "{}", called.text());
    called.text().into_owned()
}

async fn error(name: &str, arguments: Value) -> String {
    let called = tester().call(name, arguments).await.unwrap();
    assert!(called.is_error(), "{}", called.text());
    called.text().into_owned()
}

#[tokio::test]
async fn a_function_is_listed_as_it_is_written() {
    let tool = listed("order").await;
    assert_eq!(tool["title"], "Order");
    assert_eq!(tool["description"], "Orders something.\n\nIt arrives tomorrow.");
    assert_eq!(tool["annotations"]["destructiveHint"], false);
    assert_eq!(tool["annotations"]["idempotentHint"], true);
    let schema = &tool["inputSchema"];
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], json!(["name"]));
    assert!(!schema.to_string().contains("TrunklineArguments"), "{schema}");
    let names: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["name", "count", "giftNote", "region"]);
    let properties = &schema["properties"];
    assert_eq!(properties["name"]["description"], "Name of the thing.");
    assert_eq!(properties["name"]["minLength"], 2);
    assert_eq!(properties["count"]["default"], 1);
    assert_eq!(properties["count"]["minimum"], 1);
    assert_eq!(properties["count"]["maximum"], 10);
    assert_eq!(properties["region"]["default"], "north");
    assert_eq!(properties["region"]["x-mcp-header"], "Region");
}

#[tokio::test]
async fn the_description_may_stand_in_the_attribute_and_types_bring_their_schema() {
    assert_eq!(listed("warm").await["description"], "In the attribute.");
    let swap = listed("swap").await;
    assert_eq!(swap["inputSchema"]["properties"]["y"]["description"], "How far up.");
    assert_eq!(swap["outputSchema"]["required"], json!(["x", "y"]));
    assert!(listed("count-or-not").await.is_object());
    assert!(listed("count_or_not").await.is_null());
}

#[tokio::test]
async fn arguments_defaults_and_state_reach_the_function() {
    assert_eq!(text("order", json!({"name": "tea"})).await, "corner: 1 tea None north");
    let all = json!({"name": "tea", "count": 3, "giftNote": "hi", "region": "south"});
    assert_eq!(text("order", all).await, "corner: 3 tea Some(\"hi\") south");
    assert_eq!(text("warm", json!({"degrees": 274, "unit": "kelvin"})).await, "1");
    let swapped = tester().call("swap", json!({"x": 1, "y": 2})).await.unwrap();
    assert_eq!(swapped.structured().unwrap(), &json!({"x": 2, "y": 1}));
    assert_eq!(text("nothing", json!({})).await, "done");
}

#[tokio::test]
async fn what_does_not_fit_is_an_error_result_that_names_the_argument() {
    for (arguments, name) in [
        (json!({"name": "tea", "count": 11}), "count"),
        (json!({"name": "t"}), "name"),
        (json!({}), "name"),
        (json!({"name": "tea", "gift_note": "hi"}), "gift_note"),
        (json!({"name": "nothing"}), "not for sale"),
    ] {
        let error = error("order", arguments.clone()).await;
        assert!(error.contains(name), "{arguments}: {error}");
    }
    assert!(error("nothing", json!({"a": 1})).await.contains('a'));
    assert!(error("warm", json!({"degrees": 1, "unit": "miles"})).await.contains("unit"));
}

#[tokio::test]
async fn a_stream_is_the_whole_in_the_end() {
    for name in ["count", "count-or-not"] {
        let called = tester().call(name, json!({"to": 3})).await.unwrap();
        let json = called.json().to_string();
        for part in ["1", "2", "3"] {
            assert!(json.contains(part), "{name}: {json}");
        }
    }
    assert_eq!(error("count-or-not", json!({"to": 4})).await, "too many");
}

#[tokio::test]
async fn the_function_stays_callable() {
    let swapped = swap::call(Args(Point { x: 1, y: 2 }));
    assert_eq!((swapped.0.x, swapped.0.y), (2, 1));
    assert_eq!(warm::call(5.0, Unit::Celsius), "5");
}

#[test]
fn a_server_without_the_state_of_a_tool_is_not_built() {
    let error = Server::new("shop", "1.0.0").tool(order).build().unwrap_err().to_string();
    assert!(error.contains("Shop") && error.contains("order"), "{error}");
}
