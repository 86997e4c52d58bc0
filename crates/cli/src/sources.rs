//! Connectors behind one face, whatever their database, and databases that outlive a change of their tools.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use trunkline_postgres::{Assistant, NodeStatus, Postgres, Writer};
use trunkline_service::catalog::{Entry, Facts, Parts, Served};
use trunkline_service::notices::Notices;
use trunkline_service::seal::Sealer;
use trunkline_service::{Service, ToolDefinition};
use trunkline_sql::connector::SqlConnector;
use trunkline_sql::{
    BoxFuture, Database, DatabaseError, Description, Dialect, Options, Problem, Ran, Rows, Run,
    StatementSource,
};
use trunkline_sqlite::Sqlite;

use crate::config::{Connector, DatabaseConfig};
use crate::exit::chain;

/// A boxed future of one answer.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connector as the command line sees it.
pub(crate) trait Source: Send + Sync + fmt::Debug {
    /// Prepares what is not prepared yet, and tells what is wrong.
    fn learn(&self) -> Boxed<'_, Vec<Problem>>;
    /// Reaches the database and asks nothing of it.
    fn ping(&self) -> Boxed<'_, Result<(), DatabaseError>>;
    /// Returns the SQL that makes a role for the connector; `None` where there are no roles.
    fn setup_sql(&self) -> Boxed<'_, Option<Result<String, DatabaseError>>>;
    /// Waits until nothing runs any more for calls that were dropped, at most for `within`.
    fn settle(&self, within: Duration) -> Boxed<'_, ()>;
    /// Returns how well the servers of the database are, as last seen, where it may have several.
    fn nodes(&self) -> Vec<NodeStatus>;
    /// Makes a connection for what the program itself keeps in the database, each run of which takes at most `within`; `None`
    /// where nothing can be kept.
    fn writer(&self, within: Duration) -> Option<Writer>;
    /// Returns how far behind a server may be that is read from; zero where there is one server.
    fn lag(&self) -> Duration;
    /// Returns how the database tells of its changes, where the file says that it does.
    fn notices(&self) -> Option<Arc<dyn Notices>>;
    /// Returns the tools as known now.
    fn definitions(&self) -> Vec<ToolDefinition>;
    /// Returns all that the connector adds to the catalog: its tools in the order of
    /// [`definitions`](Self::definitions), its resources and their templates.
    fn parts(&self) -> Parts;
    /// Tells whether every statement is prepared.
    fn is_ready(&self) -> bool;
    /// Returns a number that rises when the definitions change.
    fn generation(&self) -> u64;
    /// Makes a connector on the same database, connections kept, with what the file now says of its tools.
    fn with_tools(&self, config: Connector) -> Arc<dyn Source>;
}

/// A connector on a database of kind `D`.
#[derive(Debug)]
struct SqlSource<D: Database> {
    name: String,
    database: Arc<D>,
    connector: Arc<SqlConnector<Kept<D>>>,
    /// The tools for whoever looks after the database, where the file asks for some.
    assistant: Option<Arc<Assistant>>,
    sealer: Arc<Sealer>,
}

/// A database shared by the connector of now and the one a reload makes.
#[derive(Debug)]
struct Kept<D>(Arc<D>);

impl<D: Database> Database for Kept<D> {
    type Statement = D::Statement;
    const DIALECT: Dialect = D::DIALECT;

    fn prepare<'a>(
        &'a self,
        source: &'a StatementSource,
    ) -> BoxFuture<'a, Result<(Self::Statement, Description), DatabaseError>> {
        self.0.prepare(source)
    }

    fn examine<'a>(&'a self, connector: &'a str) -> BoxFuture<'a, Vec<Problem>> {
        self.0.examine(connector)
    }

    fn run<'a, W: Rows>(
        &'a self,
        statement: &'a Self::Statement,
        run: Run<W>,
    ) -> BoxFuture<'a, Result<Ran<W>, DatabaseError>> {
        self.0.run(statement, run)
    }
}

