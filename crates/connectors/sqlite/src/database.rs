//! [`Sqlite`], and what the SQL connectors ask of a database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trunkline_sql::{
    BoxFuture, Database, DatabaseError, Description, Dialect, Ran, Rows, Run, StatementSource,
};

use crate::describe::describe;
use crate::error;
use crate::execute::{Prepared, execute};
use crate::guard::Lane;
use crate::link::{Site, torn};
use crate::pool::Pool;

/// Connections for statements of the file that read.
const READERS: usize = 4;
/// Connections for statements of callers. They are few and of their own, so that nothing callers ask keeps the tools of the
/// file waiting.
const AD_HOC_READERS: usize = 2;
/// How long preparing a statement may take, waiting for a connection included.
const LONGEST_PREPARE: Duration = Duration::from_secs(10);

/// A SQLite database file: four connections that can only read, two more for callers' own statements, and one that writes
/// for the statements that may.
///
/// Nothing is opened and no thread runs before there is work. A file that is missing, or becomes another one, is looked
/// for again with each call.
#[derive(Debug)]
pub struct Sqlite {
    readers: Pool,
    ad_hoc: Pool,
    writer: Pool,
}

/// A statement of a [`Sqlite`] database.
#[derive(Debug)]
pub struct Statement(Arc<Prepared>);

impl Sqlite {
    /// Makes a database of the file at `path`; a relative one is below the working directory of now. `name` is for the names
    /// of its threads.
    #[must_use]
    pub fn new(name: &str, path: &Path) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
        let path: Arc<Path> = absolute.into();
        Self {
            readers: Pool::new(name, &path, Lane::Reading, READERS),
            ad_hoc: Pool::new(name, &path, Lane::AdHoc, AD_HOC_READERS),
            writer: Pool::new(name, &path, Lane::Writing, 1),
        }
    }

    /// Opens the database, if it is not open, and runs nothing.
    ///
    /// # Errors
    /// [`DatabaseError::Unreachable`] when it cannot be opened, [`DatabaseError::PoolExhausted`] when all connections are
    /// busy for ten seconds.
    ///
    /// # Cancel safety
    /// Safe at any time.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        self.readers.run(Some(Instant::now() + LONGEST_PREPARE), |link| link.ready()).await
    }

    /// Does something with a connection that only reads.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl Fn(&Site<'_>) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.readers.run(Some(deadline), move |link| link.with(|site, _| work(site))).await
    }

    fn pool(&self, lane: Lane) -> &Pool {
        match lane {
            Lane::Reading => &self.readers,
            Lane::AdHoc => &self.ad_hoc,
            Lane::Writing => &self.writer,
        }
    }
}

impl Database for Sqlite {
    type Statement = Statement;

    const DIALECT: Dialect = Dialect::Sqlite;

    fn prepare<'a>(
        &'a self,
        source: &'a StatementSource,
    ) -> BoxFuture<'a, Result<(Statement, Description), DatabaseError>> {
        let source = source.clone();
        Box::pin(async move {
            if let Some(position) = source.sql.find('\0') {
                let message = "the statement has a NUL character, where SQLite would stop reading".into();
                return Err(DatabaseError::Statement {
                    message,
                    code: None,
                    position: Some(position),
                    hint: None,
                });
            }
            let deadline = Instant::now() + LONGEST_PREPARE;
            let (prepared, description) = self
                .pool(Lane::of(source.access, source.ad_hoc))
                .run(Some(deadline), move |link| link.with(|site, _| describe(site, &source)))
                .await?;
            Ok((Statement(Arc::new(prepared)), description))
        })
    }

    fn run<'a, W: Rows>(
        &'a self,
        statement: &'a Statement,
        run: Run<W>,
    ) -> BoxFuture<'a, Result<Ran<W>, DatabaseError>> {
        let prepared = Arc::clone(&statement.0);
        Box::pin(async move {
            let Run { values, mut rows, deadline, page, .. } = run;
            if values.len() != prepared.parameters.len() {
                return Err(error::wrong_count(values.len(), prepared.parameters.len()));
            }
            self.pool(prepared.lane)
                .run(deadline, move |link| {
                    let affected = link.with(|site, attempt| {
                        if attempt > 0 && !rows.restart() {
                            return Err(torn(site.path));
                        }
                        // Nothing is kept open here: a later page runs from the first row on.
                        rows.skip(page.resume.map_or(0, |resume| resume.sent));
                        execute(site, &prepared, &values, &mut rows)
                    })?;
                    Ok(Ran { rows, affected, kept: None })
                })
                .await
        })
    }
}
