//! Conditions of a role, compiled for what they are asked about.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use trunkline_service::Caller;
use trunkline_service::expression::{ArgType, Expected, Expression, ExpressionError, Scope};

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
    pub(crate) fn hold(
        &self,
        args: &Map<String, Value>,
        caller: &Caller,
        mut outcomes: Option<&mut Outcomes>,
    ) -> bool {
        let mut all = true;
        for condition in &self.0 {
            let outcome = condition.expression.as_ref().and_then(|expression| {
                match expression.evaluate(args, caller) {
                    Ok(Value::Bool(truth)) => Some(truth),
                    // `null` is no answer either.
                    Ok(_) | Err(_) => None,
                }
            });
            all &= outcome == Some(true);
            match &mut outcomes {
                Some(outcomes) => outcomes.push((Arc::clone(&condition.id), outcome)),
                None if !all => return false,
                None => {}
            }
        }
        all
    }

    /// Says of each that it could not be evaluated.
    pub(crate) fn unknown(&self, outcomes: &mut Outcomes) {
        outcomes.extend(self.0.iter().map(|condition| (Arc::clone(&condition.id), None)));
    }
}
