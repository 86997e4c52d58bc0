//! The tool `health`: each check asks the server for numbers and says what they mean and what to do.

mod checks;
mod statements;

use std::future::Future;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use trunkline_sql::DatabaseError;

use super::Asked;
use super::answer::{Fault, arguments, bounded};
use super::explain;

/// How the database is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthAnswer {
    /// The worst of all checks
    status: Status,
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
}

/// One check.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    name: Name,
    status: Status,
    /// The number it was judged by
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// What the number means
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    /// What was found, and what to do
    text: String,
    /// What it was found on, worst first
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Item>,
}

/// Something that a check found.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(super) struct Item {
    name: String,
    text: String,
    /// The statement, with `$1` in place of values
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<String>,
}

/// What a check comes to. What is not known makes nothing worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    /// It could not be looked at; `text` says why.
    Unknown,
    /// All is well.
    Ok,
    /// Someone should look.
    Warn,
    /// Someone should act.
    Bad,
}

/// The checks, in the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Name {
    Connections,
    Transactions,
    Blocked,
    Cache,
    DeadRows,
    Bloat,
    Analyze,
    Autovacuum,
    Wraparound,
    Sequences,
    Invalid,
    Replication,
    Slots,
    SlowStatements,
}

impl Name {
    const ALL: [Self; 14] = [
        Self::Connections,
        Self::Transactions,
        Self::Blocked,
        Self::Cache,
        Self::DeadRows,
        Self::Bloat,
        Self::Analyze,
        Self::Autovacuum,
        Self::Wraparound,
        Self::Sequences,
        Self::Invalid,
        Self::Replication,
        Self::Slots,
        Self::SlowStatements,
    ];
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    checks: Option<Vec<Name>>,
}

/// Returns the schema of the arguments.
pub(super) fn input() -> Json {
    let names = json!(Name::ALL);
    json!({
        "type": "object",
        "properties": {
            "checks": {
                "type": "array",
                "items": { "type": "string", "enum": names },
                "description": "Only these checks. Default: all",
            },
        },
        "additionalProperties": false,
    })
}

/// Answers a call.
///
/// # Errors
/// [`Fault`].
pub(super) async fn call(asked: &Asked<'_>, raw: &[u8]) -> Result<Json, Fault> {
    let Arguments { checks } = arguments(raw)?;
    let wanted =
        |name: Name| checks.as_ref().is_none_or(|checks| checks.is_empty() || checks.contains(&name));
    let any = |names: &[Name]| names.iter().any(|name| wanted(*name));
    let mut found: Vec<Check> = Vec::new();
    if any(&checks::COUNTED) {
        found.extend(
            told(&checks::COUNTED, asked.fixed(|all| &all.health, Vec::new()), checks::counted).await?,
        );
    }
    if any(&checks::BY_TABLE) {
        found.extend(
            told(&checks::BY_TABLE, asked.fixed(|all| &all.bloat, Vec::new()), checks::by_table).await?,
        );
    }
    if any(&checks::REPLICATED) {
        let asking = asked.fixed(|all| &all.replication, Vec::new());
        found.extend(told(&checks::REPLICATED, asking, checks::replicated).await?);
    }
    if wanted(Name::SlowStatements) {
        let server = explain::server(asked).await?;
        found.push(statements::check(asked, &server).await?);
    }
    found.retain(|check| wanted(check.name));
    found.sort_by_key(|check| Name::ALL.iter().position(|name| *name == check.name));
    let status = found.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    bounded(&HealthAnswer { status, checks: found, truncated: None }, asked.most_bytes())
}

/// Judges what was counted; what the login may not ask is told as unknown and spoils no other check.
async fn told<T>(
    names: &[Name],
    asking: impl Future<Output = Result<T, DatabaseError>>,
    judge: impl FnOnce(T) -> Vec<Check>,
) -> Result<Vec<Check>, Fault> {
    match asking.await {
        Ok(counted) => Ok(judge(counted)),
        Err(error) => match not_allowed(&error) {
            Some(text) => Ok(names.iter().map(|name| Check::unknown(*name, text.clone())).collect()),
            None => Err(Fault::Database(error)),
        },
    }
}

/// Says that the login lacks a right, if that is what it is.
fn not_allowed(error: &DatabaseError) -> Option<String> {
    match error {
        DatabaseError::Statement { code: Some(code), message, .. }
        | DatabaseError::Data { code: Some(code), message }
            if code == "42501" =>
        {
            Some(format!(
                "the database user of this connector may not look ({message}); `grant pg_monitor` to it lets it"
            ))
        }
        _ => None,
    }
}

impl Check {
    fn new(name: Name, status: Status, text: impl Into<String>) -> Self {
        Self { name, status, value: None, unit: None, text: text.into(), items: Vec::new() }
    }

    fn unknown(name: Name, text: impl Into<String>) -> Self {
        Self::new(name, Status::Unknown, text)
    }

    fn value(mut self, value: f64, unit: &'static str) -> Self {
        self.value = Some((value * 1000.0).round() / 1000.0);
        self.unit = Some(unit);
        self
    }

    fn items(mut self, items: Vec<Item>) -> Self {
        self.items = items;
        self
    }
}

impl Item {
    fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), sql: None }
    }
}
