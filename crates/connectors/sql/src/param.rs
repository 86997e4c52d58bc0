//! The compiled way from the raw `arguments` of a call to the values of a statement's placeholders.

use serde_json::{Map, Value as Json};
use trunkline_protocol::Token;
use trunkline_protocol::json::{Kind, Scanner, SyntaxError};
use trunkline_service::Caller;
use trunkline_service::expression::EvaluationError;

use crate::Problem;
use crate::accept::{Accept, Unfit, name_of};
use crate::cursor::ARGUMENT;
use crate::database::{Dialect, ParameterType};
use crate::spec::Spec;
use crate::value::{JsonKind, Value};

/// Decodes arguments. Its arguments are in the order of the specs it was made from.
#[derive(Debug)]
pub(crate) struct Plan {
    args: Vec<Arg>,
    /// How many of them, from the first, are placeholders.
    placeholders: usize,
    has_computed: bool,
    has_conversions: bool,
    /// The cursor of an earlier result is taken beside them.
    takes_cursor: bool,
    dialect: Dialect,
}

/// The values of one call, and the cursor of the page before.
#[derive(Debug)]
pub(crate) struct Bound {
    /// One for each placeholder.
    pub(crate) values: Vec<Value>,
    /// `cursor`, unless it is missing or empty.
    pub(crate) cursor: Option<Box<str>>,
}

/// One argument.
#[derive(Debug)]
pub(crate) struct Arg {
    pub(crate) name: Box<str>,
    pub(crate) accept: Accept,
    /// What the database wants, where that differs from what is accepted.
    target: Option<JsonKind>,
    default: Option<Value>,
    pub(crate) nullable: bool,
    pub(crate) required: bool,
    secret: bool,
    /// The value comes from an expression; clients may not send it.
    pub(crate) computed: bool,
    /// A computed value is bound by whatever kind it comes to.
    dynamic: bool,
}

/// Why arguments could not be bound.
#[derive(Debug)]
pub(crate) enum BindError {
    /// What is wrong with them, for the caller.
    Arguments(String),
    /// An expression did not come to a value.
    Computed {
        /// Whose.
        name: Box<str>,
        /// Why; `None` when the value does not fit the parameter.
        source: Option<EvaluationError>,
    },
}

/// Faults beyond this number are counted, not told.
const MOST_FAULTS: usize = 20;

/// Undeclared arguments that n8n adds to every call.
const DROPPED: [&str; 2] = ["toolCallId", "sessionId"];

