//! Several statements in one read-only transaction on one connection, as the caller: for a caller's statement and what the
//! gate asks about it, and for what lives in the memory of a server process, like hypothetical indexes.

use tokio::time::{Instant, timeout_at};
use trunkline_sql::{Access, Behalf, DatabaseError, PlanMode};

use super::Asked;
use crate::Postgres;
use crate::exclusive::Lease;
use crate::fault::Context;
use crate::gate::Gate;
use crate::prepare::{RETURN, SAVEPOINT, end_pooled};
use crate::transaction::{self, Bounds, Extent, Opening, Unopened};

/// The transaction. Dropped, it cancels what runs in it, and the connection is not used again.
#[derive(Debug)]
pub(super) struct ReadSession<'a> {
    postgres: &'a Postgres,
    lease: Lease,
    until: Instant,
}

impl<'a> ReadSession<'a> {
    /// Takes a connection and begins.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) async fn begin(asked: &Asked<'a>) -> Result<Self, DatabaseError> {
        match Self::begin_once(asked).await {
            // The connection had waited in the pool, and was found closed.
            Err(DatabaseError::Unreachable { .. }) => Self::begin_once(asked).await,
            begun => begun,
        }
    }

    async fn begin_once(asked: &Asked<'a>) -> Result<Self, DatabaseError> {
        let postgres = &*asked.assistant.postgres;
        let mut lease = postgres.primary().pool.lease().await?;
        lease.begin();
        let session = Self { postgres, lease, until: asked.until.into() };
        session.open(asked.behalf).await?;
        Ok(session)
    }

    /// Begins, read-only and as the caller.
    async fn open(&self, behalf: &Behalf) -> Result<(), DatabaseError> {
        let bounds = Bounds::of(self.lease.session()?);
        let text = self.postgres.openings.text(bounds, Access::ReadOnly, PlanMode::Auto);
        // The setter goes as text: the connection is not kept, so nothing prepared on it would be.
        let setter = Extent::of(behalf).map(Extent::unprepared);
        let opening = Opening { text, bounds, behalf, setter };
        let opened =
            self.timed(self.context(text, 0, false), async |client| match opening.open(client).await {
                Ok(()) => Ok(Ok(())),
                Err(Unopened::Reported(error)) => Err(error),
                Err(Unopened::Refused(reason)) => Ok(Err(DatabaseError::Identity { reason })),
            });
        opened.await?
    }

    /// Runs one statement without parameters, and returns the first column of its first row, which must
    /// be of the type `text` or `json`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) async fn text(&self, sql: &str) -> Result<Option<String>, DatabaseError> {
        self.first(self.context(sql, 0, false)).await
    }

    /// The same for a statement of the caller's own, which begins at the byte `prefix` and may have all errors told.
    ///
    /// # Errors
    /// [`DatabaseError`], its places in the caller's own SQL.
    pub(super) async fn theirs(&self, sent: &str, prefix: usize) -> Result<Option<String>, DatabaseError> {
        self.first(self.context(sent, prefix, true)).await
    }

    /// Has the gate look at `sql`, and the server at `sent`, in which it begins at the byte `prefix`.
    ///
    /// # Errors
    /// [`DatabaseError`], its places in `sql`. Then the transaction may have failed.
    pub(super) async fn admit(
        &self,
        gate: &mut Gate<'_>,
        sql: &str,
        sent: &str,
        prefix: usize,
    ) -> Result<(), DatabaseError> {
        let client = self.lease.session()?.client();
        let (ours, theirs) = (self.context(sql, 0, true), self.context(sent, prefix, true));
        let work = async {
            client.batch_execute(SAVEPOINT).await.map_err(|error| ours.error(&error))?;
            gate.check_names(client, &ours).await?;
            let statement = match client.prepare(sent).await {
                Ok(statement) => statement,
                Err(error) => {
                    // Else the catalogue could not be asked what was meant.
                    client.batch_execute(RETURN).await.map_err(|error| ours.error(&error))?;
                    return Err(gate.explain(client, &theirs, &error).await);
                }
            };
            gate.check_accepted(client, &ours, statement.params().len(), true).await
        };
        match timeout_at(self.until, work).await {
            Ok(admitted) => admitted,
            Err(_) => Err(DatabaseError::TimedOut { after: self.postgres.statement_timeout }),
        }
    }

    async fn first(&self, context: Context<'_>) -> Result<Option<String>, DatabaseError> {
        let work = async |client: &tokio_postgres::Client| client.query_typed(context.sent, &[]).await;
        let rows = self.timed(context, work).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        row.try_get::<_, Text>(0)
            .map(|text| Some(text.0))
            .map_err(|error| DatabaseError::Encoding { message: error.to_string() })
    }

    /// Ends the transaction and gives the connection back, with nothing of the caller left on it.
    pub(super) async fn finish(mut self) {
        let Ok(session) = self.lease.session() else { return };
        let (client, is_pooled) = (session.client(), session.is_pooled());
        let undo = async {
            match is_pooled {
                // The driver keeps what it prepared by itself, which is gone with the server.
                true => end_pooled(client).await.map(|()| false),
                false => transaction::clean(client).await,
            }
        };
        match timeout_at(self.until, undo).await {
            Ok(Ok(true)) => self.lease.finish(),
            Ok(_) => self.lease.close(),
            // Something still runs: the drop has it cancelled.
            Err(_) => {}
        }
    }

    /// Says what takes away that something is left in the memory of the server process, should this be dropped: behind a
    /// pooler the process lives on, and others meet it.
    pub(super) fn undo_with(&mut self, undo: &str) {
        self.lease.undo_with(format!("rollback; {undo}"));
    }

    /// Ends the transaction, runs `undo`, and closes the connection.
    pub(super) async fn end(mut self, undo: &str) {
        let undo = format!("rollback; {undo}");
        let context = self.context(&undo, 0, false);
        if self.timed(context, async |client| client.batch_execute(&undo).await).await.is_ok() {
            self.lease.close();
        }
        // Else the drop sees to it.
    }

    /// What a fault of a statement is read against.
    fn context<'s>(&'s self, sent: &'s str, prefix: usize, ad_hoc: bool) -> Context<'s> {
        let timeout = self.postgres.statement_timeout;
        let dialer = &self.postgres.primary().dialer;
        Context { dialer, sent, prefix, length: sent.len().saturating_sub(prefix), timeout, ad_hoc }
    }

    async fn timed<T>(
        &self,
        context: Context<'_>,
        work: impl AsyncFnOnce(&tokio_postgres::Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, DatabaseError> {
        let client = self.lease.session()?.client();
        match timeout_at(self.until, work(client)).await {
            Ok(done) => done.map_err(|error| context.error(&error)),
            Err(_) => Err(DatabaseError::TimedOut { after: context.timeout }),
        }
    }
}

/// A text, or JSON as its text.
struct Text(String);

impl<'a> postgres_types::FromSql<'a> for Text {
    fn from_sql(
        _: &postgres_types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(ty: &postgres_types::Type) -> bool {
        [postgres_types::Type::TEXT, postgres_types::Type::JSON].contains(ty)
    }
}
