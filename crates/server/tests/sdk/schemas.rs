//! Schemas of arguments from Rust types: what is listed, and whether it says the same as the decoder.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trunkline_server::sdk::{DynTool, SchemaProfile, Server};

use crate::peer::Peer;

/// A server with one tool that takes `T`.
fn taking<T: DeserializeOwned + JsonSchema + Send + 'static>(profile: SchemaProfile) -> Peer {
    let tool = DynTool::new("t").handler_with_args(|_: T, _| async {});
    Peer::new(Server::new("t", "1").tool(tool).schema_profile(profile))
}

async fn listed(peer: &Peer) -> Value {
    peer.request("tools/list", json!({})).await.unwrap()["tools"][0]["inputSchema"].clone()
}

/// Calls `visit` with every schema-like object inside `schema`.
fn every(schema: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match schema {
        Value::Object(members) => {
            visit(members);
            members.values().for_each(|member| every(member, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| every(item, visit)),
        _ => {}
    }
}

/// Values of every kind a client may send for a field, none of which has a second reading.
fn values() -> Vec<Value> {
    let numbers = [
        "0",
        "1",
        "-1",
        "5",
        "127",
        "128",
        "-128",
        "-129",
        "255",
        "256",
        "65535",
        "4294967295",
        "4294967296",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "1.5",
        "-0.5",
        "1e3",
        "1e38",
        "3.5e38",
        "1e300",
    ];
    let others = [
        "null",
        "true",
        "false",
        "\"\"",
        "\"x\"",
        "\"alpha\"",
        "\"beta\"",
        "\"Alpha\"",
        "\"circle\"",
        "[]",
        "[null]",
        "[1]",
        "[1,null,-2]",
        "[1.5]",
        "[\"x\"]",
        "[true]",
        "[[]]",
        "[[1]]",
        "[\"circle\"]",
        "[\"a\",1]",
        "{}",
        "{\"x\":1}",
        "{\"x\":\"y\"}",
        "{\"x\":null}",
        "{\"x\":1.5}",
        "{\"inner\":\"a\"}",
        "{\"inner\":\"a\",\"depth\":1}",
        "{\"inner\":1}",
        "{\"inner\":null}",
        "{\"inner\":\"a\",\"other\":2}",
        "{\"alpha\":null}",
        "{\"kind\":\"circle\"}",
        "{\"kind\":\"circle\",\"radius\":2}",
        "{\"kind\":\"circle\",\"radius\":\"2x\"}",
        "{\"kind\":\"dot\"}",
        "{\"kind\":\"nope\"}",
        "{\"kind\":null}",
        "{\"kind\":\"square\",\"side\":1}",
        "{\"radius\":2}",
    ];
    numbers.iter().chain(&others).map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// Checks one shape: none of the faults, and the schema says what the decoder does.
async fn check<T: DeserializeOwned + JsonSchema + Send + 'static>(shape: &str, fields: &[&str], base: Value) {
    let full = taking::<T>(SchemaProfile::Full);
    let schema = listed(&full).await;
    assert_eq!(schema["type"], "object", "{shape}: {schema}");
    for combinator in ["oneOf", "anyOf", "allOf"] {
        assert!(schema.get(combinator).is_none(), "{shape}: {combinator} at the root: {schema}");
    }
    every(&schema, &mut |members| {
        assert!(!members.contains_key("nullable"), "{shape}: {schema}");
        if let Some(format) = members.get("format").and_then(Value::as_str) {
            assert!(!format.starts_with("uint") && !format.starts_with("int"), "{shape}: {schema}");
            assert!(!["float", "double"].contains(&format), "{shape}: {schema}");
        }
        if members.get("type").is_some_and(|kind| kind == "array") {
            assert!(members.contains_key("items"), "{shape}: {schema}");
        }
        if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
            assert!(reference.starts_with("#/$defs/"), "{shape}: {schema}");
        }
    });
    let validator = jsonschema::draft202012::new(&schema).unwrap();

    let mut tried = 0;
    let mut candidates = vec![base.clone(), json!({})];
    for field in fields {
        let mut without = base.clone();
        without.as_object_mut().unwrap().remove(*field);
        candidates.push(without);
        for value in values() {
            let mut changed = base.clone();
            changed[*field] = value;
            candidates.push(changed);
        }
    }
    let mut unknown = base.clone();
    unknown["unknown"] = json!(1);
    candidates.push(unknown);
    if fields.is_empty() {
        candidates.extend(values().into_iter().map(|value| json!({ "any": value })));
    }
    let (mut taken, mut refused) = (0, 0);
    for arguments in candidates {
        let result = full.call("t", arguments.clone()).await;
        let by_decoder = result["isError"] == false;
        assert_eq!(validator.is_valid(&arguments), by_decoder, "{shape}: {arguments} {result}\n{schema}");
        if by_decoder {
            taken += 1
        } else {
            refused += 1
        }
        tried += 1;
    }
    assert!(tried >= 50 && taken > 0 && refused > 0, "{shape}: {tried} tried, {taken} taken");
    portable_is_portable(shape, &listed(&taking::<T>(SchemaProfile::Portable)).await);
}

/// The profile that every host takes. Spec: rule 11 of the survey of hosts.
fn portable_is_portable(shape: &str, schema: &Value) {
    assert_eq!(
        (&schema["type"], schema["properties"].is_object()),
        (&json!("object"), true),
        "{shape}: {schema}"
    );
    check_portable(shape, schema);
    fn check_portable(shape: &str, schema: &Value) {
        let members = schema.as_object().unwrap_or_else(|| panic!("{shape}: {schema}"));
        for banned in [
            "$ref",
            "$defs",
            "$schema",
            "anyOf",
            "oneOf",
            "allOf",
            "not",
            "const",
            "pattern",
            "title",
            "prefixItems",
        ] {
            assert!(!members.contains_key(banned), "{shape}: {banned} in {schema}");
        }
        assert!(schema["type"].is_string(), "{shape}: {schema}");
        assert!(schema.get("format").is_none_or(|format| format == "date-time"), "{shape}: {schema}");
        for name in schema["enum"].as_array().into_iter().flatten() {
            assert!(name.is_string(), "{shape}: {schema}");
        }
        match schema["type"].as_str().unwrap() {
            "array" => check_portable(shape, &schema["items"]),
            "object" => {
                for property in schema["properties"].as_object().unwrap().values() {
                    assert!(
                        !property["description"].as_str().unwrap().trim().is_empty(),
                        "{shape}: {property}"
                    );
                    check_portable(shape, property);
                }
                if let Some(others) = schema.get("additionalProperties").filter(|others| others.is_object()) {
                    check_portable(shape, others);
                }
            }
            _ => {}
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Letter {
    Alpha,
    Beta,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Nested {
    inner: String,
    depth: Option<u8>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Shape {
    Circle { radius: f64 },
    Square { side: Option<i64> },
    Dot,
}

/// Declares a struct of one field.
macro_rules! shape {
    ($name:ident, $(#[$attribute:meta])* $kind:ty) => {
        #[derive(Debug, Deserialize, Serialize, JsonSchema)]
        struct $name {
            $(#[$attribute])*
            f: $kind,
        }
    };
}

shape!(OptionalText, Option<String>);
shape!(OptionalEnum, Option<Letter>);
shape!(Large, u64);
shape!(Small, u8);
shape!(Single, f32);
shape!(ListOfOptional, Vec<Option<i64>>);
shape!(OfNested, Nested);
shape!(OptionalNested, Option<Nested>);
shape!(OfMap, HashMap<String, i64>);
shape!(Tagged, Shape);
shape!(ListOfTagged, Vec<Shape>);
shape!(
    Defaulted,
    #[serde(default)]
    i32
);
shape!(Signed, i8);
shape!(Tuple, (String, i64));

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Flattened {
    f: bool,
    #[serde(flatten)]
    nested: Nested,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Empty {}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Closed {
    f: Letter,
    #[serde(default)]
    g: Vec<String>,
}

#[tokio::test]
async fn sd_02_derived_schemas_agree_with_the_decoder() {
    check::<OptionalText>("optional text", &["f"], json!({ "f": "x" })).await;
    check::<OptionalEnum>("optional enum", &["f"], json!({ "f": "alpha" })).await;
    check::<Large>("u64", &["f"], json!({ "f": 1 })).await;
    check::<Small>("u8", &["f"], json!({ "f": 1 })).await;
    check::<Single>("f32", &["f"], json!({ "f": 1.5 })).await;
    check::<ListOfOptional>("list of optional", &["f"], json!({ "f": [1] })).await;
    check::<OfNested>("nested", &["f"], json!({ "f": { "inner": "a" } })).await;
    check::<OptionalNested>("optional nested", &["f"], json!({})).await;
    check::<OfMap>("map", &["f"], json!({ "f": {} })).await;
    check::<Tagged>("tagged enum", &["f"], json!({ "f": { "kind": "dot" } })).await;
    check::<ListOfTagged>("list of tagged enum", &["f"], json!({ "f": [] })).await;
    check::<Defaulted>("default", &["f"], json!({})).await;
    check::<Signed>("i8", &["f"], json!({ "f": 1 })).await;
    check::<Tuple>("tuple", &["f"], json!({ "f": ["a", 1] })).await;
    check::<Flattened>("flattened", &["f", "inner", "depth"], json!({ "f": true, "inner": "a" })).await;
    check::<Closed>("closed", &["f", "g"], json!({ "f": "beta" })).await;
    check::<Empty>("empty", &[], json!({})).await;
}

#[tokio::test]
async fn sd_02_bounds_and_requirements_are_those_of_the_type() {
    let schema = listed(&taking::<Small>(SchemaProfile::Portable)).await;
    assert_eq!(
        (&schema["properties"]["f"]["minimum"], &schema["properties"]["f"]["maximum"]),
        (&json!(0), &json!(255))
    );
    let schema = listed(&taking::<OptionalText>(SchemaProfile::Portable)).await;
    assert_eq!(schema.get("required"), None);
    assert_eq!(schema["properties"]["f"]["type"], "string");
    let schema = listed(&taking::<ListOfOptional>(SchemaProfile::Portable)).await;
    assert_eq!(schema["properties"]["f"]["items"]["type"], "integer");
    let schema = listed(&taking::<Defaulted>(SchemaProfile::Portable)).await;
    assert_eq!((schema.get("required"), &schema["properties"]["f"]["default"]), (None, &json!(0)));
    let schema = listed(&taking::<Empty>(SchemaProfile::Portable)).await;
    assert_eq!(schema, json!({ "type": "object", "properties": {}, "additionalProperties": false }));
    let schema = listed(&taking::<Tagged>(SchemaProfile::Portable)).await;
    let shape = &schema["properties"]["f"];
    assert_eq!(shape["properties"]["kind"]["enum"], json!(["circle", "square", "dot"]), "{shape}");
    assert_eq!(shape["required"], json!(["kind"]), "{shape}");
    assert!(shape["description"].as_str().unwrap().contains("`circle` with `radius`"), "{shape}");
}

/// A tree, which has no end.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Tree {
    /// The children of this one.
    children: Vec<Tree>,
    next: Option<Box<Tree>>,
    /// What it is for.
    #[schemars(regex(pattern = "^a"), url)]
    link: Option<String>,
    any: Value,
}

#[tokio::test]
async fn what_has_no_end_is_cut_and_what_has_no_word_is_told() {
    let schema = listed(&taking::<Tree>(SchemaProfile::Portable)).await;
    portable_is_portable("tree", &schema);
    let link = schema["properties"]["link"]["description"].as_str().unwrap();
    assert_eq!(link, "What it is for. (must match `^a`; in the form uri)");
    assert_eq!(schema["properties"]["any"]["type"], "object");
    assert!(schema.to_string().len() < 64 * 1024, "{}", schema.to_string().len());
}

#[tokio::test]
async fn a_schema_written_by_hand_is_listed_as_it_stands() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": { "a": { "$ref": "#/$defs/a" } },
        "allOf": [{ "required": ["a"] }],
        "$defs": { "a": { "type": ["string", "null"], "pattern": "^x" } },
        "if": { "properties": { "b": { "const": 1 } } },
    });
    let tool = DynTool::new("t").input_schema(schema.clone()).handler(|_| async {});
    let peer = Peer::new(Server::new("t", "1").tool(tool));
    assert_eq!(listed(&peer).await, schema);
    assert_eq!(peer.call("t", json!({ "a": "y" })).await["isError"], true);
    assert_eq!(peer.call("t", json!({ "a": "x" })).await["isError"], false);
}
