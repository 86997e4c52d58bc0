//! A prepared statement with all that was decided when it was: what is sent, how each column is read, on which lane it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use postgres_types::{Oid, Type};
use tokio_postgres::{Client, Error, Statement};
use trunkline_sql::{Access, DatabaseError, PlanMode, Value};

use crate::bind::Bound;
use crate::decode::ColumnPlan;
use crate::lane::LaneChoice;
use crate::shared::{CONNECTIONS, SharedSession};

/// A statement of [`Postgres`](crate::Postgres).
#[derive(Debug)]
pub struct PostgresStatement {
    /// The number its prepared forms are kept under.
    pub(crate) id: u64,
    /// Whether it may write.
    pub(crate) access: Access,
    /// What to prepare.
    pub(crate) recipe: Recipe,
    /// How it is planned.
    pub(crate) plan: PlanMode,
    /// How the rows are read.
    pub(crate) columns: Box<[ColumnPlan]>,
    /// Whether a run can leave something behind that outlives its transaction.
    pub(crate) leaves_traces: bool,
    /// Whether its caller wrote it.
    pub(crate) ad_hoc: bool,
    /// Lives as long as this does, so that connections know when to forget it.
    pub(crate) owner: Arc<()>,
    pub(crate) lane: LaneChoice,
    /// Whether runs go through a cursor of the server.
    pub(crate) paging: Paging,
    /// Rises when a prepared form was found stale: all that were prepared before are.
    epoch: AtomicU64,
    /// One for each shared connection of each node.
    shared: Box<[ArcSwapOption<Prepared>]>,
    /// Whether it was found to do what only a primary can.
    needs_primary: AtomicBool,
}

/// What is sent to prepare a statement, and what must come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The statement, within one that casts unfamiliar types to text where there are any.
    pub(crate) sql: String,
    /// How many bytes of `sql` come before the statement as its author knows it.
    pub(crate) prefix: usize,
    /// The length of the statement as its author knows it.
    pub(crate) length: usize,
    /// The parameters' types, sent with it.
    pub(crate) parameters: Box<[Type]>,
    /// Name and type of each column at the time of learning.
    pub(crate) columns: Box<[(String, Oid)]>,
}

impl Recipe {
    /// Prepares the statement on a connection. `None` when it no longer has the columns that were learned.
    ///
    /// # Errors
    /// What the database reports.
    pub(crate) async fn prepare(&self, client: &Client) -> Result<Option<Statement>, Error> {
        let statement = client.prepare_typed(&self.sql, &self.parameters).await?;
        Ok((columns_of(&statement) == self.columns).then_some(statement))
    }
}

/// Returns name and type of each column, to be compared later.
pub(crate) fn columns_of(statement: &Statement) -> Box<[(String, Oid)]> {
    statement.columns().iter().map(|column| (column.name().to_owned(), column.type_().oid())).collect()
}

/// Whether a result has the columns that were learned.
pub(crate) fn same_columns(found: &[tokio_postgres::Column], learned: &[(String, Oid)]) -> bool {
    found.len() == learned.len()
        && std::iter::zip(found, learned)
            .all(|(found, (name, oid))| found.name() == name && found.type_().oid() == *oid)
}

/// Says that what was learned of a statement is no longer so.
pub(crate) fn columns_changed() -> DatabaseError {
    DatabaseError::Statement {
        message:
            "the columns behind this statement changed in the database since it was prepared; call it again"
                .to_owned(),
        code: Some("0A000".to_owned()),
        position: None,
        hint: None,
    }
}

#[derive(Debug)]
struct Prepared {
    session: u64,
    epoch: u64,
    statement: Statement,
}

