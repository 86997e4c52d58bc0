//! One parameter as the file declares it, checked as far as the file alone allows.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Number, Value as Json};
use trunkline_service::expression::{ArgType, Expected, Expression, Scope};

use crate::Problem;
use crate::accept::Accept;
use crate::database::{Dialect, WrittenType};
use crate::file::ParamFile;
use crate::sqlite_type::SqliteType;
use crate::value::JsonKind;

/// A parameter of a statement, or an argument that only expressions read.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) written: WrittenType,
    /// The kind the file alone settles: the written one, or in SQLite the default's.
    pub(crate) kind: Option<JsonKind>,
    pub(crate) description: Option<String>,
    pub(crate) default: Option<Json>,
    pub(crate) rules: Rules,
    pub(crate) nullable: bool,
    pub(crate) required: bool,
    pub(crate) secret: bool,
    /// Gives the value; the parameter is then hidden from the model.
    pub(crate) computed: Option<Expression>,
}

/// What a given value must keep to, as written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) allowed: Option<Vec<Json>>,
    pub(crate) minimum: Option<Number>,
    pub(crate) maximum: Option<Number>,
    pub(crate) min_length: Option<u32>,
    pub(crate) max_length: Option<u32>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) format: Option<String>,
}

/// The arguments a client may send, for the expressions that read them.
pub(crate) type Visible<'a> = BTreeMap<&'a str, Option<&'a ParamFile>>;

impl Spec {
    /// A parameter of which the file says nothing.
    pub(crate) fn undeclared(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            written: WrittenType::Inferred,
            kind: None,
            description: None,
            default: None,
            rules: Rules::default(),
            nullable: false,
            required: true,
            secret: false,
            computed: None,
        }
    }

    /// Checks a parameter of the file.
    pub(crate) fn resolve(
        tool: &str,
        name: &str,
        file: &ParamFile,
        dialect: Dialect,
        args: &Visible<'_>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let written = written(tool, name, file, dialect).map_err(|problem| problems.push(problem)).ok();
        let rules = rules(tool, name, file).map_err(|problem| problems.push(problem)).ok();
        let computed = computed(tool, name, file, args).map_err(|found| problems.extend(found)).ok();
        if file.required == Some(true) && file.default.is_some() {
            let message = "`required = true` and `default` contradict each other";
            problems.push(
                Problem::new(&["tools", tool, "params", name, "required"], message)
                    .help("leave one of them out"),
            );
        }
        let (Some(written), Some(rules), Some(computed), true) =
            (written, rules, computed, problems.is_empty())
        else {
            return Err(problems);
        };
        let kind = match &written {
            WrittenType::Json(kind) => Some(kind.clone()),
            WrittenType::Inferred if dialect == Dialect::Sqlite => kind_of_file(file),
            WrittenType::Database(name) if dialect == Dialect::Sqlite => {
                SqliteType::named(name).map(SqliteType::kind)
            }
            _ => None,
        };
        if kind.is_none() && computed.is_none() && dialect == Dialect::Sqlite {
            let message =
                format!("`{name}` has no type, and SQLite has no parameter types to infer one from");
            let help =
                "write `type = \"string\"`, `integer`, `number`, `boolean` or `json`, or give it a `default`";
            return Err(vec![Problem::new(&["tools", tool, "params", name], message).help(help)]);
        }
        let spec = Self {
            name: name.to_owned(),
            written,
            description: file.description.clone().filter(|text| !text.trim().is_empty()),
            default: file.default.as_ref().map(plain_date),
            rules,
            nullable: file.nullable,
            required: file.required.unwrap_or(file.default.is_none()),
            secret: file.secret,
            computed,
            kind,
        };
        match &spec.kind {
            Some(kind) => spec.check(tool, kind, dialect).map(|()| spec),
            None => Ok(spec),
        }
    }

    /// Checks default and rules against a kind.
    fn check(&self, tool: &str, kind: &JsonKind, dialect: Dialect) -> Result<(), Vec<Problem>> {
        let accept =
            Accept::new(kind, &self.rules, None, dialect).and_then(|accept| self.decode_default(&accept));
        match accept {
            Ok(_) => Ok(()),
            Err(faults) => {
                Err(faults.into_iter().map(|fault| fault.into_problem(tool, &self.name)).collect())
            }
        }
    }

    /// Settles the kind of an argument that stands in no statement, where no database can.
    pub(crate) fn only_for_expressions(
        mut self,
        tool: &str,
        file: Option<&ParamFile>,
    ) -> Result<Self, Problem> {
        self.kind = self.kind.take().or_else(|| file.and_then(kind_of_file));
        if self.kind.is_some() {
            return Ok(self);
        }
        let message = format!("only expressions read `{}`, so the database cannot tell its type", self.name);
        let help = "write `type = \"string\"`, `integer`, `number`, `boolean` or `json`";
        Err(Problem::new(&["tools", tool, "params", &self.name], message).help(help))
    }
}

