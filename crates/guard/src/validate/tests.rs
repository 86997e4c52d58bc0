//! What is told of arguments that do not fit, and what becomes of those that do.

mod agree;

use serde_json::{Value, json};

use super::own::{Path, Wording};
use super::{Options, Schema, SchemaError};

const WORDING: Wording = Wording { refused: "refused", taker: "this tool" };

fn compile(schema: &Value) -> Schema {
    Schema::compile(schema, Options::default()).unwrap()
}

fn check(schema: &Schema, text: &str) -> Result<String, String> {
    let secrets = ["pin".into()];
    let path = Path::root("args", false).with_secrets(&secrets);
    schema.check(text, &path, WORDING).map(std::borrow::Cow::into_owned)
}

fn shop() -> Value {
    json!({
        "type": "object",
        "properties": {
            "query": { "type": "string", "minLength": 1, "maxLength": 20 },
            "limit": { "type": "integer", "minimum": 1, "maximum": 100, "default": 10 },
            "order": { "enum": ["name", "price"] },
            "pin": { "type": "string", "enum": ["1234"] },
            "items": {
                "type": "array", "maxItems": 5,
                "items": { "type": "object", "properties": { "name": { "type": "string" } }, "additionalProperties": false },
            },
            "filter": { "type": "object", "properties": { "deep": { "type": "boolean", "default": true } } },
        },
        "required": ["query"],
        "additionalProperties": false,
    })
}

