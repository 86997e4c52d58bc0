//! How a caller's statement comes to its plan: through the gate, in one read-only transaction that is the caller's own.

use trunkline_sql::Behalf;

use super::Asked;
use super::answer::Fault;
use super::session::ReadSession;
use crate::gate::Gate;

/// Returns what `explain` says of a statement, as its JSON; with `analyze` it runs. A statement that is only planned may cost
/// whatever it does.
///
/// # Errors
/// [`Fault::Said`] or [`Fault::Statement`] with what would pass, its places in the caller's own SQL; or what went wrong.
pub(super) async fn plan(
    asked: &Asked<'_>,
    sql: &str,
    options: &str,
    analyze: bool,
) -> Result<Option<String>, Fault> {
    let postgres = &*asked.assistant.postgres;
    let theirs = |error| Fault::Statement { error, sql: sql.to_owned() };
    // The whole transaction is the caller's already.
    let nobody = Behalf::default();
    let max_cost = postgres.max_cost().filter(|_| analyze);
    let mut gate = Gate::enter(sql, max_cost, &nobody).map_err(theirs)?;
    if gate.is_inspection() {
        return Err(Fault::Said(format!("the statement begins with `explain` or `show`; {FORM}")));
    }
    postgres.admit_login().await?;
    let session = ReadSession::begin(asked).await?;
    let explained = pass(&session, &mut gate, sql, options).await;
    session.finish().await;
    explained
}

/// Has the gate decide, and the server explain.
async fn pass(
    session: &ReadSession<'_>,
    gate: &mut Gate<'_>,
    sql: &str,
    options: &str,
) -> Result<Option<String>, Fault> {
    let theirs = |error| Fault::Statement { error, sql: sql.to_owned() };
    let before = format!("explain ({options}) ");
    let sent = format!("{before}{sql}");
    session.admit(gate, sql, &sent, before.len()).await.map_err(theirs)?;
    if !gate.is_query() {
        return Err(Fault::Said(format!("the statement begins with a word that is not known here; {FORM}")));
    }
    session.theirs(&sent, before.len()).await.map_err(theirs)
}

const FORM: &str = "write the statement itself, beginning with `select`, `with`, `values` or `table`";
