//! The check that stands before a prompt: its arguments are strings, and those that are required are there.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use trunkline_service::check::{Check, Checked};
use trunkline_service::{Failure, FailureKind, PromptDefinition, Request};

use super::own::{Path, Wording};
use super::{Options, Schema, SchemaError};

/// Checks the arguments of one prompt. A client shows them to a person, so that what is wrong is an error of the request, and not a
/// result for a model.
#[derive(Debug)]
pub struct ValidatePrompt {
    schema: Schema,
}

const WORDING: Wording = Wording { refused: "the arguments were not accepted", taker: "this prompt" };

impl ValidatePrompt {
    /// Compiles what a prompt takes.
    ///
    /// # Errors
    /// When it has more arguments than a schema may have.
    pub fn of(prompt: &PromptDefinition) -> Result<Self, SchemaError> {
        let arguments = prompt.arguments.iter();
        let properties: Map<String, Value> =
            arguments.map(|argument| (argument.name.clone(), json!({ "type": "string" }))).collect();
        let required: Vec<&str> = prompt
            .arguments
            .iter()
            .filter(|argument| argument.required)
            .map(|argument| argument.name.as_str())
            .collect();
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        // Some clients send null for what a person left empty.
        Ok(Self { schema: Schema::compile(&schema, Options { loose: true, ..Options::default() })? })
    }
}

impl Check for ValidatePrompt {
    fn check<'s>(&'s self, request: &mut Request) -> Checked<'s> {
        let text = std::str::from_utf8(request.arguments()).unwrap_or_default();
        let changed = match self.schema.check(text, &Path::root("args", false), WORDING) {
            Ok(Cow::Borrowed(_)) => return Checked::Passed,
            Ok(Cow::Owned(changed)) => changed,
            Err(text) => return Checked::Answered(Err(Failure::new(FailureKind::InvalidParams, text))),
        };
        request.set_arguments(changed.as_bytes());
        Checked::Passed
    }
}
