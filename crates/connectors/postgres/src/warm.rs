//! Makes a statement ready on every shared connection as soon as it is learned, so that its first call waits for nothing.

use std::time::Duration;

use futures_util::future::join_all;

use crate::shared::SharedLane;
use crate::statement::PostgresStatement;

/// Opens the shared connections and prepares the statement on each, if it is one that shares them; all at once, and for no
/// longer than a moment: others may keep a connection busy. What fails is left to the first call, which tells.
///
/// # Cancel safety
/// What is ready until then stays so.
pub(crate) async fn warm(lane: &SharedLane, statement: &PostgresStatement) {
    if !statement.is_shared() {
        return;
    }
    let work = async {
        let sessions = lane.all().await;
        join_all(sessions.iter().map(|session| async move {
            if session.session().is_pooled() || statement.prepared_on(session).is_some() {
                return;
            }
            let epoch = statement.epoch();
            if let Ok(Some(prepared)) = statement.recipe.prepare(session.session().client()).await {
                statement.keep(session, epoch, prepared);
            }
        }))
        .await;
    };
    // Late or not, calls are answered.
    let _ = tokio::time::timeout(LONGEST, work).await;
}

const LONGEST: Duration = Duration::from_millis(250);
