//! What one argument may be, compiled, and its way from JSON to a value.

mod object;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;

use regex::Regex;
use serde_json::Value as Json;
use trunkline_protocol::Token;
use trunkline_protocol::decimal::Decimal;
use trunkline_protocol::json::{Kind, Scanner, SyntaxError};

use crate::Problem;
use crate::database::{Dialect, ParameterType};
use crate::decimal::is_double;
use crate::format;
use crate::spec::{Rules, Spec};
use crate::value::{JsonKind, Value};

pub(crate) use object::Members;

/// What an argument may be.
#[derive(Debug)]
pub(crate) struct Accept {
    pub(crate) kind: JsonKind,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) min_length: Option<u32>,
    pub(crate) max_length: Option<u32>,
    pub(crate) pattern: Option<Regex>,
    /// The form of a string, checked where [`format::is`] knows it.
    pub(crate) format: Option<Box<str>>,
    /// The database says what is wanted, not the file: all is let through that it takes.
    lenient: bool,
    pub(crate) allowed: Vec<Allowed>,
    /// What the elements of a list may be.
    items: Option<Box<Accept>>,
    /// What the members of an object may be.
    members: Option<Members>,
    dialect: Dialect,
}

/// One end of a range, inclusive.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// The number as it is written.
    pub(crate) text: Box<str>,
    integer: Option<i64>,
}

/// One of the only values allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Allowed {
    Text(Box<str>),
    Number(Box<str>),
    Boolean(bool),
}

/// A rule of the file that cannot hold.
#[derive(Debug)]
pub(crate) struct Fault {
    key: &'static str,
    message: String,
    help: Option<String>,
}

impl Fault {
    fn new(key: &'static str, message: String, help: &str) -> Self {
        Self { key, message, help: (!help.is_empty()).then(|| help.to_owned()) }
    }

    pub(crate) fn into_problem(self, tool: &str, param: &str) -> Problem {
        let problem = Problem::new(&["tools", tool, "params", param, self.key], self.message);
        Problem { help: self.help, ..problem }
    }
}

/// A value is not what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfit;

impl Bound {
    fn new(text: String) -> Self {
        Self { integer: Decimal::parse(&text).and_then(Decimal::to_integer), text: text.into() }
    }

    fn decimal(&self) -> Option<Decimal<'_>> {
        Decimal::parse(&self.text)
    }

    /// Compares the bound with a number, by 64-bit integers where both are.
    fn compare(&self, text: &str, integer: Option<i64>) -> Ordering {
        match (self.integer, integer) {
            (Some(bound), Some(integer)) => bound.cmp(&integer),
            _ => match (self.decimal(), Decimal::parse(text)) {
                (Some(bound), Some(number)) => bound.compare(number),
                _ => Ordering::Equal,
            },
        }
    }
}

impl Accept {
    /// Puts together the kind, the rules of the file and what the database says of the parameter.
    pub(crate) fn new(
        kind: &JsonKind,
        rules: &Rules,
        database: Option<&ParameterType>,
        dialect: Dialect,
    ) -> Result<Self, Vec<Fault>> {
        let faults = misplaced(kind, rules);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut accept = Self::plain(kind, dialect);
        match &mut accept.items {
            Some(items) => items.narrow(database),
            None => accept.narrow(database),
        }
        accept.apply(rules)?;
        Ok(accept)
    }

    /// Everything of that kind.
    pub(crate) fn plain(kind: &JsonKind, dialect: Dialect) -> Self {
        let items = match kind {
            JsonKind::Array(items) => Some(Box::new(Self::plain(items, dialect))),
            _ => None,
        };
        Self {
            kind: kind.clone(),
            minimum: None,
            maximum: None,
            min_length: None,
            max_length: None,
            pattern: None,
            format: None,
            lenient: false,
            allowed: Vec::new(),
            items,
            members: Members::of(kind, dialect),
            dialect,
        }
    }

    fn narrow(&mut self, database: Option<&ParameterType>) {
        let Some(database) = database else { return };
        self.loosen();
        if self.kind == JsonKind::Integer
            && let Some((least, most)) = database.range
        {
            self.minimum = Some(Bound::new(least.to_string()));
            self.maximum = Some(Bound::new(most.to_string()));
        }
        if self.kind == JsonKind::String {
            self.format = database.format.map(Into::into);
            let labels = database.labels.iter().flatten();
            self.allowed = labels.map(|label| Allowed::Text(label.as_str().into())).collect();
        }
    }

