//! The tool `explain`: the plan of a caller's statement, and a short reading of it.

mod reading;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use trunkline_sql::{Access, Database as _, StatementSource, Value};

use super::Asked;
use super::answer::{Fault, arguments, bounded};
use super::gate;
use super::plan;

pub(super) use reading::number;

/// How a statement would run, or ran.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainAnswer {
    /// What the planner thinks it costs, in its own unit
    cost: f64,
    /// How many rows the planner expects
    rows: f64,
    /// How long it ran; only with `analyze`
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    planning_milliseconds: Option<f64>,
    /// What stands out, most important first
    reading: Vec<String>,
    /// The plan in the words of PostgreSQL
    plan: Map<String, Json>,
    /// The plan was cut to fit
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    sql: String,
    analyze: Option<bool>,
}

/// Returns the schema of the arguments.
pub(super) fn input() -> Json {
    json!({
        "type": "object",
        "properties": {
            "sql": { "type": "string", "description": "One SQL statement that reads, without `explain` before it and with values in place of `$1`" },
            "analyze": { "type": "boolean", "default": false, "description": "Run it and tell real times and rows. It takes as long as the statement does" },
        },
        "required": ["sql"],
        "additionalProperties": false,
    })
}

/// What is known of a table that a plan reads.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Relation {
    pub(super) schema: String,
    pub(super) name: String,
    /// The table it is a partition of, or itself.
    pub(super) root_schema: String,
    pub(super) root: String,
    pub(super) partitioned: bool,
    pub(super) rows: Option<f64>,
    /// Names of its columns that an ordinary index can have.
    pub(super) columns: Vec<String>,
}

/// What the server is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Server {
    pub(super) recovery: bool,
    /// The schema of HypoPG.
    pub(super) hypopg: Option<String>,
    /// The schema of pg_stat_statements.
    pub(super) statements: Option<String>,
    /// For how many seconds statistics were gathered.
    pub(super) stats_since: Option<i64>,
}

/// Answers a call.
///
/// # Errors
/// [`Fault`].
pub(super) async fn call(asked: &Asked<'_>, raw: &[u8]) -> Result<Json, Fault> {
    let Arguments { sql, analyze } = arguments(raw)?;
    gate::admit(&sql)?;
    let analyze = analyze.unwrap_or(false);
    let (plan, explained, _) = explained(asked, &sql, analyze).await?;
    let relations = relations(asked, &explained.plan).await?;
    let answer = ExplainAnswer {
        cost: explained.plan.cost,
        rows: explained.plan.plan_rows,
        milliseconds: explained.execution_time,
        planning_milliseconds: explained.planning_time,
        reading: reading::of(&explained, &relations),
        plan: match plan {
            Json::Object(plan) => plan,
            _ => Map::new(),
        },
        truncated: None,
    };
    bounded(&answer, asked.most_bytes())
}

/// Explains a statement: the plan for people, the same as steps, and the options that did it.
///
/// # Errors
/// [`Fault`].
pub(super) async fn explained(
    asked: &Asked<'_>,
    sql: &str,
    analyze: bool,
) -> Result<(Json, plan::Explained, &'static str), Fault> {
    let options = if analyze { "format json, verbose, analyze, buffers" } else { "format json, verbose" };
    match run(asked, sql, options).await? {
        Some((plan, explained)) => Ok((plan, explained, options)),
        None => Err(Fault::Said(
            "the statement has parameters, and nothing gives them values; write values into it".to_owned(),
        )),
    }
}

/// Explains a statement; `None` when it wants values for parameters.
async fn run(asked: &Asked<'_>, sql: &str, options: &str) -> Result<Option<(Json, plan::Explained)>, Fault> {
    let before = format!("explain ({options}) ");
    let source = StatementSource {
        sql: format!("{before}{sql}"),
        access: Access::ReadOnly,
        ad_hoc: true,
        behalf: asked.behalf.clone(),
        ..StatementSource::default()
    };
    let theirs = |error| Fault::Statement { error, sql: sql.to_owned(), before: before.len() };
    let postgres = &*asked.assistant.postgres;
    let (statement, description) = postgres.prepare(&source).await.map_err(theirs)?;
    if !description.parameters.is_empty() {
        return Ok(None);
    }
    let text = asked.run(&statement, Vec::new()).await.map_err(theirs)?;
    let explained = text.as_deref().and_then(plan::read);
    explained.map(Some).ok_or_else(|| Fault::Said("the plan is nested too deeply to be read".to_owned()))
}

/// Asks what is known of the tables of a plan.
///
/// # Errors
/// [`Fault`].
pub(super) async fn relations(asked: &Asked<'_>, plan: &plan::Node) -> Result<Vec<Relation>, Fault> {
    let mut names: Vec<[&str; 2]> = plan
        .all()
        .into_iter()
        .filter_map(|node| Some([node.schema.as_deref()?, node.relation.as_deref()?]))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(MOST_RELATIONS);
    let names = vec![Value::Text(serde_json::to_string(&names).unwrap_or_default())];
    Ok(asked.fixed(|all| &all.relations, names).await?)
}

/// Asks what the server is.
///
/// # Errors
/// [`Fault`].
pub(super) async fn server(asked: &Asked<'_>) -> Result<Server, Fault> {
    Ok(asked.fixed(|all| &all.context, Vec::new()).await?)
}

/// Of a plan over thousands of partitions, only so many are looked at.
const MOST_RELATIONS: usize = 500;
