//! Looks at the schema of a database file: which tables and views there are, and what can be known of them at the cost of a
//! few rows.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _};
use trunkline_sql::DatabaseError;
use trunkline_sql::survey::{ColumnNature, Survey, Table, TableColumn, TableKind};

use crate::Sqlite;
use crate::error::{self, Phase};
use crate::link::Site;

/// A look at more tables than this is cut, so that what is kept of it stays bounded.
const MOST_TABLES: usize = 20_000;
/// How long a look may take.
const LONGEST: Duration = Duration::from_secs(30);

impl Sqlite {
    /// Tells which tables and views there are, without their columns. What SQLite keeps for itself is left out.
    ///
    /// # Errors
    /// [`DatabaseError`] when the file cannot be opened or read.
    ///
    /// # Cancel safety
    /// Safe at any time.
    pub async fn survey(&self) -> Result<Survey, DatabaseError> {
        self.looking(survey).await
    }

    /// Fills in the columns.
    ///
    /// # Errors
    /// [`DatabaseError`] when the file cannot be opened or read.
    ///
    /// # Cancel safety
    /// The tables are as they were.
    pub async fn survey_columns(&self, tables: &mut [Table]) -> Result<(), DatabaseError> {
        let wanted: Vec<Table> = tables.to_vec();
        let found = self
            .looking(move |connection| {
                wanted.iter().map(|table| columns(connection, table)).collect::<rusqlite::Result<Vec<_>>>()
            })
            .await?;
        for (table, columns) in tables.iter_mut().zip(found) {
            table.columns = columns;
        }
        Ok(())
    }

    async fn looking<T: Send + 'static>(
        &self,
        look: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.reading(Instant::now() + LONGEST, move |site: &Site<'_>| {
            let looked = site.gate.trusting(|| look(site.connection));
            looked.map_err(|error| error::of_statement(error, Phase::Running, site.gate, site.path))
        })
        .await
    }
}

fn survey(connection: &Connection) -> rusqlite::Result<Survey> {
    let mut statement = connection.prepare(
        "select name, type from pragma_table_list \
         where schema = 'main' and type in ('table', 'view', 'virtual') and name not like 'sqlite\\_%' escape '\\' \
         order by name collate nocase, name limit ?1",
    )?;
    let most = i64::try_from(MOST_TABLES).unwrap_or(i64::MAX);
    let named = statement
        .query_map([most + 1], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    let is_cut = named.len() > MOST_TABLES;
    let mut tables = Vec::with_capacity(named.len());
    let mut referred: HashMap<String, u32> = HashMap::new();
    for (name, kind) in named.into_iter().take(MOST_TABLES) {
        let is_table = kind == "table";
        if is_table {
            for other in strings(connection, REFERRED, &name)? {
                *referred.entry(other.to_lowercase()).or_default() += 1;
            }
        }
        let sql = quoted(&name);
        tables.push(Table {
            schema: String::new(),
            kind: if is_table { TableKind::Table } else { TableKind::View },
            comment: None,
            key: strings(
                connection,
                "select name from pragma_table_info(?1) where pk > 0 order by pk",
                &name,
            )
            .unwrap_or_default(),
            references: if is_table { strings(connection, REFERENCES, &name)? } else { Vec::new() },
            rows: is_table.then(|| rows(connection, &sql)).flatten(),
            referred: 0,
            columns: Vec::new(),
            name,
            sql,
        });
    }
    for table in &mut tables {
        table.referred = referred.get(&table.name.to_lowercase()).copied().unwrap_or_default();
    }
    Ok(Survey { database: None, tables, is_cut })
}

/// The tables that a table refers to.
const REFERRED: &str = "select \"table\" from pragma_foreign_key_list(?1) where seq = 0";

/// The columns that refer to a table, each by itself.
const REFERENCES: &str = "select distinct min(\"from\") from pragma_foreign_key_list(?1) group by id having count(*) = 1 order by 1";

fn strings(connection: &Connection, sql: &str, of: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([of], |row| row.get(0))?.collect()
}

/// The highest row number is found at once, and is close to the number of rows where few were deleted.
fn rows(connection: &Connection, table: &str) -> Option<u64> {
    let highest = connection.query_row(&format!("select max(_rowid_) from {table}"), [], |row| row.get(0));
    let counted = || {
        let sql = format!("select count(*) from (select 1 from {table} limit 10000)");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).ok()
    };
    let number = highest.map_or_else(|_| counted(), |highest: Option<i64>| Some(highest.unwrap_or(0)));
    number.and_then(|number| u64::try_from(number).ok())
}