    /// Lets through all that the database takes.
    pub(crate) fn loosen(&mut self) {
        self.lenient = true;
        if let Some(items) = &mut self.items {
            items.loosen();
        }
        if let Some(members) = &mut self.members {
            members.loosen();
        }
    }

    fn apply(&mut self, rules: &Rules) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        if let Some(number) = &rules.minimum {
            tighten(&mut self.minimum, number.to_string(), Ordering::Greater);
        }
        if let Some(number) = &rules.maximum {
            tighten(&mut self.maximum, number.to_string(), Ordering::Less);
        }
        if let (Some(least), Some(most)) = (&self.minimum, &self.maximum)
            && least.compare(&most.text, most.integer).is_gt()
        {
            let message = format!("no value would pass: at least {} and at most {}", least.text, most.text);
            faults.push(Fault::new(
                if rules.minimum.is_some() { "minimum" } else { "maximum" },
                message,
                "correct the bounds",
            ));
        }
        self.min_length = rules.min_length;
        self.max_length = rules.max_length;
        self.pattern.clone_from(&rules.pattern);
        if let Some(format) = &rules.format {
            self.format = Some(format.as_str().into());
            self.lenient = false;
        }
        // What the database allows still stands here, so that every value is checked against it.
        let mut listed = Vec::new();
        for value in rules.allowed.iter().flatten() {
            match self.decode_json(value).ok().and_then(|decoded| allowed(&decoded)) {
                Some(allowed) => listed.push(allowed),
                None => faults.push(Fault::new(
                    "enum",
                    format!("`{value}` is not {}", self.describe()),
                    "leave it out or correct it",
                )),
            }
        }
        if !listed.is_empty() {
            self.allowed = listed;
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Decodes a value that comes from the file or from an expression.
    pub(crate) fn decode_json(&self, value: &Json) -> Result<Value, Unfit> {
        let text = value.to_string();
        let token = Scanner::new(&text).and_then(|mut scanner| scanner.value()).map_err(|_| Unfit)?;
        self.decode(token, &text)
    }

    /// Decodes a value that stands in `source`. `null` is for the caller to decide.
    pub(crate) fn decode(&self, token: Token, source: &str) -> Result<Value, Unfit> {
        match &self.kind {
            JsonKind::String => self.string(token, source),
            JsonKind::Integer => self.integer(token, source),
            JsonKind::Number => self.number(token, source),
            JsonKind::Boolean => self.boolean(token, source),
            JsonKind::Json => Ok(Value::Json(token.span.of_str(source).to_owned())),
            JsonKind::Array(_) => self.list(token, source),
            JsonKind::Object(_) | JsonKind::Map(_) => self.object(token, source),
        }
    }

    fn string(&self, token: Token, source: &str) -> Result<Value, Unfit> {
        let text = token.text(source.as_bytes()).ok_or(Unfit)?;
        if self.min_length.is_some() || self.max_length.is_some() {
            let length = text.chars().count();
            let within = |bound: Option<u32>, order: fn(&usize, &usize) -> bool| {
                bound.is_none_or(|bound| order(&length, &usize::try_from(bound).unwrap_or(usize::MAX)))
            };
            if !within(self.min_length, usize::ge) || !within(self.max_length, usize::le) {
                return Err(Unfit);
            }
        }
        let fits = self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&text))
            && self.format.as_deref().is_none_or(|form| format::is(form, &text) || (self.lenient && format::is_taken(form, &text)))
            && (self.allowed.is_empty() || self.allowed.iter().any(|allowed| matches!(allowed, Allowed::Text(known) if **known == *text)))
            // PostgreSQL has no text with this character in it.
            && !(self.dialect == Dialect::Postgres && token.kind == Kind::EscapedString && text.contains('\0'));
        if fits { Ok(Value::Text(text.into_owned())) } else { Err(Unfit) }
    }

    fn integer(&self, token: Token, source: &str) -> Result<Value, Unfit> {
        let text = number_text(token, source)?;
        let value = match text.parse::<i64>() {
            Ok(value) if token.kind == Kind::Integer => value,
            _ => Decimal::parse(text).and_then(Decimal::to_integer).ok_or(Unfit)?,
        };
        self.bounds(text, Some(value))?;
        Ok(Value::Integer(value))
    }

    fn number(&self, token: Token, source: &str) -> Result<Value, Unfit> {
        let text = number_text(token, source)?;
        if self.takes_special(text) {
            return Ok(Value::Text(text.to_owned()));
        }
        let number = Decimal::parse(text).ok_or(Unfit)?;
        self.bounds(text, number.to_integer())?;
        // SQLite has no decimals: what neither its integers nor its doubles hold would be another number there.
        let fits = self.dialect != Dialect::Sqlite || text.parse::<i64>().is_ok() || is_double(number, text);
        if fits { Ok(Value::Decimal(text.to_owned())) } else { Err(Unfit) }
    }

    /// Tells whether it is a word of PostgreSQL for what is no number, and nothing says that numbers only are wanted.
    fn takes_special(&self, text: &str) -> bool {
        self.lenient
            && self.dialect == Dialect::Postgres
            && matches!(text, "NaN" | "Infinity" | "-Infinity")
            && self.minimum.is_none()
            && self.maximum.is_none()
            && self.allowed.is_empty()
    }

    fn bounds(&self, text: &str, integer: Option<i64>) -> Result<(), Unfit> {
        let below = self.minimum.as_ref().is_some_and(|bound| bound.compare(text, integer).is_gt());
        let above = self.maximum.as_ref().is_some_and(|bound| bound.compare(text, integer).is_lt());
        let listed = self.allowed.is_empty()
            || self.allowed.iter().any(|allowed| match (allowed, Decimal::parse(text)) {
                (Allowed::Number(known), Some(number)) => {
                    Decimal::parse(known).is_some_and(|known| known.compare(number).is_eq())
                }
                _ => false,
            });
        if below || above || !listed { Err(Unfit) } else { Ok(()) }
    }

    fn boolean(&self, token: Token, source: &str) -> Result<Value, Unfit> {
        if token.kind != Kind::Bool {
            return Err(Unfit);
        }
        let value = token.span.of_str(source) == "true";
        let listed = self.allowed.is_empty() || self.allowed.contains(&Allowed::Boolean(value));
        if listed { Ok(Value::Boolean(value)) } else { Err(Unfit) }
    }

    fn list(&self, token: Token, source: &str) -> Result<Value, Unfit> {
        if token.kind == Kind::Array {
            return self.elements(token.span.of_str(source));
        }
        // Some hosts send a list as a string that holds it; it has this one reading.
        let text = token.text(source.as_bytes()).ok_or(Unfit)?;
        self.elements(text.trim())
    }

    fn elements(&self, text: &str) -> Result<Value, Unfit> {
        let items = self.items.as_ref().ok_or(Unfit)?;
        let mut values = Vec::new();
        let mut unfit = false;
        let mut walk = || -> Result<bool, SyntaxError> {
            let mut scanner = Scanner::new(text)?;
            scanner.elements(|scanner| {
                let token = scanner.value()?;
                match (token.kind, unfit) {
                    (_, true) => {}
                    (Kind::Null, _) => values.push(Value::Null),
                    // A type of PostgreSQL does not say how many dimensions its arrays have.
                    (Kind::Array, _) if items.may_nest() => match self.elements(token.span.of_str(text)) {
                        Ok(list) => values.push(list),
                        Err(Unfit) => unfit = true,
                    },
                    _ => match items.decode(token, text) {
                        Ok(value) => values.push(value),
                        Err(Unfit) => unfit = true,
                    },
                }
                Ok(true)
            })?;
            scanner.end()?;
            Ok(scanner.is_too_deep())
        };
        let too_deep = walk().map_err(|_| Unfit)?;
        if unfit || too_deep {
            return Err(Unfit);
        }
        Ok(Value::List(values))
    }

    /// Tells whether the value is refused because a text in it has the character that no text of PostgreSQL can have.
    pub(crate) fn refuses_nul(&self, token: Token, source: &str) -> bool {
        let holds_text = match self.items.as_deref() {
            Some(items) => items.kind == JsonKind::String,
            None => self.kind == JsonKind::String,
        };
        self.dialect == Dialect::Postgres && holds_text && has_nul(token, source)
    }

    /// Tells whether an element of this kind may be a list in its place.
    pub(crate) fn may_nest(&self) -> bool {
        self.dialect == Dialect::Postgres && self.is_scalar()
    }

    fn is_scalar(&self) -> bool {
        !matches!(self.kind, JsonKind::Json | JsonKind::Array(_))
    }

    /// Says what is allowed, for a message and for the model: `an integer from 1 to 100`.
    pub(crate) fn describe(&self) -> String {
        let mut text = match &self.kind {
            JsonKind::String => self.describe_string(),
            JsonKind::Integer => format!("an integer{}", self.describe_range()),
            JsonKind::Number => format!("a number{}", self.describe_range()),
            JsonKind::Boolean => "`true` or `false`".to_owned(),
            JsonKind::Json => "any JSON value".to_owned(),
            JsonKind::Array(_) => {
                let items = self.items.as_ref().map_or_else(String::new, |items| items.describe());
                format!("a list, each element {items} or null")
            }
            JsonKind::Object(_) | JsonKind::Map(_) => {
                self.members.as_ref().map_or_else(String::new, Members::describe)
            }
        };
        if !self.allowed.is_empty() {
            text = format!("one of {}", self.describe_allowed());
        }
        text
    }

    /// Lists the only values allowed, at most twenty of them.
    pub(crate) fn describe_allowed(&self) -> String {
        let mut text = String::new();
        for (at, allowed) in self.allowed.iter().take(20).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _ = match allowed {
                Allowed::Text(known) | Allowed::Number(known) => write!(text, "{comma}`{known}`"),
                Allowed::Boolean(known) => write!(text, "{comma}`{known}`"),
            };
        }
        if self.allowed.len() > 20 {
            let _ = write!(text, " and {} more", self.allowed.len() - 20);
        }
        text
    }

    fn describe_string(&self) -> String {
        let mut text = "a string".to_owned();
        let _ = match (self.min_length, self.max_length) {
            (Some(least), Some(most)) => write!(text, " of {least} to {most} characters"),
            (Some(1), None) => write!(text, " that is not empty"),
            (Some(least), None) => write!(text, " of at least {least} characters"),
            (None, Some(most)) => write!(text, " of at most {most} characters"),
            (None, None) => Ok(()),
        };
        if let Some(pattern) = &self.pattern {
            let _ = write!(text, " matching `{pattern}`");
        }
        if let Some(format) = &self.format {
            let _ = write!(text, " in the form {format}");
        }
        text
    }

    fn describe_range(&self) -> String {
        match (&self.minimum, &self.maximum) {
            (Some(least), Some(most)) => format!(" from {} to {}", least.text, most.text),
            (Some(least), None) => format!(" of at least {}{}", least.text, self.describe_width()),
            (None, Some(most)) => format!(" of at most {}{}", most.text, self.describe_width()),
            (None, None) => self.describe_width().trim_start_matches(',').to_owned(),
        }
    }

    /// What bounds a number that neither the file nor a type of the database bounds.
    fn describe_width(&self) -> &'static str {
        match self.kind {
            JsonKind::Integer => ", in 64 bits",
            JsonKind::Number if self.dialect == Dialect::Sqlite => ", that a 64-bit float holds without loss",
            _ => "",
        }
    }

    /// Finds the first element for which a list is refused, and tells it by `tell`: its number from 1, and what that says.
    pub(crate) fn unfit_element(
        &self,
        token: Token,
        source: &str,
        tell: impl Fn(Token, &str) -> String,
    ) -> Option<(usize, String)> {
        let items = self.items.as_deref()?;
        let text = match token.kind {
            Kind::Array => Cow::Borrowed(token.span.of_str(source)),
            _ => token.text(source.as_bytes())?,
        };
        let text = text.trim();
        let (mut number, mut found) = (0, None);
        let mut scanner = Scanner::new(text).ok()?;
        let walked = scanner.elements(|scanner| {
            let token = scanner.value()?;
            number += 1;
            let fits = token.kind == Kind::Null
                || items.decode(token, text).is_ok()
                || (token.kind == Kind::Array
                    && items.may_nest()
                    && self.elements(token.span.of_str(text)).is_ok());
            if !fits && found.is_none() {
                found = Some((number, tell(token, text)));
            }
            Ok(true)
        });
        walked.ok().and(found)
    }

    /// Returns what the elements of a list may be.
    pub(crate) fn items(&self) -> Option<&Accept> {
        self.items.as_deref()
    }

    /// Returns what the members of an object may be.
    pub(crate) fn members(&self) -> Option<&Members> {
        self.members.as_ref()
    }
}

