//! The few strings a prompt or a resource is given: arguments by name, variables of a URI.

use std::any::type_name;
use std::str::FromStr;

use trunkline_protocol::member;
use trunkline_service::{Failure, FailureKind};

use super::Context;

impl Context {
    /// Returns an argument of a prompt.
    ///
    /// # Errors
    /// `InvalidParams` when it is absent, no string, or does not parse.
    pub fn prompt_argument<T: FromStr>(&self, name: &str) -> Result<T, Failure> {
        self.optional_prompt_argument(name)?.ok_or_else(|| missing_argument(name))
    }

    /// Returns an argument of a prompt, `None` when it is absent or null.
    ///
    /// # Errors
    /// `InvalidParams` when it is no string or does not parse.
    pub fn optional_prompt_argument<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let raw = self.raw_arguments();
        let token = member(raw, name);
        if token.is_nothing() {
            return Ok(None);
        }
        match token.text(raw) {
            Some(text) => parse(&text, "argument", name).map(Some),
            None => {
                Err(Failure::new(FailureKind::InvalidParams, format!("argument `{name}` must be a string")))
            }
        }
    }

    /// Returns a variable of a resource template, percent-decoded.
    ///
    /// # Errors
    /// `InvalidParams` when it is absent or does not parse.
    pub fn variable<T: FromStr>(&self, name: &str) -> Result<T, Failure> {
        self.optional_variable(name)?.ok_or_else(|| {
            Failure::new(FailureKind::InvalidParams, format!("`{name}` is missing in the URI"))
        })
    }

    /// Returns a variable of a resource template, `None` when the URI does not have it, as with `{?page}`.
    ///
    /// # Errors
    /// `InvalidParams` when it does not parse.
    pub fn optional_variable<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(template) = self.resource().and_then(|unit| unit.template.as_ref()) else { return Ok(None) };
        let values = template.matches(&self.uri()).unwrap_or_default();
        let value = values.into_iter().find(|(variable, _)| *variable == name);
        value.map(|(_, text)| parse(&text, "variable", name)).transpose()
    }
}

pub(crate) fn missing_argument(name: &str) -> Failure {
    Failure::new(FailureKind::InvalidParams, format!("argument `{name}` is required: a string"))
}

fn parse<T: FromStr>(text: &str, what: &str, name: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| {
        let kind = type_name::<T>().rsplit("::").next().unwrap_or_default();
        Failure::new(FailureKind::InvalidParams, format!("{what} `{name}` cannot be read as `{kind}`"))
    })
}
