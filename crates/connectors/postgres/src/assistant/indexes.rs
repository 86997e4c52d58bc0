//! The tool `indexes`: what to create, what to drop and what to build again, by the statistics or for one statement.

mod candidates;
mod condition;
mod name;
mod trial;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use trunkline_sql::Value;

use super::Asked;
use super::answer::{Fault, arguments, bounded};
use super::explain::{self, number};
use candidates::Candidate;
use name::quoted;

/// Advice on indexes.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IndexesAnswer {
    /// Indexes worth making
    create: Vec<Create>,
    /// Indexes not worth keeping
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drop: Vec<Remedy>,
    /// Invalid indexes, which cost and do not serve
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rebuild: Vec<Remedy>,
    /// Big tables that are read whole again and again; give one of their statements as `sql`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    read_whole: Vec<Whole>,
    /// With `sql`: its cost now
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_before: Option<f64>,
    /// With `sql`: its cost with all of `create`, as the planner says
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_after: Option<f64>,
    /// With `sql`: whether the indexes were tried, as hypothetical ones
    #[serde(skip_serializing_if = "Option::is_none")]
    tried: Option<bool>,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
}

/// An index to make.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Create {
    table: String,
    columns: Vec<String>,
    statement: String,
    reason: String,
    /// About how large it would be
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_before: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_after: Option<f64>,
}

/// An index to do something about.
#[derive(Debug, Serialize, JsonSchema)]
struct Remedy {
    table: String,
    index: String,
    bytes: i64,
    statement: String,
    reason: String,
}

/// A table that is read whole.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Whole {
    table: String,
    rows: f64,
    /// How often it was read whole
    scans: f64,
    /// How many rows each time
    rows_each: f64,
    /// How often an index of it was used
    index_scans: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    table: Option<String>,
    sql: Option<String>,
}

/// Returns the schema of the arguments.
pub(super) fn input() -> Json {
    json!({
        "type": "object",
        "properties": {
            "table": { "type": "string", "description": "Only this table, as `table` or `schema.table`" },
            "sql": { "type": "string", "description": "A reading statement that should become cheaper" },
        },
        "additionalProperties": false,
    })
}

/// Answers a call.
///
/// # Errors
/// [`Fault`].
pub(super) async fn call(asked: &Asked<'_>, raw: &[u8]) -> Result<Json, Fault> {
    let asked_for: Arguments = arguments(raw)?;
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let answer = match (given(asked_for.sql), given(asked_for.table)) {
        (Some(_), Some(_)) => {
            return Err(Fault::Said("give `sql` or `table`, not both".to_owned()));
        }
        (Some(sql), None) => for_statement(asked, &sql).await?,
        (None, table) => by_statistics(asked, table.as_deref()).await?,
    };
    bounded(&answer, asked.most_bytes())
}

// ---- one statement ----

async fn for_statement(asked: &Asked<'_>, sql: &str) -> Result<IndexesAnswer, Fault> {
    let (_, explained, options) = explain::explained(asked, sql, false).await?;
    let relations = explain::relations(asked, &explained.plan).await?;
    let candidates = candidates::of(&explained.plan, &relations);
    let server = explain::server(asked).await?;
    let before = explained.plan.cost;
    let mut answer = IndexesAnswer { cost_before: Some(before), ..IndexesAnswer::default() };
    if candidates.is_empty() {
        answer
            .notes
            .push("no filter, join or order of this statement could use another plain index".to_owned());
        return Ok(answer);
    }
    let Some(schema) = &server.hypopg else {
        answer.tried = Some(false);
        answer.create = candidates.iter().take(MOST_UNTRIED).map(untried).collect();
        answer.notes.push(
            "the extension HypoPG is not installed, so nothing was tried: these only follow from the plan's conditions. \
             Install it (`create extension hypopg`) to have them tried without making them"
                .to_owned(),
        );
        return Ok(answer);
    };
    let tried = trial::run(asked, schema, &format!("explain ({options}) {sql}"), &candidates).await?;
    answer.tried = Some(true);
    answer.cost_before = Some(tried.before);
    answer.cost_after = Some(tried.chosen.last().map_or(tried.before, |chosen| chosen.after));
    answer.notes.push(match tried.chosen.is_empty() {
        true => format!(
            "{} possible indexes were tried, and none makes the statement a tenth cheaper",
            tried.count
        ),
        false => {
            format!("{} possible indexes were tried as hypothetical ones; nothing was made", tried.count)
        }
    });
    answer.create = tried.chosen.into_iter().map(chosen).collect();
    Ok(answer)
}