impl Spec {
    /// Decodes the default by what is accepted.
    pub(crate) fn decode_default(&self, accept: &Accept) -> Result<Option<Value>, Vec<Fault>> {
        let Some(default) = &self.default else { return Ok(None) };
        if default.is_null() {
            return Ok(Some(Value::Null));
        }
        accept.decode_json(default).map(Some).map_err(|Unfit| {
            let found = if self.secret { "the default".to_owned() } else { format!("`{default}`") };
            vec![Fault::new("default", format!("{found} is not {}", accept.describe()), "")]
        })
    }
}

/// Sets a bound of the file unless the database's own is narrower: unless it compares so to the written one.
fn tighten(bound: &mut Option<Bound>, written: String, narrower: Ordering) {
    let written = Bound::new(written);
    if bound.as_ref().is_none_or(|known| known.compare(&written.text, written.integer) != narrower) {
        *bound = Some(written);
    }
}

/// The text of a number, or of a string that holds nothing but one.
fn number_text(token: Token, source: &str) -> Result<&str, Unfit> {
    let raw = token.span.of_str(source);
    match token.kind {
        Kind::Integer | Kind::Float => Ok(raw),
        Kind::String => raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(Unfit),
        _ => Err(Unfit),
    }
}

fn has_nul(token: Token, source: &str) -> bool {
    let within = |list: &str| {
        serde_json::from_str::<Json>(list).is_ok_and(|list| match list {
            Json::Array(items) => items.iter().any(text_with_nul),
            _ => false,
        })
    };
    match token.kind {
        Kind::EscapedString => {
            token.text(source.as_bytes()).is_some_and(|text| text.contains('\0') || within(&text))
        }
        Kind::Array => within(token.span.of_str(source)),
        _ => false,
    }
}

