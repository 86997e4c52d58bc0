//! The pass over a parsed expression that finds what would fail in every call: unknown names and functions, operators on types
//! they do not fit, a result of the wrong kind.

use std::collections::BTreeSet;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, MapExpr, SelectExpr,
};
use cel::{ParseErrors, Program};

use super::types::{self, Type};
use super::{Expected, ExpressionError, Scope, functions};
use crate::nearest;

/// Deepest nesting of an expression. The evaluator recurses, so this bounds its stack.
const MAX_DEPTH: usize = 64;
/// Most loops inside each other: two are a join, three are a mistake.
const MAX_LOOPS: usize = 2;

const CALLER: [&str; 5] = ["claims", "issuer", "roles", "scopes", "subject"];

/// What the pass learned of an expression.
pub(super) struct Checked {
    /// The arguments it reads.
    pub(super) reads: BTreeSet<String>,
    /// It reads something of the caller.
    pub(super) caller: bool,
    /// The member names written in it.
    pub(super) members: BTreeSet<String>,
    /// It has a loop inside a loop.
    pub(super) nested: bool,
}

/// Checks a parsed expression against what it may name.
pub(super) fn check(program: &Program, source: &str, scope: &Scope) -> Result<Checked, ExpressionError> {
    let checked = Checked { reads: BTreeSet::new(), caller: false, members: BTreeSet::new(), nested: false };
    let mut pass = Pass { program, source, scope, locals: Vec::new(), loops: 0, depth: 0, checked };
    let root = program.expression();
    let found = pass.expression(root)?;
    if let Some(wanted) = misfit(scope.expected, &found) {
        let message = format!("the expression comes to {found}; {wanted} is wanted");
        let help = types::conversion(&found, scope.expected)
            .map(|function| format!("write `{function}(...)` around it"));
        return Err(ExpressionError { offset: start_of(program, source, root), message, help });
    }
    Ok(pass.checked)
}

/// Tells the parser's first complaint in our terms.
pub(super) fn parse_error(source: &str, errors: &ParseErrors) -> ExpressionError {
    let Some(first) = errors.errors.first() else {
        return ExpressionError { offset: 0, message: "the expression does not parse".into(), help: None };
    };
    let message = first.msg.lines().next().unwrap_or_default();
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    // The list of every token that would have fitted helps nobody.
    let message = message
        .split(" expecting ")
        .next()
        .unwrap_or_default()
        .replace('\'', "`")
        .replace("<EOF>", "end of the expression");
    ExpressionError { offset: position(source, first.pos), message, help: None }
}

/// The byte of a line and column, both from 1, the column in characters.
fn position(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    let before: usize = source.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = source.get(before..).unwrap_or_default();
    before + rest.char_indices().nth(column - 1).map_or(rest.len(), |(byte, _)| byte)
}

fn start_of(program: &Program, source: &str, node: &IdedExpr) -> usize {
    let start = program.source_info().offset_for(node.id).map_or(0, |(start, _)| start as usize);
    (0..=start.min(source.len())).rev().find(|byte| source.is_char_boundary(*byte)).unwrap_or(0)
}

fn misfit(expected: Option<Expected>, found: &Type) -> Option<&'static str> {
    if matches!(found, Type::Dyn | Type::Null) {
        return None;
    }
    let (fits, wanted) = match expected {
        None | Some(Expected::Any) => return None,
        Some(Expected::String) => (*found == Type::String, "a string"),
        Some(Expected::Integer) => (matches!(found, Type::Int | Type::UInt), "an int"),
        Some(Expected::Number) => (found.is_number(), "a number"),
        Some(Expected::Boolean) => (*found == Type::Bool, "a bool"),
    };
    (!fits).then_some(wanted)
}

struct Pass<'a> {
    program: &'a Program,
    source: &'a str,
    scope: &'a Scope,
    /// The variables of the loops around the current node, innermost last.
    locals: Vec<(&'a str, Type)>,
    loops: usize,
    depth: usize,
    checked: Checked,
}

type Found = Result<Type, ExpressionError>;

impl<'a> Pass<'a> {
    fn error(&self, node: &IdedExpr, message: impl Into<String>, help: Option<String>) -> ExpressionError {
        ExpressionError { offset: start_of(self.program, self.source, node), message: message.into(), help }
    }

