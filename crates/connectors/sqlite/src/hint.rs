//! What the author of a statement may have meant, where SQLite only says what it does not know.

use rusqlite::Connection;
use trunkline_sql::{DatabaseError, nearest};

use crate::link::Site;

/// Names of at most so many tables and columns are compared.
const MOST_NAMES: usize = 5_000;

/// Adds the nearest name or word to an error that is about one, and says where a statement ends too early.
pub(crate) fn explain(site: &Site<'_>, sql: &str, mut error: DatabaseError) -> DatabaseError {
    if let DatabaseError::Statement { message, position, hint, .. } = &mut error
        && hint.is_none()
    {
        if message == "incomplete input" {
            *position = Some(sql.trim_end().trim_end_matches(';').len());
            *hint = Some("the statement ends where something more has to come".to_owned());
        } else {
            let near = site.gate.trusting(|| near(site.connection, sql, message, *position));
            *hint = near.map(|near| format!("did you mean `{near}`?"));
            // SQLite tells no place of a table it does not know.
            *position = position.or_else(|| place(sql, message));
        }
    }
    error
}

fn near(connection: &Connection, sql: &str, message: &str, position: Option<usize>) -> Option<String> {
    let (what, wanted) = message.split_once(": ")?;
    match what {
        "no such column" => {
            let wanted = wanted.rsplit('.').next()?;
            let columns =
                tables(connection).into_iter().filter(|table| mentions(sql, table)).flat_map(|table| {
                    names(connection, "select name from pragma_table_xinfo(?1) where hidden <> 1", &[&table])
                });
            closest(wanted, &columns.take(MOST_NAMES).collect::<Vec<_>>())
        }
        "no such table" => closest(wanted.rsplit('.').next()?, &tables(connection)),
        "no such function" => {
            closest(wanted, &names(connection, "select distinct name from pragma_function_list", &[]))
        }
        // The word that SQLite stumbles over comes after the one that is wrong, or is it.
        _ if wanted.starts_with("syntax error") => {
            let at = position?;
            let before = sql.get(..at)?.trim_end();
            let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
            let words = [before.get(start..)?, word_at(sql.get(at..)?)];
            words.into_iter().find_map(|word| {
                let is_word = word.len() > 2 && !KEYWORDS.contains(&word.to_ascii_lowercase().as_str());
                nearest(word, KEYWORDS.iter().copied()).filter(|_| is_word).map(str::to_owned)
            })
        }
        _ => None,
    }
}

/// Returns where the only mention of what SQLite does not know stands.
fn place(sql: &str, message: &str) -> Option<usize> {
    let name = message.strip_prefix("no such ")?.split_once(": ")?.1.rsplit('.').next()?;
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    let mut places = sql.match_indices(name).filter(|(at, _)| {
        let (before, after) =
            (sql.get(..*at).unwrap_or_default(), sql.get(at + name.len()..).unwrap_or_default());
        !before.ends_with(is_inside) && !after.starts_with(is_inside)
    });
    let (at, _) = places.next()?;
    places.next().is_none().then_some(at)
}

fn closest(wanted: &str, known: &[String]) -> Option<String> {
    nearest(wanted, known.iter().map(String::as_str)).map(str::to_owned)
}

fn tables(connection: &Connection) -> Vec<String> {
    names(connection, "select name from pragma_table_list where name not like 'sqlite\\_%' escape '\\'", &[])
}

/// Whether a statement has the name anywhere.
fn mentions(sql: &str, name: &str) -> bool {
    sql.to_lowercase().contains(&name.to_lowercase())
}

/// A hint that cannot be had is none.
fn names(connection: &Connection, sql: &str, of: &[&str]) -> Vec<String> {
    let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
    let rows = statement.query_map(rusqlite::params_from_iter(of), |row| row.get(0));
    rows.map(|rows| rows.flatten().take(MOST_NAMES).collect()).unwrap_or_default()
}

fn word_at(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// The words that a reading statement is built of.
const KEYWORDS: &[&str] = &[
    "select",
    "distinct",
    "from",
    "where",
    "group",
    "by",
    "having",
    "order",
    "limit",
    "offset",
    "join",
    "left",
    "inner",
    "outer",
    "cross",
    "natural",
    "on",
    "using",
    "union",
    "except",
    "intersect",
    "with",
    "recursive",
    "values",
    "case",
    "when",
    "then",
    "else",
    "end",
    "and",
    "or",
    "not",
    "between",
    "like",
    "escape",
    "is",
    "null",
    "in",
    "exists",
    "cast",
    "as",
    "collate",
    "over",
    "partition",
    "window",
    "desc",
    "asc",
    "nulls",
    "first",
    "last",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_among_the_names_that_are_mentioned() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("create table customers (id integer, name text); create table games (nmea text);")
            .unwrap();
        let hint = |sql: &str| {
            let error = connection.prepare(sql).unwrap_err();
            let (msg, position) = match error {
                rusqlite::Error::SqlInputError { msg, offset, .. } => (msg, usize::try_from(offset).ok()),
                rusqlite::Error::SqliteFailure(_, Some(msg)) => (msg, None),
                other => panic!("{other}"),
            };
            let at = position.or_else(|| place(sql, &msg)).map(|at| word_at(&sql[at..]).to_owned());
            (near(&connection, sql, &msg, position), at)
        };
        for (sql, meant, at) in [
            ("select nmae from customers", Some("name"), Some("nmae")),
            ("select c.nmae from customers c", Some("name"), Some("c")),
            ("select 1 from custmers", Some("customers"), Some("custmers")),
            ("select uper(name) from customers", Some("upper"), Some("uper")),
            ("select id form customers where 1", Some("from"), Some("customers")),
            ("selct id from customers", Some("select"), Some("selct")),
            ("select something_else from customers", None, Some("something_else")),
        ] {
            assert_eq!(hint(sql), (meant.map(str::to_owned), at.map(str::to_owned)), "{sql}");
        }
    }
}
