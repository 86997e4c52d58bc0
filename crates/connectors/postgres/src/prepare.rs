//! Learns a statement from the database: parameter types, columns, nullability, and whether it may share a connection.

use postgres_types::Type;
use tokio_postgres::{Client, Error, SimpleQueryMessage, Statement};
use trunkline_sql::{Access, Column, DatabaseError, Description, StatementSource, WrittenType};

use crate::catalogue::Catalogue;
use crate::decode::ColumnPlan;
use crate::describe::{cell_schema, parameter};
use crate::dial::Dialer;
use crate::exclusive::Lease;
use crate::fault::{Context, is_untyped};
use crate::gate::{Gate, typo};
use crate::nature::{Kind, Nature, without_tail};
use crate::statement::{PostgresStatement, Recipe, columns_of};
use crate::types::{Form, display_name, type_of_kind};

/// Learns statements on one connection.
pub(crate) struct Learner<'a> {
    pub(crate) dialer: &'a Dialer,
    pub(crate) lease: &'a mut Lease,
    pub(crate) source: &'a StatementSource,
    pub(crate) timeout: std::time::Duration,
    /// Most that a statement of the caller's own may cost by the database's estimate.
    pub(crate) max_cost: Option<f64>,
}

impl Learner<'_> {
    /// Prepares the statement and says all there is to say of it.
    ///
    /// # Errors
    /// [`DatabaseError`]: refused by its words, wrong by the database's, or no answer.
    pub(crate) async fn learn(self) -> Result<(PostgresStatement, Description), DatabaseError> {
        let nature = Nature::of(&self.source.sql);
        let mut gate = match self.source.ad_hoc {
            true => Some(Gate::enter(&self.source.sql, self.max_cost, &self.source.behalf)?),
            false => None,
        };
        if gate.is_none() && self.source.access == Access::ReadOnly {
            nature.admit_reading(&self.source.sql)?;
        }
        let session = self.lease.session()?;
        let (client, is_pooled) = (session.client(), session.is_pooled());
        let form_of = if is_pooled { Form::of_pooled } else { Form::of };
        // A composite type may have got another column since the connection first met it.
        client.clear_type_cache();
        let plain = match &mut gate {
            Some(gate) => self.pass(gate, client, is_pooled).await?,
            None => {
                let mut types = self.written_types(client).await?;
                self.prepare_inferring(client, &mut types).await?
            }
        };
        let forms: Vec<Form> = plain.columns().iter().map(|column| form_of(column.type_())).collect();
        let (recipe, prepared) = self.recipe(client, &nature, &plain, &forms).await?;
        let (columns, catalogue) = self.describe_columns(client, &nature, &plain, &forms).await?;
        let is_volatile = self.source.ad_hoc || self.is_volatile(client, &nature).await?;
        let may_share = self.source.access == Access::ReadOnly
            && !self.source.ad_hoc
            && !is_pooled
            && !self.source.per_caller
            && nature.kind == Kind::Query
            && !nature.may_write
            && !is_volatile;
        let parameters = plain.params().iter().map(|ty| parameter(ty, &catalogue.domains)).collect();
        let plans = columns.iter().zip(&forms);
        let plans =
            plans.map(|(column, form)| ColumnPlan { name: column.name.clone(), decoder: form.decoder() });
        let statement =
            PostgresStatement::new(self.source.access, recipe, plans.collect(), may_share, is_volatile);
        // The server declares cursors of plain queries only, which is a wall of its own around a caller's statement.
        let mut statement = statement.with_paging(nature.kind == Kind::Query, self.source.ad_hoc);
        statement.ad_hoc = self.source.ad_hoc;
        self.lease.keep(&statement, statement.epoch(), prepared);
        Ok((statement, Description { parameters, columns }))
    }

    /// Prepares a statement that its caller wrote, if the gate lets it pass.
    async fn pass(
        &self,
        gate: &mut Gate<'_>,
        client: &Client,
        is_pooled: bool,
    ) -> Result<Statement, DatabaseError> {
        let sql = &self.source.sql;
        let context = self.context(sql, 0);
        gate.check_names(client, &context).await?;
        let plain = match client.prepare(sql).await {
            Ok(plain) => plain,
            Err(error) => {
                if is_pooled {
                    again(client).await.map_err(|error| self.context(RETURN, 0).error(&error))?;
                }
                return Err(gate.explain(client, &context, &error).await);
            }
        };
        gate.check_accepted(client, &context, plain.params().len(), is_pooled).await?;
        Ok(plain)
    }

    fn context<'a>(&'a self, sent: &'a str, prefix: usize) -> Context<'a> {
        Context {
            dialer: self.dialer,
            sent,
            prefix,
            length: self.source.sql.len(),
            timeout: self.timeout,
            ad_hoc: self.source.ad_hoc,
        }
    }

    /// Returns a type to send for each placeholder; `unknown` leaves it to the database.
    async fn written_types(&self, client: &Client) -> Result<Vec<Type>, DatabaseError> {
        let mut types = Vec::with_capacity(self.source.parameters.len());
        for written in &self.source.parameters {
            types.push(match written {
                WrittenType::Database(name) => self.named_type(client, name).await?,
                WrittenType::Inferred | WrittenType::Json(_) => Type::UNKNOWN,
            });
        }
        Ok(types)
    }

    async fn named_type(&self, client: &Client, name: &str) -> Result<Type, DatabaseError> {
        let sql = "select pg_catalog.to_regtype($1)::pg_catalog.oid";
        let found = client.query_typed(sql, &[(&name, Type::TEXT)]).await;
        let oid = match found {
            Ok(rows) => rows.first().and_then(|row| row.try_get::<_, Option<u32>>(0).ok().flatten()),
            // A name that is not even written like one.
            Err(error)
                if error.as_db_error().is_some_and(|report| report.code().code().starts_with("42")) =>
            {
                None
            }
            Err(error) => return Err(self.context(sql, 0).error(&error)),
        };
        let Some(oid) = oid else {
            return Err(DatabaseError::Statement {
                message: format!("type `{name}` does not exist in the database"),
                code: Some("42704".to_owned()),
                position: None,
                hint: Some("write string, integer, number, boolean or json, or a type of the database like int4 or uuid[]".to_owned()),
            });
        };
        // Only the number is sent, so what else there is to know of it does not matter here.
        Ok(Type::from_oid(oid)
            .unwrap_or_else(|| Type::new(name.to_owned(), oid, postgres_types::Kind::Simple, String::new())))
    }

    /// Prepares, and where the database cannot infer a parameter that was declared with a JSON kind, sends the type of
    /// that kind and tries again.
    async fn prepare_inferring(
        &self,
        client: &Client,
        types: &mut [Type],
    ) -> Result<Statement, DatabaseError> {
        let sql = &self.source.sql;
        loop {
            let error = match client.prepare_typed(sql, types).await {
                Ok(statement) => return Ok(statement),
                Err(error) => error,
            };
            if self.lease.session()?.is_pooled() {
                again(client).await.map_err(|error| self.context(RETURN, 0).error(&error))?;
            }
            if !is_untyped(&error) {
                return Err(typo::explain(client, &self.context(sql, 0), sql, &error).await);
            }
            if !self.type_one_more(&error, types) {
                return Err(needs_type(self.context(sql, 0).error(&error)));
            }
        }
    }

    /// Types the parameter that the report names, or else all that can be; `false` when there is none left.
    fn type_one_more(&self, error: &Error, types: &mut [Type]) -> bool {
        let named = error.as_db_error().and_then(|report| placeholder_in(report.message()));
        let mut typed = false;
        for (at, (ty, written)) in types.iter_mut().zip(&self.source.parameters).enumerate() {
            if let WrittenType::Json(kind) = written
                && *ty == Type::UNKNOWN
                && named.is_none_or(|named| named == at + 1)
            {
                *ty = type_of_kind(kind);
                typed = true;
            }
        }
        typed
    }

    /// Returns what to prepare from now on, and that prepared: the statement itself, or one around it that has unfamiliar
    /// types sent as text.
    async fn recipe(
        &self,
        client: &Client,
        nature: &Nature,
        plain: &Statement,
        forms: &[Form],
    ) -> Result<(Recipe, Statement), DatabaseError> {
        let parameters: Box<[Type]> = plain.params().into();
        let length = self.source.sql.len();
        if forms.iter().all(|form| matches!(form, Form::Native(_))) {
            let sql = self.source.sql.clone();
            let recipe = Recipe { sql, prefix: 0, length, parameters, columns: columns_of(plain) };
            return Ok((recipe, plain.clone()));
        }
        let (sql, prefix) = wrap(&self.source.sql, nature.kind, forms);
        let prepared = match client.prepare_typed(&sql, &parameters).await {
            Ok(prepared) => prepared,
            Err(error) if error.as_db_error().is_some() => {
                tracing::debug!(error = crate::dial::chain(&error), "a result could not be cast to text");
                return Err(no_text_form(plain, forms));
            }
            Err(error) => return Err(self.context(&sql, prefix).error(&error)),
        };
        let columns = columns_of(&prepared);
        Ok((Recipe { sql, prefix, length, parameters, columns }, prepared))
    }

    /// Says what comes out of each column, and what the catalogue has on the types.
    async fn describe_columns(
        &self,
        client: &Client,
        nature: &Nature,
        plain: &Statement,
        forms: &[Form],
    ) -> Result<(Vec<Column>, Catalogue), DatabaseError> {
        let catalogue = Catalogue::read(client, plain, !nature.adds_nulls).await;
        let catalogue = catalogue.map_err(|(error, sql)| self.context(sql, 0).error(&error))?;
        let columns = plain.columns().iter().zip(forms).map(|(column, form)| Column {
            name: column.name().to_owned(),
            schema: cell_schema(
                column.type_(),
                form,
                column.type_modifier(),
                catalogue.domain(column),
                &catalogue.domains,
            ),
            nullable: catalogue.is_nullable(column),
        });
        Ok((columns.collect(), catalogue))
    }

    /// Whether a function that the statement names is volatile, in whatever schema. A name that is no function's is a
    /// keyword, a type or an alias, or else the statement could not have been prepared. Functions behind views, operators
    /// and casts are not looked at.
    async fn is_volatile(&self, client: &Client, nature: &Nature) -> Result<bool, DatabaseError> {
        // Reads what another statement on the same connection may have set.
        if nature.obscure || nature.calls.contains("current_setting") {
            return Ok(true);
        }
        if nature.calls.is_empty() {
            return Ok(false);
        }
        let names: Vec<&str> = nature.calls.iter().map(String::as_str).collect();
        let sql = "select exists (select from pg_catalog.pg_proc \
                   where proname = any($1::text[]::name[]) and provolatile = 'v')";
        let rows = client.query_typed(sql, &[(&names, Type::TEXT_ARRAY)]).await;
        let rows = rows.map_err(|error| self.context(sql, 0).error(&error))?;
        Ok(rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(true))
    }
}

