//! How a transaction of the exclusive lane begins and ends: what holds it to reading and to its bounds, as whom it runs, and
//! what is put back before the next caller has the connection.

use std::pin::pin;
use std::time::Duration;

use futures_util::{StreamExt, join};
use postgres_types::{ToSql, Type};
use tokio_postgres::{Client, Error, SimpleQueryMessage, Statement};
use trunkline_sql::{Access, Behalf, PlanMode};

use crate::dial::Session;
use crate::fault::{is_lost, is_stale, is_timeout};

/// Who holds a statement to its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// The session: the options it was started with say them, and `reset all` brings them back.
    Startup,
    /// Each transaction says them: the session is not ours, as behind a pooler that lends a server for one transaction.
    Local,
}

impl Bounds {
    /// Tells who does so in a session.
    pub(crate) fn of(session: &Session) -> Self {
        if session.is_pooled() { Self::Local } else { Self::Startup }
    }
}

/// The texts that open transactions, made once for a database.
#[derive(Debug)]
pub(crate) struct Openings {
    read: Texts,
    write: Texts,
}

/// What opens a transaction of one access.
#[derive(Debug)]
struct Texts {
    startup: [Box<str>; 2],
    local: [Box<str>; 2],
}

impl Openings {
    /// Decides the texts.
    pub(crate) fn new(statement_timeout: Duration) -> Self {
        let bounds =
            settings(statement_timeout).map(|(name, value)| format!("; set local {name} = {value}")).concat();
        let by_plan = |text: String| {
            let generic = format!("{text}; set local plan_cache_mode = force_generic_plan");
            [text.into(), generic.into()]
        };
        let texts = |begin: &str| Texts {
            startup: by_plan(begin.to_owned()),
            local: by_plan(format!("{begin}{bounds}")),
        };
        Self { read: texts("begin read only"), write: texts("begin read write") }
    }

    /// Returns what opens a transaction, to be sent as one simple query.
    pub(crate) fn text(&self, bounds: Bounds, access: Access, plan: PlanMode) -> &str {
        let texts = match access {
            Access::ReadOnly => &self.read,
            Access::ReadWrite => &self.write,
        };
        let [auto, generic] = match bounds {
            Bounds::Startup => &texts.startup,
            Bounds::Local => &texts.local,
        };
        match plan {
            PlanMode::Auto => auto,
            PlanMode::Generic => generic,
        }
    }
}

/// Returns what a statement is held to, by the server's names: with the start of a session, or else with each transaction.
///
/// A date style of ISO makes the text form of ranges the same everywhere.
pub(crate) fn settings(statement_timeout: Duration) -> [(&'static str, String); 5] {
    [
        ("statement_timeout", millis(statement_timeout).to_string()),
        ("lock_timeout", millis(lock_timeout(statement_timeout)).to_string()),
        ("idle_in_transaction_session_timeout", millis(idle_timeout(statement_timeout)).to_string()),
        ("datestyle", "ISO".to_owned()),
        ("standard_conforming_strings", "on".to_owned()),
    ]
}

/// Returns how long a statement waits for a lock: a caller is better told soon that someone else holds it, and who waits
/// for one holds up all that come after.
fn lock_timeout(statement_timeout: Duration) -> Duration {
    statement_timeout.min(LONGEST_LOCK_WAIT)
}

/// Returns how long a transaction may idle: that frees its locks should this process be frozen.
pub(crate) fn idle_timeout(statement_timeout: Duration) -> Duration {
    statement_timeout + Duration::from_secs(10)
}

/// As PostgreSQL counts; 0 would mean no bound.
fn millis(duration: Duration) -> u128 {
    duration.as_millis().clamp(1, i32::MAX.unsigned_abs().into())
}

// ---- as whom ----

/// How much the database is to know of a caller, which decides the statement that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    settings: usize,
    role: bool,
}

impl Extent {
    /// Returns how much a behalf holds; `None` for nothing.
    pub(crate) fn of(behalf: &Behalf) -> Option<Self> {
        (!behalf.is_plain()).then(|| Self { settings: behalf.settings.len(), role: behalf.role.is_some() })
    }

    /// Prepares the statement that sets that much.
    ///
    /// # Errors
    /// What the database reports.
    pub(crate) async fn prepare(self, client: &Client) -> Result<Statement, Error> {
        let count = self.settings * 2 + usize::from(self.role);
        client.prepare_typed(&self.text(), &vec![Type::TEXT; count]).await
    }