impl Plan {
    /// Compiles the plan from what is written and what the database says of the placeholders.
    pub(crate) fn new(
        tool: &str,
        specs: &[Spec],
        database: &[ParameterType],
        placeholders: usize,
        dialect: Dialect,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut args = Vec::with_capacity(specs.len());
        for (at, spec) in specs.iter().enumerate() {
            let known = database.get(at).filter(|known| at < placeholders && known.name.is_some());
            match Arg::new(tool, spec, known, dialect) {
                Ok(arg) => args.push(arg),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let has_computed = args.iter().any(|arg| arg.computed);
        let has_conversions = args.iter().any(|arg| arg.target.is_some());
        Ok(Self { args, placeholders, has_computed, has_conversions, takes_cursor: false, dialect })
    }

    /// Says whether a cursor is taken beside the arguments.
    pub(crate) fn taking_cursor(self, takes_cursor: bool) -> Self {
        Self { takes_cursor, ..self }
    }

    /// Returns the arguments in the order of the specs.
    pub(crate) fn args(&self) -> &[Arg] {
        &self.args
    }

    /// Binds the arguments of one call: one value for each placeholder.
    pub(crate) fn bind(
        &self,
        specs: &[Spec],
        arguments: &[u8],
        caller: &Caller,
    ) -> Result<Vec<Value>, BindError> {
        self.bind_page(specs, arguments, caller).map(|bound| bound.values)
    }

    /// Binds the arguments of one call that may ask for a later page.
    pub(crate) fn bind_page(
        &self,
        specs: &[Spec],
        arguments: &[u8],
        caller: &Caller,
    ) -> Result<Bound, BindError> {
        let mut binding = Binding {
            plan: self,
            values: vec![Value::Null; self.args.len()],
            given: 0,
            cursor: None,
            faults: Faults::default(),
        };
        let text = std::str::from_utf8(arguments).unwrap_or_default();
        if let Err(error) = binding.read(text) {
            return Err(BindError::Arguments(format!("the arguments are no JSON object: {error}")));
        }
        binding.fill();
        let Binding { mut values, faults, cursor, .. } = binding;
        if let Some(text) = faults.into_text(self) {
            return Err(BindError::Arguments(text));
        }
        if self.has_computed {
            self.compute(specs, &mut values, caller)?;
        }
        values.truncate(self.placeholders);
        if self.has_conversions {
            for (value, arg) in values.iter_mut().zip(&self.args) {
                if let Some(target) = &arg.target {
                    let converted = convert(std::mem::replace(value, Value::Null), target, self.dialect);
                    *value = converted.map_err(|Unfit| BindError::Arguments(arg.unconvertible(target)))?;
                }
            }
        }
        Ok(Bound { values, cursor })
    }

    fn compute(&self, specs: &[Spec], values: &mut [Value], caller: &Caller) -> Result<(), BindError> {
        let given: Map<String, Json> = self
            .args
            .iter()
            .zip(values.iter())
            .filter(|(arg, _)| !arg.computed)
            .map(|(arg, value)| (String::from(&*arg.name), to_json(value)))
            .collect();
        for ((arg, spec), value) in self.args.iter().zip(specs).zip(values) {
            let Some(expression) = &spec.computed else { continue };
            let failed = |source| BindError::Computed { name: arg.name.clone(), source };
            let computed = expression.evaluate(&given, caller).map_err(|error| failed(Some(error)))?;
            *value = arg.computed_value(computed).map_err(|Unfit| failed(None))?;
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.args.iter().position(|arg| *arg.name == *name)
    }
}

/// The arguments of one call on their way.
struct Binding<'a> {
    plan: &'a Plan,
    values: Vec<Value>,
    /// A bit for each argument.
    given: u128,
    cursor: Option<Box<str>>,
    faults: Faults,
}

impl Binding<'_> {
    fn read(&mut self, text: &str) -> Result<(), SyntaxError> {
        let mut scanner = Scanner::new(text)?;
        if scanner.next_byte() == b'n' {
            scanner.value()?;
            return scanner.end();
        }
        scanner.members(|scanner, key| {
            let Some(at) = self.plan.find(scanner.key(key)) else {
                if self.plan.takes_cursor && scanner.key(key) == ARGUMENT {
                    let token = scanner.value()?;
                    self.take_cursor(token, text);
                    return Ok(true);
                }
                self.faults.unknown(scanner.key(key));
                return Ok(false);
            };
            let token = scanner.value()?;
            self.take(at, token, text);
            Ok(true)
        })?;
        scanner.end()
    }

    /// Some hosts send every optional argument, as null or empty.
    fn take_cursor(&mut self, token: Token, text: &str) {
        match token.kind {
            Kind::Null => {}
            Kind::String | Kind::EscapedString => {
                let cursor = token.text(text.as_bytes()).unwrap_or_default();
                self.cursor = (!cursor.trim().is_empty()).then(|| cursor.trim().into());
            }
            _ => {
                let found = found(token, text);
                self.faults.add(|| {
                    format!(
                        "`{ARGUMENT}`: found {found}, allowed is the string `nextCursor` of the result before"
                    )
                });
            }
        }
    }

    fn take(&mut self, at: usize, token: Token, text: &str) {
        let (Some(arg), Some(value)) = (self.plan.args.get(at), self.values.get_mut(at)) else { return };
        if arg.computed {
            self.faults.add(|| format!("`{}` is set by the server and cannot be given", arg.name));
            return;
        }
        if token.kind == Kind::Null {
            if arg.nullable {
                self.given |= 1 << at;
            } else if arg.required {
                self.given |= 1 << at;
                self.faults.add(|| arg.unfit(token, text));
            }
            // For an optional argument null says the same as leaving it out.
            return;
        }
        self.given |= 1 << at;
        match arg.accept.decode(token, text) {
            Ok(decoded) => *value = decoded,
            Err(Unfit) => self.faults.add(|| arg.unfit(token, text)),
        }
    }

    fn fill(&mut self) {
        for (at, (arg, value)) in self.plan.args.iter().zip(&mut self.values).enumerate() {
            if self.given & (1 << at) != 0 || arg.computed {
                continue;
            }
            if let Some(default) = &arg.default {
                value.clone_from(default);
            } else if arg.required {
                self.faults.add(|| format!("`{}` is required: {}", arg.name, arg.accept.describe()));
            }
        }
    }
}

/// What is wrong with the arguments of one call.
#[derive(Debug, Default)]
struct Faults {
    texts: Vec<String>,
    more: usize,
    has_unknown: bool,
}

impl Faults {
    fn add(&mut self, text: impl FnOnce() -> String) {
        if self.texts.len() < MOST_FAULTS { self.texts.push(text()) } else { self.more += 1 }
    }

