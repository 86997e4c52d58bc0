//! Expressions of the Common Expression Language, checked when the configuration is loaded.
//!
//! The `cel` crate parses and evaluates; it has no checker. The pass in `check` knows the names, the functions and,
//! where they are known, the types, so that a mistake is found when the file is loaded. Evaluation reads the arguments and
//! the caller where they are and copies only what the expression names.

mod check;
mod evaluate;
mod functions;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cel::Program;
use serde_json::{Map, Value};

use crate::Caller;

pub use evaluate::EvaluationError;

/// Most bytes an expression may have.
pub const MAX_SOURCE: usize = 4096;

/// What an expression may name, and what it must come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// The declared arguments, read as `args.NAME`.
    pub args: BTreeMap<String, ArgType>,
    /// What the result must be; `None` admits everything.
    pub expected: Option<Expected>,
}

/// The declared type of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgType {
    /// A string.
    String,
    /// An integer; a decimal string is read as one.
    Integer,
    /// A number, always a double in expressions; a decimal string is read as one.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Anything, known only when the call is made.
    Any,
    /// A list of one type.
    List(Box<ArgType>),
}

/// What the result of an expression must be. `null` is always allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A string.
    String,
    /// An integer.
    Integer,
    /// An integer or a double.
    Number,
    /// A truth value.
    Boolean,
    /// Any JSON value.
    Any,
}

/// An expression that passed every check that can be made without a call.
pub struct Expression {
    program: Program,
    args: BTreeMap<String, ArgType>,
    /// The arguments it reads.
    reads: BTreeSet<String>,
    uses_caller: bool,
    /// Names written in the source, the only ones an error may repeat.
    members: BTreeSet<String>,
    nested: bool,
    expected: Option<Expected>,
}

impl Expression {
    /// Parses and checks an expression.
    ///
    /// # Errors
    /// [`ExpressionError`]: it does not parse, names what does not exist, puts types together that do not fit, is too long
    /// or too deep, or comes to something else than `scope.expected`.
    pub fn compile(source: &str, scope: &Scope) -> Result<Self, ExpressionError> {
        if source.len() > MAX_SOURCE {
            let message =
                format!("the expression has {} bytes; at most {MAX_SOURCE} are allowed", source.len());
            return Err(ExpressionError { offset: MAX_SOURCE, message, help: None });
        }
        let program =
            functions::environment().compile(source).map_err(|errors| check::parse_error(source, &errors))?;
        let checked = check::check(&program, source, scope)?;
        Ok(Self {
            program,
            args: scope.args.clone(),
            reads: checked.reads,
            uses_caller: checked.caller,
            members: checked.members,
            nested: checked.nested,
            expected: scope.expected,
        })
    }

    /// Evaluates the expression. An argument that `args` lacks is `null`, and `has(args.NAME)` is false for it.
    ///
    /// # Errors
    /// [`EvaluationError`]: a claim is missing, a function refused its argument, an operator did not fit the values, or the
    /// result is not of the expected kind. Its text holds no value.
    pub fn evaluate(&self, args: &Map<String, Value>, caller: &Caller) -> Result<Value, EvaluationError> {
        evaluate::evaluate(self, args, caller)
    }

    /// Returns the names of the arguments it reads, sorted.
    pub fn uses_args(&self) -> impl Iterator<Item = &str> {
        self.reads.iter().map(String::as_str)
    }

    /// Tells whether it reads anything of the caller.
    #[must_use]
    pub fn uses_caller(&self) -> bool {
        self.uses_caller
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression")
            .field("source", &self.program.source_info().source)
            .finish_non_exhaustive()
    }
}

/// Why an expression was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// Where, as a byte offset into the source, at a character's first byte.
    pub offset: usize,
    /// What was found and what is wrong with it.
    pub message: String,
    /// What to write instead, when that can be said.
    pub help: Option<String>,
}
#[cfg(test)]
mod tests;
