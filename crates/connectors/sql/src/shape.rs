//! The form of one tool's results, fixed when its statement is prepared: key bytes, cell types, output schema.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};
use trunkline_protocol::write;

use crate::Problem;
use crate::database::Column;
use crate::file::{ColumnKind, Returns, TextForm};
use trunkline_service::nearest;

/// What a result looks like, and how much of it may be sent.
#[derive(Debug)]
pub struct Shape {
    pub(crate) columns: Vec<Cell>,
    pub(crate) form: Form,
    pub(crate) text: TextForm,
    pub(crate) max_rows: u32,
    pub(crate) max_bytes: usize,
}

/// What stands around the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `{"rows":[...],"rowCount":n}`.
    Rows,
    /// `{"row":{...}}`.
    Row,
    /// `{"value":...}`.
    Value,
    /// `{"affected":n,"rows":[...]}`.
    Written,
}

impl From<Returns> for Form {
    fn from(returns: Returns) -> Self {
        match returns {
            Returns::Rows => Self::Rows,
            Returns::Row => Self::Row,
            Returns::Value => Self::Value,
        }
    }
}

/// One column's cells.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) name: Box<str>,
    /// `{"name":` for the first column, `,"name":` for every other.
    pub(crate) key: Box<[u8]>,
    /// The same, escaped to stand inside a string.
    pub(crate) key_escaped: Box<[u8]>,
    /// The written type, which every cell must fit.
    pub(crate) kind: Option<ColumnKind>,
}

/// How much of a result may be sent, and how its text looks.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most rows.
    pub max_rows: u32,
    /// Most bytes of `structuredContent`.
    pub max_bytes: usize,
    /// The form of the text.
    pub text: TextForm,
}

impl Shape {
    /// Makes a shape for columns whose names differ.
    #[must_use]
    pub fn new(columns: &[Column], kinds: &BTreeMap<String, ColumnKind>, form: Form, limits: Limits) -> Self {
        let cells = columns.iter().enumerate().map(|(at, column)| {
            let mut key = if form == Form::Value {
                br#"{"value":"#.to_vec()
            } else {
                Vec::with_capacity(column.name.len() + 4)
            };
            if form != Form::Value {
                key.push(if at == 0 { b'{' } else { b',' });
                write::string(&mut key, &column.name);
                key.push(b':');
            }
            let mut key_escaped = Vec::with_capacity(key.len() + 4);
            write::escaped(&mut key_escaped, &key);
            Cell {
                name: column.name.as_str().into(),
                key: key.into(),
                key_escaped: key_escaped.into(),
                kind: kinds.get(&column.name).copied(),
            }
        });
        Self {
            columns: cells.collect(),
            form,
            text: limits.text,
            max_rows: limits.max_rows,
            max_bytes: limits.max_bytes,
        }
    }
}

/// Finds what is wrong with the columns of a declared tool.
pub(crate) fn check(
    tool: &str,
    columns: &[Column],
    kinds: &BTreeMap<String, ColumnKind>,
    form: Form,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for column in columns {
        if !names.insert(column.name.as_str()) {
            let message = format!("two columns are named `{}`, and a row has each name once", column.name);
            problems.push(
                Problem::new(&["tools", tool, "sql"], message)
                    .help("give one of them another name with `as`"),
            );
        }
    }
    if form == Form::Value && columns.len() != 1 {
        let message =
            format!("`returns = \"value\"` takes one column, and the statement has {}", columns.len());
        problems.push(
            Problem::new(&["tools", tool, "returns"], message)
                .help("select one column, or write `returns = \"row\"`"),
        );
    }
    for name in kinds.keys().filter(|name| !names.contains(name.as_str())) {
        let message = format!("the result has no column `{name}`");
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("it has `{near}`; is that what is meant?"),
            None => format!("it has {}", list(&names)),
        };
        problems.push(Problem::new(&["tools", tool, "columns", name], message).help(help));
    }
    problems
}

