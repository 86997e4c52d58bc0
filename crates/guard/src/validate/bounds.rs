//! What is asked of a schema before it is compiled: that it is small, shallow, of a known dialect, and refers to nothing elsewhere.

use jsonschema::Draft;
use serde_json::Value;

use super::SchemaError;

/// The most values a schema may have, keywords and schemas and what is listed in them.
const MAX_VALUES: usize = 20_000;
/// The most bytes of text in it: names, descriptions, labels.
const MAX_TEXT: usize = 1 << 20;
/// The deepest nesting.
const MAX_DEPTH: usize = 64;
/// The most branches of combinators.
const MAX_BRANCHES: usize = 1_000;
/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 4_096;

/// Checks the bounds.
pub(super) fn check(schema: &Value) -> Result<(), SchemaError> {
    let mut survey = Survey::default();
    survey.visit(schema, 1)?;
    survey.within("values", survey.values, MAX_VALUES)?;
    survey.within("bytes of text", survey.text, MAX_TEXT)?;
    survey.within("branches in combinators", survey.branches, MAX_BRANCHES)
}

/// Returns the dialect of a schema.
pub(super) fn draft(schema: &Value, otherwise: Draft) -> Result<Draft, SchemaError> {
    let Some(Value::String(named)) = schema.get("$schema") else { return Ok(otherwise) };
    let plain = named.trim_end_matches('#');
    let plain = plain.strip_prefix("https://").or_else(|| plain.strip_prefix("http://")).unwrap_or(plain);
    Ok(match plain {
        "json-schema.org/draft/2020-12/schema" => Draft::Draft202012,
        "json-schema.org/draft/2019-09/schema" => Draft::Draft201909,
        "json-schema.org/draft-07/schema" | "json-schema.org/schema" => Draft::Draft7,
        "json-schema.org/draft-06/schema" => Draft::Draft6,
        "json-schema.org/draft-04/schema" => Draft::Draft4,
        _ => return Err(SchemaError::Dialect(named.chars().take(128).collect())),
    })
}

#[derive(Debug, Default)]
struct Survey {
    values: usize,
    text: usize,
    branches: usize,
}

impl Survey {
    fn visit(&mut self, value: &Value, depth: usize) -> Result<(), SchemaError> {
        self.within("levels", depth, MAX_DEPTH)?;
        self.values += 1;
        match value {
            Value::String(text) => self.text += text.len(),
            Value::Array(values) => {
                for value in values {
                    self.visit(value, depth + 1)?;
                }
            }
            Value::Object(members) => {
                for (key, value) in members {
                    self.text += key.len();
                    match (key.as_str(), value) {
                        ("anyOf" | "oneOf" | "allOf", Value::Array(branches)) => {
                            self.branches += branches.len()
                        }
                        ("pattern", Value::String(pattern)) => {
                            self.within("a pattern", pattern.len(), MAX_PATTERN)?;
                        }
                        ("patternProperties", Value::Object(patterns)) => {
                            for pattern in patterns.keys() {
                                self.within("a pattern", pattern.len(), MAX_PATTERN)?;
                            }
                        }
                        _ => {}
                    }
                    self.visit(value, depth + 1)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "reads as what it is: the survey is within its bounds")]
    fn within(&self, what: &'static str, found: usize, most: usize) -> Result<(), SchemaError> {
        if found > most { Err(SchemaError::Beyond { what, found, most }) } else { Ok(()) }
    }
}