fn text_with_nul(value: &Json) -> bool {
    match value {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(text_with_nul),
        _ => false,
    }
}

fn allowed(value: &Value) -> Option<Allowed> {
    match value {
        Value::Text(text) => Some(Allowed::Text(text.as_str().into())),
        Value::Integer(number) => Some(Allowed::Number(number.to_string().into())),
        Value::Decimal(digits) => Some(Allowed::Number(digits.as_str().into())),
        Value::Float(number) => Some(Allowed::Number(ryu::Buffer::new().format(*number).into())),
        Value::Boolean(value) => Some(Allowed::Boolean(*value)),
        _ => None,
    }
}

/// The rules that do not go with the kind.
fn misplaced(kind: &JsonKind, rules: &Rules) -> Vec<Fault> {
    let number = matches!(kind, JsonKind::Integer | JsonKind::Number);
    let string = *kind == JsonKind::String;
    let scalar = number || string || *kind == JsonKind::Boolean;
    let keys = [
        ("minimum", rules.minimum.is_some() && !number, "numbers"),
        ("maximum", rules.maximum.is_some() && !number, "numbers"),
        ("min-length", rules.min_length.is_some() && !string, "strings"),
        ("max-length", rules.max_length.is_some() && !string, "strings"),
        ("pattern", rules.pattern.is_some() && !string, "strings"),
        ("format", rules.format.is_some() && !string, "strings"),
        ("enum", rules.allowed.is_some() && !scalar, "strings, numbers and booleans"),
    ];
    let wrong = keys.into_iter().filter(|(_, wrong, _)| *wrong);
    wrong
        .map(|(key, _, of)| {
            let message = format!("`{key}` is a rule for {of}, and this parameter is {}", name_of(kind));
            Fault::new(key, message, "leave it out, or write another `type`")
        })
        .collect()
}

/// Returns the kind as messages name it.
pub(crate) fn name_of(kind: &JsonKind) -> &'static str {
    match kind {
        JsonKind::String => "a string",
        JsonKind::Integer => "an integer",
        JsonKind::Number => "a number",
        JsonKind::Boolean => "a boolean",
        JsonKind::Json => "any JSON",
        JsonKind::Array(_) => "a list",
        JsonKind::Object(_) | JsonKind::Map(_) => "an object",
    }
}
