//! Several statements in one read-only transaction on one connection, which is closed afterwards: for what lives in the
//! memory of a server process, like hypothetical indexes, and must not meet another caller.

use tokio::time::{Instant, timeout_at};
use trunkline_sql::{Access, Behalf, DatabaseError, PlanMode};

use super::Asked;
use crate::Postgres;
use crate::exclusive::Lease;
use crate::fault::Context;
use crate::transaction::{Bounds, Extent, Opening, Unopened};

/// The transaction. Dropped, it cancels what runs in it; either way the connection is not used again.
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
        let opened = self.timed(text, async |client| match opening.open(client).await {
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
        let rows = self.timed(sql, async |client| client.query_typed(sql, &[]).await).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        row.try_get::<_, Text>(0)
            .map(|text| Some(text.0))
            .map_err(|error| DatabaseError::Encoding { message: error.to_string() })
    }

    /// Ends the transaction, runs `undo`, and closes the connection. Behind a pooler the server process lives on, so what is in
    /// its memory has to be undone, too.
    pub(super) async fn end(mut self, undo: &str) {
        let undo = format!("rollback; {undo}");
        // Who waits for nothing more is not told that this failed.
        let _ = self.timed(&undo, async |client| client.batch_execute(&undo).await).await;
        self.lease.close();
    }

    async fn timed<T>(
        &self,
        sql: &str,
        work: impl AsyncFnOnce(&tokio_postgres::Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, DatabaseError> {
        let client = self.lease.session()?.client();
        let timeout = self.postgres.statement_timeout;
        match timeout_at(self.until, work(client)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                let dialer = &self.postgres.primary().dialer;
                Err(Context { dialer, sent: sql, prefix: 0, length: sql.len(), timeout, ad_hoc: false }
                    .error(&error))
            }
            Err(_) => Err(DatabaseError::TimedOut { after: timeout }),
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