    /// Returns what sets that much without having been prepared: behind a pooler the name of a prepared statement may mean
    /// nothing to the next server.
    pub(crate) fn unprepared(self) -> Setter {
        Setter::Unprepared(self.text())
    }

    /// The role comes last: it may lack the right to set the others.
    fn text(self) -> String {
        let settings = (0..self.settings)
            .map(|at| format!("pg_catalog.set_config(${}, ${}, true)", at * 2 + 1, at * 2 + 2));
        let role =
            self.role.then(|| format!("pg_catalog.set_config('role', ${}, true)", self.settings * 2 + 1));
        format!("select {}", settings.chain(role).collect::<Vec<_>>().join(", "))
    }
}

/// The statement that sets what the database is to know of a caller.
#[derive(Debug)]
pub(crate) enum Setter {
    /// Prepared on the connection.
    Prepared(Statement),
    /// Its text.
    Unprepared(String),
}

/// Why a transaction was not opened as its caller's. It is broken then, and whatever was sent after it does not run.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// The database or the driver said so.
    Reported(Error),
    /// The database refused the role or a setting; why, without any value.
    Refused(String),
}

/// How one call's transaction is opened.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    /// From [`Openings::text`] for these bounds.
    pub(crate) text: &'a str,
    pub(crate) bounds: Bounds,
    pub(crate) behalf: &'a Behalf,
    /// For as much as `behalf` has.
    pub(crate) setter: Option<Setter>,
}

impl Opening<'_> {
    /// Opens the transaction before anything else is sent, where nothing but the transaction would hold the statement to its
    /// bounds; else does nothing.
    ///
    /// # Errors
    /// [`Unopened`].
    pub(crate) async fn ahead(&self, client: &Client) -> Result<(), Unopened> {
        match self.bounds {
            Bounds::Startup => Ok(()),
            Bounds::Local => self.open(client).await,
        }
    }

    /// Opens the transaction, if [`ahead`](Self::ahead) did not. All of it is sent at the first poll, so that it comes before
    /// what is polled after.
    ///
    /// # Errors
    /// [`Unopened`].
    pub(crate) async fn along(&self, client: &Client) -> Result<(), Unopened> {
        match self.bounds {
            Bounds::Startup => self.open(client).await,
            Bounds::Local => Ok(()),
        }
    }

    pub(crate) async fn open(&self, client: &Client) -> Result<(), Unopened> {
        let (begun, assumed) = join!(client.batch_execute(self.text), self.assume(client));
        begun.map_err(Unopened::Reported)?;
        assumed
    }

    /// Makes a transaction that is open already the caller's.
    ///
    /// # Errors
    /// [`Unopened`].
    pub(crate) async fn assume(&self, client: &Client) -> Result<(), Unopened> {
        let Some(setter) = &self.setter else { return Ok(()) };
        assume(client, setter, self.behalf).await.map_err(|error| {
            let is_refusal =
                error.as_db_error().is_some() && !is_lost(&error) && !is_timeout(&error) && !is_stale(&error);
            if is_refusal { Unopened::Refused(refusal(&error)) } else { Unopened::Reported(error) }
        })
    }
}

/// Sets what the database is to know of the caller, for this transaction only.
async fn assume(client: &Client, setter: &Setter, behalf: &Behalf) -> Result<(), Error> {
    let mut values: Vec<&str> = Vec::with_capacity(behalf.settings.len() * 2 + 1);
    for (name, value) in &behalf.settings {
        values.extend([&**name, value.as_str()]);
    }
    values.extend(behalf.role.as_deref());
    match setter {
        Setter::Prepared(statement) => client.execute_raw(statement, values).await.map(drop),
        Setter::Unprepared(text) => {
            let values: Vec<_> =
                values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::TEXT)).collect();
            client.query_typed(text, &values).await.map(drop)
        }
    }
}

/// Tells why, for the operator: the database's words without what they quote, since that is the caller's.
fn refusal(error: &Error) -> String {
    let Some(report) = error.as_db_error() else { return error.to_string() };
    let message = report.message();
    // The outermost quotes: what is quoted may have some of its own.
    let told = match message.find('"').zip(message.rfind('"')) {
        Some((from, to)) if from < to => {
            let (before, after) = (message.get(..=from), message.get(to..));
            format!("{}...{}", before.unwrap_or_default(), after.unwrap_or_default())
        }
        _ => message.to_owned(),
    };
    format!("{told} ({})", report.code().code())
}

// ---- the end ----

