//! The types the check knows, and which operators and functions fit them.

use std::fmt;

use cel::common::ast::operators as op;

use super::{ArgType, Expected, functions};

/// What is known of a value before there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// Nothing.
    Dyn,
    /// `null`; also the element of an empty list.
    Null,
    Bool,
    Int,
    UInt,
    Double,
    String,
    Bytes,
    List(Box<Type>),
    /// Its members are not known.
    Map,
}

impl Type {
    pub(super) fn of_argument(declared: &ArgType) -> Self {
        match declared {
            ArgType::String => Self::String,
            ArgType::Integer => Self::Int,
            ArgType::Number => Self::Double,
            ArgType::Boolean => Self::Bool,
            ArgType::Any => Self::Dyn,
            ArgType::List(element) => Self::List(Box::new(Self::of_argument(element))),
        }
    }

    /// Whether a value of this type can be one of `other`.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.joined(other).is_some_and(|joined| joined == *other || joined == Self::Dyn)
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::UInt | Self::Double)
    }

    /// The type that values of both have, `None` when there is none.
    pub(super) fn joined(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (one, same) if one == same => one.clone(),
            (Self::Dyn, _) | (_, Self::Dyn) => Self::Dyn,
            (Self::Null, known) | (known, Self::Null) => known.clone(),
            (Self::List(one), Self::List(other)) => {
                Self::List(Box::new(one.joined(other).unwrap_or(Self::Dyn)))
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn => "any value",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::UInt => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Map => "map",
            Self::List(element) if matches!(**element, Self::Dyn | Self::Null) => "list",
            Self::List(element) => return write!(f, "list of {element}"),
        })
    }
}

/// How an operator is written, `None` for what is a function.
pub(super) fn sign(name: &str) -> Option<&'static str> {
    Some(match name {
        op::CONDITIONAL => "?:",
        op::LOGICAL_AND => "&&",
        op::LOGICAL_OR => "||",
        op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE => "!",
        op::SUBSTRACT | op::NEGATE => "-",
        op::ADD => "+",
        op::MULTIPLY => "*",
        op::DIVIDE => "/",
        op::MODULO => "%",
        op::EQUALS => "==",
        op::NOT_EQUALS => "!=",
        op::GREATER_EQUALS => ">=",
        op::LESS_EQUALS => "<=",
        op::GREATER => ">",
        op::LESS => "<",
        op::INDEX | op::OPT_INDEX => "[]",
        op::OPT_SELECT => ".?",
        op::IN => "in",
        _ => return None,
    })
}

/// What an operator comes to, `None` when it does not fit its operands.
pub(super) fn operator(name: &str, operands: &[Type]) -> Option<Type> {
    match (name, operands) {
        (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, [one]) => one.is(&Type::Bool).then_some(Type::Bool),
        (op::NEGATE, [one @ (Type::Int | Type::Double | Type::Dyn)]) => Some(one.clone()),
        (op::LOGICAL_AND | op::LOGICAL_OR, [left, right]) => {
            (left.is(&Type::Bool) && right.is(&Type::Bool)).then_some(Type::Bool)
        }
        (op::CONDITIONAL, [condition, yes, no]) => {
            condition.is(&Type::Bool).then(|| yes.joined(no)).flatten()
        }
        (op::EQUALS | op::NOT_EQUALS, [left, right]) => can_be_equal(left, right).then_some(Type::Bool),
        (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [left, right]) => {
            has_order(left, right).then_some(Type::Bool)
        }
        (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [left, right]) => {
            arithmetic(name, left, right)
        }
        (op::IN, [value, Type::List(element)]) => can_be_equal(value, element).then_some(Type::Bool),
        (op::IN, [_, Type::Map | Type::Dyn]) => Some(Type::Bool),
        (op::INDEX, [Type::List(element), index]) if index.is_number() || *index == Type::Dyn => {
            Some((**element).clone())
        }
        (op::INDEX, [Type::Map | Type::Dyn, index])
            if !matches!(index, Type::List(_) | Type::Map | Type::Null) =>
        {
            Some(Type::Dyn)
        }
        _ => None,
    }
}

fn can_be_equal(left: &Type, right: &Type) -> bool {
    left.joined(right).is_some() || (left.is_number() && right.is_number())
}

fn has_order(left: &Type, right: &Type) -> bool {
    let has_order = |one: &Type| !matches!(one, Type::List(_) | Type::Map | Type::Null);
    has_order(left) && has_order(right) && can_be_equal(left, right)
}