/// Begins learning behind a pooler: what is prepared lasts as long as the transaction, and only within it.
///
/// # Errors
/// What the database reports.
pub(crate) async fn begin_pooled(client: &Client, opening: &str) -> Result<(), Error> {
    client.batch_execute(&format!("{opening}; {SAVEPOINT}")).await
}

/// Ends learning behind a pooler, and what the driver prepared in the session that was lent. That has names of the driver's
/// own kind; the pooler itself may have prepared others there for its clients.
///
/// # Errors
/// What the database reports.
pub(crate) async fn end_pooled(client: &Client) -> Result<(), Error> {
    let left = client.simple_query(LEFT).await?;
    let mut text = String::new();
    for message in &left {
        if let SimpleQueryMessage::Row(row) = message
            && let Some(name) = row.try_get(0).ok().flatten()
        {
            text.push_str(&format!("deallocate \"{name}\"; "));
        }
    }
    client.batch_execute(&format!("{text}rollback")).await
}

/// Makes the transaction usable after a statement that was not accepted, and undoes what was set in it.
///
/// # Errors
/// What the database reports.
pub(crate) async fn again(client: &Client) -> Result<(), Error> {
    client.batch_execute(RETURN).await
}

/// Marks the place in a transaction that [`RETURN`] goes back to, and [`end_pooled`] too.
pub(crate) const SAVEPOINT: &str = "savepoint learning";

