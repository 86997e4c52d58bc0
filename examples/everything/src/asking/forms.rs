//! The forms: each type is what comes back, and its fields are what is shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A name.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Name {
    /// What to call you.
    pub(super) name: String,
}

/// A colour.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Color {
    /// The one you like best.
    pub(super) color: String,
}

/// A box to tick.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Confirmed {
    /// All is well.
    pub(super) ok: bool,
}

/// What a prompt should know.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Background {
    /// Anything the model should keep in mind.
    pub(super) context: String,
}

/// How to reach somebody.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Contact {
    /// The name to sign in with.
    pub(super) username: String,
    /// Where to write to.
    #[schemars(extend("format" = "email"))]
    pub(super) email: String,
}

/// A form with something in every field already.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Defaults {
    /// The whole name.
    name: String,
    /// Full years.
    age: u8,
    /// Points out of a hundred.
    score: f64,
    /// What the account is.
    status: Status,
    /// Somebody looked at a passport.
    verified: bool,
}

/// What an account is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Active,
    Inactive,
    Pending,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { name: "John Doe".to_owned(), age: 30, score: 95.5, status: Status::Active, verified: true }
    }
}

/// Every kind of choice: bare and titled, one and several, and the titles as they were written before 2025-11-25.
pub(super) fn choices() -> Value {
    json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
            "titledSingle": {
                "type": "string",
                "oneOf": [
                    { "const": "value1", "title": "First Option" },
                    { "const": "value2", "title": "Second Option" },
                    { "const": "value3", "title": "Third Option" },
                ],
            },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {
                "type": "array",
                "items": { "type": "string", "enum": ["option1", "option2", "option3"] },
            },
            "titledMulti": {
                "type": "array",
                "items": {
                    "anyOf": [
                        { "const": "value1", "title": "First Choice" },
                        { "const": "value2", "title": "Second Choice" },
                        { "const": "value3", "title": "Third Choice" },
                    ],
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline::{Elicit, form_schema};

    #[test]
    fn every_form_can_be_shown() {
        fn fields<T: Elicit>() -> usize {
            form_schema::<T>().unwrap()["properties"].as_object().unwrap().len()
        }
        assert_eq!(
            [fields::<Name>(), fields::<Color>(), fields::<Confirmed>(), fields::<Background>()],
            [1; 4]
        );
        assert_eq!(fields::<Contact>(), 2);
    }

    #[test]
    fn the_form_with_defaults_has_one_in_each_field() {
        let schema = form_schema::<Defaults>().unwrap();
        let defaults: Vec<&Value> =
            schema["properties"].as_object().unwrap().values().map(|field| &field["default"]).collect();
        assert_eq!(json!(defaults), json!(["John Doe", 30, 95.5, "active", true]));
    }
}
