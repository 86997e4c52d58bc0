//! Runs statements: on the shared lane when they may, else on the exclusive one; a second time where the first was cut off,
//! on another node where there is one.

mod alone;
mod cursor;

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{StreamExt, join};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{Client, Error, Statement};
use trunkline_sql::{Access, Behalf, DatabaseError, Page, Rows, Value};

use crate::Postgres;
use crate::bind::Bound;
use crate::decode::write_row;
use crate::dial::Session;
use crate::exclusive::Lease;
use crate::fault::{Context, is_demoted, is_late, is_lost, is_stale};
use crate::framing::LONGEST;
use crate::node::Place;
use crate::nodes::Route;
use crate::shared::now;
use crate::statement::{PostgresStatement, columns_changed, same_columns};
use crate::transaction::{self, Bounds, Extent, Opening, Setter, Unopened};
use vigil::unless_silent;

mod route;
mod vigil;

/// One call of a statement.
#[derive(Debug)]
pub(crate) struct Call<'a, W> {
    pub(crate) postgres: &'a Postgres,
    pub(crate) statement: &'a PostgresStatement,
    pub(crate) values: &'a [Value],
    pub(crate) rows: &'a mut W,
    pub(crate) behalf: &'a Behalf,
    pub(crate) page: Page,
    /// Where the handle of a parked cursor goes.
    pub(crate) kept: &'a mut Option<u64>,
    /// When the call is of no use any more; always set.
    pub(crate) limit: Instant,
    pub(crate) started: Instant,
    /// Where it runs now, and where else it may.
    pub(crate) place: Place<'a>,
    pub(crate) route: Route,
    /// Whether a replica could not run it because it is one.
    pub(crate) failed_in_recovery: bool,
    /// Whether it has to have a connection of its own, since a shared one broke under somebody's row or there is none.
    pub(crate) is_alone: bool,
}

/// How the rows ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All were written; so many were changed.
    Complete(Option<u64>),
    /// No more are wanted.
    Full,
}

/// Why a try did not end well.
#[derive(Debug)]
enum Fault {
    /// The database or the driver said so. `clean` while no row was written.
    Reported { error: Error, clean: bool },
    /// Nothing came for longer than the statement may take, or its node answers nobody.
    Stalled { clean: bool },
    /// The connection is not one that callers can share; nothing was sent.
    Elsewhere,
    /// It is decided what to say.
    Final(DatabaseError),
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        Self::Final(error)
    }
}

