//! Any bytes as an `Mcp-Param-*` header beside any arguments: no panic, what a client sends by the rules is taken, and what is
//! taken says what the arguments say.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use trunkline_protocol::param_header::{ParamHeader, find};
use trunkline_protocol::{header, member};

static WANTED: LazyLock<Vec<ParamHeader>> = LazyLock::new(|| {
    find(&json!({"properties": {
        "text": {"type": "string", "x-mcp-header": "Text"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "deep": {"type": "object", "properties": {"flag": {"type": "boolean", "x-mcp-header": "Flag"}}},
    }}))
    .expect("the schema is as it must be")
});

fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (value, arguments) = (&input[..at], input.get(at + 1..).unwrap_or_default());
    let Ok(arguments) = serde_json::from_slice::<Value>(arguments) else {
        // As a schema, then; most are refused.
        let _ = serde_json::from_slice::<Value>(value).map(|schema| find(&schema));
        return;
    };
    let _ = find(&arguments);
    let body = json!({ "arguments": arguments }).to_string().into_bytes();
    let place = member(&body, "arguments");
    for wanted in WANTED.iter() {
        if wanted.check(&[value], &body, place).is_ok() {
            let said = wanted.path.iter().try_fold(&arguments, |value, name| value.get(name));
            match said {
                Some(Value::String(text)) => assert_eq!(header::decode(value).ok().as_deref(), Some(&**text)),
                Some(Value::Bool(flag)) => {
                    assert_eq!(header::decode(value).ok().as_deref(), Some(&*flag.to_string()))
                }
                Some(Value::Number(number)) => {
                    let read = header::decode(value).ok().and_then(|text| text.parse::<f64>().ok());
                    assert_eq!(read, number.as_f64());
                }
                // The tool itself refuses what has no form as a header.
                Some(Value::Array(_) | Value::Object(_)) => {}
                Some(Value::Null) | None => panic!("a header without its argument was taken"),
            }
        }
        // What has no form as a header is refused one way or the other.
        let said = wanted.path.iter().try_fold(&arguments, |value, name| value.get(name));
        if said.is_some_and(|value| value.is_array() || value.is_object()) {
            continue;
        }
        let sent = wanted.value(&arguments);
        let lines: Vec<&[u8]> = sent.iter().map(String::as_bytes).collect();
        assert_eq!(wanted.check(&lines, &body, place), Ok(()), "what a client sends is refused");
    }
});
