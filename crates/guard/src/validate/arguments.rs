//! The check that stands before a tool: applies defaults, then tells a model all that does not fit.

use std::borrow::Cow;

use serde_json::Value;
use trunkline_service::catalog::{Entry, Facts};
use trunkline_service::check::{Check, Checked};
use trunkline_service::meter::{Counter, Meter, Page};
use trunkline_service::{Reply, Request, ToolDefinition};

use super::own::{Path, Wording};
use super::{Options, Schema, SchemaError};

/// Checks the arguments of one tool.
///
/// Defaults of the schema that are missing at the top, and in objects that are there, are put into the request; where none is
/// missing nothing is copied. What does not fit is answered with a result that has `isError`, for a model to act on: every place, at
/// most ten, what was found there and what is allowed. Values of secret arguments are not told.
#[derive(Debug)]
pub struct Validate {
    schema: Schema,
    secrets: Box<[Box<str>]>,
    validated: Validated,
}

/// How many calls of one tool were checked.
#[derive(Debug)]
pub struct Validated {
    tool: Box<str>,
    checked: Counter,
    refused: Counter,
}

pub(super) const WORDING: Wording =
    Wording { refused: "the arguments were not accepted", taker: "this tool" };

impl Validate {
    /// Compiles the schema of a tool: the full one where its facts have it, else the one that clients see. Formats are checked,
    /// where the service reads loosely as it does by itself, if it says how.
    ///
    /// # Errors
    /// Why the schema is not used: the tool is quarantined then.
    pub fn of(entry: &Entry) -> Result<Self, SchemaError> {
        let Facts { takes_numerals, forms, secrets, .. } = &entry.facts;
        let options =
            Options { loose: *takes_numerals, formats: !takes_numerals, forms: *forms, ..Options::default() };
        Ok(Self {
            schema: Schema::compile(&whole(&entry.definition, &entry.facts), options)?,
            secrets: secrets.clone().into(),
            validated: Validated {
                tool: entry.definition.name.as_str().into(),
                checked: Counter::default(),
                refused: Counter::default(),
            },
        })
    }

    /// Returns the compiled schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

/// The schema that arguments have to fit. What clients see beside the full one, as the argument that asks for a later page, is
/// taken too.
fn whole<'e>(definition: &'e ToolDefinition, facts: &'e Facts) -> Cow<'e, Value> {
    let Some(full) = &facts.schema else { return Cow::Borrowed(&definition.input_schema) };
    let Some(Value::Object(seen)) = definition.input_schema.get("properties") else {
        return Cow::Borrowed(full);
    };
    let is_known = |name: &str| full.get("properties").is_some_and(|known| known.get(name).is_some());
    if seen.keys().all(|name| is_known(name)) {
        return Cow::Borrowed(full);
    }
    let mut whole = full.clone();
    if let Some(Value::Object(known)) = whole.get_mut("properties") {
        for (name, schema) in seen {
            if !known.contains_key(name) {
                known.insert(name.clone(), schema.clone());
            }
        }
    }
    Cow::Owned(whole)
}

impl Check for Validate {
    fn check<'s>(&'s self, request: &mut Request) -> Checked<'s> {
        self.validated.checked.add_one();
        let path = Path::root("args", false).with_secrets(&self.secrets);
        let text = std::str::from_utf8(request.arguments()).unwrap_or_default();
        let changed = match self.schema.check(text, &path, WORDING) {
            Ok(Cow::Borrowed(_)) => return Checked::Passed,
            Ok(Cow::Owned(changed)) => changed,
            Err(text) => {
                self.validated.refused.add_one();
                return Checked::Answered(Ok(Reply::tool_error(&text)));
            }
        };
        request.set_arguments(changed.as_bytes());
        Checked::Passed
    }
}

impl Meter for Validate {
    fn read(&self, page: &mut Page) {
        let Validated { tool, checked, refused } = &self.validated;
        let labels = [("tool", &**tool)];
        page.counter(
            "trunkline_validate_checked_total",
            "Calls whose arguments were checked.",
            &labels,
            checked.sum(),
        );
        page.counter(
            "trunkline_validate_refused_total",
            "Calls whose arguments did not fit.",
            &labels,
            refused.sum(),
        );
    }
}
