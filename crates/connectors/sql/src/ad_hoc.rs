//! The tool that runs a statement its caller wrote.

use std::collections::BTreeMap;

use trunkline_service::{Annotations, Caller, ToolDefinition, ToolName};

use crate::Problem;
use crate::cursor;
use crate::database::{Access, Column, Dialect, StatementSource, WrittenType};
use crate::file::TextForm;
use crate::options::Options;
use crate::param::{BindError, Plan};
use crate::schema;
use crate::shape::{self, Form, Limits, Shape};
use crate::spec::{Rules, Spec};
use crate::value::{JsonKind, Value};

/// The tool and how its one argument is read.
#[derive(Debug)]
pub(crate) struct AdHocTool {
    pub(crate) definition: ToolDefinition,
    specs: Vec<Spec>,
    plan: Plan,
    limits: Limits,
}

impl AdHocTool {
    /// Makes the tool of a connector.
    pub(crate) fn new(connector: &str, options: &Options, dialect: Dialect) -> Result<Self, Problem> {
        let prefix = options.prefix.clone().unwrap_or_else(|| format!("{connector}_"));
        let name = ToolName::new(&format!("{prefix}query"))
            .map_err(|error| Problem::new(&["connectors", connector, "prefix"], error.to_string()))?;
        let specs = vec![Spec {
            written: WrittenType::Json(JsonKind::String),
            kind: Some(JsonKind::String),
            description: Some("One SQL statement that only reads".to_owned()),
            rules: Rules { min_length: Some(1), ..Rules::default() },
            ..Spec::undeclared("sql")
        }];
        let plan = Plan::new(name.as_str(), &specs, &[], 1, dialect).map_err(|found| {
            found.into_iter().next().unwrap_or_else(|| Problem::new(&["connectors", connector], ""))
        })?;
        let definition = ToolDefinition {
            title: Some(format!("Query {connector}")),
            description: description(connector, options, dialect),
            input_schema: schema::input(&specs, Some(&plan), options.schema, dialect),
            output_schema: Some(shape::general_schema()),
            annotations: Annotations::READ_ONLY,
            icons: Vec::new(),
            meta: None,
            name,
        };
        let limits =
            Limits { max_rows: options.max_rows, max_bytes: options.max_bytes, text: TextForm::Json };
        Ok(Self { definition, specs, plan, limits })
    }

    /// Has results that end early go on on a later page.
    pub(crate) fn with_pages(mut self) -> Self {
        self.plan = self.plan.taking_cursor(true);
        cursor::describe_argument(&mut self.definition.input_schema);
        self.definition.output_schema.as_mut().map(cursor::describe_result);
        self
    }

    /// Returns the cursor among the arguments of a call that were found right.
    pub(crate) fn cursor(&self, arguments: &[u8], caller: &Caller) -> Option<Box<str>> {
        self.plan.bind_page(&self.specs, arguments, caller).ok()?.cursor
    }

    /// Reads the statement from the arguments of a call.
    pub(crate) fn source(&self, arguments: &[u8], caller: &Caller) -> Result<StatementSource, String> {
        match self.plan.bind(&self.specs, arguments, caller).map(|mut values| values.pop()) {
            Ok(Some(Value::Text(sql))) => Ok(StatementSource {
                sql,
                access: Access::ReadOnly,
                ad_hoc: true,
                ..StatementSource::default()
            }),
            Err(BindError::Arguments(text)) => Err(text),
            Ok(_) | Err(BindError::Computed { .. }) => Err("`sql` is required: one SQL statement".to_owned()),
        }
    }

    /// Returns the form of the rows of one statement.
    pub(crate) fn shape(&self, mut columns: Vec<Column>) -> Shape {
        shape::distinct(&mut columns);
        Shape::new(&columns, &BTreeMap::new(), Form::Rows, self.limits)
    }
}

fn description(connector: &str, options: &Options, dialect: Dialect) -> String {
    let dialect = match dialect {
        Dialect::Postgres => "PostgreSQL",
        Dialect::Sqlite => "SQLite",
    };
    format!(
        "Runs one read-only {dialect} statement on `{connector}` and returns its rows as objects. At most {} rows and {} bytes \
         come back, and `truncated` says when there were more; it is stopped after {:?}. Use it for questions no other tool answers.",
        options.max_rows, options.max_bytes, options.statement_timeout
    )
}
