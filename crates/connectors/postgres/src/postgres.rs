//! A PostgreSQL database behind tools: what the file said, its two lanes, and the way in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Config;
use trunkline_sql::{
    BoxFuture, Database, DatabaseError, Description, Dialect, Ran, Rows, Run, StatementSource,
};

use crate::dial::{Dialer, shared_timeout};
use crate::exclusive::Pool;
use crate::prepare::Learner;
use crate::run::Call;
use crate::shared::SharedLane;
use crate::statement::PostgresStatement;

/// A PostgreSQL database. Connects when it is first needed, and again whenever that is needed.
#[derive(Debug)]
pub struct Postgres {
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) shared: SharedLane,
    pub(crate) pool: Arc<Pool>,
    pub(crate) statement_timeout: Duration,
    pub(crate) shared_timeout: Duration,
}

impl Postgres {
    pub(crate) fn new(
        config: &Config,
        pool: usize,
        connect_timeout: Duration,
        statement_timeout: Duration,
    ) -> Self {
        let dialer = Arc::new(Dialer::new(config, statement_timeout, connect_timeout));
        let shared_timeout = shared_timeout(statement_timeout);
        Self {
            shared: SharedLane::new(Arc::clone(&dialer), shared_timeout + STALLED_AFTER),
            pool: Pool::new(Arc::clone(&dialer), pool),
            dialer,
            statement_timeout,
            shared_timeout,
        }
    }

    /// Connects, and runs nothing.
    ///
    /// # Errors
    /// [`DatabaseError::Unreachable`].
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        self.shared.pick().await.map(drop)
    }

    /// Waits until the statements of dropped calls were cancelled in the server, at most for `within`; to be called before
    /// the process ends.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn settle(&self, within: Duration) {
        self.pool.settle(within).await;
    }

    async fn learn(
        &self,
        source: &StatementSource,
    ) -> Result<(PostgresStatement, Description), DatabaseError> {
        match self.learn_once(source).await {
            // Once more, unless it is known that there is nobody to connect to: the connection may have been an old one.
            Err(DatabaseError::Unreachable { .. })
                if self.dialer.failed_within(self.dialer.connect_timeout()).is_none() =>
            {
                self.learn_once(source).await
            }
            learned => learned,
        }
    }

    async fn learn_once(
        &self,
        source: &StatementSource,
    ) -> Result<(PostgresStatement, Description), DatabaseError> {
        let mut lease = self.pool.lease().await?;
        lease.begin();
        let learner =
            Learner { dialer: &self.dialer, lease: &mut lease, source, timeout: self.statement_timeout };
        let learned = learner.learn().await;
        lease.finish();
        learned
    }

    async fn call<W: Rows>(
        &self,
        statement: &PostgresStatement,
        run: Run<W>,
    ) -> Result<Ran<W>, DatabaseError> {
        let Run { values, mut rows, deadline, behalf, page } = run;
        let started = Instant::now();
        let longest = started + self.statement_timeout + self.dialer.connect_timeout() + ANSWER_GRACE;
        let limit = deadline.map_or(longest, |deadline| longest.min(deadline.into()));
        let mut kept = None;
        let call = Call {
            postgres: self,
            statement,
            values: &values,
            rows: &mut rows,
            behalf: &behalf,
            page,
            kept: &mut kept,
            limit,
            started,
        };
        let affected = call.run().await?;
        Ok(Ran { rows, affected, kept })
    }
}

impl Database for Postgres {
    type Statement = PostgresStatement;

    const DIALECT: Dialect = Dialect::Postgres;

    fn prepare<'a>(
        &'a self,
        source: &'a StatementSource,
    ) -> BoxFuture<'a, Result<(Self::Statement, Description), DatabaseError>> {
        Box::pin(async move {
            let within = self.dialer.connect_timeout() + self.statement_timeout;
            match tokio::time::timeout(within, self.learn(source)).await {
                Ok(learned) => learned,
                Err(_) => Err(self.dialer.unreachable(format!("no answer within {within:?}"))),
            }
        })
    }

    fn run<'a, W: Rows>(
        &'a self,
        statement: &'a Self::Statement,
        run: Run<W>,
    ) -> BoxFuture<'a, Result<Ran<W>, DatabaseError>> {
        Box::pin(self.call(statement, run))
    }
}

/// How long after its timeout a shared connection counts as stuck.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// How long after its timeout the server may take to say that it stopped a statement.
const ANSWER_GRACE: Duration = Duration::from_secs(2);