/// Tells which written type a word of the file is.
fn written(tool: &str, name: &str, file: &ParamFile, dialect: Dialect) -> Result<WrittenType, Problem> {
    let path = |key| Problem::new(&["tools", tool, "params", name, key], "");
    let items = match file.items.as_deref() {
        None => None,
        Some(word) => match json_kind(word) {
            Some(kind) => Some(kind),
            None => {
                let message = format!("`{word}` is no type for `items`");
                let help = "use `string`, `integer`, `number`, `boolean` or `json`".to_owned();
                return Err(Problem { message, help: Some(help), ..path("items") });
            }
        },
    };
    match (file.kind.as_deref(), items) {
        (None, None) => Ok(WrittenType::Inferred),
        (None | Some("array"), Some(items)) => Ok(WrittenType::Json(JsonKind::Array(Box::new(items)))),
        (Some("array"), None) => {
            let help =
                "write `items = \"string\"`, `integer`, `number`, `boolean` or `json` beside it".to_owned();
            Err(Problem {
                message: "a list needs the type of its elements".to_owned(),
                help: Some(help),
                ..path("type")
            })
        }
        (Some(word), Some(_)) => {
            let message = format!("`items` goes with `type = \"array\"`, not with `{word}`");
            Err(Problem { message, help: Some("leave `items` out".to_owned()), ..path("items") })
        }
        (Some(word), None) => match json_kind(word) {
            Some(kind) => Ok(WrittenType::Json(kind)),
            None if dialect == Dialect::Postgres && !word.trim().is_empty() => {
                Ok(WrittenType::Database(word.to_owned()))
            }
            None if dialect == Dialect::Sqlite && SqliteType::named(word).is_some() => {
                Ok(WrittenType::Database(word.to_owned()))
            }
            None => {
                let message = format!("`{word}` is no type of a parameter here");
                let help = match dialect {
                    Dialect::Sqlite => {
                        "use `string`, `integer`, `number`, `boolean`, `json`, `array` with `items`, or one of SQLite's: `integer`, `real`, `text`, `blob`"
                    }
                    Dialect::Postgres => {
                        "use `string`, `integer`, `number`, `boolean`, `json`, or `array` with `items`"
                    }
                };
                let help = help.to_owned();
                Err(Problem { message, help: Some(help), ..path("type") })
            }
        },
    }
}

fn json_kind(word: &str) -> Option<JsonKind> {
    match word {
        "string" => Some(JsonKind::String),
        "integer" => Some(JsonKind::Integer),
        "number" => Some(JsonKind::Number),
        "boolean" => Some(JsonKind::Boolean),
        "json" => Some(JsonKind::Json),
        _ => None,
    }
}

/// The kind that the default or the allowed values have.
fn kind_of_file(file: &ParamFile) -> Option<JsonKind> {
    match file.default.as_ref().or_else(|| file.allowed.as_ref()?.first())? {
        Json::Null => None,
        Json::Bool(_) => Some(JsonKind::Boolean),
        Json::Number(number) if number.is_f64() => Some(JsonKind::Number),
        Json::Number(_) => Some(JsonKind::Integer),
        Json::String(_) => Some(JsonKind::String),
        Json::Array(_) => Some(JsonKind::Array(Box::new(JsonKind::Json))),
        Json::Object(object) if is_date(object) => Some(JsonKind::String),
        Json::Object(_) => Some(JsonKind::Json),
    }
}

/// TOML has dates and JSON has none: the reader hands them over as an object with this one key.
const DATE_KEY: &str = "$__toml_private_datetime";

fn is_date(object: &serde_json::Map<String, Json>) -> bool {
    object.len() == 1 && object.contains_key(DATE_KEY)
}

/// Makes a string of a date that stands in the file without quotes.
fn plain_date(value: &Json) -> Json {
    match value {
        Json::Object(object) if is_date(object) => object.get(DATE_KEY).cloned().unwrap_or_default(),
        other => other.clone(),
    }
}