fn list(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return "no columns".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Gives the second column of a name another one: `a`, `a_2`.
pub(crate) fn distinct(columns: &mut [Column]) {
    let mut names: BTreeSet<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut seen = BTreeSet::new();
    for column in columns {
        if seen.insert(column.name.clone()) {
            continue;
        }
        let free =
            (2_u32..).map(|number| format!("{}_{number}", column.name)).find(|name| !names.contains(name));
        if let Some(name) = free {
            names.insert(name.clone());
            seen.insert(name.clone());
            column.name = name;
        }
    }
}

/// Returns the schema of `structuredContent`: true of every success, and no wider than it must be.
pub(crate) fn output_schema(columns: &[Column], kinds: &BTreeMap<String, ColumnKind>, form: Form) -> Json {
    let truncated = json!({ "type": "boolean", "description": "More rows were left out" });
    match form {
        Form::Rows => json!({
            "type": "object",
            "properties": {
                "rows": { "type": "array", "items": row_schema(columns, kinds) },
                "rowCount": { "type": "integer", "minimum": 0 },
                "truncated": truncated,
            },
            "required": ["rows", "rowCount"],
            "additionalProperties": false,
        }),
        Form::Written => json!({
            "type": "object",
            "properties": {
                "affected": { "type": "integer", "minimum": 0 },
                "rows": { "type": "array", "items": row_schema(columns, kinds) },
                "truncated": truncated,
            },
            "required": ["affected", "rows"],
            "additionalProperties": false,
        }),
        Form::Row => wrapped("row", nullable(row_schema(columns, kinds))),
        Form::Value => {
            let column = columns.first().map_or_else(|| json!({}), |column| column_schema(column, kinds));
            wrapped("value", nullable(column))
        }
    }
}

/// Returns the schema of results whose columns nobody knows beforehand.
pub(crate) fn general_schema() -> Json {
    json!({
        "type": "object",
        "properties": {
            "rows": { "type": "array", "items": { "type": "object" } },
            "rowCount": { "type": "integer", "minimum": 0 },
            "truncated": { "type": "boolean", "description": "More rows were left out" },
        },
        "required": ["rows", "rowCount"],
        "additionalProperties": false,
    })
}

fn wrapped(name: &str, schema: Json) -> Json {
    json!({ "type": "object", "properties": { name: schema }, "required": [name], "additionalProperties": false })
}

fn row_schema(columns: &[Column], kinds: &BTreeMap<String, ColumnKind>) -> Json {
    let properties: Map<String, Json> =
        columns.iter().map(|column| (column.name.clone(), column_schema(column, kinds))).collect();
    let required: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn column_schema(column: &Column, kinds: &BTreeMap<String, ColumnKind>) -> Json {
    let schema = match (kinds.get(&column.name), &column.schema) {
        // Cells of a list are lists, whatever their elements are written to be.
        (Some(kind), Some(known))
            if *kind != ColumnKind::Json && known.get("type") == Some(&json!("array")) =>
        {
            json!({ "type": "array" })
        }
        // So it is with the members of an object.
        (Some(_), Some(known)) if known.get("type") == Some(&json!("object")) => known.clone(),
        (Some(kind), _) => kind_schema(*kind),
        (None, Some(known)) => known.clone(),
        (None, None) => json!({}),
    };
    if column.nullable { nullable(schema) } else { schema }
}

fn kind_schema(kind: ColumnKind) -> Json {
    match kind {
        ColumnKind::String => json!({ "type": "string" }),
        ColumnKind::Integer => json!({ "type": ["integer", "string"] }),
        ColumnKind::Number => json!({ "type": "number" }),
        ColumnKind::Boolean => json!({ "type": "boolean" }),
        ColumnKind::Json => json!({}),
    }
}

/// Admits null beside what the schema admits.
fn nullable(mut schema: Json) -> Json {
    let Some(object) = schema.as_object_mut() else { return schema };
    match object.get_mut("type") {
        Some(Json::Array(types)) if !types.contains(&json!("null")) => types.push(json!("null")),
        Some(one @ Json::String(_)) => *one = json!([one.clone(), "null"]),
        _ => {}
    }
    if let Some(Json::Array(values)) = object.get_mut("enum")
        && !values.contains(&Json::Null)
    {
        values.push(Json::Null);
    }
    schema
}
