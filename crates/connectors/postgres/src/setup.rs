//! Writes the SQL that makes a role for a connector: one that may do what its tools need, and no more.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use postgres_types::Type;
use tokio_postgres::{Client, Error};
use trunkline_sql::scan::{Token, tokens};
use trunkline_sql::{Access, Dialect, StatementSource};

use crate::gate::functions::reaching_out;

/// What the role is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs<'a> {
    /// The connector's name.
    pub(crate) connector: &'a str,
    /// Its declared statements.
    pub(crate) statements: &'a [StatementSource],
    /// Whether callers bring statements of their own, so that every table is to be read.
    pub(crate) reads_all: bool,
    /// How many connections it opens at most.
    pub(crate) connections: usize,
    /// How long one statement may run.
    pub(crate) timeout: std::time::Duration,
}

/// Returns the SQL. Tables are found by the names in the statements, so that one a column is named like may be among them.
///
/// # Errors
/// What the database reports.
pub(crate) async fn sql(client: &Client, needs: Needs<'_>) -> Result<String, Error> {
    let found = client.query_typed(SERVER, &[(&needs.connector, Type::TEXT)]).await?;
    let Some(server) = found.first() else { return Ok(String::new()) };
    let (database, role): (String, String) = (server.try_get(0)?, server.try_get(1)?);
    let tables = tables(client, needs).await?;
    let patterns = reaching_out();
    let functions = client.query_typed(OPEN_TO_ALL, &[(&patterns, Type::TEXT_ARRAY)]).await?;
    let timeout = needs.timeout.as_millis().max(1);
    let mut text = format!(
        "-- A role for the connector `{}`. Run this on database {database} as its owner or a superuser, then give the role a\n\
         -- password (in psql: \\password {role}) and write it into the connector's `url`.\n\
         create role {role} login nosuperuser nocreatedb nocreaterole noinherit noreplication nobypassrls connection limit {};\n\
         grant connect on database {database} to {role};\n\
         -- Everybody may do this unless it is taken away; it is taken away from everybody.\n\
         revoke temporary on database {database} from public;\n",
        needs.connector.replace('\n', " "),
        needs.connections,
    );
    for row in &functions {
        let function: String = row.try_get(0)?;
        writeln!(text, "revoke execute on function {function} from public;").ok();
    }
    let mut schemas: Vec<&str> = tables.values().map(|table| table.schema.as_str()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    for schema in schemas {
        writeln!(
            text,
            "revoke create on schema {schema} from public;\ngrant usage on schema {schema} to {role};"
        )
        .ok();
    }
    for (name, table) in &tables {
        writeln!(text, "grant {} on {name} to {role};", table.rights.join(", ")).ok();
        for sequence in &table.sequences {
            writeln!(text, "grant usage on sequence {sequence} to {role};").ok();
        }
    }
    writeln!(
        text,
        "alter role {role} in database {database} set default_transaction_read_only = on;\n\
         alter role {role} in database {database} set statement_timeout = {timeout};\n\
         alter role {role} in database {database} set idle_in_transaction_session_timeout = {};",
        timeout + 10_000
    )
    .ok();
    Ok(text)
}

#[derive(Debug)]
struct Table {
    schema: String,
    rights: Vec<&'static str>,
    sequences: Vec<String>,
}

/// Finds the tables that the statements name, each with what is done to it.
async fn tables(client: &Client, needs: Needs<'_>) -> Result<BTreeMap<String, Table>, Error> {
    let mut found = BTreeMap::new();
    for statement in needs.statements {
        let (names, target) = names(statement);
        for row in client.query_typed(TABLES, &[(&names, Type::TEXT_ARRAY)]).await? {
            let (written, name, schema, sequences): (String, String, String, Vec<String>) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            let table = found.entry(name).or_insert_with(|| Table {
                schema,
                rights: vec!["select"],
                sequences: Vec::new(),
            });
            for right in
                target.iter().filter(|(target, _)| *target == written).flat_map(|(_, rights)| *rights)
            {
                if !table.rights.contains(right) {
                    table.rights.push(right);
                }
                if *right == "insert" && table.sequences.is_empty() {
                    table.sequences.clone_from(&sequences);
                }
            }
        }
    }
    if needs.reads_all {
        for row in client.query_typed(ALL_TABLES, &[]).await? {
            let (name, schema) = (row.try_get(0)?, row.try_get(1)?);
            found.entry(name).or_insert(Table { schema, rights: vec!["select"], sequences: Vec::new() });
        }
    }
    Ok(found)
}

/// The rights that a write needs on its table.
type Targets = Vec<(String, &'static [&'static str])>;

