//! What is asked of a schema before it is compiled: that it is small, shallow, of a known dialect, and refers to nothing elsewhere.

use serde_json::Value;

use super::cost::Cost;
use super::{Dialect, Options, SchemaError, pattern};

/// The most values a schema may have, keywords and schemas and what is listed in them.
const MAX_VALUES: usize = 20_000;
/// The most bytes of text in it: names, descriptions, labels.
const MAX_TEXT: usize = 1 << 20;
/// The deepest nesting.
const MAX_DEPTH: usize = 64;
/// The most branches of combinators.
const MAX_BRANCHES: usize = 1_000;
/// The most looks of its parts at one value, and at all that one way into that value leads to.
const MAX_LOOKS: u64 = 20_000;
/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 4_096;

/// Checks the bounds.
pub(super) fn check(schema: &Value, options: &Options) -> Result<(), SchemaError> {
    let mut survey = Survey { options, values: 0, text: 0, branches: 0 };
    survey.visit(schema, Role::Schema, 1)?;
    within("values", survey.values, MAX_VALUES)?;
    within("bytes of text", survey.text, MAX_TEXT)?;
    within("branches in combinators", survey.branches, MAX_BRANCHES)?;
    let (looks, _) = Cost::new(schema, MAX_LOOKS).of_looks();
    let most = usize::try_from(MAX_LOOKS).unwrap_or(usize::MAX);
    within("ways through combinators and references", usize::try_from(looks).unwrap_or(usize::MAX), most)
}

/// Returns the dialect of a schema.
pub(super) fn dialect(schema: &Value, otherwise: Dialect) -> Result<Dialect, SchemaError> {
    let Some(Value::String(named)) = schema.get("$schema") else { return Ok(otherwise) };
    let plain = named.trim_end_matches('#');
    let plain = plain.strip_prefix("https://").or_else(|| plain.strip_prefix("http://")).unwrap_or(plain);
    Ok(match plain {
        "json-schema.org/draft/2020-12/schema" => Dialect::V2020_12,
        "json-schema.org/draft/2019-09/schema" => Dialect::V2019_09,
        "json-schema.org/draft-07/schema" | "json-schema.org/schema" => Dialect::Draft7,
        "json-schema.org/draft-06/schema" => Dialect::Draft6,
        "json-schema.org/draft-04/schema" => Dialect::Draft4,
        _ => return Err(SchemaError::Dialect(named.chars().take(128).collect())),
    })
}

#[derive(Debug)]
struct Survey<'o> {
    options: &'o Options,
    values: usize,
    text: usize,
    branches: usize,
}

/// What an object in a schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A schema: its keys are keywords.
    Schema,
    /// Schemas by name.
    Named,
    /// A value, as a default.
    Data,
}

impl Role {
    /// What stands under a keyword.
    fn under(keyword: &str) -> Self {
        match keyword {
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas"
            | "dependencies" => Self::Named,
            "const" | "enum" | "default" | "examples" => Self::Data,
            _ => Self::Schema,
        }
    }
}

impl Survey<'_> {
    fn visit(&mut self, value: &Value, role: Role, depth: usize) -> Result<(), SchemaError> {
        within("levels of nesting", depth, MAX_DEPTH)?;
        self.values += 1;
        match value {
            Value::String(text) => self.text += text.len(),
            Value::Array(values) => {
                for value in values {
                    self.visit(value, role, depth + 1)?;
                }
            }
            Value::Object(members) => {
                for (key, value) in members {
                    self.text += key.len();
                    let role = match role {
                        Role::Data => Role::Data,
                        Role::Named => Role::Schema,
                        Role::Schema => {
                            self.keyword(key, value)?;
                            Role::under(key)
                        }
                    };
                    self.visit(value, role, depth + 1)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, value: &Value) -> Result<(), SchemaError> {
        match (keyword, value) {
            ("anyOf" | "oneOf" | "allOf", Value::Array(branches)) => self.branches += branches.len(),
            ("pattern", Value::String(pattern)) => self.pattern(pattern)?,
            ("patternProperties", Value::Object(patterns)) => {
                for pattern in patterns.keys() {
                    self.pattern(pattern)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn pattern(&self, written: &str) -> Result<(), SchemaError> {
        within("bytes in a pattern", written.len(), MAX_PATTERN)?;
        match pattern::compile(written, self.options.loose) {
            Some(_) => Ok(()),
            None => Err(SchemaError::Pattern(written.chars().take(128).collect())),
        }
    }
}

fn within(what: &'static str, found: usize, most: usize) -> Result<(), SchemaError> {
    if found > most { Err(SchemaError::Beyond { what, found, most }) } else { Ok(()) }
}
