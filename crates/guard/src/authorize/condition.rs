//! Conditions of a role, compiled for what they are asked about.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use trunkline_service::Caller;
use trunkline_service::expression::{ArgType, Expected, Expression, ExpressionError, Scope};

use super::arguments::Read;
use super::policy::ConditionText;

/// The conditions of one role, all of which must hold.
#[derive(Debug)]
pub(crate) struct Conditions(Box<[Condition]>);

#[derive(Debug)]
struct Condition {
    id: Arc<str>,
    /// `None`: it does not fit what it is asked about, and never holds.
    expression: Option<Expression>,
}

/// How each condition came out that was looked at; `None` when it could not be evaluated.
pub(crate) type Outcomes = Vec<(Arc<str>, Option<bool>)>;

/// Compiles one condition.
///
/// # Errors
/// [`ExpressionError`]: it does not parse or does not fit.
pub(crate) fn compile(text: &str, types: &BTreeMap<String, ArgType>) -> Result<Expression, ExpressionError> {
    let scope = Scope { args: types.clone(), expected: Some(Expected::Boolean) };
    Expression::compile(text, &scope)
}

impl Conditions {
    /// Compiles the conditions of a role. One that does not fit never holds.
    pub(crate) fn new(texts: &[ConditionText], types: &BTreeMap<String, ArgType>) -> Self {
        let condition = |text: &ConditionText| Condition {
            id: Arc::clone(&text.id),
            expression: compile(&text.text, types).ok(),
        };
        Self(texts.iter().map(condition).collect())
    }

    /// Tells whether all hold, and adds how each came out to `outcomes`; without them, it ends at the first that does not.
    pub(crate) fn hold(&self, read: &Read, caller: &Caller, mut outcomes: Option<&mut Outcomes>) -> bool {
        let mut all = true;
        for condition in &self.0 {
            let outcome =
                condition.expression.as_ref().and_then(|expression| evaluate(expression, read, caller).ok());
            all &= outcome == Some(true);
            match &mut outcomes {
                Some(outcomes) => outcomes.push((Arc::clone(&condition.id), outcome)),
                None if !all => return false,
                None => {}
            }
        }
        all
    }

    /// Tells whether one of them reads that argument.
    pub(crate) fn read(&self, name: &str) -> bool {
        self.0.iter().filter_map(|condition| condition.expression.as_ref()).any(|one| reads(one, name))
    }
}

fn reads(expression: &Expression, name: &str) -> bool {
    expression.uses_args().any(|used| used == name)
}

/// Evaluates a condition.
///
/// # Errors
/// Why it comes to no truth value, without any value.
pub(crate) fn evaluate(expression: &Expression, read: &Read, caller: &Caller) -> Result<bool, String> {
    if let Some(misfit) = read.misfits.iter().find(|misfit| reads(expression, misfit)) {
        return Err(format!("`{misfit}` is not of the kind that the schema says, or has too many digits"));
    }
    match expression.evaluate(&read.args, caller) {
        Ok(Value::Bool(truth)) => Ok(truth),
        // `null` is no answer either.
        Ok(_) => Err("it comes to no truth value".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
