//! A PostgreSQL database behind tools: what the file said, its servers, and the way in.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use trunkline_sql::{
    Access, BoxFuture, Database, DatabaseError, Description, Dialect, PlanMode, Problem, Ran, Rows, Run,
    StatementSource,
};

use crate::assistant::AssistantTool;
use crate::dial::{Dialer, chain, shared_timeout};
use crate::fault::is_lost;
use crate::file::PreparedMode;
use crate::node::{Node, NodeState, NodeStatus, Place};
use crate::nodes::{Nodes, Route};
use crate::notify::Channel;
use crate::posture::{self, Guard, Posture, PostureRule};
use crate::prepare::{self, Learner};
use crate::run::Call;
use crate::setup::{self, Needs};
use crate::statement::PostgresStatement;
use crate::transaction::{Bounds, Openings};
use crate::url::Address;
use crate::wait::PoolWait;
use crate::warm::warm;

/// A PostgreSQL database. Connects when it is first needed, and again whenever that is needed.
#[derive(Debug)]
pub struct Postgres {
    pub(crate) nodes: Nodes,
    pub(crate) statement_timeout: Duration,
    pub(crate) shared_timeout: Duration,
    pub(crate) openings: Openings,
    pub(crate) guard: Guard,
    pub(crate) tools: Vec<AssistantTool>,
    pub(crate) channel: Option<Arc<Channel>>,
}

/// The replicas of a database, as the file says them.
#[derive(Debug)]
pub(crate) struct Replicas {
    pub(crate) addresses: Vec<Address>,
    /// How far one may be behind and still be read from.
    pub(crate) max_lag: Duration,
}

impl Postgres {
    pub(crate) fn new(
        address: Address,
        replicas: Replicas,
        pool: usize,
        connect_timeout: Duration,
        statement_timeout: Duration,
        prepared: PreparedMode,
    ) -> Self {
        let shared_timeout = shared_timeout(statement_timeout);
        let node = |number: usize, address: Address| {
            let dialer = Arc::new(Dialer::new(address, statement_timeout, connect_timeout, prepared));
            Node::new(number, dialer, pool, shared_timeout + STALLED_AFTER)
        };
        let others = replicas.addresses.into_iter().enumerate().map(|(at, address)| node(at + 1, address));
        let nodes = Nodes::new(node(0, address), others.collect(), replicas.max_lag);
        let openings = Openings::new(statement_timeout);
        Self {
            nodes,
            statement_timeout,
            shared_timeout,
            openings,
            guard: Guard::default(),
            tools: Vec::new(),
            channel: None,
        }
    }

    /// Says what its login should be held to, and callers' own statements.
    pub(crate) fn guarded(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    /// Says which tools of an assistant the connector makes by itself.
    pub(crate) fn with_tools(mut self, tools: Vec<AssistantTool>) -> Self {
        self.tools = tools;
        self
    }

    /// Says on which channel the database tells of its changes.
    pub(crate) fn hearing(mut self, channel: Option<Channel>) -> Self {
        self.channel = channel.map(Arc::new);
        self
    }

    /// Returns how far behind the newest change a read may be, since it may be a replica's; zero without replicas. What is known of
    /// a replica may itself be a moment old.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.nodes.lag()
    }

    /// Returns the channel on which the database tells of its changes, where the file names one.
    #[must_use]
    pub fn channel(&self) -> Option<Arc<Channel>> {
        self.channel.as_ref().map(Arc::clone)
    }

    /// Returns the tools of an assistant that the connector makes by itself, in the order of the file.
    #[must_use]
    pub fn tools(&self) -> &[AssistantTool] {
        &self.tools
    }

    /// Returns the node that takes writes.
    pub(crate) fn primary(&self) -> &Node {
        self.nodes.primary()
    }