    fn unknown(&mut self, name: &str) {
        if DROPPED.contains(&name) {
            return;
        }
        self.has_unknown = true;
        self.add(|| format!("`{}` is no parameter of this tool", crate::tool::cut(name, 64)));
    }

    fn into_text(self, plan: &Plan) -> Option<String> {
        if self.texts.is_empty() {
            return None;
        }
        let mut text = format!("the arguments were not accepted: {}", self.texts.join("; "));
        if self.more > 0 {
            text.push_str(&format!("; and {} more", self.more));
        }
        if self.has_unknown {
            let mut names: Vec<String> =
                plan.args.iter().filter(|arg| !arg.computed).map(|arg| format!("`{}`", arg.name)).collect();
            names.extend(plan.takes_cursor.then(|| format!("`{ARGUMENT}`")));
            if names.is_empty() {
                text.push_str("; this tool takes no arguments");
            } else {
                text.push_str(&format!("; this tool takes {}", names.join(", ")));
            }
        }
        Some(text)
    }
}

impl Arg {
    fn new(
        tool: &str,
        spec: &Spec,
        database: Option<&ParameterType>,
        dialect: Dialect,
    ) -> Result<Self, Vec<Problem>> {
        let inferred = database.map(|known| &known.kind);
        let computed = spec.computed.is_some();
        // A computed value is decoded by what the database wants; nothing written stands between.
        let written = spec.kind.as_ref().filter(|_| !computed || inferred.is_none());
        let dynamic = computed && written.is_none() && inferred.is_none();
        let kind = written.or(inferred).cloned().unwrap_or(JsonKind::Json);
        let target = match inferred {
            Some(wanted) if *wanted != kind => match fits(&kind, wanted) {
                true => Some(wanted.clone()),
                false => return Err(vec![mismatch(tool, spec, &kind, database)]),
            },
            _ => None,
        };
        let faults = |faults: Vec<crate::accept::Fault>| -> Vec<Problem> {
            faults.into_iter().map(|fault| fault.into_problem(tool, &spec.name)).collect()
        };
        let accept = Accept::new(&kind, &spec.rules, database, dialect).map_err(faults)?;
        let default = spec.decode_default(&accept).map_err(faults)?;
        Ok(Self {
            name: spec.name.as_str().into(),
            accept,
            target,
            default,
            nullable: spec.nullable,
            required: spec.required,
            secret: spec.secret,
            computed,
            dynamic,
        })
    }

    /// Says what was found and what is allowed.
    fn unfit(&self, token: Token, source: &str) -> String {
        if self.accept.refuses_nul(token, source) {
            return format!(
                "`{}`: found text with the character U+0000 (NUL), which PostgreSQL cannot store; leave that character out",
                self.name
            );
        }
        let tell = |token: Token, source: &str| {
            if self.secret { token.kind.in_words().to_owned() } else { found(token, source) }
        };
        let found = match self.accept.unfit_element(token, source, tell) {
            Some((number, found)) => format!("{found} as element {number} of the list"),
            None => tell(token, source),
        };
        format!("`{}`: found {found}, allowed is {}", self.name, self.accept.describe())
    }

    fn unconvertible(&self, target: &JsonKind) -> String {
        format!("the arguments were not accepted: `{}` must hold {}", self.name, name_of(target))
    }

