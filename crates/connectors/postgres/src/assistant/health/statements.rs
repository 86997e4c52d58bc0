//! The check `slow-statements`: what pg_stat_statements says of the time statements took, values taken out.

use serde::Deserialize;
use trunkline_sql::DatabaseError;

use super::{Check, Item, Name, Status, not_allowed};
use crate::assistant::Asked;
use crate::assistant::answer::Fault;
use crate::assistant::explain::{Server, number};
use crate::assistant::session::ReadSession;

#[derive(Debug, Deserialize)]
struct Slow {
    /// Only of statements whose values are taken out.
    query: Option<String>,
    calls: f64,
    total: f64,
    mean: f64,
    rows: f64,
    /// Share of the time of all statements.
    share: f64,
}

/// Looks at the statements that took the most time.
///
/// # Errors
/// [`Fault`].
pub(super) async fn check(asked: &Asked<'_>, server: &Server) -> Result<Check, Fault> {
    let Some(schema) = &server.statements else {
        let text = "the extension pg_stat_statements is not installed; put it into `shared_preload_libraries`, restart, and `create extension pg_stat_statements`";
        return Ok(Check::unknown(Name::SlowStatements, text));
    };
    match slow(asked, schema).await {
        Ok(slow) => Ok(judged(&slow)),
        Err(error) => match (&error, not_allowed(&error)) {
            (_, Some(text)) => Ok(Check::unknown(Name::SlowStatements, text)),
            (DatabaseError::Data { code: Some(code), .. }, None) if code == "55000" => {
                let text = "pg_stat_statements is created and not loaded; put it into `shared_preload_libraries` and restart";
                Ok(Check::unknown(Name::SlowStatements, text))
            }
            _ => Err(Fault::Database(error)),
        },
    }
}

async fn slow(asked: &Asked<'_>, schema: &str) -> Result<Vec<Slow>, DatabaseError> {
    let sql = include_str!("../sql/statements.sql").replace("{schema}", &schema.replace('"', "\"\""));
    // As the caller from the first word on: the login itself may lack the rights to name the extension's schema.
    let session = ReadSession::begin(asked).await?;
    let text = session.text(&sql).await;
    session.finish().await;
    let text = text?;
    serde_json::from_str(text.as_deref().unwrap_or("[]"))
        .map_err(|error| DatabaseError::Encoding { message: format!("pg_stat_statements: {error}") })
}

fn judged(slow: &[Slow]) -> Check {
    let worst = slow.iter().filter(|one| one.calls >= 10.0).map(|one| one.mean).fold(0.0, f64::max);
    let status = if worst >= 1000.0 { Status::Warn } else { Status::Ok };
    let text = match slow.first() {
        None => "no statements were counted yet".to_owned(),
        Some(_) if status == Status::Warn => {
            "statements that run often take more than a second each; give them to the tools for plans and indexes".to_owned()
        }
        Some(first) => format!(
            "the statement that takes the most time takes {:.0} % of all; no frequent one takes a second",
            first.share * 100.0
        ),
    };
    let items = slow.iter().enumerate().map(|(at, one)| Item {
        name: format!("statement {}", at + 1),
        text: format!(
            "{:.0} % of all time: {} calls, {:.1} ms each, {} s in all, {} rows",
            one.share * 100.0,
            number(one.calls),
            one.mean,
            number((one.total / 100.0).round() / 10.0),
            number(one.rows)
        ),
        sql: Some(
            one.query
                .clone()
                .unwrap_or_else(|| "of another user: `grant pg_read_all_stats` shows it".to_owned()),
        ),
    });
    Check::new(Name::SlowStatements, status, text)
        .value(worst, "milliseconds of the slowest frequent statement")
        .items(items.collect())
}
