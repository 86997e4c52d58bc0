//! JSON Schemas of arguments and results: from Rust types, in the words that JSON Schema has, or as written by hand.
//!
//! A schema from a type is made whole first ([`clean`]); that one is what calls are checked against. Clients are shown it in
//! the profile that every known host takes ([`portable`]), unless the server asks for the full one.

mod clean;
mod portable;
mod walk;

use jsonschema::Validator;
use schemars::JsonSchema;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::Value;

pub(crate) use clean::Need;
pub(crate) use portable::portable;
pub(crate) use walk::resolve;

/// How input schemas are shown to clients. Every call is checked against the full schema, whichever is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchemaProfile {
    /// What every known host takes: one type for each property, no references and combinators, lists with items.
    #[default]
    Portable,
    /// All of JSON Schema 2020-12.
    Full,
}

/// What a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// What a client sends.
    Input,
    /// What a tool returns.
    Output,
}

/// Where a schema comes from, which decides how it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From a type.
    Type,
    /// Written by hand.
    Hand,
}

/// A schema on its way into a server.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    pub(crate) json: Value,
    pub(crate) origin: Origin,
    /// What of it has to be checked, because decoding does not.
    pub(crate) need: Need,
    /// The decoder lets unknown members of the root pass, which the schema does not.
    pub(crate) checks_keys: bool,
}

impl Schema {
    /// Takes the arguments from a type.
    pub(crate) fn derived<T: JsonSchema>() -> Self {
        let mut json = generate::<T>(Use::Input);
        let need = clean::clean(&mut json);
        let checks_keys = clean::close_root(&mut json);
        Self { json, origin: Origin::Type, need, checks_keys }
    }

    /// Takes what a result type says of itself.
    pub(crate) fn of_result(mut json: Value) -> Self {
        // What serializes is of its type; only what the author demands beyond that can be missed.
        let need = match clean::clean(&mut json) {
            Need::Always => Need::Always,
            Need::Never | Need::WhenNested => Need::Never,
        };
        Self { json, origin: Origin::Type, need, checks_keys: false }
    }

    /// Takes a schema as its author wrote it.
    pub(crate) fn written(json: Value) -> Self {
        Self { json, origin: Origin::Hand, need: Need::Always, checks_keys: false }
    }

    /// The schema of a tool without arguments.
    pub(crate) fn nothing() -> Self {
        let json = serde_json::json!({ "type": "object", "properties": {}, "additionalProperties": false });
        Self { json, origin: Origin::Type, need: Need::Never, checks_keys: true }
    }
}

/// The schema of what a tool returns, as its type has it.
pub(crate) fn output_of<T: JsonSchema>() -> Value {
    generate::<T>(Use::Output)
}

fn generate<T: JsonSchema>(usage: Use) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.contract = if usage == Use::Input { Contract::Deserialize } else { Contract::Serialize };
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Compiles a schema; formats are checked, and nothing is fetched from anywhere.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(schema).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
