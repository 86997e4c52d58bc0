//! How the arguments of one tool are looked at: decided once, when the server is built.

use std::sync::OnceLock;

use jsonschema::Validator;
use serde::de::DeserializeOwned;
use serde_json::Value;
use trunkline_protocol::each;

use super::repair::repair;
use super::{Explained, explain, undecodable};
use crate::sdk::ToolError;
use crate::sdk::schema::{self, Need, Schema};

/// The compiled form of a tool's input schema.
#[derive(Debug)]
pub(crate) struct Plan {
    schema: Value,
    need: Need,
    /// The members the root has, where the decoder would let others pass.
    known: Option<Box<[Box<str>]>>,
    /// Compiled when the server is built if calls need it, else by the first call that is wrong.
    validator: OnceLock<Option<Validator>>,
}

impl Plan {
    /// Compiles a schema. With `checks_first` every call is checked, as nothing else decodes its arguments.
    ///
    /// # Errors
    /// What is wrong with the schema.
    pub(crate) fn new(schema: Schema, checks_first: bool) -> Result<Self, String> {
        if !schema.json.get("type").is_some_and(|kind| kind == "object") {
            return Err("the root must be `\"type\": \"object\"`, as arguments are an object".to_owned());
        }
        let need = if checks_first { Need::Always } else { schema.need };
        let keys = schema.json.get("properties").and_then(Value::as_object);
        let known = keys
            .filter(|_| schema.checks_keys)
            .map(|keys| keys.keys().map(|key| key.as_str().into()).collect());
        let validator = OnceLock::new();
        // A schema that calls are not checked against was made from a type; compiling it would only cost the start.
        if need > Need::Never || schema.json.get("properties").is_none() {
            let _ = validator.set(Some(schema::compile(&schema.json)?));
        }
        Ok(Self { schema: schema.json, need, known, validator })
    }

    /// Looks at raw arguments before the tool is called, as far as decoding them would not.
    ///
    /// Returns other arguments to go on with, where what came had one reading that fits.
    ///
    /// # Errors
    /// A text for the model that names what does not fit.
    pub(crate) fn check(&self, raw: &[u8]) -> Result<Option<Vec<u8>>, ToolError> {
        let needed = match self.need {
            Need::Never => false,
            Need::WhenNested => memchr::memchr2(b'{', b'[', raw.get(1..).unwrap_or_default()).is_some(),
            Need::Always => true,
        };
        if needed || self.has_unknown_key(raw) { self.check_whole(raw) } else { Ok(None) }
    }

    fn has_unknown_key(&self, raw: &[u8]) -> bool {
        let Some(known) = &self.known else { return false };
        let mut unknown = false;
        each(raw, |key, _| unknown |= !known.iter().any(|name| **name == *key));
        unknown
    }

    #[cold]
    fn check_whole(&self, raw: &[u8]) -> Result<Option<Vec<u8>>, ToolError> {
        let mut value: Value = serde_json::from_slice(raw).map_err(|error| undecodable(&error))?;
        let Some(validator) = self.validator() else { return Ok(None) };
        if validator.is_valid(&value) {
            return Ok(None);
        }
        if repair(&self.schema, &mut value) && validator.is_valid(&value) {
            return Ok(Some(value.to_string().into_bytes()));
        }
        Err(self.explain(validator, &value))
    }

    /// Decodes arguments that a first try failed on, in the one other reading they may have.
    ///
    /// # Errors
    /// A text for the model that names what does not fit.
    #[cold]
    pub(crate) fn decode_again<T: DeserializeOwned>(
        &self,
        raw: &[u8],
        first: &serde_json::Error,
    ) -> Result<T, ToolError> {
        let mut value: Value = serde_json::from_slice(raw).map_err(|error| undecodable(&error))?;
        repair(&self.schema, &mut value);
        match T::deserialize(&value) {
            Ok(decoded) => Ok(decoded),
            Err(again) => match self.validator() {
                Some(validator) if !validator.is_valid(&value) => Err(self.explain(validator, &value)),
                // The type refuses what the schema allows: a check of the author's own.
                _ => Err(undecodable(if first.is_data() { first } else { &again })),
            },
        }
    }

    fn validator(&self) -> Option<&Validator> {
        self.validator.get_or_init(|| schema::compile(&self.schema).ok()).as_ref()
    }

    fn explain(&self, validator: &Validator, value: &Value) -> ToolError {
        let Explained(text) = explain(&self.schema, validator, value, "arguments");
        ToolError::new(text)
    }
}
