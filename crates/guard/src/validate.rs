//! Whether arguments fit the schema of their tool, and results the schema that was promised.
//!
//! A [`Schema`] is compiled once for each tool. The common shape is checked against raw bytes (`own`), everything else by the crate
//! `jsonschema` over a tree (`broad`): both mean the same, which the official cases and a property test prove. [`Validate`] stands
//! before a tool and applies defaults, [`ValidatePrompt`] before a prompt, [`ResultsChecked`] around a service whose results were
//! promised. Nothing is ever fetched, and nothing of a value that may be secret is told.

mod arguments;
mod bounds;
mod broad;
mod cost;
mod file;
mod own;
mod pattern;
mod prompt;
mod quarantine;
mod results;
mod schema;

pub use arguments::{Validate, Validated};
pub use file::ResultsMode;
pub use prompt::ValidatePrompt;
pub use quarantine::{Quarantined, problems};
pub use results::{ResultsChecked, ResultsMeter};
pub use schema::{Dialect, Options, Schema, SchemaError};

#[cfg(test)]
mod tests;