/// Goes back there, after a statement that was not accepted.
pub(crate) const RETURN: &str = "rollback to savepoint learning";

const LEFT: &str = "rollback to savepoint learning; \
    select name from pg_catalog.pg_prepared_statements where name operator(pg_catalog.~) '^s[0-9]+$'";

/// Adds what to do about a parameter without a type.
fn needs_type(error: DatabaseError) -> DatabaseError {
    match error {
        DatabaseError::Statement { message, code, position, hint: None } => {
            let hint = Some(
                "write a `type` for this parameter, like \"string\", \"integer\" or \"uuid\"".to_owned(),
            );
            DatabaseError::Statement { message, code, position, hint }
        }
        other => other,
    }
}

/// Finds the number in `... parameter $2`, in whatever language the rest is.
fn placeholder_in(message: &str) -> Option<usize> {
    let (_, after) = message.split_once('$')?;
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    after.get(..digits)?.parse().ok()
}

/// Puts a statement into one that casts what is not read natively; returns how many bytes come before it. Rows keep their
/// order: the planner makes one of both queries, and an `order by` within keeps what it sorted.
fn wrap(sql: &str, kind: Kind, forms: &[Form]) -> (String, usize) {
    let names = (1..=forms.len()).map(|at| format!("c{at}")).collect::<Vec<_>>().join(", ");
    let cast = forms.iter().enumerate().map(|(at, form)| format!("c{}{}", at + 1, form.cast()));
    let cast = cast.collect::<Vec<_>>().join(", ");
    let statement = without_tail(sql);
    // The line break ends a comment.
    let (before, after) = match kind {
        // What changes something may only stand in a `with`.
        Kind::Change => (format!("with q ({names}) as ("), format!("\n) select {cast} from q")),
        _ => (format!("select {cast} from ("), format!("\n) q ({names})")),
    };
    let prefix = before.len();
    (format!("{before}{statement}{after}"), prefix)
}

fn no_text_form(plain: &Statement, forms: &[Form]) -> DatabaseError {
    let mut odd = plain.columns().iter().zip(forms).filter(|(_, form)| !matches!(form, Form::Native(_)));
    let (name, ty) = odd.next().map_or_else(Default::default, |(column, _)| {
        (column.name().to_owned(), display_name(column.type_()))
    });
    DatabaseError::Statement {
        message: format!(
            "column `{name}` has type `{ty}`, which could not be turned into text from outside the statement"
        ),
        code: None,
        position: None,
        hint: Some(format!("write `{name}::text` in the statement")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placeholder_is_found_in_the_report() {
        assert_eq!(placeholder_in("could not determine data type of parameter $12"), Some(12));
        assert_eq!(placeholder_in("no number"), None);
    }

    #[test]
    fn what_is_wrapped_ends_before_its_semicolon() {
        let forms = [Form::CastToText, Form::Native(crate::types::Decoder::Int4)];
        let (sql, prefix) = wrap("select a, b from t -- c;\n ; ", Kind::Query, &forms);
        assert_eq!(sql, "select c1::text, c2 from (select a, b from t -- c;\n \n) q (c1, c2)");
        assert_eq!(sql.get(prefix..prefix + 6), Some("select"));
    }
}
