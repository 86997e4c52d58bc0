//! Runs a declared read on a connection of its own with nothing around it: what may be pipelined with others, and is too slow
//! for that, needs no transaction either. Its session was opened to read only, and it calls nothing that could change that.

use tokio_postgres::Statement;
use trunkline_sql::{PlanMode, Rows};

use super::{Call, End, Fault, stream};
use crate::exclusive::Lease;
use crate::shared::now;
use crate::transaction::Bounds;

impl<W: Rows> Call<'_, W> {
    /// Whether the statement can go without a transaction: nothing has to be set for it, or undone after it.
    pub(super) fn is_bare(&self, bounds: Bounds) -> bool {
        self.statement.lane.may_share()
            && self.behalf.is_plain()
            && bounds == Bounds::Startup
            && self.statement.plan == PlanMode::Auto
    }

    /// Sends the statement alone, which saves two requests and their answers.
    pub(super) async fn read_alone(
        &mut self,
        lease: &mut Lease,
        prepared: Option<&Statement>,
    ) -> Result<(), Fault> {
        let mut clean = true;
        self.rows.skip(self.page.resume.map_or(0, |resume| resume.sent));
        let session = lease.session()?;
        let began = now();
        let outcome =
            stream(session, prepared, self.statement, self.values, &mut *self.rows, &mut clean).await;
        match &outcome {
            Ok(End::Complete(_)) => lease.finish(),
            // The report is the last that comes of it.
            Err(Fault::Reported { error, .. }) if error.as_db_error().is_some() => lease.finish(),
            // Rows that nobody wants may still come.
            Ok(End::Full) | Err(_) => lease.drain(),
        }
        outcome.map(|end| self.note_exclusive(end, began))
    }
}