fn arithmetic(name: &str, left: &Type, right: &Type) -> Option<Type> {
    // Both sides of every one of these are of the same type, so the known side tells the other.
    let both = match (left, right) {
        (Type::Dyn, Type::Dyn) => return Some(Type::Dyn),
        (Type::Null, _) | (_, Type::Null) => return None,
        (Type::Dyn, known) | (known, Type::Dyn) => known.clone(),
        (left, right) => left.joined(right)?,
    };
    let fits = match name {
        op::ADD => both.is_number() || matches!(both, Type::String | Type::Bytes | Type::List(_)),
        op::MODULO => matches!(both, Type::Int | Type::UInt),
        _ => both.is_number(),
    };
    fits.then_some(both)
}

/// Whether there is a function of that name; macros are no functions.
pub(super) fn is_function(name: &str, is_member: bool) -> bool {
    if is_member {
        matches!(name, "contains" | "startsWith" | "endsWith" | "matches" | "size")
    } else {
        name != "has" && functions::GLOBAL.contains(&name)
    }
}

/// What `name(arguments)` comes to, `None` when it does not fit its arguments.
pub(super) fn global(name: &str, arguments: &[Type]) -> Option<Type> {
    let fits = |found, allowed: &[Type]| match arguments {
        [Type::Dyn] => Some(found),
        [one] => allowed.contains(one).then_some(found),
        _ => None,
    };
    match (name, arguments) {
        ("like_escape" | "safe_name", _) => fits(Type::String, &[Type::String]),
        ("string", _) => {
            fits(Type::String, &[Type::String, Type::Int, Type::UInt, Type::Double, Type::Bool, Type::Bytes])
        }
        ("int", _) => fits(Type::Int, &[Type::Int, Type::UInt, Type::Double, Type::String]),
        ("uint", _) => fits(Type::UInt, &[Type::Int, Type::UInt, Type::Double, Type::String]),
        ("double", _) => fits(Type::Double, &[Type::Int, Type::UInt, Type::Double, Type::String]),
        ("bool", _) => fits(Type::Bool, &[Type::Bool, Type::String]),
        ("bytes", _) => fits(Type::Bytes, &[Type::Bytes, Type::String]),
        ("dyn", [_]) => Some(Type::Dyn),
        ("size", [one]) => size(one),
        ("matches", [text, pattern]) => {
            (text.is(&Type::String) && pattern.is(&Type::String)).then_some(Type::Bool)
        }
        _ => None,
    }
}

/// The same for `target.name(arguments)`.
pub(super) fn member(name: &str, target: &Type, arguments: &[Type]) -> Option<Type> {
    match (name, arguments) {
        ("contains" | "startsWith" | "endsWith" | "matches", [one]) => {
            (target.is(&Type::String) && one.is(&Type::String)).then_some(Type::Bool)
        }
        ("size", []) => size(target),
        _ => None,
    }
}

fn size(of: &Type) -> Option<Type> {
    matches!(of, Type::String | Type::Bytes | Type::List(_) | Type::Map | Type::Dyn).then_some(Type::Int)
}

/// How a function or macro is written.
pub(super) fn usage(name: &str, is_member: bool) -> Option<&'static str> {
    Some(match (name, is_member) {
        ("has", false) => "has(args.NAME)",
        ("like_escape", false) => "like_escape(text)",
        ("safe_name", false) => "safe_name(text)",
        ("string", false) => "string(value)",
        ("int", false) => "int(value)",
        ("uint", false) => "uint(value)",
        ("double", false) => "double(value)",
        ("bool", false) => "bool(value)",
        ("bytes", false) => "bytes(text)",
        ("size", false) => "size(value)",
        ("matches", false) => "matches(text, 'pattern')",
        ("contains", true) => "text.contains(part)",
        ("startsWith", true) => "text.startsWith(part)",
        ("endsWith", true) => "text.endsWith(part)",
        ("matches", true) => "text.matches('pattern')",
        ("size", true) => "value.size()",
        ("all", true) => "list.all(x, condition)",
        ("exists", true) => "list.exists(x, condition)",
        ("exists_one", true) => "list.exists_one(x, condition)",
        ("filter", true) => "list.filter(x, condition)",
        ("map", true) => "list.map(x, value)",
        _ => return None,
    })
}

/// The function that makes of a value what is wanted, if one does.
pub(super) fn conversion(found: &Type, wanted: Option<Expected>) -> Option<&'static str> {
    let is_scalar = found.is_number() || matches!(found, Type::String | Type::Bool);
    match wanted? {
        Expected::String if is_scalar => Some("string"),
        Expected::Integer if found.is_number() || *found == Type::String => Some("int"),
        Expected::Number if *found == Type::String => Some("double"),
        _ => None,
    }
}