impl PostgresStatement {
    /// Puts together what was decided. `may_share` says that it is a declared read which runs for every caller alike and calls
    /// nothing volatile: it starts on the shared lane.
    pub(crate) fn new(
        access: Access,
        recipe: Recipe,
        columns: Box<[ColumnPlan]>,
        may_share: bool,
        leaves_traces: bool,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            access,
            recipe,
            plan: PlanMode::Auto,
            columns,
            leaves_traces,
            ad_hoc: false,
            owner: Arc::new(()),
            lane: LaneChoice::new(may_share),
            paging: Paging::default(),
            epoch: AtomicU64::new(0),
            shared: places(1),
            needs_primary: AtomicBool::new(false),
        }
    }

    /// Says whether a cursor can be declared for it, and whether every run that may go on later has one.
    pub(crate) fn with_paging(self, can_declare: bool, always: bool) -> Self {
        Self { paging: Paging { can_declare, always, warmth: AtomicU32::new(0) }, ..self }
    }

    /// Has it planned like this.
    pub(crate) fn planned(mut self, plan: PlanMode) -> Self {
        self.plan = plan;
        self
    }

    /// Returns the values with their types, for a statement that is sent whole.
    pub(crate) fn typed<'a>(&'a self, values: &'a [Value]) -> impl Iterator<Item = (Bound<'a>, Type)> + 'a {
        std::iter::zip(values.iter().map(Bound), self.recipe.parameters.iter().cloned())
    }

    /// Makes room for the prepared forms of so many nodes.
    pub(crate) fn on_nodes(mut self, nodes: usize) -> Self {
        if self.shared.len() != nodes * CONNECTIONS {
            self.shared = places(nodes);
        }
        self
    }

    /// Whether a replica was found unable to run it.
    pub(crate) fn needs_primary(&self) -> bool {
        self.needs_primary.load(Ordering::Relaxed)
    }

    /// Sends every later run to the primary.
    pub(crate) fn keep_to_primary(&self) {
        self.needs_primary.store(true, Ordering::Relaxed);
    }

    /// Whether it runs on the shared lane.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.lane.is_shared()
    }

    /// Returns the statement as prepared on this connection, if it was.
    pub(crate) fn prepared_on(&self, session: &SharedSession) -> Option<Statement> {
        let kept = self.shared.get(session.place())?.load();
        let prepared = kept.as_ref()?;
        (prepared.session == session.session().id() && prepared.epoch == self.epoch())
            .then(|| prepared.statement.clone())
    }

    /// Keeps the statement as prepared on this connection, in place of what an earlier one in its place had.
    pub(crate) fn keep(&self, session: &SharedSession, epoch: u64, statement: Statement) {
        if let Some(slot) = self.shared.get(session.place()) {
            slot.store(Some(Arc::new(Prepared { session: session.session().id(), epoch, statement })));
        }
    }

    /// Returns what prepared forms are kept under; one of an earlier epoch is of no use.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Has the statement prepared anew on every connection.
    pub(crate) fn expire(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }
}

/// Chooses by what results came to whether a run goes through a cursor: one more round trip where the result is short, and
/// the only way to go on cheaply where it is long.
#[derive(Debug, Default)]
pub(crate) struct Paging {
    can_declare: bool,
    always: bool,
    /// For how many more runs a cursor is taken.
    warmth: AtomicU32,
}

impl Paging {
    pub(crate) fn can_declare(&self) -> bool {
        self.can_declare
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.always || self.warmth.load(Ordering::Relaxed) > 0
    }

    /// Takes note of a run whose result could go on, and whether it had to end early.
    pub(crate) fn note(&self, was_cut: bool) {
        if was_cut {
            self.warmth.store(WARM_FOR, Ordering::Relaxed);
        } else {
            // What two runs at once take from it at the same time changes nothing.
            let warmth = self.warmth.load(Ordering::Relaxed);
            self.warmth.store(warmth.saturating_sub(1), Ordering::Relaxed);
        }
    }
}

/// After so many runs that did not end early, a statement is run plainly again.
const WARM_FOR: u32 = 64;

fn places(nodes: usize) -> Box<[ArcSwapOption<Prepared>]> {
    (0..nodes * CONNECTIONS).map(|_| ArcSwapOption::empty()).collect()
}
