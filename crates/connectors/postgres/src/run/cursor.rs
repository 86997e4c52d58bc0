//! Runs a read through a cursor of the server, so that a page costs what the page holds and no more of the result is made
//! than is fetched; and goes on where an earlier page ended.
//!
//! A page that ends early parks its connection with the cursor open, for the next page to go on from. When that is gone, the
//! statement runs again, moves to the last row that was sent, and the writer compares it with what it was.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use futures_util::{StreamExt, join};
use postgres_types::{ToSql, Type};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{Client, Error, Row, RowStream};
use trunkline_sql::{Access, DatabaseError, Rows};

use super::vigil::unless_silent;
use super::{Call, EXCLUSIVE_TRIES, Fault, prepared, setter};
use crate::bind::Bound;
use crate::decode::write_row;
use crate::exclusive::Lease;
use crate::fault::{Context, is_lost, is_stale};
use crate::node::{Node, Place};
use crate::parked::{Cursor, Owner};
use crate::statement::{columns_changed, same_columns};
use crate::transaction::{self, Bounds, Opening};

/// A page on its way.
struct Page {
    lease: Lease,
    rest: VecDeque<Row>,
    /// The server has no more rows.
    is_at_end: bool,
    row_bytes: usize,
    opened: Instant,
    /// No row was written yet.
    clean: bool,
    /// The writer wants no more.
    is_full: bool,
    /// Rows came that nobody wanted and that are too large to be kept, so that this cursor cannot go on.
    is_spoiled: bool,
    scratch: String,
    number: usize,
}

