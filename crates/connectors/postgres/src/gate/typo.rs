//! Explains why the server did not take a statement: a typo is called one, with the nearest word or name.

use postgres_types::Type;
use tokio_postgres::{Client, Error};
use trunkline_sql::scan::{Token, tokens};
use trunkline_sql::{DatabaseError, Dialect, nearest};

use crate::fault::Context;

/// Words the server's report on a statement and adds the nearest word or name there is, unless the server has a hint of its
/// own for the statement's author. The connection must be able to run a query.
pub(crate) async fn explain(
    client: &Client,
    context: &Context<'_>,
    sql: &str,
    error: &Error,
) -> DatabaseError {
    let mut told = context.error(error);
    match &mut told {
        DatabaseError::Reported(report) => {
            report.nearest = near(client, sql, report.code.as_deref(), report.position).await;
        }
        DatabaseError::Statement { code, position: None, hint: hint @ None, .. }
            if code.as_deref() == Some(SYNTAX) =>
        {
            *hint = Some(ONE_STATEMENT.to_owned());
        }
        // The server's hint on a function is about its arguments, whether there is one of that name or not.
        DatabaseError::Statement { code, position, hint, .. }
            if hint.is_none() || code.as_deref() == Some(NO_FUNCTION) =>
        {
            if let Some(nearest) = near(client, sql, code.as_deref(), *position).await {
                *hint = Some(format!("did you mean `{nearest}`?"));
            }
        }
        _ => {}
    }
    told
}

/// Returns what was meant at the place of a report with this code.
async fn near(client: &Client, sql: &str, code: Option<&str>, position: Option<usize>) -> Option<String> {
    match code? {
        SYNTAX => near_word(sql, position),
        NO_TABLE => near_name(client, sql, position, TABLES).await,
        NO_COLUMN => near_name(client, sql, position, COLUMNS).await,
        NO_FUNCTION => near_name(client, sql, position, FUNCTIONS).await,
        _ => None,
    }
}

/// Returns the keyword that the word at the place, or the one before it, was meant to be.
fn near_word(sql: &str, position: Option<usize>) -> Option<String> {
    let position = position?;
    let all: Vec<_> = tokens(sql, Dialect::Postgres).take_while(|token| token.at() <= position).collect();
    let words = all.iter().rev().take(2).filter_map(|token| match token {
        Token::Word { text, .. } if text.len() > 2 => Some(text.to_ascii_lowercase()),
        _ => None,
    });
    words
        .filter(|word| !KEYWORDS.contains(&word.as_str()))
        .find_map(|word| nearest(&word, KEYWORDS.iter().copied()))
        .map(str::to_owned)
}

/// Returns the nearest of the names that a statement of ours lists.
async fn near_name(client: &Client, sql: &str, position: Option<usize>, list: &str) -> Option<String> {
    let all: Vec<_> = tokens(sql, Dialect::Postgres).collect();
    let start = all.iter().position(|token| token.at() >= position.unwrap_or(usize::MAX))?;
    // Of `schema.table` the last part is what is looked for.
    let mut parts = vec![name(all.get(start)?)?];
    let mut next = start + 1;
    while all.get(next).is_some_and(|token| token.is_punctuation("."))
        && let Some(part) = all.get(next + 1).and_then(name)
    {
        parts.push(part);
        next += 2;
    }
    let wanted = parts.pop()?;
    let words: Vec<String> = all.iter().filter_map(name).collect();
    let rows = client.query_typed(list, &[(&words, Type::TEXT_ARRAY)]).await.ok()?;
    let known: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    // Where the name itself is there, something else about it is wrong.
    if known.contains(&wanted) {
        return None;
    }
    nearest(&wanted, known.iter().map(String::as_str)).map(str::to_owned)
}

fn name(token: &Token<'_>) -> Option<String> {
    match token {
        Token::Word { text, .. } => Some(text.to_ascii_lowercase()),
        Token::Name { text, .. } => Some(text.clone().into_owned()),
        _ => None,
    }
}

/// The one syntax error without a place.
const ONE_STATEMENT: &str = "a tool runs one statement; write a tool for each";

const SYNTAX: &str = "42601";
const NO_TABLE: &str = "42P01";
const NO_COLUMN: &str = "42703";
const NO_FUNCTION: &str = "42883";

/// What can be read, the caller's own schemas first. The parameter is there for all lists to have the same form.
const TABLES: &str = "\
    select c.relname::text from pg_catalog.pg_class c \
    where c.relkind in ('r', 'v', 'm', 'f', 'p') and $1::text[] is not null \
        and c.relnamespace <> 'pg_toast'::pg_catalog.regnamespace \
        and pg_catalog.has_table_privilege(c.oid, 'select') \
    order by c.relnamespace = any(pg_catalog.current_schemas(false)::pg_catalog.regnamespace[]) desc, c.relname limit 5000";

/// The columns of the tables that the statement's words name.
const COLUMNS: &str = "\
    select distinct a.attname::text from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid \
    where c.relname::text = any($1) and c.relkind in ('r', 'v', 'm', 'f', 'p') and a.attnum > 0 and not a.attisdropped \
        and pg_catalog.has_column_privilege(c.oid, a.attnum, 'select') limit 5000";

const FUNCTIONS: &str = "\
    select distinct p.proname::text from pg_catalog.pg_proc p \
    where pg_catalog.pg_function_is_visible(p.oid) and p.prokind <> 'p' and $1::text[] is not null limit 10000";

/// The words that queries are made of.
const KEYWORDS: &[&str] = &[
    "select",
    "from",
    "where",
    "group",
    "order",
    "having",
    "limit",
    "offset",
    "join",
    "left",
    "right",
    "inner",
    "outer",
    "full",
    "cross",
    "lateral",
    "union",
    "intersect",
    "except",
    "distinct",
    "values",
    "table",
    "with",
    "recursive",
    "explain",
    "analyze",
    "verbose",
    "show",
    "between",
    "exists",
    "case",
    "when",
    "then",
    "else",
    "end",
    "and",
    "not",
    "null",
    "like",
    "ilike",
    "using",
    "fetch",
    "window",
    "partition",
    "over",
    "filter",
    "within",
    "cast",
    "array",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyword_that_was_meant_is_told() {
        for (sql, at, meant) in [
            ("selec 1", 0, Some("select")),
            ("select * form t", 9, Some("from")),
            ("select * from t wher a = 1", 21, Some("where")),
            ("select a from t oder by a", 21, Some("order")),
            ("select (", 8, None),
        ] {
            assert_eq!(near_word(sql, Some(at)).as_deref(), meant, "{sql}");
        }
    }
}
