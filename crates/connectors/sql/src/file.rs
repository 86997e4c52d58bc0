//! The tables `[tools.X]`, `params.P` and `columns.C` exactly as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
pub use trunkline_service::file::{DurationText, SizeText};

use crate::database::{Access, PlanMode};

/// `[tools.X]` of a connector that speaks SQL.
#[derive(Debug, Clone, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ToolFile {
    /// The connector it runs on: X of `[connectors.X]`.
    pub connector: String,
    /// A name for people. Default: made from the tool's name.
    #[serde(default)]
    pub title: Option<String>,
    /// What the tool is for; the model chooses by it. At most 1,024 characters are sent.
    #[serde(default)]
    pub description: Option<String>,
    /// One statement. Parameters are written `:name`.
    pub sql: String,
    /// `read-write` for a statement that changes something; the connector must allow it too. Default: `read-only`.
    #[serde(default)]
    pub access: Access,
    /// The form of the result. Default: `rows`.
    #[serde(default)]
    pub returns: Returns,
    /// The form of the text beside `structuredContent`. Default: `json`.
    #[serde(default)]
    pub text: TextForm,
    /// How long one call may take, like `"5s"`. Default: what the connector and the server say.
    #[serde(default)]
    pub deadline: Option<DurationText>,
    /// Scopes that a caller's token needs for it; one that lacks some is told to ask for them. Default: none.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// `generic` has PostgreSQL plan the statement once for all values. Default: `auto`, as the database sees fit.
    #[serde(default)]
    pub plan: PlanMode,
    /// What is said of the parameters, by name.
    #[serde(default)]
    pub params: BTreeMap<String, ParamFile>,
    /// What is said of the result's columns, by name.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnFile>,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Returns {
    /// `{"rows":[...],"rowCount":n}`.
    #[default]
    Rows,
    /// `{"row":{...}}`, or null where there is none; a second row is an error.
    Row,
    /// `{"value":...}` of the only column of the only row.
    Value,
}

/// The form of the text beside `structuredContent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TextForm {
    /// The same object as compact JSON.
    #[default]
    Json,
    /// A header line and a line for each row, as RFC 4180 has it.
    Csv,
    /// A table in Markdown.
    Markdown,
}

/// `params.P` of a tool.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ParamFile {
    /// `string`, `integer`, `number`, `boolean`, `json`, `array` (with `items`), or a type of the database. Default: what
    /// the database infers.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// What the model should know of it.
    #[serde(default)]
    pub description: Option<String>,
    /// The value when none is given. Makes the parameter optional.
    #[serde(default)]
    pub default: Option<serde_json::Value>,
    /// The only values allowed.
    #[serde(default, rename = "enum")]
    pub allowed: Option<Vec<serde_json::Value>>,
    /// The least number allowed.
    #[serde(default)]
    pub minimum: Option<serde_json::Number>,
    /// The greatest number allowed.
    #[serde(default)]
    pub maximum: Option<serde_json::Number>,
    /// Least length of a string in characters.
    #[serde(default)]
    pub min_length: Option<u32>,
    /// Greatest length of a string in characters.
    #[serde(default)]
    pub max_length: Option<u32>,
    /// A regular expression that must match somewhere in the string.
    #[serde(default)]
    pub pattern: Option<String>,
    /// The form of a string: `date-time`, `date`, `time` and `uuid` are checked, others only told.
    #[serde(default)]
    pub format: Option<String>,
    /// The type of a list's elements: `string`, `integer`, `number`, `boolean` or `json`.
    #[serde(default)]
    pub items: Option<String>,
    /// Whether null is a value of its own. Default: false.
    #[serde(default)]
    pub nullable: bool,
    /// Whether it must be given. Default: true without `default`.
    #[serde(default)]
    pub required: Option<bool>,
    /// An expression over `args` and `caller` that gives the value; the parameter is then hidden from the model.
    #[serde(default)]
    pub from: Option<String>,
    /// An expression over `caller` that gives the value; the parameter is then hidden from the model.
    #[serde(default)]
    pub value: Option<String>,
    /// Whether its value is kept out of every message. Default: false.
    #[serde(default)]
    pub secret: bool,
}

/// `columns.C` of a tool.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ColumnFile {
    /// What the cells are in JSON. A cell that does not fit is an error.
    #[serde(rename = "type")]
    pub kind: ColumnKind,
}

/// What the cells of a column are in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnKind {
    /// Strings.
    String,
    /// Integers; beyond +-(2^53-1) strings of their digits.
    Integer,
    /// Numbers, decimals among them.
    Number,
    /// `true` or `false`; also 0 and 1 as SQLite keeps them.
    Boolean,
    /// JSON text, embedded.
    Json,
}

impl ColumnKind {
    /// Returns the word for it in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "json",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_the_file_knows_the_keys_as_they_are_written() {
        let schema = serde_json::to_value(schemars::schema_for!(ToolFile)).unwrap();
        let param = &schema["$defs"]["ParamFile"]["properties"];
        for key in ["type", "enum", "min-length", "from", "secret"] {
            assert!(param.get(key).is_some(), "{key}: {schema}");
        }
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], serde_json::json!(["connector", "sql"]));
    }

    #[test]
    fn a_tool_is_read_as_the_design_writes_it() {
        let tool: ToolFile = toml::from_str(
            r#"
            connector = "shop"
            description = "Search for customers"
            sql = "select 1"
            deadline = "5s"
            params.query = { description = "Name", min-length = 1 }
            params.pattern = { from = "'%' + args.query + '%'" }
            params.limit = { default = 10, minimum = 1, maximum = 100 }
            columns.total = { type = "number" }
            "#,
        )
        .unwrap();
        assert_eq!(tool.params["limit"].default, Some(10.into()));
        assert_eq!(tool.columns["total"].kind, ColumnKind::Number);
        let error =
            toml::from_str::<ToolFile>("connector = \"a\"\nsql = \"\"\nreturn = \"row\"").unwrap_err();
        assert!(error.message().contains("unknown field `return`"), "{error}");
    }
}