/// A column as `pragma table_xinfo` has it.
struct Declared {
    name: String,
    kind: String,
    not_null: bool,
    in_key: bool,
}

fn columns(connection: &Connection, table: &Table) -> rusqlite::Result<Vec<TableColumn>> {
    // A column with `hidden = 1` belongs to the machinery of a virtual table; 2 and 3 are generated ones.
    let mut statement = connection.prepare_cached(
        "select name, type, \"notnull\", pk from pragma_table_xinfo(?1) where hidden <> 1 order by cid",
    )?;
    let read = statement.query_map([&table.name], |row| {
        let (not_null, place): (i64, i64) = (row.get(2)?, row.get(3)?);
        let kind: Option<String> = row.get(1)?;
        Ok(Declared {
            name: row.get(0)?,
            kind: kind.unwrap_or_default(),
            not_null: not_null != 0,
            in_key: place > 0,
        })
    });
    // A view whose tables are gone has no columns that could be told.
    let Ok(declared) = read.and_then(Iterator::collect::<rusqlite::Result<Vec<Declared>>>) else {
        return Ok(Vec::new());
    };
    declared.into_iter().map(|declared| column(connection, table, declared)).collect()
}

fn column(connection: &Connection, table: &Table, declared: Declared) -> rusqlite::Result<TableColumn> {
    let Declared { name, kind, not_null, in_key } = declared;
    let sql = quoted(&name);
    let affinity = Affinity::of(&kind);
    let is_view = table.kind == TableKind::View;
    let nature = match affinity {
        Affinity::Text => ColumnNature::Text,
        Affinity::Blob if kind.is_empty() => ColumnNature::Text,
        Affinity::Blob => ColumnNature::Bulky,
        _ => ColumnNature::Other,
    };
    let parameter = match affinity {
        Affinity::Blob if in_key && kind.is_empty() => stored_type(connection, &table.sql, &sql)?,
        other => other.parameter(&kind),
    };
    let width = if is_view || !matches!(affinity, Affinity::Text | Affinity::Blob) {
        None
    } else {
        width(connection, &table.sql, &sql)
    };
    Ok(TableColumn {
        name,
        sql,
        nullable: !not_null && !in_key,
        comment: None,
        nature,
        sorts: true,
        width,
        parameter: Some(parameter),
        type_name: kind,
    })
}

/// What a declared type makes of values, by the rules of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
        if has(&["INT"]) {
            Self::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Self::Text
        } else if has(&["BLOB"]) || declared.is_empty() {
            Self::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Self::Real
        } else {
            Self::Numeric
        }
    }

    /// A comparison converts by the column's affinity, so text finds a number in a numeric column, and nothing else finds
    /// a date there.
    fn parameter(self, declared: &str) -> &'static str {
        let declared = declared.to_ascii_uppercase();
        match self {
            Self::Integer => "integer",
            Self::Text => "string",
            Self::Blob => "blob",
            Self::Real => "number",
            Self::Numeric if declared.contains("DEC") || declared.contains("NUM") => "number",
            Self::Numeric if declared.contains("BOOL") => "integer",
            Self::Numeric => "string",
        }
    }
}

/// A column without a type keeps each value as it came, so the first one tells what to compare with.
fn stored_type(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<&'static str> {
    let sql = format!("select typeof({column}) from {table} where {column} is not null limit 1");
    let stored: Option<String> = connection.query_row(&sql, [], |row| row.get(0)).optional()?;
    Ok(match stored.as_deref() {
        Some("integer") => "integer",
        Some("real") => "number",
        Some("blob") => "blob",
        _ => "string",
    })
}

