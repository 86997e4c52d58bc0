//! Arguments as models send them: decoded, forgiven where there is one reading, refused with words that help.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trunkline_server::sdk::{Context, DynTool, Json, Server, ToolError};

use crate::peer::Peer;
use crate::support::text;

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Add,
    Subtract,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Calculation {
    operation: Operation,
    /// The first operand.
    a: f64,
    b: Option<f64>,
    #[serde(default)]
    digits: u8,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Bounded {
    #[schemars(range(min = 1, max = 10))]
    count: i64,
    #[schemars(length(min = 2, max = 4), regex(pattern = "^[a-z]+$"))]
    word: Option<String>,
    #[schemars(email)]
    mail: Option<String>,
    #[schemars(length(max = 2))]
    ids: Option<Vec<i64>>,
}

fn peer() -> Peer {
    let calculate = DynTool::new("calculate")
        .handler_with_args(|args: Calculation, _| async move { Ok::<_, ToolError>(json!(args).to_string()) });
    let bounded =
        DynTool::new("bounded").handler_with_args(|args: Bounded, _| async move { json!(args).to_string() });
    let by_hand = DynTool::new("by_hand")
        .input_schema(json!({
            "type": "object",
            "properties": { "n": { "type": "integer", "minimum": 3 }, "list": { "type": "array", "items": { "type": "integer" } } },
            "required": ["n"],
            "additionalProperties": false,
        }))
        .handler(|ctx: Context| async move { String::from_utf8_lossy(ctx.raw_arguments()).into_owned() });
    let nothing = DynTool::new("nothing").handler(|_: Context| async {});
    Peer::new(Server::new("t", "1").tool(calculate).tool(bounded).tool(by_hand).tool(nothing))
}

async fn error(peer: &Peer, tool: &str, arguments: Value) -> String {
    let result = peer.call(tool, arguments).await;
    assert_eq!(result["isError"], true, "{result}");
    assert!(result.get("structuredContent").is_none());
    text(&result).to_owned()
}

async fn fine(peer: &Peer, tool: &str, arguments: Value) -> Value {
    let result = peer.call(tool, arguments).await;
    assert_eq!(result["isError"], false, "{result}");
    serde_json::from_str(text(&result)).unwrap_or_else(|_| text(&result).into())
}

#[tokio::test]
async fn a_mismatch_names_the_path_what_was_found_and_what_is_allowed() {
    let peer = peer();
    let told = error(&peer, "calculate", json!({ "operation": "secret-value", "a": "secret-value" })).await;
    assert!(!told.contains("secret-value"), "{told}");
    assert!(told.contains("`operation` is none of what is allowed: \"add\", \"subtract\""), "{told}");
    assert!(told.contains("`a` is a string; allowed: a number"), "{told}");
    let told = error(&peer, "calculate", json!({})).await;
    assert!(told.contains("`operation` is required") && told.contains("`a` is required: a number"), "{told}");
    let told = error(&peer, "calculate", json!({ "operation": "add", "a": 1, "tags": ["x", 7] })).await;
    assert_eq!(told, "`tags[1]` is an integer; allowed: a string");
    let told = error(&peer, "calculate", json!({ "operation": "add", "a": 1, "digits": 256 })).await;
    assert_eq!(told, "`digits` is an integer; allowed: 255 or less");
}

#[tokio::test]
async fn an_unknown_argument_is_refused_with_the_nearest_known_one() {
    let peer = peer();
    let told = error(&peer, "calculate", json!({ "operation": "add", "a": 1, "digit": 2 })).await;
    assert_eq!(told, "`digit` is unknown; did you mean `digits`?");
    let told = error(&peer, "bounded", json!({ "count": 1, "nonsense": 2 })).await;
    assert_eq!(told, "`nonsense` is unknown; known: `count`, `word`, `mail`, `ids`");
    let told = error(&peer, "by_hand", json!({ "n": 3, "m": 1 })).await;
    assert_eq!(told, "`m` is unknown; known: `n`, `list`");
    let told = error(&peer, "nothing", json!({ "x": 1 })).await;
    assert_eq!(told, "`x` is unknown; none are taken");
    fine(&peer, "nothing", json!({})).await;
}

#[tokio::test]
async fn what_hosts_add_is_passed_over() {
    let peer = peer();
    let added = json!({ "operation": "add", "a": 1, "toolCallId": "x", "sessionId": "y" });
    let read = fine(&peer, "calculate", added).await;
    assert_eq!(read["a"], 1.0);
    fine(&peer, "nothing", json!({ "toolCallId": "x" })).await;
    assert_eq!(fine(&peer, "by_hand", json!({ "n": 3, "sessionId": "y" })).await, json!({ "n": 3 }));
}

#[tokio::test]
async fn numbers_and_lists_sent_as_strings_are_taken_where_there_is_one_reading() {
    let peer = peer();
    let read = fine(
        &peer,
        "calculate",
        json!({ "operation": "add", "a": "1.5", "b": "2", "digits": "7", "tags": "[\"x\"]" }),
    )
    .await;
    assert_eq!(read, json!({ "operation": "add", "a": 1.5, "b": 2.0, "digits": 7, "tags": ["x"] }));
    // A fraction of zero is a whole number.
    assert_eq!(
        fine(&peer, "calculate", json!({ "operation": "add", "a": 1, "digits": 7.0 })).await["digits"],
        7
    );
    assert_eq!(
        fine(&peer, "by_hand", json!({ "n": "4", "list": "[1,2]" })).await,
        json!({ "n": 4, "list": [1, 2] })
    );
    for wrong in ["", " 1", "one", "1e999", "0x10", "NaN", "[1"] {
        error(&peer, "calculate", json!({ "operation": "add", "a": wrong })).await;
    }
    let told = error(&peer, "by_hand", json!({ "n": "2" })).await;
    assert_eq!(told, "`n` is an integer; allowed: 3 or more");
    // Booleans and texts have no other reading.
    error(&peer, "calculate", json!({ "operation": "add", "a": true })).await;
}

#[tokio::test]
async fn null_for_what_is_optional_is_as_if_it_were_not_there() {
    let peer = peer();
    assert_eq!(
        fine(&peer, "calculate", json!({ "operation": "add", "a": 1, "b": null })).await["b"],
        Value::Null
    );
    error(&peer, "calculate", json!({ "operation": "add", "a": null })).await;
    error(&peer, "calculate", json!({ "operation": "add", "a": 1, "digits": null })).await;
}

#[tokio::test]
async fn constraints_of_the_schema_hold() {
    let peer = peer();
    fine(&peer, "bounded", json!({ "count": 10, "word": "abc", "mail": "a@example.com", "ids": [1, 2] }))
        .await;
    for (arguments, told) in [
        (json!({ "count": 11 }), "`count` is an integer; allowed: 10 or less"),
        (json!({ "count": 0 }), "`count` is an integer; allowed: 1 or more"),
        (json!({ "count": 1, "word": "a" }), "`word` is a string; allowed: at least 2 characters"),
        (json!({ "count": 1, "word": "abcde" }), "`word` is a string; allowed: at most 4 characters"),
        (json!({ "count": 1, "word": "ABC" }), "`word` is a string; allowed: what matches `^[a-z]+$`"),
        (json!({ "count": 1, "mail": "secret" }), "`mail` is a string; allowed: the form email"),
        (json!({ "count": 1, "ids": [1, 2, 3] }), "`ids` is a list; allowed: at most 2 items"),
    ] {
        assert_eq!(error(&peer, "bounded", arguments).await, told);
    }
}

#[tokio::test]
async fn arguments_absent_or_null_are_an_empty_object() {
    let peer = peer();
    for params in [json!({ "name": "nothing" }), json!({ "name": "nothing", "arguments": null })] {
        assert_eq!(peer.request("tools/call", params).await.unwrap()["isError"], false);
    }
    let told = peer.request("tools/call", json!({ "name": "calculate" })).await.unwrap();
    assert!(text(&told).contains("`a` is required"), "{told}");
}

#[tokio::test]
async fn a_check_of_the_type_itself_is_told_without_the_value() {
    #[derive(Debug, JsonSchema, Serialize)]
    #[schemars(transparent)]
    struct Even(u32);
    impl<'de> Deserialize<'de> for Even {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let number = u32::deserialize(from)?;
            if number % 2 == 0 { Ok(Self(number)) } else { Err(serde::de::Error::custom("must be even")) }
        }
    }
    #[derive(Debug, Deserialize, JsonSchema, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        left: Even,
    }
    let tool = DynTool::new("pair").handler_with_args(|args: Pair, _| async move { Json(args) });
    let peer = Peer::new(Server::new("t", "1").tool(tool));
    assert_eq!(error(&peer, "pair", json!({ "left": 3 })).await, "the arguments do not fit: must be even");
    assert_eq!(peer.call("pair", json!({ "left": 4 })).await["structuredContent"], json!({ "left": 4 }));
}