impl<W: Rows> Call<'_, W> {
    /// Runs the statement, and returns how many rows it changed if it may change any.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// On the exclusive lane the statement is cancelled in the server; on the shared one its answer is dropped.
    pub(crate) async fn run(mut self) -> Result<Option<u64>, DatabaseError> {
        let ran = self.run_somewhere().await;
        if ran.is_ok() {
            self.note_route();
        }
        ran
    }

    /// What most calls never come to is boxed: a call's memory is what the longest way needs, and much of it cold.
    async fn run_somewhere(&mut self) -> Result<Option<u64>, DatabaseError> {
        if self.wants_cursor() {
            return Box::pin(self.run_paged()).await.map(|()| None);
        }
        let mut tries = SHARED_TRIES;
        while self.is_shared() {
            tries -= 1;
            match self.run_shared().await {
                Ok(end) => {
                    self.note_page(end);
                    return Ok(None);
                }
                Err(fault) if self.move_on(&fault, tries > 0) => tries = SHARED_TRIES,
                Err(fault) => self.settle_shared(fault, tries > 0)?,
            }
        }
        let mut tries = EXCLUSIVE_TRIES;
        loop {
            tries -= 1;
            match Box::pin(self.run_exclusive()).await {
                Ok(affected) => return Ok(affected),
                Err(fault) if self.move_on(&fault, tries > 0) => tries = EXCLUSIVE_TRIES,
                Err(fault) => self.settle_exclusive(fault, tries > 0)?,
            }
        }
    }

    /// Behind a pooler there are no connections to share, whatever was so when the statement was learned.
    fn is_shared(&self) -> bool {
        !self.is_alone
            && self.statement.is_shared()
            && self.behalf.is_plain()
            && !self.place.node().dialer.is_pooled()
    }

    /// Decides whether a run on the shared lane is tried again, perhaps on the other.
    fn settle_shared(&mut self, fault: Fault, may_retry: bool) -> Result<(), DatabaseError> {
        match fault {
            Fault::Reported { error, clean } if is_late(&error) => {
                self.statement.lane.bar();
                if clean || self.rows.restart() { Ok(()) } else { Err(self.context(true).error(&error)) }
            }
            Fault::Reported { error, clean: true } if may_retry && (is_lost(&error) || is_stale(&error)) => {
                Ok(())
            }
            Fault::Reported { error, .. } => Err(self.context(true).error(&error)),
            Fault::Stalled { clean: true } if may_retry => Ok(()),
            Fault::Stalled { .. } => Err(self.out_of_time()),
            Fault::Elsewhere => Ok(()),
            // The server takes no more connections; one of its own may be had in time.
            Fault::Final(DatabaseError::Full { .. }) => {
                self.is_alone = true;
                Ok(())
            }
            Fault::Final(error) => Err(error),
        }
    }

    /// Decides whether a run on the exclusive lane is tried again: a read whose connection was found closed, or any
    /// statement that has to be prepared anew, and a write whose server became one that follows another: it did nothing.
    fn settle_exclusive(&self, fault: Fault, may_retry: bool) -> Result<(), DatabaseError> {
        match fault {
            Fault::Reported { error, clean: true } if may_retry && is_stale(&error) => Ok(()),
            Fault::Reported { error, clean: true }
                if may_retry && is_lost(&error) && self.statement.access == Access::ReadOnly =>
            {
                Ok(())
            }
            Fault::Reported { error, clean: true } if may_retry && self.is_demoted(&error) => Ok(()),
            Fault::Reported { error, .. } => Err(self.worded(&error)),
            Fault::Stalled { .. } => Err(self.out_of_time()),
            Fault::Elsewhere => Ok(()),
            Fault::Final(error) => Err(error),
        }
    }

    fn is_demoted(&self, error: &Error) -> bool {
        self.statement.access == Access::ReadWrite && is_demoted(error)
    }

    /// Words a fault of the exclusive lane. Where rights differ from caller to caller, one that is missing says nothing
    /// against the statement.
    fn worded(&self, error: &Error) -> DatabaseError {
        if self.is_demoted(error) {
            return self.place.node().dialer.unreached("the server that answers takes no writes".to_owned());
        }
        self.worded_in(self.context(false), error)
    }

    fn worded_in(&self, context: Context<'_>, error: &Error) -> DatabaseError {
        match context.error(error) {
            DatabaseError::Statement { message, code: Some(code), .. }
                if code == INSUFFICIENT_PRIVILEGE && !self.behalf.is_plain() =>
            {
                DatabaseError::Data { message, code: Some(code) }
            }
            other => other,
        }
    }

    fn context(&self, shared: bool) -> Context<'_> {
        let recipe = &self.statement.recipe;
        Context {
            dialer: &self.node().dialer,
            sent: &recipe.sql,
            prefix: recipe.prefix,
            length: recipe.length,
            timeout: if shared { self.postgres.shared_timeout } else { self.postgres.statement_timeout },
            ad_hoc: self.statement.ad_hoc,
        }
    }

    fn out_of_time(&self) -> DatabaseError {
        let after = self.limit.duration_since(self.started);
        // What came before, like learning a caller's own statement, may have taken all of the time.
        let after = if after.is_zero() { self.postgres.statement_timeout } else { after };
        DatabaseError::TimedOut { after }
    }

    // ---- the shared lane ----

    async fn run_shared(&mut self) -> Result<End, Fault> {
        let node = self.place.node();
        let lane = node.shared_lane(self.statement.plan);
        let picked = timeout_at(self.limit, lane.pick()).await;
        let session = picked.map_err(|_| self.out_of_time())??;
        if session.session().is_pooled() {
            return Err(Fault::Elsewhere);
        }
        let stalled = Instant::now() + self.postgres.shared_timeout + STALL_GRACE;
        let watch = session.watch();
        let mut clean = true;
        let client = session.session().client();
        let statement = self.statement;
        let work = async {
            let prepared = match statement.prepared_on(&session) {
                Some(prepared) => prepared,
                None => {
                    let epoch = statement.epoch();
                    let prepared = Box::pin(prepare(statement, client)).await?;
                    statement.keep(&session, epoch, prepared.clone());
                    prepared
                }
            };
            stream(session.session(), Some(&prepared), statement, self.values, &mut *self.rows, &mut clean)
                .await
        };
        match timeout_at(stalled.min(self.limit), work).await {
            Ok(outcome) => {
                let took = watch.answered();
                self.note_shared(&outcome, took);
                match &outcome {
                    Err(Fault::Reported { error, .. }) if is_stale(error) => statement.expire(),
                    // The report of a shutdown comes before the connection is found closed.
                    Err(Fault::Reported { error, .. }) if is_lost(error) => session.session().sever(),
                    _ => {}
                }
                match outcome {
                    Err(fault) if session.session().meter().is_overrun() => Err(self.leave_overrun(fault)),
                    outcome => outcome,
                }
            }
            Err(_) if self.limit <= stalled => Err(Fault::Final(self.out_of_time())),
            Err(_) => {
                tracing::warn!("a shared database connection does not answer and is replaced");
                session.session().sever();
                lane.sever_silent(&watch);
                Err(Fault::Stalled { clean })
            }
        }
    }

    /// Rows that nobody wants keep the server busy behind the answer: such a run counts as slow.
    fn note_shared(&self, outcome: &Result<End, Fault>, took: Duration) {
        match outcome {
            Ok(End::Complete(_)) => self.statement.lane.note_shared(took, now()),
            Ok(End::Full) => self.statement.lane.note_shared(Duration::MAX, now()),
            Err(_) => {}
        }
    }

    /// Decides what becomes of a call whose shared connection ended before a row that is too large. Whose row that was is
    /// known only of a call that had got some of its own; any other finds out alone.
    fn leave_overrun(&mut self, fault: Fault) -> Fault {
        match fault {
            Fault::Reported { error, clean } if is_lost(&error) => {
                self.is_alone = true;
                if clean { Fault::Elsewhere } else { self.overrun() }
            }
            fault => fault,
        }
    }

    /// Makes the fault of a row that is too large, and keeps its statement off connections that others share.
    fn overrun(&self) -> Fault {
        self.statement.lane.bar();
        Fault::Final(DatabaseError::Data {
            message: format!(
                "one row is larger than the {} MiB a row may have; select fewer or shorter columns",
                LONGEST >> 20
            ),
            code: None,
        })
    }

    // ---- the exclusive lane ----

    async fn run_exclusive(&mut self) -> Result<Option<u64>, Fault> {
        let limit = self.limit;
        let out_of_time = self.out_of_time();
        let vigil = self.vigil();
        let work = pin!(timeout_at(limit, async {
            let node = self.place.node();
            let mut lease = node.pool.lease_for(&self.behalf.caller).await?;
            let meter = Arc::clone(lease.session()?.meter());
            let outcome = match self.run_leased(&mut lease).await {
                Err(Fault::Reported { error, .. }) if meter.is_overrun() && is_lost(&error) => {
                    lease.close();
                    return Err(self.overrun());
                }
                outcome => outcome,
            };
            match &outcome {
                Err(Fault::Reported { error, .. }) if is_stale(error) => self.statement.expire(),
                Err(Fault::Reported { error, .. }) if is_lost(error) => {
                    lease.close();
                    node.pool.distrust_idle();
                }
                Err(Fault::Reported { error, .. }) if self.is_demoted(error) => {
                    tracing::warn!("the database's server takes no writes any more; another is looked for");
                    lease.close();
                    node.pool.distrust_idle();
                }
                _ => {}
            }
            outcome
        }));
        match unless_silent(vigil, work).await {
            Some(outcome) => outcome.unwrap_or(Err(Fault::Final(out_of_time))),
            None => Err(Fault::Stalled { clean: false }),
        }
    }

    async fn run_leased(&mut self, lease: &mut Lease) -> Result<Option<u64>, Fault> {
        lease.begin();
        let prepared = prepared(self.statement, lease).await?;
        let setter = setter(lease, self.behalf).await?;
        lease.run();
        let access = self.statement.access;
        let bounds = Bounds::of(lease.session()?);
        if self.is_bare(bounds) {
            return self.read_alone(lease, prepared.as_ref()).await.map(|()| None);
        }
        let text = self.postgres.openings.text(bounds, access, self.statement.plan);
        let opening = Opening { text, bounds, behalf: self.behalf, setter };
        if let Err(unopened) = opening.ahead(lease.session()?.client()).await {
            match transaction::roll_back(lease.session()?.client()).await {
                Ok(_) => lease.finish(),
                Err(_) => lease.close(),
            }
            return Err(unopened.into_fault(true));
        }
        match access {
            Access::ReadOnly => self.read(lease, prepared.as_ref(), &opening).await.map(|()| None),
            Access::ReadWrite => self.write(lease, prepared.as_ref(), &opening).await,
        }
    }

    /// Sends begin, the caller's settings, the statement and rollback in one write.
    async fn read(
        &mut self,
        lease: &mut Lease,
        prepared: Option<&Statement>,
        opening: &Opening<'_>,
    ) -> Result<(), Fault> {
        let session = lease.session()?;
        let client = session.client();
        let leaves_traces = self.statement.leaves_traces;
        let began = now();
        let mut clean = true;
        // What no cursor can be declared for, like `explain`, goes on by running again.
        self.rows.skip(self.page.resume.map_or(0, |resume| resume.sent));
        let (outcome, undone) = {
            let opened = opening.along(client);
            let rows = stream(session, prepared, self.statement, self.values, &mut *self.rows, &mut clean);
            let mut work = pin!(async { join!(opened, rows) });
            let mut undo = pin!(transaction::undo(client, leaves_traces));
            let mut undone = None;
            let outcome = poll_fn(|context| {
                let outcome = work.as_mut().poll(context);
                if undone.is_none()
                    && let Poll::Ready(done) = undo.as_mut().poll(context)
                {
                    undone = Some(done);
                }
                outcome
            })
            .await;
            // What is still to come of a full result is not waited for.
            if undone.is_none() && !matches!(outcome.1, Ok(End::Full)) {
                undone = Some(undo.await);
            }
            (outcome, undone)
        };
        match undone {
            Some(Ok(true)) => lease.finish(),
            Some(Ok(false) | Err(_)) => lease.close(),
            None => lease.drain(),
        }
        match outcome {
            (Err(unopened), _) => Err(unopened.into_fault(clean)),
            (Ok(()), outcome) => outcome.map(|end| self.note_exclusive(end, began)),
        }
    }

    /// Takes note of how a read on the exclusive lane ended that began then, in microseconds. Rows that nobody wants keep the
    /// server busy behind the answer, so such a run counts as slow.
    fn note_exclusive(&self, end: End, began: u64) {
        let now = now();
        let took =
            if end == End::Full { Duration::MAX } else { Duration::from_micros(now.saturating_sub(began)) };
        self.statement.lane.note_exclusive(took, now);
        self.note_page(end);
    }

    /// Takes note of a result that ended early and could go on: its statement's next run has a cursor.
    fn note_page(&self, end: End) {
        if end == End::Full && self.page.may_continue && self.rows.taken().is_some() {
            self.statement.paging.note(true);
        }
    }

    /// Commits only after the last row was read, so that a dropped call has changed nothing unless the commit was sent.
    async fn write(
        &mut self,
        lease: &mut Lease,
        prepared: Option<&Statement>,
        opening: &Opening<'_>,
    ) -> Result<Option<u64>, Fault> {
        let session = lease.session()?;
        let client = session.client();
        let mut clean = true;
        let (opened, outcome) = join!(
            opening.along(client),
            stream(session, prepared, self.statement, self.values, &mut *self.rows, &mut clean)
        );
        let outcome = match opened {
            Ok(()) => outcome,
            Err(unopened) => Err(unopened.into_fault(clean)),
        };
        let (outcome, is_clean) = match outcome {
            Ok(end) => match route::commit(&self.postgres.nodes, &self.behalf.caller, client).await {
                Ok(is_clean) => (Ok(end), is_clean),
                // A write whose commit was sent is never tried again.
                Err(error) => (
                    Err(Fault::Reported { error, clean: false }),
                    transaction::clean(client).await.unwrap_or(false),
                ),
            },
            Err(fault) => (Err(fault), transaction::clean(client).await.unwrap_or(false)),
        };
        if is_clean {
            lease.finish()
        } else {
            lease.close()
        }
        match outcome? {
            End::Complete(affected) => Ok(affected),
            End::Full => Ok(None),
        }
    }
}

