//! Schemas made from types: what they say, and that the decoder says the same.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is of interest")]
struct Plain {
    text: String,
    number: Option<i64>,
    small: u8,
    list: Vec<f64>,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is of interest")]
struct WithEnum {
    choice: Choice,
}

#[derive(Deserialize, JsonSchema)]
enum Choice {
    /// The first.
    One,
    Two,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is of interest")]
struct Demanding {
    #[schemars(range(min = 0))]
    number: i64,
}

#[test]
fn only_what_decoding_does_not_see_to_is_checked() {
    assert_eq!(Schema::derived::<Plain>().need, Need::Never);
    assert_eq!(Schema::derived::<WithEnum>().need, Need::WhenNested);
    assert_eq!(Schema::derived::<Demanding>().need, Need::Always);
    assert_eq!(Schema::written(json!({ "type": "object" })).need, Need::Always);
    assert_eq!(Schema::nothing().need, Need::Never);
}

#[test]
fn the_root_is_closed_and_has_no_name_of_a_rust_type() {
    let schema = Schema::derived::<Plain>();
    assert!(schema.checks_keys);
    assert_eq!(schema.json.get("title"), None);
    assert_eq!(schema.json["additionalProperties"], false);
    let open = Schema::derived::<std::collections::HashMap<String, i64>>();
    assert!(!open.checks_keys);
    assert_eq!(open.json["additionalProperties"]["type"], "integer");
}

#[test]
fn names_are_shown_with_what_they_mean() {
    let shown = portable(&Schema::derived::<WithEnum>().json);
    let choice = &shown["properties"]["choice"];
    let names = choice["enum"].as_array().unwrap();
    assert!(names.len() == 2 && names.contains(&json!("One")) && names.contains(&json!("Two")), "{choice}");
    assert_eq!(choice["type"], "string");
    assert!(choice["description"].as_str().is_some_and(|text| text.contains("One: The first")), "{choice}");
}

#[test]
fn any_value_and_mixed_values_have_one_type_and_words() {
    let full = json!({ "type": "object", "properties": {
        "any": true,
        "mixed": { "anyOf": [{ "type": "integer" }, { "type": "string" }] },
        "kinds": { "type": ["integer", "null"] },
        "numbers": { "enum": [1, 2] },
    } });
    let shown = portable(&full);
    let property = |name: &str| shown["properties"][name].clone();
    assert_eq!(property("any")["type"], "object");
    assert_eq!(
        (property("mixed")["type"].clone(), property("mixed")["description"].clone()),
        (json!("string"), json!("or integer"))
    );
    assert_eq!(property("kinds")["type"], "integer");
    assert_eq!(
        (property("numbers").get("enum"), property("numbers")["description"].clone()),
        (None, json!("one of 1, 2"))
    );
    assert_eq!(property("numbers")["type"], "integer");
}