fn chosen(chosen: trial::Chosen<'_>) -> Create {
    let (before, after) = (chosen.before, chosen.after);
    let reason = format!(
        "the planner's cost goes from {} to {}; it serves {}",
        number(before),
        number(after),
        chosen.candidate.serves
    );
    Create {
        bytes: chosen.bytes,
        cost_before: Some(before),
        cost_after: Some(after),
        ..create(chosen.candidate, reason)
    }
}

fn untried(candidate: &Candidate) -> Create {
    create(candidate, format!("it would serve {}", candidate.serves))
}

fn create(candidate: &Candidate, reason: String) -> Create {
    Create {
        table: format!("{}.{}", candidate.schema, candidate.table),
        columns: candidate.columns.iter().map(|(name, _)| name.clone()).collect(),
        statement: statement(&candidate.schema, &candidate.table, &candidate.keys(), candidate.partitioned),
        reason,
        bytes: None,
        cost_before: None,
        cost_after: None,
    }
}

/// Writes the statement that makes an index. On a partitioned table none can be made without locking it.
fn statement(schema: &str, table: &str, keys: &[String], partitioned: bool) -> String {
    let how = if partitioned { "create index" } else { "create index concurrently" };
    format!("{how} on {}.{} ({})", quoted(schema), quoted(table), keys.join(", "))
}

// ---- by the statistics ----

#[derive(Debug, Deserialize)]
struct ForeignKeys {
    total: u64,
    found: Vec<ForeignKey>,
}