fn rules(tool: &str, name: &str, file: &ParamFile) -> Result<Rules, Problem> {
    let path = |key| ["tools", tool, "params", name, key];
    let pattern = file.pattern.as_deref().map(Regex::new).transpose().map_err(|error| {
        let message = format!("this is no regular expression: {}", last_line(&error.to_string()));
        Problem::new(&path("pattern"), message)
    })?;
    if file.allowed.as_ref().is_some_and(Vec::is_empty) {
        return Err(Problem::new(&path("enum"), "no value is allowed at all")
            .help("list the values, or leave it out"));
    }
    if file.min_length.zip(file.max_length).is_some_and(|(least, most)| least > most) {
        return Err(Problem::new(&path("min-length"), "`min-length` is greater than `max-length`"));
    }
    Ok(Rules {
        allowed: file.allowed.as_ref().map(|values| values.iter().map(plain_date).collect()),
        minimum: file.minimum.clone(),
        maximum: file.maximum.clone(),
        min_length: file.min_length,
        max_length: file.max_length,
        pattern,
        format: file.format.clone().or_else(|| is_blob(file).then(|| "base64".to_owned())),
    })
}

fn is_blob(file: &ParamFile) -> bool {
    file.kind.as_deref().is_some_and(|word| matches!(word.to_ascii_lowercase().as_str(), "blob" | "bytea"))
}

/// The reader of regular expressions draws a picture over several lines; its last one says what is wrong.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ")
}

fn computed(
    tool: &str,
    name: &str,
    file: &ParamFile,
    args: &Visible<'_>,
) -> Result<Option<Expression>, Vec<Problem>> {
    let (key, source) = match (&file.from, &file.value) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let message = "`from` and `value` both give the value";
            let problem = Problem::new(&["tools", tool, "params", name, "value"], message)
                .help("leave one of them out");
            return Err(vec![problem]);
        }
        (Some(source), None) => ("from", source),
        (None, Some(source)) => ("value", source),
    };
    let mut problems: Vec<Problem> = without_meaning(file)
        .into_iter()
        .map(|other| {
            let message = format!(
                "`{other}` says what a client may send, and `{key}` hides this parameter from clients"
            );
            let help = format!("leave `{other}` or `{key}` out");
            Problem::new(&["tools", tool, "params", name, other], message).help(help)
        })
        .collect();
    let scope = Scope {
        args: if key == "from" {
            args.iter().map(|(name, file)| ((*name).to_owned(), arg_type(*file))).collect()
        } else {
            BTreeMap::new()
        },
        expected: Some(expected(file)),
    };
    match Expression::compile(source, &scope) {
        Ok(expression) if problems.is_empty() => return Ok(Some(expression)),
        Ok(_) => {}
        Err(error) => {
            let problem = Problem::new(&["tools", tool, "params", name, key], error.message).at(error.offset);
            problems.push(Problem { help: error.help, ..problem });
        }
    }
    Err(problems)
}

/// The keys that are written and mean nothing where the value is computed.
fn without_meaning(file: &ParamFile) -> Vec<&'static str> {
    let keys = [
        ("default", file.default.is_some()),
        ("enum", file.allowed.is_some()),
        ("minimum", file.minimum.is_some()),
        ("maximum", file.maximum.is_some()),
        ("min-length", file.min_length.is_some()),
        ("max-length", file.max_length.is_some()),
        ("pattern", file.pattern.is_some()),
        ("format", file.format.is_some()),
        ("required", file.required.is_some()),
        ("nullable", file.nullable),
    ];
    keys.into_iter().filter(|(_, written)| *written).map(|(key, _)| key).collect()
}

fn arg_type(file: Option<&ParamFile>) -> ArgType {
    let Some(file) = file else { return ArgType::Any };
    if file.kind.is_none() && file.items.is_none() {
        return kind_of_file(file).map_or(ArgType::Any, |kind| arg_type_of(&kind));
    }
    match (file.kind.as_deref(), file.items.as_deref()) {
        (None | Some("array"), Some(items)) => {
            ArgType::List(Box::new(json_kind(items).map_or(ArgType::Any, |kind| arg_type_of(&kind))))
        }
        (Some(word), _) => json_kind(word).map_or(ArgType::Any, |kind| arg_type_of(&kind)),
        _ => ArgType::Any,
    }
}

fn arg_type_of(kind: &JsonKind) -> ArgType {
    match kind {
        JsonKind::String => ArgType::String,
        JsonKind::Integer => ArgType::Integer,
        JsonKind::Number => ArgType::Number,
        JsonKind::Boolean => ArgType::Boolean,
        JsonKind::Json | JsonKind::Object(_) | JsonKind::Map(_) => ArgType::Any,
        JsonKind::Array(items) => ArgType::List(Box::new(arg_type_of(items))),
    }
}

fn expected(file: &ParamFile) -> Expected {
    match file.kind.as_deref() {
        Some("string") => Expected::String,
        Some("integer") => Expected::Integer,
        Some("number") => Expected::Number,
        Some("boolean") => Expected::Boolean,
        _ => Expected::Any,
    }
}