/// Returns every name of a statement, with and without its schema, as the server reads names, and the tables it writes.
fn names(statement: &StatementSource) -> (Vec<String>, Targets) {
    let all: Vec<_> = tokens(&statement.sql, Dialect::Postgres).collect();
    let mut names = Vec::new();
    let mut targets = Vec::new();
    for at in 0..all.len() {
        let Some(name) = name_at(&all, at) else { continue };
        if statement.access == Access::ReadWrite
            && let Some(rights) = rights_before(&all, at)
        {
            targets.push((name.clone(), rights));
        }
        names.push(name);
    }
    (names, targets)
}

fn name_at(all: &[Token<'_>], at: usize) -> Option<String> {
    let part = |at: usize| match all.get(at)? {
        Token::Word { text, .. } => Some(format!("\"{}\"", text.to_ascii_lowercase())),
        Token::Name { text, .. } => Some(format!("\"{}\"", text.replace('"', "\"\""))),
        _ => None,
    };
    let name = part(at)?;
    let is_dot = all.get(at + 1).is_some_and(|token| token.is_punctuation("."));
    match part(at + 2).filter(|_| is_dot) {
        Some(second) => Some(format!("{name}.{second}")),
        None => Some(name),
    }
}

/// Returns the rights that the words before a name ask for on it.
fn rights_before(all: &[Token<'_>], at: usize) -> Option<&'static [&'static str]> {
    let before = |back: usize, word: &str| {
        at.checked_sub(back).and_then(|at| all.get(at)).is_some_and(|token| token.is_word(word))
    };
    if before(0, "only") {
        return None;
    }
    let only = usize::from(before(1, "only"));
    if before(1, "into") && before(2, "insert") {
        // `on conflict do update` updates too.
        let updates = all
            .windows(2)
            .any(|pair| matches!(pair, [first, second] if first.is_word("do") && second.is_word("update")));
        return Some(if updates { &["insert", "update"] } else { &["insert"] });
    }
    if before(1 + only, "into") && before(2 + only, "merge") {
        return Some(&["insert", "update", "delete"]);
    }
    if before(1 + only, "update") {
        return Some(&["update"]);
    }
    (before(1 + only, "from") && before(2 + only, "delete")).then_some(&["delete"])
}

const SERVER: &str = "\
    select pg_catalog.quote_ident(pg_catalog.current_database()), \
        pg_catalog.quote_ident('trunkline_' || pg_catalog.lower($1::text))";

/// The tables and views behind names: as written, as they are, their schema, and the sequences of their columns.
const TABLES: &str = "\
    select w.name, pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(n.nspname), \
        array(select pg_catalog.format('%I.%I', m.nspname, s.relname) from pg_catalog.pg_depend d \
            join pg_catalog.pg_class s on s.oid = d.objid and s.relkind = 'S' \
            join pg_catalog.pg_namespace m on m.oid = s.relnamespace \
            where d.refobjid = c.oid and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype = 'a') \
    from (select distinct name from pg_catalog.unnest($1::text[]) as u(name)) w \
        join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(w.name) \
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'";

const ALL_TABLES: &str = "\
    select pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(n.nspname) \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'";

/// The functions that reach out of the transaction and that everybody may execute.
const OPEN_TO_ALL: &str = "\
    select p.oid::pg_catalog.regprocedure::text from pg_catalog.pg_proc p \
    where p.proname::text like any ($1) and p.prokind = 'f' \
        and p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype \
        and (p.proacl is null or exists (select from pg_catalog.aclexplode(p.proacl) a \
            where a.grantee = 0 and a.privilege_type = 'EXECUTE')) \
    order by 1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_that_are_written_are_told_from_those_that_are_read() {
        let rights = |sql: &str| {
            let access = Access::ReadWrite;
            let source = StatementSource { sql: sql.to_owned(), access, ..StatementSource::default() };
            names(&source).1
        };
        let one = |name: &str, rights: &'static [&'static str]| vec![(name.to_owned(), rights)];
        assert_eq!(rights("insert into s.t select * from u"), one("\"s\".\"t\"", &["insert"]));
        assert_eq!(rights("update only t set a = 1"), one("\"t\"", &["update"]));
        assert_eq!(rights("delete from \"T\" where a = 1"), one("\"T\"", &["delete"]));
        let upsert = "insert into t values (1) on conflict (a) do update set a = 2";
        assert_eq!(rights(upsert).first(), Some(&("\"t\"".to_owned(), &["insert", "update"][..])));
    }
}
