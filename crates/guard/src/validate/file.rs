//! How `results` is written in the file.

use schemars::JsonSchema;
use serde::Deserialize;

/// `results`: what becomes of a result that does not fit the schema that clients were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResultsMode {
    /// It is not sent; the caller reads that the tool broke its promise.
    Enforce,
    /// It is sent, counted, and told in the log.
    Report,
    /// Results are not looked at.
    Off,
}