impl<W: Rows> Call<'_, W> {
    /// Whether this run goes through a cursor: every later page, and a first one where that pays.
    pub(super) fn wants_cursor(&self) -> bool {
        let statement = self.statement;
        statement.access == Access::ReadOnly
            && statement.paging.can_declare()
            && (self.page.resume.is_some() || self.page.may_continue && statement.paging.is_wanted())
    }

    /// Gives a page.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// The statement is cancelled in the server; a cursor that was parked is closed.
    pub(super) async fn run_paged(&mut self) -> Result<(), DatabaseError> {
        let declare = format!("{DECLARE}{}", self.statement.recipe.sql);
        let mut tries = EXCLUSIVE_TRIES;
        loop {
            tries -= 1;
            let is_first_look = self.page.resume.is_some_and(|resume| resume.kept.is_some());
            let fault = match self.watched_page(&declare).await {
                Some(Ok(Ok(()))) => return Ok(()),
                Some(Ok(Err(fault))) => fault,
                Some(Err(_)) => return Err(self.out_of_time()),
                None => Fault::Stalled { clean: false },
            };
            // A parked connection that was found closed says nothing of its server.
            let was_parked =
                is_first_look && matches!(&fault, Fault::Reported { error, .. } if is_lost(error));
            if !was_parked && self.move_on(&fault, tries > 0) {
                tries = EXCLUSIVE_TRIES;
                continue;
            }
            match fault {
                Fault::Reported { error, clean } if tries > 0 && (is_stale(&error) || is_lost(&error)) => {
                    if !clean && !self.rows.restart() {
                        return Err(self.worded_in(self.declared(&declare), &error));
                    }
                }
                Fault::Reported { error, .. } => return Err(self.worded_in(self.declared(&declare), &error)),
                Fault::Stalled { .. } => return Err(self.out_of_time()),
                Fault::Elsewhere => {}
                Fault::Final(error) => return Err(error),
            }
        }
    }

    fn declared<'a>(&'a self, declare: &'a str) -> Context<'a> {
        let context = self.context(false);
        Context { sent: declare, prefix: context.prefix + DECLARE.len(), ..context }
    }

    /// Tries once, until the limit; `None` when the node was found silent.
    async fn watched_page(&mut self, declare: &str) -> Option<Result<Result<(), Fault>, Elapsed>> {
        let owner = Owner::new(self.behalf, &self.statement.recipe.sql);
        // First, since it decides on which node.
        let parked = self.unpark(&owner);
        let vigil = self.vigil();
        unless_silent(vigil, pin!(timeout_at(self.limit, self.try_page(declare, owner, parked)))).await
    }

    async fn try_page(&mut self, declare: &str, owner: Owner, parked: Option<Page>) -> Result<(), Fault> {
        let is_new = parked.is_none();
        let mut page = match parked {
            Some(page) => page,
            None => Page::new(self.node().pool.lease_for(&self.behalf.caller).await?),
        };
        page.lease.begin();
        let meter = Arc::clone(page.lease.session()?.meter());
        let outcome = async {
            if is_new {
                self.open(&mut page, declare).await?;
            }
            self.fill(&mut page).await
        }
        .await;
        match outcome {
            Ok(()) => self.end(page, owner).await,
            Err(fault) => {
                match &fault {
                    Fault::Reported { error, .. } if is_lost(error) && meter.is_overrun() => {
                        page.lease.close();
                        return Err(self.overrun());
                    }
                    Fault::Reported { error, .. } if is_lost(error) => {
                        page.lease.close();
                        self.node().pool.distrust_idle();
                    }
                    Fault::Reported { error, .. } if is_stale(error) => {
                        self.statement.expire();
                        page.lease.drain();
                    }
                    _ => page.lease.drain(),
                }
                Err(fault)
            }
        }
    }

    /// Takes back what the page before left, on whichever node that is.
    fn unpark(&mut self, owner: &Owner) -> Option<Page> {
        let resume = self.page.resume.as_mut()?;
        let (handle, sent) = (resume.kept.take()?, resume.sent);
        let postgres = self.postgres;
        let taken = |node: &Node| node.pool.parked().take(handle, owner, sent);
        let (node, cursor) = postgres.nodes.all().find_map(|node| Some((node, taken(node)?)))?;
        if node.pool.is_silent() && node.number() != self.node().number() {
            node.pool.undo(cursor.held);
            return None;
        }
        self.place = Place::on(node);
        let Cursor { held, rest, is_at_end, row_bytes, opened, .. } = cursor;
        Some(Page { rest, is_at_end, row_bytes, opened, ..Page::new(node.pool.adopt(held)) })
    }

    /// Opens the cursor, moves it to the last row that was sent, and takes the first rows: in one write.
    async fn open(&mut self, page: &mut Page, declare: &str) -> Result<(), Fault> {
        let statement = self.statement;
        // Types of columns that the driver does not know yet it would ask for in the middle of the answer.
        prepared(statement, &mut page.lease).await?;
        let setter = setter(&mut page.lease, self.behalf).await?;
        page.lease.begin();
        let bounds = Bounds::of(page.lease.session()?);
        let text = self.postgres.openings.text(bounds, Access::ReadOnly, statement.plan);
        let opening = Opening { text, bounds, behalf: self.behalf, setter };
        let values: Vec<(Bound<'_>, Type)> = statement.typed(self.values).collect();
        let values: Vec<(&(dyn ToSql + Sync), Type)> =
            values.iter().map(|(value, ty)| (value as &(dyn ToSql + Sync), ty.clone())).collect();
        let again = self.page.resume.map_or(0, |resume| resume.sent.min(1));
        self.rows.skip(again);
        let moves = self.page.resume.map(|resume| moves(resume.sent.saturating_sub(1))).unwrap_or_default();
        let asked = self.rows.room().map_or(FIRST_ROWS, |room| room.min(FIRST_ROWS));
        let client = page.lease.session()?.client();
        opening.ahead(client).await.map_err(|unopened| unopened.into_fault(true))?;
        let (opened, declared, moved, fetched) = join!(
            opening.along(client),
            client.execute_typed(declare, &values),
            async { if moves.is_empty() { Ok(()) } else { client.batch_execute(&moves).await } },
            fetch(client, asked)
        );
        let reported = |error| Fault::Reported { error, clean: true };
        opened.map_err(|unopened| unopened.into_fault(true))?;
        declared.map_err(reported)?;
        moved.map_err(reported)?;
        self.take(page, fetched.map_err(reported)?, asked).await
    }

    /// Writes rows until the page is full or there are no more.
    async fn fill(&mut self, page: &mut Page) -> Result<(), Fault> {
        while let Some(row) = page.rest.pop_front() {
            if !self.put(page, &row)? {
                page.rest.push_front(row);
                break;
            }
            if page.is_full {
                break;
            }
        }
        while !page.is_full && !page.is_at_end {
            let fitting = BATCH_BYTES / page.row_bytes.max(1);
            let most = u64::try_from(fitting).unwrap_or(u64::MAX).clamp(1, MOST_ROWS);
            let asked = self.rows.room().map_or(most, |room| room.min(most));
            let clean = page.clean;
            let fetched = fetch(page.lease.session()?.client(), asked).await;
            let fetched = fetched.map_err(|error| Fault::Reported { error, clean })?;
            self.take(page, fetched, asked).await?;
        }
        Ok(())
    }

    /// Takes the rows of one fetch; what the writer does not want is kept for the next page, up to a bound.
    async fn take(&mut self, page: &mut Page, rows: RowStream, asked: u64) -> Result<(), Fault> {
        let mut rows = pin!(rows);
        let (mut count, mut bytes, mut kept) = (0_u64, 0_usize, 0_usize);
        while let Some(row) = rows.next().await {
            let row = row.map_err(|error| Fault::Reported { error, clean: page.clean })?;
            if count == 0 && !same_columns(row.columns(), &self.statement.recipe.columns) {
                return Err(Fault::Final(columns_changed()));
            }
            count += 1;
            bytes = bytes.saturating_add(row.raw_size_bytes());
            let is_taken = !page.is_full && self.put(page, &row)?;
            if !is_taken {
                kept = kept.saturating_add(row.raw_size_bytes());
                page.is_spoiled |= kept > MOST_KEPT;
                if page.is_spoiled { page.rest.clear() } else { page.rest.push_back(row) }
            }
            if page.is_full && (page.is_spoiled || self.rows.taken().is_none() || !self.page.may_continue) {
                page.is_spoiled = true;
                return Ok(());
            }
        }
        page.is_at_end = count < asked;
        if let Some(average) = usize::try_from(count).ok().and_then(|count| bytes.checked_div(count)) {
            page.row_bytes = average.max(1);
        }
        Ok(())
    }

    /// Writes a row; `false` when the writer was full without it.
    fn put(&mut self, page: &mut Page, row: &Row) -> Result<bool, Fault> {
        page.clean = false;
        page.number += 1;
        let before = self.rows.taken();
        let flow = write_row(row, page.number, &self.statement.columns, &mut page.scratch, self.rows)?;
        if let ControlFlow::Continue(()) = flow {
            return Ok(true);
        }
        page.is_full = true;
        Ok(self.rows.taken() > before)
    }

    /// Ends the page: parks what can go on, and undoes the rest.
    async fn end(&mut self, mut page: Page, owner: Owner) -> Result<(), Fault> {
        let sent = self.page.resume.map_or(0, |resume| resume.sent);
        let taken = self.rows.taken();
        self.statement.paging.note(page.is_full);
        if page.is_spoiled {
            page.lease.drain();
            return Ok(());
        }
        // A pooler lends few sessions to many, and who waits there for one is not seen from here.
        let is_pooled = page.lease.session()?.is_pooled();
        let is_over = page.is_at_end && page.rest.is_empty();
        let may_park = page.is_full && self.page.may_continue && !is_over && !is_pooled;
        if let (true, Some(taken)) = (may_park, taken) {
            *self.kept = self.park(page, owner, sent + taken);
            return Ok(());
        }
        let client = page.lease.session()?.client();
        match transaction::undo(client, self.statement.leaves_traces).await {
            Ok(true) => page.lease.finish(),
            // The rows are there; only the connection is of no use.
            Ok(false) | Err(_) => page.lease.close(),
        }
        Ok(())
    }

    fn park(&self, mut page: Page, owner: Owner, sent: u64) -> Option<u64> {
        let pool = &self.node().pool;
        let held = page.lease.detach()?;
        let Page { rest, is_at_end, row_bytes, opened, .. } = page;
        let cursor = Cursor { held, rest, is_at_end, row_bytes, sent, opened };
        match pool.parked().park(pool, owner, cursor) {
            Ok(handle) => Some(handle),
            Err(cursor) => {
                pool.undo(cursor.held);
                None
            }
        }
    }
}

