//! Decides whether SQL that a caller wrote may run: by its words, by what the catalogue says of the functions, operators and
//! casts it names, by the plan the server makes of it, in which views are opened, and by what that plan costs.
//!
//! The gate is one layer. What passes it still runs in a read-only transaction of its own that is always rolled back, on a
//! session that is reset before anybody else has it.

mod catalogue;
pub(crate) mod functions;
mod plan;
mod refusal;
mod trust;
pub(crate) mod typo;
mod words;

use futures_util::join;
use tokio_postgres::{Client, Error};
use trunkline_sql::{Behalf, DatabaseError};

pub(crate) use self::catalogue::Odd;
use self::catalogue::{Denied, denied_function};
use self::plan::{Plan, PlanText};
use self::refusal::{Refusal, place};
pub(crate) use self::words::Names;
use self::words::{Form, Words};
use crate::fault::Context;
use crate::prepare;
use crate::transaction::{self, Bounds, Extent, Opening, Unopened};

/// The gate on one connection, for one statement.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    words: Words<'a>,
    max_cost: Option<f64>,
    /// For whom the statement is planned: rules of rows read what is set for the caller, and rights are those of its role.
    behalf: &'a Behalf,
    odd: Vec<Odd>,
}

impl<'a> Gate<'a> {
    /// Looks at the words alone.
    ///
    /// # Errors
    /// [`DatabaseError::Refused`], naming the rule, the place and a form that passes.
    pub(crate) fn enter(
        sql: &'a str,
        max_cost: Option<f64>,
        behalf: &'a Behalf,
    ) -> Result<Self, DatabaseError> {
        Ok(Self { words: Words::read(sql)?, max_cost, behalf, odd: Vec::new() })
    }

    /// Whether the words are those of a plain query, not explained or shown.
    pub(crate) fn is_query(&self) -> bool {
        self.words.form == Form::Query
    }

    /// Whether the words are those of `show` or `explain`.
    pub(crate) fn is_inspection(&self) -> bool {
        matches!(self.words.form, Form::Show | Form::AnalyzeQuery | Form::ExplainQuery | Form::ExplainChange)
    }

    /// Asks the catalogue about what the words name.
    ///
    /// # Errors
    /// [`DatabaseError::Refused`], or what the database reports.
    pub(crate) async fn check_names(
        &mut self,
        client: &Client,
        context: &Context<'_>,
    ) -> Result<(), DatabaseError> {
        self.odd = Odd::all(client).await.map_err(|error| context.error(&error))?;
        match self.denied(client, context, &self.words.names, &Names::default()).await? {
            Some(Denied { name, why, at, advice }) => {
                let refusal = Refusal::new("functions", format!("uses {name}, which {why},"));
                Err(refusal.at(self.words.sql, at).passes(advice))
            }
            None => Ok(()),
        }
    }

    /// Explains why the server did not accept the statement: a typo is called one, and the nearest name is told.
    pub(crate) async fn explain(
        &self,
        client: &Client,
        context: &Context<'_>,
        error: &Error,
    ) -> DatabaseError {
        typo::explain(client, context, self.words.sql, error).await
    }

    /// Decides about a statement that the server accepted: what is not understood here runs only where the login can do no
    /// harm, what should be a plain query is one in the server's eyes, and what it runs passes too. `in_transaction` says
    /// that the connection is in a read-only transaction of its own already.
    ///
    /// # Errors
    /// [`DatabaseError::Refused`], or what the database reports.
    pub(crate) async fn check_accepted(
        &self,
        client: &Client,
        context: &Context<'_>,
        parameters: usize,
        in_transaction: bool,
    ) -> Result<(), DatabaseError> {
        if parameters > 0 {
            let message =
                "the statement has parameters and nothing gives them values; write the values into it";
            return Err(DatabaseError::Refused { message: message.to_owned() });
        }
        if let Some(at) = self.words.hidden {
            // Nobody is trusted with it: a plan does not show all that it calls.
            return Err(DatabaseError::Refused {
                message: format!(
                    "not understood: the database accepts the statement, but the name at {} is written in a way that cannot be \
                     compared with the functions that are allowed; write it plainly, in double quotes if need be",
                    place(self.words.sql, at)
                ),
            });
        }
        if let Some(at) = self.words.unclear {
            self.check_unclear(client, context, at).await?;
        }
        match self.words.form {
            Form::Show => Ok(()),
            Form::Query | Form::AnalyzeQuery | Form::ExplainQuery => {
                self.check_query(client, context).await?;
                self.check_plan(client, context, in_transaction).await
            }
            Form::ExplainChange => self.check_plan(client, context, in_transaction).await,
            // Nothing is known of its kind; it is run by a login that can do no harm, in a transaction that only reads.
            Form::Unknown => Ok(()),
        }
    }