/// Rolls the transaction back.
///
/// Returns whether the connection is as it was before, as far as that is the transaction's doing.
///
/// # Errors
/// What the database reports.
pub(crate) async fn roll_back(client: &Client) -> Result<bool, Error> {
    client.batch_execute("rollback").await.map(|()| true)
}

/// Ends a transaction that only read: rolls it back, and undoes all that outlives one where it may have left something.
///
/// # Errors
/// What the database reports.
pub(crate) async fn undo(client: &Client, leaves_traces: bool) -> Result<bool, Error> {
    if leaves_traces { clean(client).await } else { roll_back(client).await }
}

/// Rolls the transaction back and undoes all that outlives one.
///
/// Returns whether the connection is as it was. It is not when there is a prepared statement of SQL's own: no command ends
/// those and leaves the driver's.
///
/// # Errors
/// What the database reports.
pub(crate) async fn clean(client: &Client) -> Result<bool, Error> {
    client.simple_query(CLEAN).await.map(|messages| !ends_with_row(&messages))
}

/// Commits the transaction and undoes all that outlives one, in one simple query: behind a pooler the next would meet
/// another server.
///
/// Returns whether the connection is as it was, like [`clean`].
///
/// # Errors
/// What the database reports of the commit; then nothing else was tried. What it reports afterwards changes nothing about
/// the commit, and only says that the connection is of no use.
pub(crate) async fn commit(client: &Client) -> Result<bool, Error> {
    let mut answers = pin!(client.simple_query_raw(COMMIT).await?);
    let mut last = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(message) => last.push(message),
            Err(error) if last.is_empty() => return Err(error),
            Err(error) => {
                tracing::debug!(
                    error = crate::dial::chain(&error),
                    "a connection could not be cleaned and is closed"
                );
                return Ok(false);
            }
        }
    }
    Ok(!ends_with_row(&last))
}

/// Whether the last query of several had a row.
fn ends_with_row(messages: &[SimpleQueryMessage]) -> bool {
    matches!(messages, [.., SimpleQueryMessage::Row(_), SimpleQueryMessage::CommandComplete(_)])
}

/// What outlives a transaction: the login, settings, advisory locks, cursors, temporary tables, listening, what sequences
/// gave last, and where the generator of random numbers stands. Last it tells whether a statement was prepared by SQL.
/// Prepared statements of the driver stay.
///
/// The role is none of the settings that `reset all` resets. The new seed comes from the clock, since no caller may know it.
/// No operator is used: those are looked for by a path that a statement may have set.
macro_rules! undo {
    ($end:literal) => {
        concat!(
            $end,
            "; set session authorization default; reset role; reset all; \
             select pg_catalog.pg_advisory_unlock_all(); close all; unlisten *; discard temp; discard sequences; \
             select pg_catalog.setseed(pg_catalog.sin(pg_catalog.date_part('microseconds', pg_catalog.clock_timestamp()))); \
             select from pg_catalog.pg_prepared_statement() where from_sql"
        )
    };
}

const CLEAN: &str = undo!("rollback");

const COMMIT: &str = undo!("commit");

const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_says_its_bounds_where_the_session_cannot() {
        let openings = Openings::new(Duration::from_secs(2));
        let text = |bounds, access| openings.text(bounds, access, PlanMode::Auto);
        assert_eq!(text(Bounds::Startup, Access::ReadOnly), "begin read only");
        assert_eq!(text(Bounds::Startup, Access::ReadWrite), "begin read write");
        assert_eq!(
            openings.text(Bounds::Startup, Access::ReadOnly, PlanMode::Generic),
            "begin read only; set local plan_cache_mode = force_generic_plan"
        );
        let text = text(Bounds::Local, Access::ReadOnly);
        for part in [
            "begin read only;",
            "statement_timeout = 2000;",
            "lock_timeout = 2000;",
            "_session_timeout = 12000",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn values_are_parameters_and_the_role_comes_last() {
        let behalf = Behalf {
            role: Some("support".to_owned()),
            settings: vec![("app.tenant".into(), "a".to_owned()), ("app.user".into(), "b".to_owned())],
            ..Behalf::default()
        };
        let text = Extent::of(&behalf).unwrap().text();
        assert_eq!(
            text,
            "select pg_catalog.set_config($1, $2, true), pg_catalog.set_config($3, $4, true), \
             pg_catalog.set_config('role', $5, true)"
        );
    }

    #[test]
    fn who_is_plain_sets_nothing() {
        assert_eq!(Extent::of(&Behalf::default()), None);
    }

    #[test]
    fn no_bound_is_none_at_all() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::MAX), 2_147_483_647);
    }
}
