//! Objects as arguments: rows of composite types, whose members are known, and maps, whose are not.

use std::fmt::Write as _;

use trunkline_protocol::Token;
use trunkline_protocol::json::{Kind, Scanner, SyntaxError};

use super::{Accept, Unfit};
use crate::database::Dialect;
use crate::value::{JsonKind, Value};

/// What the members of an object may be. Each may be null, or left out, which says the same.
#[derive(Debug)]
pub(crate) enum Members {
    /// These and no others.
    Known(Vec<(Box<str>, Accept)>),
    /// Any, with such values.
    Free(Box<Accept>),
}

/// So many members are named in a message.
const MOST_NAMED: usize = 20;

impl Members {
    /// Returns the members of an object of that kind; `None` when the kind is no object.
    pub(super) fn of(kind: &JsonKind, dialect: Dialect) -> Option<Self> {
        match kind {
            JsonKind::Object(members) => {
                let members = members.iter();
                let members =
                    members.map(|(name, kind)| (name.as_str().into(), Accept::plain(kind, dialect)));
                Some(Self::Known(members.collect()))
            }
            JsonKind::Map(values) => Some(Self::Free(Box::new(Accept::plain(values, dialect)))),
            _ => None,
        }
    }

    pub(super) fn loosen(&mut self) {
        match self {
            Self::Known(members) => members.iter_mut().for_each(|(_, accept)| accept.loosen()),
            Self::Free(values) => values.loosen(),
        }
    }

    fn find(&self, name: &str) -> Option<&Accept> {
        match self {
            Self::Known(members) => {
                members.iter().find(|(known, _)| **known == *name).map(|(_, accept)| accept)
            }
            Self::Free(values) => Some(values),
        }
    }

    /// Says what is allowed: ``an object with the members `a` (an integer), `b` (a string)``.
    pub(super) fn describe(&self) -> String {
        let members = match self {
            Self::Free(values) => return format!("an object, each value {} or null", values.describe()),
            Self::Known(members) => members,
        };
        let mut text = "an object with the members ".to_owned();
        for (at, (name, accept)) in members.iter().take(MOST_NAMED).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}`{name}` ({})", accept.describe());
        }
        if members.len() > MOST_NAMED {
            let _ = write!(text, " and {} more", members.len() - MOST_NAMED);
        }
        text
    }
}

impl Accept {
    /// Decodes an object, or the string that holds one: some hosts send it so. Any other string is in the database's own
    /// notation, which never begins with a brace.
    pub(super) fn object(&self, token: Token, source: &str) -> Result<Value, Unfit> {
        if token.kind == Kind::Object {
            return self.read_members(token.span.of_str(source));
        }
        let text = token.text(source.as_bytes()).ok_or(Unfit)?;
        if text.trim_start().starts_with('{') {
            return self.read_members(text.trim());
        }
        if text.contains('\0') { Err(Unfit) } else { Ok(Value::Text(text.into_owned())) }
    }

    fn read_members(&self, text: &str) -> Result<Value, Unfit> {
        let members = self.members().ok_or(Unfit)?;
        let mut values = Vec::new();
        let mut unfit = false;
        let mut walk = || -> Result<bool, SyntaxError> {
            let mut scanner = Scanner::new(text)?;
            scanner.members(|scanner, key| {
                let name = scanner.key(key).to_owned();
                let token = scanner.value()?;
                match members.find(&name).filter(|_| !name.contains('\0')) {
                    None => unfit = true,
                    Some(_) if token.kind == Kind::Null => values.push((name, Value::Null)),
                    Some(accept) => match accept.decode(token, text) {
                        Ok(value) => values.push((name, value)),
                        Err(Unfit) => unfit = true,
                    },
                }
                Ok(true)
            })?;
            scanner.end()?;
            Ok(scanner.is_too_deep() || scanner.repeated_key().is_some())
        };
        let refused = walk().map_err(|_| Unfit)?;
        if unfit || refused { Err(Unfit) } else { Ok(Value::Object(values)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(kind: &JsonKind, text: &str) -> Option<Value> {
        let token = Scanner::new(text).unwrap().value().unwrap();
        Accept::plain(kind, Dialect::Postgres).decode(token, text).ok()
    }

    #[test]
    fn members_are_read_by_their_kinds() {
        let kind = JsonKind::Object(vec![
            ("n".into(), JsonKind::Number),
            ("at".into(), JsonKind::Object(vec![("x".into(), JsonKind::Integer)])),
        ]);
        let object = |members: &[(&str, Value)]| {
            Value::Object(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        let expected =
            object(&[("n", Value::Decimal("0.10".into())), ("at", object(&[("x", Value::Integer(1))]))]);
        let text = r#"{"n": 0.10, "at": {"x": "1"}}"#;
        assert_eq!(decode(&kind, text).as_ref(), Some(&expected));
        assert_eq!(decode(&kind, &serde_json::Value::from(text).to_string()), Some(expected));
        assert_eq!(decode(&kind, r#"{"n":null}"#), Some(object(&[("n", Value::Null)])));
        assert_eq!(decode(&kind, r#""(0.1,(1))""#), Some(Value::Text("(0.1,(1))".into())));
        for bad in [r#"{"m":1}"#, r#"{"n":"x"}"#, r#"{"n":1,"n":1}"#, "[1]", "1", r#"{"at":{"x":1.5}}"#] {
            assert_eq!(decode(&kind, bad), None, "{bad}");
        }
        let described = Accept::plain(&kind, Dialect::Postgres).describe();
        assert_eq!(
            described,
            "an object with the members `n` (a number), `at` (an object with the members `x` (an integer in 64 bits))"
        );
    }

    #[test]
    fn a_map_takes_any_name() {
        let kind = JsonKind::Map(Box::new(JsonKind::String));
        let expected = vec![("a".to_owned(), Value::Text("1".into())), ("b".to_owned(), Value::Null)];
        assert_eq!(decode(&kind, r#"{"a":"1","b":null}"#), Some(Value::Object(expected)));
        assert_eq!(decode(&kind, r#"{"a":1}"#), None);
    }
}
