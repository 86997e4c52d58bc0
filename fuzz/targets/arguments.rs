//! Any object as the arguments of a tool: no panic, and the decoder takes exactly what the listed schema allows.
#![no_main]
#![expect(dead_code, reason = "the fields are only decoded")]

use std::collections::BTreeMap;

use jsonschema::Validator;
use libfuzzer_sys::fuzz_target;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use trunkline_server::sdk::{DynTool, SchemaProfile, Server, Tester};

#[derive(Deserialize, JsonSchema)]
struct Arguments {
    count: u8,
    offset: Option<i64>,
    ratio: Option<f64>,
    #[serde(default)]
    flag: bool,
    #[serde(default)]
    words: Vec<String>,
    place: Option<Place>,
    shape: Option<Shape>,
    size: Option<Size>,
    #[serde(default)]
    labels: BTreeMap<String, u16>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Place {
    x: i32,
    y: Option<i32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Shape {
    Dot,
    Circle { radius: u32 },
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Size {
    Small,
    Large,
}

struct Parts {
    runtime: Runtime,
    tester: Tester,
    schema: Validator,
}

impl Parts {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let tool = DynTool::new("t").handler_with_args(|_: Arguments, _| async { "taken" });
        let tester = Server::new("fuzz", "1")
            .schema_profile(SchemaProfile::Full)
            .tool(tool)
            .tester()
            .expect("the server is as it must be");
        let list = runtime.block_on(tester.request("tools/list", json!({}))).expect("the tools are listed");
        let schema = jsonschema::validator_for(&list["tools"][0]["inputSchema"]).expect("the schema is one");
        Self { runtime, tester, schema }
    }
}

thread_local! {
    static PARTS: Parts = Parts::new();
}

fuzz_target!(|text: &str| {
    let Ok(arguments @ Value::Object(_)) = serde_json::from_str::<Value>(text) else { return };
    if is_read_twice(&arguments) {
        return;
    }
    PARTS.with(|parts| {
        let called =
            parts.runtime.block_on(parts.tester.call("t", arguments.clone())).expect("a call has a result");
        assert_eq!(!called.is_error(), parts.schema.is_valid(&arguments), "{arguments}: {}", called.text());
    });
});

/// Whether a number in it is one to which the schema and the decoder may well say different things: a whole number written as a
/// fraction, or one that is not exact as a double.
fn is_read_twice(value: &Value) -> bool {
    match value {
        Value::Number(number) => match number.as_f64() {
            _ if number.is_i64() || number.is_u64() => false,
            Some(number) => number.fract() == 0.0,
            None => true,
        },
        Value::Array(items) => items.iter().any(is_read_twice),
        Value::Object(members) => members.values().any(is_read_twice),
        _ => false,
    }
}