/// A database that can be reached without a statement.
trait Reach: Database {
    fn reach(&self) -> Boxed<'_, Result<(), DatabaseError>>;
    fn setup_sql<'a>(
        &'a self,
        name: &'a str,
        statements: Vec<StatementSource>,
        reads_all: bool,
    ) -> Boxed<'a, Option<Result<String, DatabaseError>>>;
    fn settle(&self, within: Duration) -> Boxed<'_, ()>;
    fn nodes(&self) -> Vec<NodeStatus> {
        Vec::new()
    }
    fn writer(&self, _: Duration) -> Option<Writer> {
        None
    }

    fn notices(&self) -> Option<Arc<dyn Notices>> {
        None
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Makes the tools for whoever looks after the database, if there are any.
    fn assistant(self: &Arc<Self>, _name: &str, _options: &Options) -> Option<Arc<Assistant>> {
        None
    }
}

impl Reach for Sqlite {
    fn reach(&self) -> Boxed<'_, Result<(), DatabaseError>> {
        Box::pin(self.ping())
    }

    fn setup_sql<'a>(
        &'a self,
        _: &'a str,
        _: Vec<StatementSource>,
        _: bool,
    ) -> Boxed<'a, Option<Result<String, DatabaseError>>> {
        Box::pin(std::future::ready(None))
    }

    /// What it runs, it runs in this process.
    fn settle(&self, _: Duration) -> Boxed<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Reach for Postgres {
    fn reach(&self) -> Boxed<'_, Result<(), DatabaseError>> {
        Box::pin(self.ping())
    }

    fn setup_sql<'a>(
        &'a self,
        name: &'a str,
        statements: Vec<StatementSource>,
        reads_all: bool,
    ) -> Boxed<'a, Option<Result<String, DatabaseError>>> {
        Box::pin(async move { Some(Self::setup_sql(self, name, &statements, reads_all).await) })
    }

    fn settle(&self, within: Duration) -> Boxed<'_, ()> {
        Box::pin(Self::settle(self, within))
    }

    fn nodes(&self) -> Vec<NodeStatus> {
        Self::nodes(self)
    }

    fn writer(&self, within: Duration) -> Option<Writer> {
        Some(Self::writer(self, within))
    }

    fn lag(&self) -> Duration {
        Self::lag(self)
    }

    fn notices(&self) -> Option<Arc<dyn Notices>> {
        self.channel().map(|channel| channel as _)
    }

    fn assistant(self: &Arc<Self>, name: &str, options: &Options) -> Option<Arc<Assistant>> {
        Assistant::new(name, Arc::clone(self), options.clone())
    }
}

/// Makes a source; nothing is connected yet. What a connector hands to clients to come back with is sealed by `sealer`.
pub(crate) fn make(config: Connector, sealer: &Arc<Sealer>) -> Arc<dyn Source> {
    let Connector { name, database, options, tools, .. } = config;
    match database {
        DatabaseConfig::Sqlite(database) => {
            Arc::new(SqlSource::new(name, Arc::new(database), options, tools, sealer))
        }
        DatabaseConfig::Postgres(database) => {
            Arc::new(SqlSource::new(name, Arc::new(database), options, tools, sealer))
        }
    }
}

/// Makes a connection for what the program itself keeps in the database of the connector of that name; `None` where there is none.
pub(crate) fn writer(served: &[crate::assemble::Served], name: &str, within: Duration) -> Option<Writer> {
    served.iter().find(|served| served.name == name)?.source.writer(within)
}

/// How long a connector may take to answer when it is examined. Each of its statements has a bound of its own.
const EXAMINATION: Duration = Duration::from_secs(15);

/// Tells what is wrong with a source: that its database does not answer, else what its statements say.
pub(crate) async fn examine(source: &dyn Source, name: &str) -> Vec<Problem> {
    match tokio::time::timeout(EXAMINATION, source.ping()).await {
        Ok(Ok(())) => source.learn().await,
        Ok(Err(DatabaseError::Rejected { message, hint, .. })) => {
            vec![Problem::new(&["connectors", name, "url"], message).help(hint)]
        }
        Ok(Err(error)) => vec![unanswered(name, &chain(&error))],
        Err(_) => vec![unanswered(name, &format!("nothing came within {} seconds", EXAMINATION.as_secs()))],
    }
}

