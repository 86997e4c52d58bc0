//! Arguments in every wrong and every forgiven form, and what a model is told of them.

use serde_json::{Value, json};

use super::repair::repair;

fn repaired(schema: &Value, value: Value) -> Option<Value> {
    let mut value = value;
    repair(schema, &mut value).then_some(value)
}

#[test]
fn only_what_has_one_reading_is_read_again() {
    let schema = json!({
        "type": "object",
        "properties": {
            "n": { "type": "integer" },
            "f": { "type": ["number", "null"] },
            "l": { "type": "array", "items": { "type": "integer" } },
            "o": { "anyOf": [{ "$ref": "#/$defs/n" }, { "type": "null" }] },
            "e": { "type": ["integer", "string"] },
            "s": { "type": "string" },
            "b": { "type": "boolean" },
        },
        "$defs": { "n": { "type": "object", "properties": { "d": { "type": "integer" } } } },
    });
    for (from, to) in [
        (json!({ "n": "7" }), json!({ "n": 7 })),
        (json!({ "n": 7.0 }), json!({ "n": 7 })),
        (json!({ "n": "7.0" }), json!({ "n": 7 })),
        (json!({ "f": "1.5" }), json!({ "f": 1.5 })),
        (json!({ "l": "[1, \"2\"]" }), json!({ "l": [1, 2] })),
        (json!({ "o": { "d": "3" } }), json!({ "o": { "d": 3 } })),
        (json!({ "toolCallId": "x", "n": 1 }), json!({ "n": 1 })),
    ] {
        assert_eq!(repaired(&schema, from), Some(to));
    }
    for same in [
        json!({ "e": "7" }),
        json!({ "s": "7" }),
        json!({ "b": "true" }),
        json!({ "n": "seven" }),
        json!({ "n": " 7" }),
        json!({ "n": 7.5 }),
        json!({ "n": 1e300 }),
        json!({ "l": "{}" }),
    ] {
        assert_eq!(repaired(&schema, same.clone()), None, "{same}");
    }
}