/// The mean length of the first values.
fn width(connection: &Connection, table: &str, column: &str) -> Option<u32> {
    let sql = format!(
        "select cast(avg(length(cast(v as blob))) as integer) from (select {column} as v from {table} limit 20)"
    );
    connection.query_row(&sql, [], |row| row.get::<_, Option<u32>>(0)).ok().flatten()
}

/// Writes a name as a statement has it.
fn quoted(name: &str) -> String {
    let is_plain =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if is_plain && KEYWORDS.binary_search(&name).is_err() {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// The words of SQLite's grammar (https://www.sqlite.org/lang_keywords.html), sorted. Not all of them need quotes as names;
/// quotes never hurt.
const KEYWORDS: &[&str] = &[
    "abort",
    "action",
    "add",
    "after",
    "all",
    "alter",
    "always",
    "analyze",
    "and",
    "as",
    "asc",
    "attach",
    "autoincrement",
    "before",
    "begin",
    "between",
    "by",
    "cascade",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "commit",
    "conflict",
    "constraint",
    "create",
    "cross",
    "current",
    "current_date",
    "current_time",
    "current_timestamp",
    "database",
    "default",
    "deferrable",
    "deferred",
    "delete",
    "desc",
    "detach",
    "distinct",
    "do",
    "drop",
    "each",
    "else",
    "end",
    "escape",
    "except",
    "exclude",
    "exclusive",
    "exists",
    "explain",
    "fail",
    "false",
    "filter",
    "first",
    "following",
    "for",
    "foreign",
    "from",
    "full",
    "generated",
    "glob",
    "group",
    "groups",
    "having",
    "if",
    "ignore",
    "immediate",
    "in",
    "index",
    "indexed",
    "initially",
    "inner",
    "insert",
    "instead",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "key",
    "last",
    "left",
    "like",
    "limit",
    "match",
    "materialized",
    "natural",
    "no",
    "not",
    "nothing",
    "notnull",
    "null",
    "nulls",
    "of",
    "offset",
    "on",
    "or",
    "order",
    "others",
    "outer",
    "over",
    "partition",
    "plan",
    "pragma",
    "preceding",
    "primary",
    "query",
    "raise",
    "range",
    "recursive",
    "references",
    "regexp",
    "reindex",
    "release",
    "rename",
    "replace",
    "restrict",
    "returning",
    "right",
    "rollback",
    "row",
    "rowid",
    "rows",
    "savepoint",
    "select",
    "set",
    "table",
    "temp",
    "temporary",
    "then",
    "ties",
    "to",
    "transaction",
    "trigger",
    "true",
    "unbounded",
    "union",
    "unique",
    "update",
    "using",
    "vacuum",
    "values",
    "view",
    "virtual",
    "when",
    "where",
    "window",
    "with",
    "within",
    "without",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_a_statement_needs_it() {
        assert!(KEYWORDS.is_sorted());
        for (name, written) in [
            ("customers", "customers"),
            ("order", "\"order\""),
            ("Customers", "\"Customers\""),
            ("a b", "\"a b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("1st", "\"1st\""),
            ("", "\"\""),
            ("größe", "\"größe\""),
        ] {
            assert_eq!(quoted(name), written);
        }
    }

    #[test]
    fn a_parameter_has_the_type_that_finds_what_is_stored() {
        for (declared, parameter) in [
            ("INTEGER", "integer"),
            ("bigint", "integer"),
            ("varchar(20)", "string"),
            ("DATETIME", "string"),
            ("DECIMAL(10,2)", "number"),
            ("BOOLEAN", "integer"),
            ("double", "number"),
            ("BLOB", "blob"),
        ] {
            assert_eq!(Affinity::of(declared).parameter(declared), parameter, "{declared}");
        }
    }
}