    fn computed_value(&self, value: Json) -> Result<Value, Unfit> {
        match (value, &self.accept.kind) {
            (Json::Null, _) => Ok(Value::Null),
            (Json::String(text), JsonKind::String) => Ok(Value::Text(text)),
            (Json::String(text), _) if self.dynamic => Ok(Value::Text(text)),
            (Json::Bool(value), _) if self.dynamic => Ok(Value::Boolean(value)),
            (Json::Number(number), _) if self.dynamic => match number.as_i64() {
                Some(value) => Ok(Value::Integer(value)),
                None => number.as_f64().map(Value::Float).ok_or(Unfit),
            },
            // `string(args.id)` is not asked for where a text is wanted: a number or a boolean has one text.
            (value @ (Json::Number(_) | Json::Bool(_)), JsonKind::String) => {
                Ok(Value::Text(value.to_string()))
            }
            (value, _) => self.accept.decode_json(&value),
        }
    }
}

/// Tells whether a value of one kind can be bound where the database wants another.
fn fits(kind: &JsonKind, wanted: &JsonKind) -> bool {
    use JsonKind::{Array, Boolean, Integer, Json, Map, Number, Object, String};
    if let (Array(kind), Array(wanted)) = (kind, wanted) {
        // The text of an object is told as a string.
        return **kind == String && matches!(**wanted, Object(_) | Map(_));
    }
    matches!(
        (kind, wanted),
        (Integer, Number)
            | (Integer | Number | Boolean | Json, String)
            | (String, Integer | Number | Boolean | Object(_) | Map(_))
    )
}

fn mismatch(tool: &str, spec: &Spec, kind: &JsonKind, database: Option<&ParameterType>) -> Problem {
    let wanted = database.map_or("another type", |known| known.name.as_deref().unwrap_or("another type"));
    let message =
        format!("`{}` is written as {}, and the database wants `{wanted}`", spec.name, name_of(kind));
    let help = "leave `type` out to take the database's, or cast the parameter in the statement";
    Problem::new(&["tools", tool, "params", &spec.name, "type"], message).help(help)
}

/// Turns an accepted value into the kind the database wants.
fn convert(value: Value, target: &JsonKind, dialect: Dialect) -> Result<Value, Unfit> {
    Ok(match (value, target) {
        (Value::Integer(value), JsonKind::Number) if dialect == Dialect::Postgres => {
            Value::Decimal(value.to_string())
        }
        (Value::Integer(value), JsonKind::String) => Value::Text(value.to_string()),
        (Value::Decimal(digits), JsonKind::String) => Value::Text(digits),
        (Value::Boolean(value), JsonKind::String) => Value::Text(value.to_string()),
        (Value::Json(text), JsonKind::String) => Value::Text(text),
        (Value::Text(text), JsonKind::Integer | JsonKind::Number) => {
            let mut accept = Accept::plain(target, dialect);
            accept.loosen();
            return accept.decode_json(&Json::String(text));
        }
        (Value::Text(text), JsonKind::Boolean) => match text.as_str() {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            _ => return Err(Unfit),
        },
        (other, _) => other,
    })
}

/// Turns an accepted value into what expressions read.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::Bool(*value),
        Value::Integer(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::Decimal(text) | Value::Json(text) => serde_json::from_str(text).unwrap_or_default(),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(values) => Json::Array(values.iter().map(to_json).collect()),
        Value::Object(members) => {
            Json::Object(members.iter().map(|(name, value)| (name.clone(), to_json(value))).collect())
        }
    }
}

/// Says what was found; short values are repeated.
fn found(token: Token, source: &str) -> String {
    const SHORT: usize = 40;
    let raw = token.span.of_str(source);
    match token.kind {
        Kind::String | Kind::EscapedString => {
            let text = token.text(source.as_bytes()).unwrap_or_default();
            match text.chars().count() {
                0 => "an empty string".to_owned(),
                1..=SHORT => format!("the string `{text}`"),
                length => format!("a string of {length} characters"),
            }
        }
        Kind::Integer | Kind::Float if raw.len() <= SHORT => format!("the number {raw}"),
        Kind::Bool => format!("`{raw}`"),
        kind => kind.in_words().to_owned(),
    }
}

#[cfg(test)]
mod tests;
