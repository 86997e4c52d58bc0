//! Tools and results as a server gave them: the few members programs look at, and every byte beside.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A tool of a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tool {
    /// The name it is called by.
    pub name: String,
    /// The name for people.
    pub title: Option<String>,
    /// What it does, for models.
    pub description: Option<String>,
    /// The JSON Schema of its arguments.
    pub input_schema: Value,
    /// The whole definition, byte for byte.
    pub raw: Box<RawValue>,
}

impl Tool {
    /// Reads a definition, or says what is wrong with it.
    pub(crate) fn read(raw: &RawValue) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            name: String,
            #[serde(default)]
            title: Option<String>,
            #[serde(default)]
            description: Option<String>,
            #[serde(default)]
            input_schema: Value,
        }
        let head: Head = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
        let Head { name, title, description, input_schema } = head;
        Ok(Self { name, title, description, input_schema, raw: raw.to_owned() })
    }
}

/// All tools of a server.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ToolList {
    /// In the server's order, each name once.
    pub tools: Vec<Tool>,
    /// What was left out or looked wrong, as sentences for the operator.
    pub warnings: Vec<String>,
}

/// What a tool answered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CallOutcome {
    /// The `CallToolResult`, byte for byte.
    pub result: Box<RawValue>,
    /// The tool could not do what was asked; its text says why.
    pub is_error: bool,
}