    async fn check_unclear(
        &self,
        client: &Client,
        context: &Context<'_>,
        at: usize,
    ) -> Result<(), DatabaseError> {
        let why = match trust::distrusted(client).await {
            Ok(None) => return Ok(()),
            Ok(Some(why)) => why,
            Err(error) => return Err(context.error(&error)),
        };
        Err(DatabaseError::Refused {
            message: format!(
                "not understood: the database accepts the statement, but what stands at {} is not known here, and the \
                 connector's login {why}; write it with plain names and words",
                place(self.words.sql, at)
            ),
        })
    }

    /// Has the server say that it is a plain query, by preparing a cursor for it. It refuses everything else there, whatever
    /// this gate understood.
    async fn check_query(&self, client: &Client, context: &Context<'_>) -> Result<(), DatabaseError> {
        let sent = format!("{CURSOR}{}", self.query());
        let Err(error) = client.prepare(&sent).await else { return Ok(()) };
        match error.as_db_error() {
            Some(report) => {
                let found = format!("is no plain query to the database: {}", report.message());
                Err(Refusal::new("read-only", found).passes("write one query that only reads"))
            }
            None => Err(context.error(&error)),
        }
    }

    async fn check_plan(
        &self,
        client: &Client,
        context: &Context<'_>,
        in_transaction: bool,
    ) -> Result<(), DatabaseError> {
        let plan = self.plan(client, context, in_transaction).await?;
        if plan.reads_own {
            let found = "reads the schema `trunkline`, where Trunkline keeps keys and its record".to_owned();
            return Err(Refusal::new("own-tables", found).passes("ask for the tables of the data itself"));
        }
        // What is only planned costs nothing, and is how its author finds out what is dear.
        let runs = matches!(self.words.form, Form::Query | Form::AnalyzeQuery);
        if let (Some(most), Some(cost)) = (self.max_cost, plan.cost)
            && runs
            && cost > most
        {
            let found =
                format!("costs {cost:.0} by the database's estimate, and at most {most:.0} is allowed");
            return Err(Refusal::new("max-cost", found)
                .passes("ask for fewer rows: name a key in `where`, use an indexed column, or join less"));
        }
        let shown =
            |number: usize| plan.expressions.get(number).map(|text| place(text, 0)).unwrap_or_default();
        let names = plan.names().map_err(|number| {
            let found = format!("has a plan that cannot be read, {}", shown(number));
            Refusal::new("functions", found).passes("write it more simply")
        })?;
        match self.denied(client, context, &names, &self.words.names).await? {
            Some(Denied { name, why, at, advice }) => {
                let found =
                    format!("leads to {name}, which {why}, in a view or an expression, {}", shown(at));
                Err(Refusal::new("functions", found).passes(advice))
            }
            None => Ok(()),
        }
    }

    async fn plan(
        &self,
        client: &Client,
        context: &Context<'_>,
        in_transaction: bool,
    ) -> Result<Plan, DatabaseError> {
        let sent = format!("{EXPLAIN}{}", self.query());
        let setter = Extent::of(self.behalf).map(Extent::unprepared);
        let opening = Opening { text: BEGIN, bounds: Bounds::Startup, behalf: self.behalf, setter };
        let (opened, rows) = if in_transaction {
            let (opened, rows) = join!(opening.assume(client), client.query_typed(&sent, &[]));
            let returned = prepare::again(client).await;
            (opened, rows.and_then(|rows| returned.map(|()| rows)))
        } else {
            // Planning may call functions that say they only read; what they leave behind goes with the reset.
            let (opened, rows, undone) =
                join!(opening.open(client), client.query_typed(&sent, &[]), transaction::clean(client));
            (opened, rows.and_then(|rows| undone.map(|_| rows)))
        };
        opened.map_err(|unopened| match unopened {
            Unopened::Reported(error) => context.error(&error),
            Unopened::Refused(reason) => DatabaseError::Identity { reason },
        })?;
        let rows = rows.map_err(|error| context.error(&error))?;
        let text = rows.first().and_then(|row| row.try_get::<_, PlanText>(0).ok());
        text.and_then(|text| Plan::read(&text.0)).ok_or_else(|| {
            Refusal::new("nesting", "has a plan that is nested too deep to look at").passes("take it apart")
        })
    }

    /// Finds the first thing that is named and that the lists or the catalogue deny.
    async fn denied(
        &self,
        client: &Client,
        context: &Context<'_>,
        names: &Names,
        known: &Names,
    ) -> Result<Option<Denied>, DatabaseError> {
        let denied = denied_function(client, names, known).await.map_err(|error| context.error(&error))?;
        Ok(denied.or_else(|| self.odd.iter().find_map(|odd| odd.found_in(names))))
    }

    /// The query itself, behind `explain` where there is one.
    fn query(&self) -> &'a str {
        self.words.sql.get(self.words.query_at..).unwrap_or_default()
    }
}

const CURSOR: &str = "declare trunkline_gate no scroll cursor for ";

const BEGIN: &str = "begin read only";

const EXPLAIN: &str = "explain (verbose, format json) ";