    /// Returns what is known of the primary and of each replica, in the order of the file. Without replicas nobody looks
    /// after the primary, and it stays [`NodeState::Unseen`].
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.nodes.status()
    }

    /// Connects to the primary, or else to a replica, and runs nothing.
    ///
    /// # Errors
    /// [`DatabaseError::Unreachable`], of the primary.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        // All at once: one that takes long to say nothing must not hide another that answers.
        let look = async |node: &Node| (node.is_primary(), node.shared.pick().await.err());
        let mut looks: FuturesUnordered<_> = self.nodes.all().map(look).collect();
        let mut failed = Ok(());
        while let Some((is_primary, error)) = looks.next().await {
            match error {
                None => return Ok(()),
                Some(error) if is_primary || failed.is_ok() => failed = Err(error),
                Some(_) => {}
            }
        }
        failed
    }

    /// Tells how long calls waited for a connection of their own, as `pool` bounds those, on the primary and on the replicas.
    #[must_use]
    pub fn pool_wait(&self) -> PoolWait {
        self.nodes.all().map(|node| node.pool.waited()).fold(PoolWait::default(), PoolWait::and)
    }

    /// Waits until the statements of dropped calls were cancelled in the server, at most for `within`; to be called before
    /// the process ends.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn settle(&self, within: Duration) {
        join_all(self.nodes.all().map(|node| node.pool.settle(within))).await;
    }

    /// Asks the primary, which alone is sure to know the newest tables. For a read a replica will do when the primary does
    /// not answer: a start without it then serves reads.
    async fn learn(
        &self,
        source: &StatementSource,
    ) -> Result<(PostgresStatement, Description), DatabaseError> {
        let primary = self.primary();
        let known_down = self.nodes.has_replicas() && primary.state() == NodeState::Down;
        let mut learned = if known_down && source.access == Access::ReadOnly {
            Err(primary.dialer.unreached("it did not answer when last looked at".to_owned()))
        } else {
            self.learn_twice(primary, source).await
        };
        if source.access == Access::ReadOnly {
            for node in self.nodes.all().filter(|node| !node.is_primary()) {
                if !matches!(learned, Err(DatabaseError::Unreachable { .. } | DatabaseError::Full { .. })) {
                    return learned;
                }
                let there = self.learn_twice(node, source).await;
                if !matches!(there, Err(DatabaseError::Unreachable { .. } | DatabaseError::Full { .. })) {
                    learned = there;
                }
            }
            if known_down && matches!(learned, Err(DatabaseError::Unreachable { .. })) {
                return self.learn_twice(primary, source).await;
            }
        }
        learned
    }

    async fn learn_twice(
        &self,
        node: &Node,
        source: &StatementSource,
    ) -> Result<(PostgresStatement, Description), DatabaseError> {
        match self.learn_once(node, source).await {
            // Once more, unless it is known that there is nobody to connect to: the connection may have been an old one.
            Err(DatabaseError::Unreachable { .. })
                if node.dialer.failed_within(node.dialer.connect_timeout()).is_none() =>
            {
                self.learn_once(node, source).await
            }
            learned => learned,
        }
    }

    async fn learn_once(
        &self,
        node: &Node,
        source: &StatementSource,
    ) -> Result<(PostgresStatement, Description), DatabaseError> {
        let mut lease = node.pool.lease().await?;
        lease.begin();
        let is_pooled = lease.session()?.is_pooled();
        if is_pooled {
            let opening = self.openings.text(Bounds::Local, Access::ReadOnly, PlanMode::Auto);
            let begun = prepare::begin_pooled(lease.session()?.client(), opening).await;
            begun.map_err(|error| node.dialer.unreachable(chain(&error)))?;
        }
        let learner = Learner {
            dialer: &node.dialer,
            lease: &mut lease,
            source,
            timeout: self.statement_timeout,
            max_cost: self.guard.max_cost,
        };
        let learned = learner.learn().await;
        if is_pooled {
            let ended = prepare::end_pooled(lease.session()?.client()).await;
            // The driver keeps what it prepared by itself, which is gone.
            lease.close();
            ended.map_err(|error| node.dialer.unreachable(chain(&error)))?;
        } else {
            lease.finish();
        }
        drop(lease);
        let (statement, description) = learned?;
        let statement = statement.on_nodes(self.nodes.count()).planned(source.plan);
        warm(node.shared_lane(source.plan), &statement).await;
        Ok((statement, description))
    }

    fn connect_timeout(&self) -> Duration {
        self.primary().dialer.connect_timeout()
    }

    /// Asks what the login may do.
    async fn posture(&self) -> Result<Posture, DatabaseError> {
        let mut lease = self.primary().pool.lease().await?;
        lease.begin();
        let found = Posture::of(lease.session()?.client(), self.guard.access).await;
        lease.finish();
        found.map_err(|error| self.not_looked_up(&error))
    }

    /// Words why the catalogue could not be asked: the server says no, or nothing.
    fn not_looked_up(&self, error: &tokio_postgres::Error) -> DatabaseError {
        match error.as_db_error() {
            Some(report) if !is_lost(error) => DatabaseError::Data {
                message: report.message().to_owned(),
                code: Some(report.code().code().to_owned()),
            },
            _ => self.primary().dialer.unreachable(chain(error)),
        }
    }

    /// Returns the most that a statement of a caller's own may cost, where the file says so.
    pub(crate) fn max_cost(&self) -> Option<f64> {
        self.guard.max_cost
    }

    /// Refuses to prepare anything for a login that may do too much, where the file says so.
    pub(crate) async fn admit_login(&self) -> Result<(), DatabaseError> {
        if self.guard.posture == PostureRule::Warn {
            return Ok(());
        }
        match self.posture().await?.message(self.guard.access) {
            Some(message) => Err(DatabaseError::Refused { message }),
            None => Ok(()),
        }
    }

    /// Returns the SQL that makes a role for a connector with these statements; `reads_all` when callers bring their own.
    ///
    /// # Errors
    /// [`DatabaseError`]: the database does not answer, or says no.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn setup_sql(
        &self,
        connector: &str,
        statements: &[StatementSource],
        reads_all: bool,
    ) -> Result<String, DatabaseError> {
        let needs = Needs {
            connector,
            statements,
            reads_all,
            connections: self.guard.connections,
            timeout: self.statement_timeout,
        };
        let mut lease = self.primary().pool.lease().await?;
        lease.begin();
        let written = setup::sql(lease.session()?.client(), needs).await;
        lease.finish();
        written.map_err(|error| self.not_looked_up(&error))
    }

    async fn findings(&self, connector: &str) -> Vec<Problem> {
        let found = match self.posture().await {
            Ok(posture) => posture,
            Err(DatabaseError::Rejected { message, hint, .. }) => {
                return vec![Problem::new(&["connectors", connector, "url"], message).help(hint)];
            }
            // A server that is nearly PostgreSQL may not know all that is asked.
            Err(DatabaseError::Data { message, .. }) => {
                let message = format!("what the login may do could not be looked up: {message}");
                return vec![self.weighed(Problem::new(&["connectors", connector, "url"], message))];
            }
            Err(error) => {
                return vec![Problem::new(&["connectors", connector], chain(&error)).unavailable()];
            }
        };
        let Some(message) = found.message(self.guard.access) else { return Vec::new() };
        let problem = Problem::new(&["connectors", connector, "url"], message).help(posture::HELP);
        vec![self.weighed(problem)]
    }

    fn weighed(&self, problem: Problem) -> Problem {
        if self.guard.posture == PostureRule::Warn { problem.warning() } else { problem }
    }

    async fn call<W: Rows>(
        &self,
        statement: &PostgresStatement,
        run: Run<W>,
    ) -> Result<Ran<W>, DatabaseError> {
        let Run { values, mut rows, deadline, behalf, page } = run;
        let started = Instant::now();
        let longest = started + self.statement_timeout + self.connect_timeout() + ANSWER_GRACE;
        let limit = deadline.map_or(longest, |deadline| longest.min(deadline.into()));
        let mut kept = None;
        let mut route = Route::default();
        let node = match statement.access {
            Access::ReadOnly if !statement.needs_primary() => {
                self.nodes.first(&mut route, &behalf.caller).await
            }
            _ => self.primary(),
        };
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
            place: Place::on(node),
            route,
            failed_in_recovery: false,
            is_alone: false,
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
            // So that the replicas are known by the first read.
            self.nodes.urge();
            let within = self.connect_timeout() + self.statement_timeout;
            let learned = async {
                self.admit_login().await?;
                self.learn(source).await
            };
            match tokio::time::timeout(within, learned).await {
                Ok(learned) => learned,
                Err(_) => Err(self.primary().dialer.unreachable(format!("no answer within {within:?}"))),
            }
        })
    }

    fn examine<'a>(&'a self, connector: &'a str) -> BoxFuture<'a, Vec<Problem>> {
        Box::pin(self.findings(connector))
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
