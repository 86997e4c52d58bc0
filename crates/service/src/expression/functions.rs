//! The functions expressions may call: a choice of the standard ones, and two of our own.

use std::sync::{Arc, LazyLock};

use cel::common::types::{CelString, STRING_TYPE};
use cel::common::value::CowVal;
use cel::{Env, ExecutionError};

/// Functions called as `name(..)`, for messages.
pub(super) const GLOBAL: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "has",
    "int",
    "like_escape",
    "matches",
    "safe_name",
    "size",
    "string",
    "uint",
];

/// Functions and macros called as `value.name(..)`, for messages.
pub(super) const MEMBER: [&str; 10] =
    ["all", "contains", "endsWith", "exists", "exists_one", "filter", "map", "matches", "size", "startsWith"];

/// The names of our functions whose own words may be shown; those of the crate can hold values.
pub(super) const SAFE_NAME: &str = "safe_name";

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    let own = [("like_escape", like_escape as cel::common::functions::Function), (SAFE_NAME, safe_name)];
    for (name, function) in own {
        let added = env.add_overload(name, &format!("{name}_string"), vec![STRING_TYPE], function);
        debug_assert!(added.is_ok(), "`{name}` is a standard function now");
    }
    Arc::new(env)
});

/// The environment every expression is compiled for and evaluated in, built once.
pub(super) fn environment() -> Arc<Env> {
    Arc::clone(&ENVIRONMENT)
}

fn like_escape<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = string(&arguments)?;
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if matches!(character, '\\' | '%' | '_') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    Ok(CowVal::owned(CelString::from(escaped)))
}

fn safe_name<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = string(&arguments)?;
    let is_safe = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !is_safe {
        return Err(ExecutionError::function_error(SAFE_NAME, ""));
    }
    arguments.into_iter().next().ok_or_else(ExecutionError::missing_argument_or_target)
}

fn string<'s>(arguments: &'s [CowVal<'_, '_>]) -> Result<&'s str, ExecutionError> {
    arguments
        .first()
        .and_then(|argument| argument.downcast_ref::<CelString<'_>>())
        .map(CelString::inner)
        .ok_or_else(ExecutionError::missing_argument_or_target)
}