impl Page {
    fn new(lease: Lease) -> Self {
        Self {
            lease,
            rest: VecDeque::new(),
            is_at_end: false,
            row_bytes: 0,
            opened: Instant::now(),
            clean: true,
            is_full: false,
            is_spoiled: false,
            scratch: String::new(),
            number: 0,
        }
    }
}

async fn fetch(client: &Client, rows: u64) -> Result<RowStream, Error> {
    let none: [(&(dyn ToSql + Sync), Type); 0] = [];
    client.query_typed_raw(&format!("fetch forward {rows} from \"tl\""), none).await
}

/// Moves over that many rows. One move takes a 32-bit count.
fn moves(rows: u64) -> String {
    let most = u64::from(i32::MAX.unsigned_abs());
    let mut left = rows;
    let mut sql = String::new();
    while left > 0 {
        let step = left.min(most);
        sql.push_str(&format!("move forward {step} from \"tl\";"));
        left -= step;
    }
    sql
}

const DECLARE: &str = "declare \"tl\" no scroll cursor for ";

/// Rows of the first fetch, when nobody knows yet how large they are.
const FIRST_ROWS: u64 = 64;

/// Most rows of one fetch.
const MOST_ROWS: u64 = 10_000;

/// About how many bytes one fetch brings.
const BATCH_BYTES: usize = 256 * 1024;

/// Most bytes of rows that are kept for the next page.
const MOST_KEPT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_moves_are_made_in_steps() {
        assert_eq!(moves(0), "");
        assert_eq!(moves(7), "move forward 7 from \"tl\";");
        let far = moves(u64::from(u32::MAX));
        assert_eq!(far.matches("move").count(), 3, "{far}");
    }
}