fn unanswered(name: &str, why: &str) -> Problem {
    Problem::new(&["connectors", name], format!("connector `{name}` does not answer: {why}")).unavailable()
}

impl<D: Reach> SqlSource<D> {
    fn new(
        name: String,
        database: Arc<D>,
        options: Options,
        tools: Vec<trunkline_sql::tool::Tool>,
        sealer: &Arc<Sealer>,
    ) -> Self {
        let assistant = database.assistant(&name, &options);
        let connector = SqlConnector::paged(&name, Kept(Arc::clone(&database)), options, tools, sealer);
        Self { name, database, connector, assistant, sealer: Arc::clone(sealer) }
    }
}

impl<D: Reach> Source for SqlSource<D> {
    fn learn(&self) -> Boxed<'_, Vec<Problem>> {
        Box::pin(async move {
            let mut problems = self.connector.learn().await;
            if let Some(assistant) = &self.assistant {
                problems.extend(assistant.learn().await);
            }
            problems
        })
    }

    fn ping(&self) -> Boxed<'_, Result<(), DatabaseError>> {
        self.database.reach()
    }

    fn setup_sql(&self) -> Boxed<'_, Option<Result<String, DatabaseError>>> {
        let reads_all = self.connector.takes_statements() || self.assistant.is_some();
        Reach::setup_sql(&*self.database, &self.name, self.connector.statements(), reads_all)
    }

    fn settle(&self, within: Duration) -> Boxed<'_, ()> {
        Reach::settle(&*self.database, within)
    }

    fn nodes(&self) -> Vec<NodeStatus> {
        Reach::nodes(&*self.database)
    }

    fn writer(&self, within: Duration) -> Option<Writer> {
        Reach::writer(&*self.database, within)
    }

    fn lag(&self) -> Duration {
        self.database.lag()
    }

    fn notices(&self) -> Option<Arc<dyn Notices>> {
        Reach::notices(&*self.database)
    }

    fn definitions(&self) -> Vec<ToolDefinition> {
        let own = self.assistant.as_ref().map(|assistant| assistant.definitions());
        self.connector.definitions().into_iter().chain(own.unwrap_or_default()).collect()
    }

    fn is_ready(&self) -> bool {
        self.connector.is_ready() && self.assistant.as_ref().is_none_or(|assistant| assistant.is_ready())
    }

    fn generation(&self) -> u64 {
        let own = self.assistant.as_ref().map_or(0, |assistant| assistant.generation());
        self.connector.generation().wrapping_add(own)
    }

    fn parts(&self) -> Parts {
        let service: Arc<SqlConnector<Kept<D>>> = Arc::clone(&self.connector);
        let service: Arc<dyn Service> = service;
        // Their answers depend on nothing but the database and what the file says, which whoever puts them together knows.
        let entry = |(target, (definition, facts)): (u32, (ToolDefinition, Facts))| Entry {
            facts: Facts { definition: definition.name.as_str().as_bytes().into(), ..facts },
            ..Entry::new(definition, Arc::clone(&service), target)
        };
        let served = |definition| Served::new(definition, Arc::clone(&service), 0);
        let templates = self.connector.templates().into_iter().map(served);
        let known = self.connector.definitions().into_iter().zip(self.connector.facts());
        let tools = (0..).zip(known).map(entry).collect();
        let mut parts = Parts { tools, ..Parts::default() };
        if let Some(assistant) = &self.assistant {
            let own = assistant.parts();
            parts.tools.extend(own.tools);
            parts.resources.extend(own.resources);
            parts.templates.extend(own.templates);
        }
        parts.templates.extend(templates);
        parts
    }

    fn with_tools(&self, config: Connector) -> Arc<dyn Source> {
        let (name, database) = (self.name.clone(), Arc::clone(&self.database));
        Arc::new(Self::new(name, database, config.options, config.tools, &self.sealer))
    }
}
