//! What is known of a statement before it runs: its parameters, its columns, and what their values can be.
//!
//! A column's declared type binds its values only in a STRICT table, and only where nothing else can put values into the
//! column of the result. What is not certain is said to be anything, and nullable.

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Connection, Statement};
use serde_json::{Value as Json, json};
use trunkline_sql::{
    Access, Column, DatabaseError, Description, JsonKind, ParameterType, SqliteType, StatementSource,
    WrittenType,
};

use crate::error::{self, Phase};
use crate::execute::{Parameter, Prepared};
use crate::gate::{Gate, Notes};
use crate::guard::Lane;
use crate::hint;
use crate::link::Site;

/// Compiles a statement, refuses what it may not do, and describes it.
pub(crate) fn describe(
    site: &Site<'_>,
    source: &StatementSource,
) -> Result<(Prepared, Description), DatabaseError> {
    compile(site, source).map_err(|error| hint::explain(site, &source.sql, error))
}

fn compile(site: &Site<'_>, source: &StatementSource) -> Result<(Prepared, Description), DatabaseError> {
    let Site { connection, gate, path } = *site;
    let failed = |error| error::of_statement(error, Phase::Compiling, gate, path);
    gate.take_notes();
    check_single(connection, &source.sql).map_err(|problem| problem.unwrap_or_else(failed))?;
    gate.take_notes();
    let statement = connection.prepare(&source.sql).map_err(failed)?;
    let notes = gate.take_notes();
    check_kind(&statement, source, &notes)?;
    let (parameters, shown) = parameters(&statement, source)?;
    let columns = columns(connection, gate, &statement, source, &notes).map_err(failed)?;
    let prepared = Prepared {
        sql: source.sql.as_str().into(),
        lane: Lane::of(source.access, source.ad_hoc),
        writes: !statement.readonly(),
        columns: columns.len(),
        parameters,
    };
    Ok((prepared, Description { parameters: shown, columns }))
}

/// Refuses text after the first statement. A fault in the first statement itself is left to whoever compiles it for use.
fn check_single(connection: &Connection, sql: &str) -> Result<(), Result<DatabaseError, rusqlite::Error>> {
    let mut statements = rusqlite::Batch::new(connection, sql);
    match statements.next() {
        Ok(Some(_)) => {}
        Ok(None) => return Err(Err(rusqlite::Error::Empty)),
        Err(error) => return Err(Err(error)),
    }
    // A second statement that does not compile is a second statement all the same.
    if let Ok(None) = statements.next() { Ok(()) } else { Err(Ok(error::several_statements())) }
}

/// SQLite's own view of the compiled statement, beside the authorizer's.
fn check_kind(
    statement: &Statement<'_>,
    source: &StatementSource,
    notes: &Notes,
) -> Result<(), DatabaseError> {
    if statement.readonly() {
        return Ok(());
    }
    let message = match source.access {
        Access::ReadOnly => "the statement would write to a file, but it may only read",
        Access::ReadWrite if !notes.changes_rows => {
            "the statement neither reads nor changes rows, which is all that statements here may do"
        }
        Access::ReadWrite => return Ok(()),
    };
    Err(DatabaseError::Refused { message: message.to_owned() })
}

fn parameters(
    statement: &Statement<'_>,
    source: &StatementSource,
) -> Result<(Vec<Parameter>, Vec<ParameterType>), DatabaseError> {
    let wanted = statement.parameter_count();
    if wanted != source.parameters.len() {
        let message =
            format!("the statement has {wanted} placeholders and {} parameters", source.parameters.len());
        return Err(DatabaseError::Statement { message, code: None, position: None, hint: None });
    }
    source
        .parameters
        .iter()
        .map(parameter)
        .collect::<Result<Vec<_>, _>>()
        .map(|both| both.into_iter().unzip())
}

fn parameter(written: &WrittenType) -> Result<(Parameter, ParameterType), DatabaseError> {
    let (parameter, kind) = match written {
        WrittenType::Inferred => (Parameter::AsGiven, JsonKind::Json),
        WrittenType::Json(kind) => (Parameter::AsGiven, kind.clone()),
        WrittenType::Database(name) => database_type(name)?,
    };
    // SQLite has no types for parameters: `name` stays empty, and the caller knows that nothing was inferred.
    Ok((parameter, ParameterType { kind, labels: None, format: None, range: None, name: None }))
}

