//! The fixed statements that ask the catalogue: each gives one row of one JSON value, is prepared once and then kept.

use std::ops::ControlFlow;

use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use trunkline_sql::{Access, Database as _, DatabaseError, Rows, Run, StatementSource, Value, WrittenType};

use super::Asked;
use crate::{Postgres, PostgresStatement};

/// The statements, by the field they are kept in.
#[derive(Debug)]
pub(super) struct Statements {
    /// Version, extensions, rights.
    pub(super) context: Fixed,
    pub(super) overview: Fixed,
    pub(super) list: Fixed,
    pub(super) named: Fixed,
    pub(super) search: Fixed,
    pub(super) summaries: Fixed,
    pub(super) full: Fixed,
    pub(super) completion: Fixed,
    pub(super) relations: Fixed,
    pub(super) foreign_keys: Fixed,
    pub(super) index_use: Fixed,
    pub(super) index_faults: Fixed,
    pub(super) health: Fixed,
    pub(super) replication: Fixed,
    pub(super) bloat: Fixed,
}

/// A statement and its prepared form.
#[derive(Debug)]
pub(super) struct Fixed {
    sql: &'static str,
    /// The types of its parameters.
    parameters: &'static [&'static str],
    /// Each server counts for itself, and what counts is what the primary does.
    of_primary: bool,
    kept: OnceCell<PostgresStatement>,
}

impl Fixed {
    const fn new(sql: &'static str, parameters: &'static [&'static str]) -> Self {
        Self { sql, parameters, of_primary: false, kept: OnceCell::const_new() }
    }

    const fn of_primary(sql: &'static str, parameters: &'static [&'static str]) -> Self {
        Self { sql, parameters, of_primary: true, kept: OnceCell::const_new() }
    }

    async fn statement(&self, postgres: &Postgres) -> Result<&PostgresStatement, DatabaseError> {
        self.kept
            .get_or_try_init(|| async {
                let written = |name: &&str| WrittenType::Database((*name).to_owned());
                let source = StatementSource {
                    sql: self.sql.to_owned(),
                    parameters: self.parameters.iter().map(written).collect(),
                    access: Access::ReadOnly,
                    ..StatementSource::default()
                };
                let (statement, _) = postgres.prepare(&source).await?;
                // What asks much of the catalogue does not go before short look-ups.
                statement.lane.bar();
                if self.of_primary {
                    statement.keep_to_primary();
                }
                Ok(statement)
            })
            .await
    }
}

macro_rules! with_tables {
    ($file:literal) => {
        concat!(include_str!("sql/tables.sql"), include_str!($file))
    };
}

impl Default for Statements {
    fn default() -> Self {
        Self {
            context: Fixed::new(include_str!("sql/context.sql"), &[]),
            overview: Fixed::new(with_tables!("sql/overview.sql"), &["text"]),
            list: Fixed::new(with_tables!("sql/list.sql"), &["text", "text", "text", "int8"]),
            named: Fixed::new(with_tables!("sql/named.sql"), &["text", "text"]),
            search: Fixed::new(with_tables!("sql/search.sql"), &["text", "text", "int8"]),
            summaries: Fixed::new(include_str!("sql/summaries.sql"), &["text"]),
            full: Fixed::new(include_str!("sql/full.sql"), &["text"]),
            completion: Fixed::new(with_tables!("sql/completion.sql"), &["text", "text"]),
            relations: Fixed::new(include_str!("sql/relations.sql"), &["text"]),
            foreign_keys: Fixed::new(include_str!("sql/foreign_keys.sql"), &["text", "text"]),
            index_use: Fixed::of_primary(include_str!("sql/index_use.sql"), &["text", "text"]),
            index_faults: Fixed::of_primary(include_str!("sql/index_faults.sql"), &["text", "text"]),
            health: Fixed::of_primary(include_str!("sql/health.sql"), &[]),
            replication: Fixed::of_primary(include_str!("sql/replication.sql"), &[]),
            bloat: Fixed::of_primary(include_str!("sql/bloat.sql"), &[]),
        }
    }
}

impl Statements {
    /// Prepares all, so that a server on which one cannot run is found at the start.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) async fn prepare(&self, postgres: &Postgres) -> Result<(), DatabaseError> {
        let all = [
            &self.context,
            &self.overview,
            &self.list,
            &self.named,
            &self.search,
            &self.summaries,
            &self.full,
            &self.completion,
            &self.relations,
            &self.foreign_keys,
            &self.index_use,
            &self.index_faults,
            &self.health,
            &self.replication,
            &self.bloat,
        ];
        for fixed in all {
            fixed.statement(postgres).await?;
        }
        Ok(())
    }
}

impl Asked<'_> {
    /// Runs a fixed statement and reads its one JSON value.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) async fn fixed<T: DeserializeOwned>(
        &self,
        choose: impl Fn(&Statements) -> &Fixed,
        values: Vec<Value>,
    ) -> Result<T, DatabaseError> {
        let postgres = &*self.assistant.postgres;
        let statement = choose(&self.assistant.statements).statement(postgres).await?;
        let text = self.run(statement, values).await?;
        serde_json::from_str(text.as_deref().unwrap_or("null")).map_err(|error| {
            tracing::error!(%error, "the catalogue was not told in the form it was asked for");
            DatabaseError::Encoding {
                message: "the catalogue was not told in the form it was asked for".to_owned(),
            }
        })
    }

    /// Runs a statement that gives one JSON value; `None` when there is no row.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) async fn run(
        &self,
        statement: &PostgresStatement,
        values: Vec<Value>,
    ) -> Result<Option<String>, DatabaseError> {
        let run = Run {
            deadline: Some(self.until),
            behalf: self.behalf.clone(),
            ..Run::new(values, OneJson::default())
        };
        let ran = self.assistant.postgres.run(statement, run).await?;
        Ok(ran.rows.0)
    }
}

/// Keeps the one JSON value of a result.
#[derive(Debug, Default)]
struct OneJson(Option<String>);

impl Rows for OneJson {
    fn begin_row(&mut self) {}
    fn null(&mut self) {}
    fn boolean(&mut self, _: bool) {}
    fn integer(&mut self, _: i64) {}
    fn float(&mut self, _: f64) {}
    fn float4(&mut self, _: f32) {}
    fn decimal(&mut self, _: &str) {}

    fn text(&mut self, value: &str) {
        self.0 = Some(value.to_owned());
    }

    fn plain(&mut self, value: &str) {
        self.0 = Some(value.to_owned());
    }

    fn binary(&mut self, _: &[u8]) {}

    fn json(&mut self, value: &str) {
        self.0 = Some(value.to_owned());
    }

    fn begin_list(&mut self) {}
    fn end_list(&mut self) {}
    fn begin_object(&mut self) {}
    fn key(&mut self, _: &str) {}
    fn end_object(&mut self) {}

    fn restart(&mut self) -> bool {
        self.0 = None;
        true
    }

    fn end_row(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