#[derive(Debug, Deserialize)]
struct ForeignKey {
    schema: String,
    table: String,
    columns: Vec<String>,
    references: String,
    partitioned: bool,
    rows: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Use {
    whole: Vec<WholeRow>,
    unused_total: u64,
    unused_bytes: f64,
    unused: Vec<IndexRow>,
}

#[derive(Debug, Deserialize)]
struct WholeRow {
    schema: String,
    table: String,
    rows: f64,
    scans: f64,
    each: f64,
    index_scans: f64,
}

#[derive(Debug, Deserialize)]
struct IndexRow {
    schema: String,
    table: String,
    index: String,
    bytes: i64,
    /// The one that does its work.
    other: Option<String>,
    #[serde(default)]
    same: bool,
}

#[derive(Debug, Deserialize)]
struct Faults {
    doubled: Vec<IndexRow>,
    invalid: Vec<IndexRow>,
}

async fn by_statistics(asked: &Asked<'_>, table: Option<&str>) -> Result<IndexesAnswer, Fault> {
    let (schema, name) = match table.map(|table| table.split_once('.').ok_or(table)) {
        None => (None, None),
        Some(Ok((schema, name))) => (Some(schema), Some(name)),
        Some(Err(name)) => (None, Some(name)),
    };
    let value = |text: Option<&str>| text.map_or(Value::Null, |text| Value::Text(text.to_owned()));
    let values = || vec![value(schema), value(name)];
    if let Some(name) = name {
        super::schema::known(asked, schema, name).await?;
    }
    let server = explain::server(asked).await?;
    let keys: ForeignKeys = asked.fixed(|all| &all.foreign_keys, values()).await?;
    let mut used: Use = asked.fixed(|all| &all.index_use, values()).await?;
    let faults: Faults = asked.fixed(|all| &all.index_faults, values()).await?;
    let mut answer = IndexesAnswer::default();
    if keys.total > keys.found.len() as u64 {
        answer.notes.push(format!(
            "{} foreign keys have no index; the {} largest are told",
            keys.total,
            keys.found.len()
        ));
    }
    if keys.found.iter().any(|key| key.partitioned) {
        answer.notes.push(
            "on a partitioned table `create index` locks out writers; make it on each partition with `concurrently` first".to_owned(),
        );
    }
    answer.create = keys.found.iter().map(for_key).collect();
    answer.read_whole = std::mem::take(&mut used.whole).into_iter().map(Whole::from).collect();
    answer.rebuild = faults.invalid.iter().map(invalid).collect();
    answer.drop = faults.doubled.iter().map(doubled).collect();
    let told: Vec<String> = faults.doubled.iter().map(|row| row.index.clone()).collect();
    answer.drop.extend(used.unused.iter().filter(|row| !told.contains(&row.index)).map(unused));
    if used.unused_total > 0 {
        answer.notes.push(unused_note(&used, &server));
    }
    if answer.create.is_empty()
        && answer.drop.is_empty()
        && answer.rebuild.is_empty()
        && answer.read_whole.is_empty()
    {
        answer
            .notes
            .push("nothing to do by the statistics; give a slow statement as `sql` for more".to_owned());
    }
    Ok(answer)
}

fn for_key(key: &ForeignKey) -> Create {
    let keys: Vec<String> = key.columns.iter().map(|column| quoted(column)).collect();
    let rows = key.rows.map(|rows| format!(" ({} rows)", number(rows))).unwrap_or_default();
    Create {
        table: format!("{}.{}", key.schema, key.table),
        columns: key.columns.clone(),
        statement: statement(&key.schema, &key.table, &keys, key.partitioned),
        reason: format!(
            "the foreign key to {} has no index: a delete there, or a join, reads all of this table{rows}",
            key.references
        ),
        bytes: None,
        cost_before: None,
        cost_after: None,
    }
}

fn remedy(row: &IndexRow, verb: &str, reason: String) -> Remedy {
    Remedy {
        table: format!("{}.{}", row.schema, row.table),
        index: row.index.clone(),
        bytes: row.bytes,
        statement: format!("{verb} index concurrently {}.{}", quoted(&row.schema), quoted(&row.index)),
        reason,
    }
}

fn invalid(row: &IndexRow) -> Remedy {
    remedy(row, "reindex", "it is invalid, as a `create index concurrently` that failed leaves it".to_owned())
}

fn doubled(row: &IndexRow) -> Remedy {
    let other = row.other.as_deref().unwrap_or_default();
    let reason = if row.same {
        format!("`{other}` is the same index")
    } else {
        format!("`{other}` begins with the same columns and does its work")
    };
    remedy(row, "drop", reason)
}

fn unused(row: &IndexRow) -> Remedy {
    remedy(row, "drop", "nothing has read it since statistics were reset, and it enforces nothing".to_owned())
}

fn unused_note(used: &Use, server: &explain::Server) -> String {
    let since = match server.stats_since {
        Some(seconds) => format!("for {} days", number((seconds as f64 / 86_400.0 * 10.0).round() / 10.0)),
        None => "since they were last reset, which is not known".to_owned(),
    };
    let replica = if server.recovery { "" } else { "; replicas count for themselves, so look there, too" };
    format!(
        "{} unused indexes take {} MB; statistics were gathered {since}{replica}",
        used.unused_total,
        number((used.unused_bytes / 1e5).round() / 10.0)
    )
}

impl From<WholeRow> for Whole {
    fn from(row: WholeRow) -> Self {
        Self {
            table: format!("{}.{}", row.schema, row.table),
            rows: row.rows,
            scans: row.scans,
            rows_each: row.each,
            index_scans: row.index_scans,
        }
    }
}

/// So many candidates are told when none could be tried.
const MOST_UNTRIED: usize = 4;
