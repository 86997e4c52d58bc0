//! Evaluation against one call: arguments and claims are looked up where they are, results become JSON, errors lose every value.

use std::borrow::Cow;

use cel::common::traits::Indexer;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt, MAP_TYPE, Type,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, ExecutionError};
use serde_json::{Map, Number, Value};

use super::{ArgType, Expected, Expression, functions};
use crate::Caller;

/// Most elements of a list argument that an expression with a loop inside a loop reads: the work grows with its square.
const MAX_NESTED: usize = 1000;

/// Why an expression had no acceptable result. The text names nothing but what the expression itself names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvaluationError(Cow<'static, str>);

pub(super) fn evaluate(
    expression: &Expression,
    args: &Map<String, Value>,
    caller: &Caller,
) -> Result<Value, EvaluationError> {
    if expression.nested {
        bound_lists(expression, args)?;
    }
    let names = Names { expression, args, caller };
    let mut context = Context::with_env(functions::environment());
    context.set_variable_resolver(&names);
    let result = cel::Value::resolve_val(expression.program.expression(), &context)
        .map_err(|error| describe(expression, &error))
        .and_then(|value| to_json(&value))?;
    match expected_kind(expression.expected, &result) {
        None => Ok(result),
        Some(wanted) => Err(EvaluationError(format!("the result is not {wanted}").into())),
    }
}

fn bound_lists(expression: &Expression, args: &Map<String, Value>) -> Result<(), EvaluationError> {
    for name in &expression.reads {
        if args.get(name).is_some_and(|value| longest_list(value) > MAX_NESTED) {
            let text = format!(
                "`{name}` has a list of more than {MAX_NESTED} elements, too many for a loop inside a loop"
            );
            return Err(EvaluationError(text.into()));
        }
    }
    Ok(())
}

fn longest_list(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(longest_list).max().unwrap_or(0).max(items.len()),
        Value::Object(members) => members.values().map(longest_list).max().unwrap_or(0).max(members.len()),
        _ => 0,
    }
}

/// Which kind was wanted, when the result is another.
fn expected_kind(expected: Option<Expected>, result: &Value) -> Option<&'static str> {
    let (fits, wanted) = match expected {
        None | Some(Expected::Any) => return None,
        Some(Expected::String) => (result.is_string(), "a string"),
        Some(Expected::Integer) => (result.is_i64() || result.is_u64(), "an integer"),
        Some(Expected::Number) => (result.is_number(), "a number"),
        Some(Expected::Boolean) => (result.is_boolean(), "a truth value"),
    };
    (!fits && !result.is_null()).then_some(wanted)
}

/// The names of one call. The evaluator asks for the longest path first: `args.city`, before `args`.
struct Names<'a> {
    expression: &'a Expression,
    args: &'a Map<String, Value>,
    caller: &'a Caller,
}

impl VariableResolver for Names<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(name) = variable.strip_prefix("args.") {
            let declared = self.expression.args.get(name)?;
            return Some(self.args.get(name).map_or_else(null, |value| argument(value, declared)));
        }
        if let Some(claim) = variable.strip_prefix("caller.claims.") {
            // A claim whose name has a dot is not what `caller.claims.a.b` says.
            return if claim.contains('.') { None } else { self.caller.claims.get(claim).map(from_json) };
        }
        let caller = self.caller;
        Some(match variable {
            // Only `has(args.name)` asks for this; see the check.
            "args" => CowVal::owned(Given(self.args)),
            "caller.subject" => text(&caller.subject),
            "caller.issuer" => caller.issuer.as_deref().map_or_else(null, text),
            "caller.scopes" => texts(&caller.scopes),
            "caller.roles" => texts(&caller.roles),
            "caller.claims" => object(&caller.claims),
            _ => return None,
        })
    }
}

/// The arguments as a whole, which can only be asked whether one of them is there.
#[derive(Debug, Clone, Copy)]
struct Given<'a>(&'a Map<String, Value>);