#[test]
fn every_place_that_does_not_fit_is_told_with_what_is_allowed() {
    let schema = compile(&shop());
    assert!(schema.is_own());
    for (arguments, text) in [
        ("{}", "refused: `args.query` is required: a string of 1 to 20 characters"),
        (
            r#"{"query":"x","limit":500}"#,
            "refused: `args.limit`: found the number 500, allowed is an integer from 1 to 100",
        ),
        (
            r#"{"query":"x","limit":"5"}"#,
            "refused: `args.limit`: found a string of 1 character, allowed is an integer from 1 to 100",
        ),
        (
            r#"{"query":"","limit":1.5}"#,
            "refused: `args.query`: found an empty string, allowed is a string of 1 to 20 characters; `args.limit`: found the number 1.5, allowed is an integer from 1 to 100",
        ),
        (
            r#"{"query":"x","order":"nmae"}"#,
            "refused: `args.order`: found the string `nmae`, allowed is one of `name`, `price` (did you mean `name`?)",
        ),
        (r#"{"query":"x","pin":"1235"}"#, "refused: `args.pin`: found a string, allowed is only `1234`"),
        (r#"{"query":"x","limt":1}"#, "refused: `args.limt` is unknown, did you mean `limit`?"),
        (
            r#"{"query":"x","zzzzz":1}"#,
            "refused: `args.zzzzz` is unknown; this tool takes `query`, `limit`, `order`, `pin`, `items`, `filter`",
        ),
        (
            r#"{"query":"x","items":[{},{},{},{"name":3}]}"#,
            "refused: `args.items[3].name`: found the number 3, allowed is a string",
        ),
        (
            r#"{"query":"x","items":[{},{"nane":3}]}"#,
            "refused: `args.items[1].nane` is unknown, did you mean `name`?",
        ),
        (
            r#"{"query":"x","items":[1,2,3,4,5,6]}"#,
            "refused: `args.items[0]`: found the number 1, allowed is an object with `name`; `args.items[1]`: found the number 2, allowed is an object with `name`; `args.items[2]`: found the number 3, allowed is an object with `name`; `args.items[3]`: found the number 4, allowed is an object with `name`; `args.items[4]`: found the number 5, allowed is an object with `name`; `args.items[5]`: found the number 6, allowed is an object with `name`; `args.items`: found a list of 6 elements, allowed is a list of at most 5 elements, each element an object with `name`",
        ),
        (
            "[]",
            "refused: `args`: found an empty list, allowed is an object with `query`, `limit`, `order`, `pin`, `items`, `filter`",
        ),
    ] {
        assert_eq!(check(&schema, arguments), Err(text.to_owned()), "{arguments}");
    }
}

#[test]
fn more_than_ten_faults_are_counted() {
    let schema = compile(&json!({ "type": "array", "items": { "type": "string" } }));
    let told = check(&schema, "[1,1,1,1,1,1,1,1,1,1,1,1]").unwrap_err();
    assert!(
        told.contains("args[9]") && !told.contains("args[10]") && told.ends_with("; and 2 more"),
        "{told}"
    );
}

#[test]
fn what_is_missing_is_put_in_and_nothing_else_changes() {
    let schema = compile(&shop());
    for (arguments, whole) in [
        (r#"{"query":"x"}"#, r#"{"query":"x","limit":10}"#),
        (r#"{ "query" : "x" }"#, r#"{ "query" : "x","limit":10 }"#),
        (r#"{"limit":1,"query":"x"}"#, r#"{"limit":1,"query":"x"}"#),
        (r#"{"query":"x","filter":{},"limit":1.0}"#, r#"{"query":"x","filter":{"deep":true},"limit":1.0}"#),
        (
            r#"{"filter":{"more":[]},"query":"x"}"#,
            r#"{"filter":{"more":[],"deep":true},"query":"x","limit":10}"#,
        ),
        (r#"{"toolCallId":"1","query":"x","limit":1}"#, r#"{"query":"x","limit":1}"#),
        (r#"{"toolCallId":"1" , "sessionId":{} , "query":"x"}"#, r#"{  "query":"x","limit":10}"#),
        (r#"{"query":"x","sessionId":"1","limit":1}"#, r#"{"query":"x","limit":1}"#),
    ] {
        assert_eq!(check(&schema, arguments).as_deref(), Ok(whole), "{arguments}");
        assert!(serde_json::from_str::<Value>(whole).is_ok());
    }
    let none = compile(&json!({ "properties": { "a": { "type": "string" } } }));
    assert_eq!(check(&none, r#"{"a":null}"#).as_deref(), Ok("{}"));
    let required = compile(&json!({ "properties": { "a": { "type": "string" } }, "required": ["a"] }));
    assert!(check(&required, r#"{"a":null}"#).is_err());
    let empty =
        compile(&json!({ "properties": { "a\"b": { "default": [1, "x"] }, "c": { "default": null } } }));
    assert_eq!(check(&empty, "{}").as_deref(), Ok(r#"{"a\"b":[1,"x"],"c":null}"#));
    assert_eq!(
        check(&empty, r#"{"sessionId":1}"#).as_deref(),
        Ok(r#"{"sessionId":1,"a\"b":[1,"x"],"c":null}"#)
    );
}

#[test]
fn a_default_that_does_not_fit_is_left_out() {
    for schema in [
        json!({ "properties": { "a": { "type": "string", "default": null } } }),
        json!({ "properties": { "a": { "type": "string", "default": null } }, "not": { "type": "array" } }),
        json!({ "properties": { "a": { "type": "string", "default": 5 } }, "not": { "type": "array" } }),
    ] {
        assert_eq!(check(&compile(&schema), "{}").as_deref(), Ok("{}"), "{schema}");
    }
}

#[test]
fn a_service_that_knows_forms_by_itself_has_the_last_word_on_them() {
    let forms: trunkline_service::catalog::Forms =
        |form, text| if form == "date" { text == "infinity" } else { true };
    let schema =
        json!({ "properties": { "a": { "type": "string", "format": "date" }, "b": { "format": "uri" } } });
    let options = Options { loose: true, formats: false, forms: Some(forms), ..Options::default() };
    let schema = Schema::compile(&schema, options).unwrap();
    assert_eq!(
        check(&schema, r#"{"a":"infinity","b":"\u0000"}"#).as_deref(),
        Ok(r#"{"a":"infinity","b":"\u0000"}"#)
    );
    let told = check(&schema, r#"{"a":"2026-02-28"}"#).unwrap_err();
    assert!(
        told.ends_with("`args.a`: found a string of 10 characters, allowed is a string in the form date"),
        "{told}"
    );
}

#[test]
fn a_service_that_reads_loosely_gets_what_it_can_read() {
    let options = Options { loose: true, formats: false, ..Options::default() };
    let schema = json!({
        "type": "object",
        "properties": {
            "n": { "type": "integer", "minimum": 1, "maximum": 100, "default": 10 },
            "f": { "type": "number" },
            "k": { "type": "integer", "enum": [1, 2] },
            "l": { "type": "array", "items": { "type": ["integer", "null"] } },
            "o": { "type": "object", "properties": {} },
            "s": { "type": "string" },
            "b": { "type": "boolean" },
        },
        "required": ["s"],
        "additionalProperties": false,
    });
    let schema = Schema::compile(&schema, options).unwrap();
    for (arguments, whole) in [
        (r#"{"n":"7","s":""}"#, r#"{"n":"7","s":""}"#),
        (r#"{"n":"1e2","s":"","f":"NaN"}"#, r#"{"n":"1e2","s":"","f":"NaN"}"#),
        (r#"{"n":null,"s":"","f":null}"#, r#"{"n":10,"s":""}"#),
        (r#"{"n":1,"s":"","l":"[1]","o":"{}","k":"2"}"#, r#"{"n":1,"s":"","l":"[1]","o":"{}","k":"2"}"#),
        (r#"{"n":1,"s":"","l":["1",null]}"#, r#"{"n":1,"s":"","l":["1",null]}"#),
    ] {
        assert_eq!(check(&schema, arguments).as_deref(), Ok(whole), "{arguments}");
    }
    for bad in [
        r#"{"n":"0","s":""}"#,
        r#"{"n":"x","s":""}"#,
        r#"{"s":null}"#,
        r#"{"s":"","k":"3"}"#,
        r#"{"s":"","b":"true"}"#,
        r#"{"s":"","n":"1.5"}"#,
    ] {
        assert!(check(&schema, bad).is_err(), "{bad}");
    }
}

#[test]
fn numbers_are_compared_by_their_digits() {
    let schema = json!({ "type": "integer", "minimum": 9_007_199_254_740_993_i64, "maximum": 9_223_372_036_854_775_807_i64 });
    let schema = compile(&schema);
    for (number, fits) in [
        ("9007199254740992", false),
        ("9007199254740993", true),
        ("9007199254740993.0", true),
        ("9007199254740993.5", false),
        ("9223372036854775807", true),
        ("9223372036854775808", false),
        ("1e400", false),
        ("-1e400", false),
    ] {
        assert_eq!(schema.is_valid(number), fits, "{number}");
    }
}

#[test]
fn a_schema_that_is_wrong_or_beyond_a_bound_is_refused() {
    let refuse = |schema: Value| Schema::compile(&schema, Options::default()).unwrap_err();
    assert!(matches!(refuse(json!({ "type": "strin" })), SchemaError::Wrong(_)));
    assert!(matches!(refuse(json!({ "properties": { "a": { "minimum": "1" } } })), SchemaError::Wrong(_)));
    assert!(matches!(refuse(json!({ "$ref": "https://example.com/x.json" })), SchemaError::Elsewhere(_)));
    assert!(matches!(refuse(json!({ "$ref": "file:///etc/passwd" })), SchemaError::Elsewhere(_)));
    assert!(matches!(refuse(json!({ "$ref": "#/$defs/none" })), SchemaError::Wrong(_)));
    assert!(matches!(refuse(json!({ "pattern": "(?=a)b" })), SchemaError::Pattern(_)));
    assert!(matches!(refuse(json!({ "pattern": "(a)\\1" })), SchemaError::Pattern(_)));
    assert!(matches!(refuse(json!({ "pattern": "(" })), SchemaError::Pattern(_)));
    assert!(matches!(refuse(json!({ "pattern": "((a{1,100}){1,100}){1,100}" })), SchemaError::Pattern(_)));
    assert!(matches!(refuse(json!({ "patternProperties": { "(?!a)": {} } })), SchemaError::Pattern(_)));
    assert!(matches!(refuse(json!({ "pattern": "a".repeat(5_000) })), SchemaError::Beyond { .. }));
    assert!(matches!(refuse(json!({ "$schema": "https://example.com/dialect" })), SchemaError::Dialect(_)));
    assert!(matches!(refuse(json!({ "enum": vec![0; 30_000] })), SchemaError::Beyond { .. }));
    let deep = (0..80).fold(json!({}), |inner, _| json!({ "items": inner }));
    assert!(matches!(refuse(deep), SchemaError::Beyond { .. }));
    assert!(matches!(refuse(json!({ "anyOf": vec![json!({}); 2_000] })), SchemaError::Beyond { .. }));
}

#[test]
fn references_in_a_circle_end() {
    let circle = json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } }, "$ref": "#/$defs/a" });
    assert!(compile(&circle).is_valid("1"));
    let twice = json!({ "$ref": "#/$defs/n", "$defs": { "n": { "anyOf": [
        { "properties": { "a": { "$ref": "#/$defs/n" } }, "required": ["b"] },
        { "properties": { "a": { "$ref": "#/$defs/n" } }, "required": ["c"] },
    ] } } });
    let twice = compile(&twice);
    let value = (0..60).fold("1".to_owned(), |inner, _| format!("{{\"a\":{inner},\"d\":1}}"));
    let began = std::time::Instant::now();
    assert!(!twice.is_valid(&value));
    let told = check(&twice, &value).unwrap_err();
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(told.len() < 20_000, "{}", told.len());
}