impl Unopened {
    /// `clean` while no row was written.
    fn into_fault(self, clean: bool) -> Fault {
        match self {
            Self::Reported(error) => Fault::Reported { error, clean },
            Self::Refused(reason) => Fault::Final(DatabaseError::Identity { reason }),
        }
    }
}

/// Returns the statement as prepared on this connection; `None` where nothing prepared lasts, and it is sent whole.
async fn prepared(statement: &PostgresStatement, lease: &mut Lease) -> Result<Option<Statement>, Fault> {
    if let Some(prepared) = lease.prepared(statement) {
        return Ok(Some(prepared));
    }
    let session = lease.session()?;
    if session.is_pooled() {
        return Ok(None);
    }
    let epoch = statement.epoch();
    let prepared = Box::pin(prepare(statement, session.client())).await;
    if prepared.is_err() {
        lease.finish();
    }
    let prepared = prepared?;
    lease.keep(statement, epoch, prepared.clone());
    Ok(Some(prepared))
}

async fn prepare(statement: &PostgresStatement, client: &Client) -> Result<Statement, Fault> {
    match statement.recipe.prepare(client).await {
        Ok(Some(prepared)) => Ok(prepared),
        Ok(None) => Err(Fault::Final(columns_changed())),
        Err(error) => Err(Fault::Reported { error, clean: true }),
    }
}