    fn expression(&mut self, node: &'a IdedExpr) -> Found {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(node, format!("the expression is nested deeper than {MAX_DEPTH}"), None));
        }
        let found = self.by_kind(node);
        self.depth -= 1;
        found
    }

    fn by_kind(&mut self, node: &'a IdedExpr) -> Found {
        match &node.expr {
            Expr::Literal(literal) => Ok(literal_type(literal)),
            Expr::Ident(name) => self.identifier(node, name),
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => self.call(node, call),
            Expr::List(list) => {
                let mut element = Type::Null;
                for item in &list.elements {
                    let item = self.expression(item)?;
                    element = element.joined(&item).unwrap_or(Type::Dyn);
                }
                Ok(Type::List(Box::new(element)))
            }
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(comprehension) => self.comprehension(node, comprehension),
            Expr::Struct(literal) => Err(self.error(
                node,
                format!("there is no type `{}`", literal.type_name),
                Some("write a map: `{\"key\": value}`".into()),
            )),
            Expr::Unspecified => Err(self.error(node, "the expression does not parse", None)),
        }
    }

    fn local(&self, name: &str) -> Option<&Type> {
        self.locals.iter().rev().find(|(local, _)| *local == name).map(|(_, found)| found)
    }

    fn identifier(&self, node: &IdedExpr, name: &str) -> Found {
        if let Some(found) = self.local(name) {
            return Ok(found.clone());
        }
        match name {
            "args" => Err(self.error(
                node,
                "`args` is no value by itself",
                Some("name the argument: `args.NAME`".into()),
            )),
            "caller" => {
                let help = format!("write `caller.` and one of {}", list(CALLER));
                Err(self.error(node, "`caller` is no value by itself", Some(help)))
            }
            _ => Err(self.unknown(node, name)),
        }
    }

    fn unknown(&self, node: &IdedExpr, name: &str) -> ExpressionError {
        let help = if self.scope.args.contains_key(name) {
            format!("write `args.{name}`")
        } else if CALLER.contains(&name) {
            format!("write `caller.{name}`")
        } else if let Some(near) =
            nearest(name, self.locals.iter().map(|(local, _)| *local).chain(["args", "caller"]))
        {
            format!("did you mean `{near}`?")
        } else {
            "the names are `args` and `caller`; text is written in quotes".into()
        };
        self.error(node, format!("there is no `{name}`"), Some(help))
    }

    fn select(&mut self, node: &'a IdedExpr, select: &'a SelectExpr) -> Found {
        self.checked.members.insert(select.field.clone());
        let found = match &select.operand.expr {
            Expr::Ident(root) if root == "args" && self.local(root).is_none() => {
                self.argument(node, &select.field)?
            }
            Expr::Ident(root) if root == "caller" && self.local(root).is_none() => {
                self.caller(node, select)?
            }
            _ => match self.expression(&select.operand)? {
                Type::Dyn | Type::Map => Type::Dyn,
                other => {
                    return Err(self.error(node, format!("{other} has no member `{}`", select.field), None));
                }
            },
        };
        Ok(if select.test { Type::Bool } else { found })
    }

    fn argument(&mut self, node: &IdedExpr, name: &str) -> Found {
        let scope = self.scope;
        if let Some(declared) = scope.args.get(name) {
            self.checked.reads.insert(name.to_owned());
            return Ok(Type::of_argument(declared));
        }
        let known = scope.args.keys().map(String::as_str);
        let help = match nearest(name, known.clone()) {
            Some(near) => format!("did you mean `args.{near}`?"),
            None if scope.args.is_empty() => "no argument is declared that an expression could read".into(),
            None => format!("the arguments are {}", list(known)),
        };
        Err(self.error(node, format!("there is no argument `{name}`"), Some(help)))
    }

    fn caller(&mut self, node: &IdedExpr, select: &SelectExpr) -> Found {
        self.checked.caller = true;
        if select.test {
            return Err(self.error(
                node,
                "`has` on `caller` says nothing: its members are always there",
                None,
            ));
        }
        match select.field.as_str() {
            "subject" => Ok(Type::String),
            // A string, or null for the local user.
            "issuer" => Ok(Type::String),
            "scopes" | "roles" => Ok(Type::List(Box::new(Type::String))),
            "claims" => Ok(Type::Map),
            other => {
                let help = match nearest(other, CALLER) {
                    Some(near) => format!("did you mean `caller.{near}`?"),
                    None => {
                        format!("`caller` has {}; what the token says is in `caller.claims`", list(CALLER))
                    }
                };
                Err(self.error(node, format!("`caller` has no `{other}`"), Some(help)))
            }
        }
    }

    fn map(&mut self, map: &'a MapExpr) -> Found {
        for entry in &map.entries {
            if let EntryExpr::MapEntry(entry) = &entry.expr {
                let key = self.expression(&entry.key)?;
                if !matches!(key, Type::Dyn | Type::String | Type::Int | Type::UInt | Type::Bool) {
                    return Err(self.error(&entry.key, format!("{key} cannot be the key of a map"), None));
                }
                self.expression(&entry.value)?;
            }
        }
        Ok(Type::Map)
    }

    fn comprehension(&mut self, node: &'a IdedExpr, comprehension: &'a ComprehensionExpr) -> Found {
        let element = match self.expression(&comprehension.iter_range)? {
            Type::List(element) if *element == Type::Null => Type::Dyn,
            Type::List(element) => *element,
            Type::Dyn | Type::Map => Type::Dyn,
            other => {
                return Err(self.error(
                    &comprehension.iter_range,
                    format!("{other} cannot be looped over"),
                    None,
                ));
            }
        };
        if matches!(comprehension.iter_var.as_str(), "args" | "caller") {
            let message = format!("`{}` cannot be the name of a loop variable", comprehension.iter_var);
            return Err(self.error(node, message, None));
        }
        let start = self.expression(&comprehension.accu_init)?;
        self.loops += 1;
        self.checked.nested |= self.loops > 1;
        if self.loops > MAX_LOOPS {
            return Err(self.error(node, format!("more than {MAX_LOOPS} loops inside each other"), None));
        }
        self.locals.push((&comprehension.accu_var, start));
        self.locals.push((&comprehension.iter_var, element));
        self.expression(&comprehension.loop_cond)?;
        let step = self.expression(&comprehension.loop_step)?;
        self.loops -= 1;
        self.locals.truncate(self.locals.len().saturating_sub(2));
        self.locals.push((&comprehension.accu_var, step));
        let found = self.expression(&comprehension.result)?;
        self.locals.pop();
        Ok(found)
    }

    fn call(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> Found {
        let name = call.func_name.as_str();
        // Before the arguments: `x` of a `map` that lacks one is no name, and to say so would mislead.
        if types::sign(name).is_none() && !types::is_function(name, call.target.is_some()) {
            return Err(self.unknown_function(node, name, call.target.is_some()));
        }
        let target = match &call.target {
            Some(target) => Some(self.expression(target)?),
            None => None,
        };
        let mut arguments = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            arguments.push(self.expression(argument)?);
        }
        if let Some(sign) = types::sign(name) {
            return types::operator(name, &arguments)
                .ok_or_else(|| self.bad_operands(node, sign, &arguments));
        }
        let found = match &target {
            Some(target) => types::member(name, target, &arguments),
            None => types::global(name, &arguments),
        };
        let Some(found) = found else {
            return Err(self.bad_arguments(node, name, target.as_ref(), &arguments));
        };
        if name == "matches" {
            self.pattern(call)?;
        }
        Ok(found)
    }

    /// A pattern must be written out, so that no caller chooses what is compiled, and must be one.
    fn pattern(&self, call: &CallExpr) -> Result<(), ExpressionError> {
        let Some(pattern) = call.args.last() else { return Ok(()) };
        let Expr::Literal(LiteralValue::String(_)) = &pattern.expr else {
            return Err(self.error(pattern, "the pattern of `matches` must be written in quotes", None));
        };
        let empty = IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::String("".into())) };
        let trial =
            CallExpr { func_name: "matches".into(), target: None, args: vec![empty, pattern.clone()] };
        let trial = IdedExpr { id: 0, expr: Expr::Call(trial) };
        let context = cel::Context::with_env(functions::environment());
        match cel::Value::resolve_val(&trial, &context) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.error(pattern, "the pattern is no regular expression", None)),
        }
    }

    fn bad_operands(&self, node: &IdedExpr, sign: &str, arguments: &[Type]) -> ExpressionError {
        let message = match (sign, arguments) {
            ("?:", [condition, ..]) if !condition.is(&Type::Bool) => {
                format!("the condition of `? :` is {condition}, not bool")
            }
            ("?:", [_, yes, no]) => {
                format!("the two results of `? :` are {yes} and {no}; both must be of one type")
            }
            (_, [one]) => format!("`{sign}` does not fit {one}"),
            (_, [left, right]) => format!("`{sign}` does not fit {left} and {right}"),
            _ => format!("`{sign}` is used wrongly"),
        };
        let help = match arguments {
            [left, right] if left.is_number() && right.is_number() => {
                Some("convert one side: `double(...)` or `int(...)`".into())
            }
            [Type::String, other] | [other, Type::String] if sign == "+" && other.is_number() => {
                Some("make text of it: `string(...)`".into())
            }
            _ => None,
        };
        self.error(node, message, help)
    }

    fn bad_arguments(
        &self,
        node: &IdedExpr,
        name: &str,
        target: Option<&Type>,
        arguments: &[Type],
    ) -> ExpressionError {
        let given = list_types(arguments);
        let message = match target {
            Some(target) => format!("{target} has no `{name}({given})`"),
            None => format!("there is no `{name}({given})`"),
        };
        self.error(
            node,
            message,
            types::usage(name, target.is_some()).map(|usage| format!("write `{usage}`")),
        )
    }

    fn unknown_function(&self, node: &IdedExpr, name: &str, is_member: bool) -> ExpressionError {
        let (known, others): (&[&str], &[&str]) = if is_member {
            (&functions::MEMBER, &functions::GLOBAL)
        } else {
            (&functions::GLOBAL, &functions::MEMBER)
        };
        let help =
            if let Some(usage) = types::usage(name, is_member).or_else(|| types::usage(name, !is_member)) {
                format!("write `{usage}`")
            } else if let Some(near) = nearest(name, known.iter().chain(others).copied()) {
                format!("did you mean `{near}`?")
            } else {
                format!("the functions are {}", list(known.iter().copied()))
            };
        let shown = if is_member { format!(".{name}()") } else { format!("{name}()") };
        self.error(node, format!("there is no function `{shown}`"), Some(help))
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::String,
        LiteralValue::UInt(_) => Type::UInt,
    }
}

fn list<'s>(names: impl IntoIterator<Item = &'s str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn list_types(types: &[Type]) -> String {
    types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ")
}