impl Val for Given<'_> {
    fn get_type(&self) -> &Type {
        &MAP_TYPE
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Indexer for Given<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let is_there =
            index.downcast_ref::<CelString<'_>>().is_some_and(|name| self.0.contains_key(name.inner()));
        if is_there { Ok(null()) } else { Err(ExecutionError::no_such_key("")) }
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

/// An argument as its declared type says; as it is where it does not fit, for the evaluation to refuse.
fn argument<'b>(value: &'b Value, declared: &ArgType) -> CowVal<'b, 'b> {
    match (declared, value) {
        (ArgType::Integer, Value::String(digits)) => match digits.parse::<i64>() {
            Ok(integer) => CowVal::owned(CelInt::from(integer)),
            Err(_) => text(digits),
        },
        (ArgType::Number, Value::String(digits)) => match digits.parse::<f64>() {
            Ok(number) => CowVal::owned(CelDouble::from(number)),
            Err(_) => text(digits),
        },
        (ArgType::Number, Value::Number(number)) => match number.as_f64() {
            Some(number) => CowVal::owned(CelDouble::from(number)),
            None => null(),
        },
        (ArgType::List(element), Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| argument(item, element).into_owned()).collect();
            CowVal::owned(CelList::from(items))
        }
        (_, value) => from_json(value),
    }
}

fn from_json(value: &Value) -> CowVal<'_, '_> {
    match value {
        Value::Null => null(),
        Value::Bool(truth) => CowVal::owned(CelBool::from(*truth)),
        Value::Number(number) => from_number(number),
        Value::String(string) => text(string),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| from_json(item).into_owned()).collect();
            CowVal::owned(CelList::from(items))
        }
        Value::Object(members) => object(members),
    }
}

fn from_number<'b>(number: &Number) -> CowVal<'b, 'b> {
    if let Some(integer) = number.as_i64() {
        CowVal::owned(CelInt::from(integer))
    } else if let Some(integer) = number.as_u64() {
        CowVal::owned(CelUInt::from(integer))
    } else {
        number.as_f64().map_or_else(null, |number| CowVal::owned(CelDouble::from(number)))
    }
}

fn object(members: &Map<String, Value>) -> CowVal<'_, '_> {
    let members: std::collections::HashMap<CelMapKey<'_>, Box<dyn Val + '_>> = members
        .iter()
        .map(|(name, value)| (CelMapKey::from(name.as_str()), from_json(value).into_owned()))
        .collect();
    CowVal::owned(CelMap::from(members))
}

fn texts(strings: &[Box<str>]) -> CowVal<'_, '_> {
    let strings: Vec<Box<dyn Val + '_>> =
        strings.iter().map(|string| Box::new(CelString::from(&**string)) as Box<dyn Val + '_>).collect();
    CowVal::owned(CelList::from(strings))
}

fn text(string: &str) -> CowVal<'_, '_> {
    CowVal::owned(CelString::from(string))
}

fn null<'b, 'v>() -> CowVal<'b, 'v> {
    CowVal::owned(CelNull)
}

fn to_json(value: &CowVal<'_, '_>) -> Result<Value, EvaluationError> {
    let no_json = || EvaluationError("the result cannot be told in JSON".into());
    // The two most common results, without a detour over the crate's own tree.
    if let Some(string) = value.downcast_ref::<CelString<'_>>() {
        return Ok(Value::String(string.inner().to_owned()));
    }
    if let Some(truth) = value.downcast_ref::<CelBool>() {
        return Ok(Value::Bool(*truth.inner()));
    }
    let value = cel::Value::try_from(value.as_ref()).map_err(|_| no_json())?;
    if is_finite(&value) { value.json().map_err(|_| no_json()) } else { Err(no_json()) }
}

/// Whether no NaN or infinity is in it: the crate's conversion would make `null` of one.
fn is_finite(value: &cel::Value) -> bool {
    match value {
        cel::Value::Float(number) => number.is_finite(),
        cel::Value::List(items) => items.iter().all(is_finite),
        cel::Value::Map(map) => map.map.values().all(is_finite),
        _ => true,
    }
}

/// The error in words of ours. The crate's own texts show values and are never passed on.
fn describe(expression: &Expression, error: &ExecutionError) -> EvaluationError {
    EvaluationError(match error {
        ExecutionError::NoSuchKey(key) => match expression.members.get(key.as_str()) {
            Some(member) => format!("there is no `{member}`").into(),
            None => "a member that the expression looks up is not there".into(),
        },
        ExecutionError::FunctionError { function, .. } if function == functions::SAFE_NAME => {
            "`safe_name` allows 1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`".into()
        }
        ExecutionError::FunctionError { function, .. } => {
            match functions::GLOBAL.iter().find(|known| *known == function) {
                Some(function) => format!("`{function}` does not accept its argument").into(),
                None => "a function does not accept its argument".into(),
            }
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".into(),
        ExecutionError::Overflow(..) => "the result of an operator is too large".into(),
        ExecutionError::IndexOutOfBounds(_) => "an index is out of bounds".into(),
        _ => "an operator or function does not fit the values it is given".into(),
    })
}