fn database_type(name: &str) -> Result<(Parameter, JsonKind), DatabaseError> {
    let Some(known) = SqliteType::named(name) else {
        let message = format!(
            "`{name}` is no type of a parameter in SQLite; use string, integer, number, boolean, json, or one of integer, real, text, blob"
        );
        return Err(DatabaseError::Statement { message, code: None, position: None, hint: None });
    };
    let parameter = if known == SqliteType::Blob { Parameter::Blob } else { Parameter::AsGiven };
    Ok((parameter, known.kind()))
}

fn columns(
    connection: &Connection,
    gate: &Gate,
    statement: &Statement<'_>,
    source: &StatementSource,
    notes: &Notes,
) -> rusqlite::Result<Vec<Column>> {
    let shape = Shape::of(&source.sql, notes);
    let origins: Vec<_> = statement
        .columns_with_metadata()
        .map(|column| {
            let origin = column.database_name().zip(column.table_name()).zip(column.origin_name());
            (
                column.name().to_owned(),
                origin.map(|((database, table), column)| {
                    (database.to_owned(), table.to_owned(), column.to_owned())
                }),
            )
        })
        .collect();
    origins
        .into_iter()
        .map(|(name, origin)| {
            let strict = match origin {
                Some((database, table, column)) if shape.binds_types => {
                    gate.trusting(|| strict_column(connection, &database, &table, &column))?
                }
                _ => None,
            };
            let (schema, is_set) = strict.unwrap_or((None, false));
            Ok(Column { name, schema, nullable: !(is_set && shape.keeps_rows) })
        })
        .collect()
}

/// What the text of a statement lets conclude. Words in strings and comments count too, which errs on the safe side.
struct Shape {
    /// A column of the result holds only values of the table's column it is named after.
    binds_types: bool,
    /// No row of nulls can stand in for a missing one.
    keeps_rows: bool,
}

impl Shape {
    fn of(sql: &str, notes: &Notes) -> Self {
        let words: Vec<String> = sql
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let count = |wanted: &[&str]| words.iter().filter(|word| wanted.contains(&word.as_str())).count();
        let binds_types = !notes.reads_view && count(&["union", "except", "intersect", "values"]) == 0;
        // A subquery can come to no row, an aggregate of no rows is a row of nulls.
        let keeps_rows = words.first().is_some_and(|word| word == "select")
            && count(&["select"]) == 1
            && count(&["left", "right", "full", "outer", "group"]) == 0
            && !notes.may_aggregate;
        Self { binds_types, keeps_rows }
    }
}

/// The schema of a column's values and whether one is always there, if the table is STRICT.
fn strict_column(
    connection: &Connection,
    database: &str,
    table: &str,
    column: &str,
) -> rusqlite::Result<Option<(Option<Json>, bool)>> {
    let is_strict: bool = connection
        .prepare_cached(
            "SELECT count(*) FROM pragma_table_list WHERE schema = ?1 AND name = ?2 COLLATE NOCASE AND type = 'table' AND strict",
        )?
        .query_row([database, table], |row| row.get(0))?;
    if !is_strict {
        return Ok(None);
    }
    let (declared, _, not_null, primary_key, _) =
        connection.column_metadata(Some(database), table, column)?;
    let declared = declared.map(|declared| declared.to_string_lossy().to_ascii_uppercase());
    let schema = match declared.as_deref() {
        Some("INT" | "INTEGER") => Some(json!({ "type": ["integer", "string"] })),
        // Infinities are strings.
        Some("REAL") => Some(json!({ "type": ["number", "string"] })),
        Some("TEXT") => Some(json!({ "type": "string" })),
        Some("BLOB") => Some(json!({ "type": "string", "contentEncoding": "base64" })),
        _ => None,
    };
    // In a STRICT table the columns of the primary key cannot be null either.
    Ok(Some((schema, not_null || primary_key)))
}