/// Returns what sets the role and the settings of the caller, if it has any.
async fn setter(lease: &mut Lease, behalf: &Behalf) -> Result<Option<Setter>, Fault> {
    let Some(extent) = Extent::of(behalf) else { return Ok(None) };
    if let Some(setter) = lease.setter(extent) {
        return Ok(Some(Setter::Prepared(setter)));
    }
    let session = lease.session()?;
    if session.is_pooled() {
        return Ok(Some(extent.unprepared()));
    }
    let setter = Box::pin(extent.prepare(session.client())).await;
    if setter.is_err() {
        lease.finish();
    }
    let setter = setter.map_err(|error| Fault::Reported { error, clean: true })?;
    lease.keep_setter(extent, setter.clone());
    Ok(Some(Setter::Prepared(setter)))
}

/// Sends the statement, or runs it as it was prepared, and writes its rows as they come. A write is read to its end even
/// when no more rows are wanted.
async fn stream<W: Rows>(
    session: &Session,
    prepared: Option<&Statement>,
    statement: &PostgresStatement,
    values: &[Value],
    rows: &mut W,
    clean: &mut bool,
) -> Result<End, Fault> {
    let reported = |error, clean: &bool| Fault::Reported { error, clean: *clean };
    let client = session.client();
    let stream = match prepared {
        Some(prepared) => client.query_raw(prepared, values.iter().map(Bound)).await,
        None => Box::pin(client.query_typed_raw(&statement.recipe.sql, statement.typed(values))).await,
    };
    let mut stream = pin!(stream.map_err(|error| reported(error, clean))?);
    let mut scratch = String::new();
    let mut number = 0_usize;
    let mut full = false;
    while let Some(row) = stream.next().await {
        let row = row.map_err(|error| reported(error, clean))?;
        if full {
            continue;
        }
        // What was prepared was looked at then.
        if *clean && prepared.is_none() && !same_columns(row.columns(), &statement.recipe.columns) {
            return Err(Fault::Final(columns_changed()));
        }
        *clean = false;
        number += 1;
        if let ControlFlow::Break(()) = write_row(&row, number, &statement.columns, &mut scratch, rows)? {
            if statement.access == Access::ReadOnly {
                return Ok(End::Full);
            }
            full = true;
        }
    }
    Ok(End::Complete(stream.rows_affected()))
}

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// One on each connection, all of which may have been closed together, and one on a fresh one.
const SHARED_TRIES: u32 = 5;

/// One, one after the statement had to be prepared anew or its connection was found closed, and one after both.
const EXCLUSIVE_TRIES: u32 = 3;

/// How much longer than its timeout a statement on a shared connection may go without an answer.
const STALL_GRACE: Duration = Duration::from_millis(1000);
