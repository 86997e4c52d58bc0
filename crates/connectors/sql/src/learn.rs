//! Turns what a database says of a statement into everything a call needs, or into problems of the file.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::Problem;
use crate::connector::{Prepared, definition};
use crate::cursor;
use crate::database::{Access, DatabaseError, Description, Dialect};
use crate::options::Options;
use crate::param::Plan;
use crate::shape::{self, Form, Limits, Shape};
use crate::tool::Tool;

/// Why a statement is not prepared.
#[derive(Debug)]
pub(crate) enum Unprepared {
    /// The database said no, or nothing.
    Database(DatabaseError),
    /// What it said does not go with what is written.
    Wrong(Vec<Problem>),
}

/// Lets one caller at a time try to prepare a statement, and tells its failure to those who waited meanwhile: they must not
/// wait for a connection one after the other.
#[derive(Debug, Default)]
pub(crate) struct Learning {
    attempts: AtomicU64,
    last: Mutex<Option<Arc<Unprepared>>>,
}

impl Learning {
    /// Runs `attempt` unless `known` has an answer, or another attempt failed since this was called.
    ///
    /// # Cancel safety
    /// Dropping it drops the attempt; the next in line makes its own.
    pub(crate) async fn once<T>(
        &self,
        known: impl Fn() -> Option<T>,
        attempt: impl Future<Output = Result<T, Unprepared>>,
    ) -> Result<T, Arc<Unprepared>> {
        let before = self.attempts.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        if let Some(known) = known() {
            return Ok(known);
        }
        if let Some(failure) = last.as_ref().filter(|_| self.attempts.load(Ordering::Acquire) != before) {
            return Err(Arc::clone(failure));
        }
        let outcome = attempt.await;
        self.attempts.fetch_add(1, Ordering::AcqRel);
        outcome.map_err(|unprepared| {
            let unprepared = Arc::new(unprepared);
            *last = Some(Arc::clone(&unprepared));
            unprepared
        })
    }
}

/// Decides all that a call of the tool needs.
pub(crate) fn put_together<S>(
    tool: &Tool,
    statement: S,
    description: &Description,
    options: &Options,
    dialect: Dialect,
) -> Result<Prepared<S>, Vec<Problem>> {
    let name = tool.name.as_str();
    let form = if tool.access == Access::ReadWrite { Form::Written } else { tool.returns.into() };
    let mut problems = shape::check(name, &description.columns, &tool.columns, form);
    let plan = Plan::new(name, &tool.params, &description.parameters, tool.scanned.names.len(), dialect)
        .map_err(|found| problems.extend(found));
    let (Ok(plan), true) = (plan, problems.is_empty()) else { return Err(problems) };
    let plan = plan.taking_cursor(tool.has_pages);
    let limits = Limits { max_rows: options.max_rows, max_bytes: options.max_bytes, text: tool.text };
    let shape = Shape::new(&description.columns, &tool.columns, form, limits);
    let mut output_schema = shape::output_schema(&description.columns, &tool.columns, form);
    if tool.has_pages {
        cursor::describe_result(&mut output_schema);
    }
    let definition = definition(tool, Some((&plan, output_schema)), options.schema, dialect);
    Ok(Prepared { statement, plan, shape: Arc::new(shape), definition })
}

/// Tells what the database's refusal says about the file, or that it did not answer.
pub(crate) fn problem(connector: &str, tool: &Tool, error: &DatabaseError) -> Problem {
    let sql =
        |message: &str| Problem::new(&["tools", tool.name.as_str(), "sql"], message.trim_end_matches('.'));
    match error {
        DatabaseError::Statement { message, position, hint, .. } => {
            let problem = Problem { help: hint.clone(), ..sql(message) };
            match position {
                Some(position) => problem.at(tool.scanned.source_offset(*position)),
                None => problem,
            }
        }
        DatabaseError::Reported(report) => sql(&report.message),
        DatabaseError::Refused { message }
        | DatabaseError::Identity { reason: message }
        | DatabaseError::Data { message, .. }
        | DatabaseError::Encoding { message } => sql(message),
        DatabaseError::Rejected { message, hint, .. } => {
            Problem::new(&["connectors", connector, "url"], message).help(hint)
        }
        DatabaseError::TimedOut { .. }
        | DatabaseError::PoolExhausted { .. }
        | DatabaseError::Full { .. }
        | DatabaseError::Unreachable { .. } => {
            let text = trunkline_service::Chain(error).to_string();
            Problem::new(&["connectors", connector], text).unavailable()
        }
    }
}
