//! Every schema that is not of the common shape, checked by the crate `jsonschema` over a tree: the one place that knows the crate.

mod tell;

use std::borrow::Cow;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ReferencingError, ValidationError, ValidationOptions, Validator};
use serde_json::{Value, json};

use super::cost::{Cost, depth};
use super::own::{self, Faults, Node, Path, Types, Walk, Wording};
use super::schema::edited;
use super::{Dialect, Options, SchemaError, pattern};

/// A value that more looks may be taken at is not explained.
const MAX_TOLD_LOOKS: u64 = 2_000;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Broad {
    validator: Validator,
    schema: Value,
    /// Where the defaults are.
    skeleton: Node,
    options: Options,
}

impl Broad {
    pub(super) fn compile(schema: &Value, options: &Options) -> Result<Self, SchemaError> {
        let validator = settings(options).build(schema).map_err(|error| refusal(&error))?;
        let skeleton =
            if options.completes { own::skeleton(schema, options) } else { Node::of_types(Types::ANY) };
        Ok(Self { validator, schema: schema.clone(), skeleton, options: *options })
    }

    /// Tells whether a value fits as it is.
    pub(super) fn is_valid(&self, text: &str) -> bool {
        serde_json::from_str(text).is_ok_and(|value| self.takes(&value))
    }

    /// Checks a value; see [`Schema::check`](super::Schema).
    pub(super) fn check<'t>(
        &self,
        text: &'t str,
        path: &Path<'_>,
        wording: Wording,
    ) -> Result<Cow<'t, str>, String> {
        let parsed = |text: &str| -> Result<Value, String> {
            serde_json::from_str(text)
                .map_err(|_| format!("{}: it is no JSON that can be checked", wording.refused))
        };
        let value = parsed(text)?;
        let fits = self.takes(&value);
        let edits = Walk::new(text, &self.options, None).run(&self.skeleton, path).unwrap_or_default();
        if !edits.is_empty() {
            // A default that does not fit is left out: with it, what was good would be refused.
            let whole = edited(text, &edits);
            if self.takes(&parsed(&whole)?) {
                return Ok(Cow::Owned(whole));
            }
        }
        if fits { Ok(Cow::Borrowed(text)) } else { Err(self.explain(&value, path, wording)) }
    }

    fn takes(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
            || (self.options.loose && self.validator.iter_errors(value).all(|error| has_one_reading(&error)))
    }

    #[cold]
    fn explain(&self, value: &Value, path: &Path<'_>, wording: Wording) -> String {
        let mut faults = Faults::default();
        // To explain, every form is tried to its end.
        if Cost::new(&self.schema, MAX_TOLD_LOOKS).at_depth(depth(value)) > MAX_TOLD_LOOKS {
            faults.add(|| format!("{path}: found what fits none of the forms that the schema has for it"));
            return faults.into_text(wording);
        }
        let errors = self.validator.iter_errors(value);
        let errors = errors.filter(|error| !self.options.loose || !has_one_reading(error));
        tell::tell(&self.schema, errors, path, &mut faults);
        faults.into_text(wording)
    }
}

/// Tells whether an error is a string where the service reads a number, a list or an object from it.
fn has_one_reading(error: &ValidationError<'_>) -> bool {
    let ValidationErrorKind::Type { kind } = error.kind() else { return false };
    let Value::String(text) = &**error.instance() else { return false };
    let wanted = tell::types(kind);
    let is_number = trunkline_protocol::decimal::Decimal::parse(text).is_some();
    wanted.contains("a list")
        || wanted.contains("an object")
        || (is_number && (wanted.contains("a number") || wanted.contains("an integer")))
}

/// Compiles a check for one format.
pub(super) fn format(name: &str, options: &Options) -> Option<Validator> {
    settings(options).build(&json!({ "format": name })).ok()
}

fn settings<'i>(options: &Options) -> ValidationOptions<'i> {
    let patterns = PatternOptions::regex().size_limit(pattern::MAX_SIZE).dfa_size_limit(pattern::MAX_SIZE);
    jsonschema::options()
        .with_draft(draft(options.dialect))
        .offline()
        .should_validate_formats(options.formats)
        .with_pattern_options(patterns)
}

fn draft(dialect: Dialect) -> Draft {
    match dialect {
        Dialect::Draft4 => Draft::Draft4,
        Dialect::Draft6 => Draft::Draft6,
        Dialect::Draft7 => Draft::Draft7,
        Dialect::V2019_09 => Draft::Draft201909,
        Dialect::V2020_12 => Draft::Draft202012,
    }
}

fn refusal(error: &ValidationError<'_>) -> SchemaError {
    match error.kind() {
        ValidationErrorKind::Referencing(ReferencingError::Unretrievable { uri, .. }) => {
            SchemaError::Elsewhere(cut(uri))
        }
        ValidationErrorKind::Referencing(error) => SchemaError::Wrong(cut(&error.to_string())),
        ValidationErrorKind::Format { format } if format == "regex" => {
            SchemaError::Pattern(cut(&error.instance().to_string()))
        }
        _ => SchemaError::Wrong(cut(&format!("{error} at `{}`", error.instance_path()))),
    }
}

fn cut(text: &str) -> String {
    own::cut(text, 300).to_owned()
}
