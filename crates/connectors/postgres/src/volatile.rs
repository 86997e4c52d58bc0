//! Looks whether a statement calls anything volatile, in views and row policies too: what is volatile may leave something
//! on the connection, or read what another statement left.

use std::collections::BTreeSet;

use postgres_types::{ToSql, Type};
use tokio_postgres::{Client, Error};
use trunkline_sql::Dialect;
use trunkline_sql::scan::tokens;

use crate::gate::{Names, Odd};

/// Whether something that a statement names is volatile, in whatever schema. A name that is no function's is a keyword, a
/// type or an alias, or else the statement could not have been prepared. What a function that is declared stable calls is
/// not looked at, and neither are the server's own views.
///
/// # Errors
/// What the database reports, and to which query.
pub(crate) async fn is_volatile(client: &Client, sql: &str) -> Result<bool, (Error, &'static str)> {
    let mut names = Names::default();
    if !add(&mut names, sql) || !open_views(client, &mut names).await? {
        return Ok(true);
    }
    // Reads what another statement on the same connection may have set.
    if names.calls.contains_key("current_setting") {
        return Ok(true);
    }
    let (calls, members) = (keys(names.calls.keys()), keys(names.members.keys()));
    if !calls.is_empty() || !members.is_empty() {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&calls, Type::TEXT_ARRAY), (&members, Type::TEXT_ARRAY)];
        let rows = client.query_typed(FUNCTIONS, &parameters).await.map_err(|error| (error, FUNCTIONS))?;
        if rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(true) {
            return Ok(true);
        }
    }
    let odd = Odd::all(client).await.map_err(|error| (error, ""))?;
    Ok(odd.iter().any(|odd| odd.found_in(&names).is_some()))
}

/// Adds what the views and policies behind the names have, and those behind theirs; `false` when there is too much or
/// something is not understood.
async fn open_views(client: &Client, names: &mut Names) -> Result<bool, (Error, &'static str)> {
    let mut seen = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for _ in 0..DEEPEST {
        let new: Vec<String> =
            names.words.keys().filter(|word| asked.insert((*word).clone())).cloned().collect();
        if new.is_empty() {
            return Ok(true);
        }
        let rows = client.query_typed(BEHIND, &[(&new, Type::TEXT_ARRAY)]).await;
        for row in rows.map_err(|error| (error, BEHIND))? {
            let (Ok(id), Ok(text)) = (row.try_get::<_, u32>(0), row.try_get::<_, Option<&str>>(1)) else {
                return Ok(false);
            };
            // One that was dropped a moment ago has no text.
            if seen.insert(id) && !add(names, text.unwrap_or_default()) {
                return Ok(false);
            }
        }
        if seen.len() > MOST {
            return Ok(false);
        }
    }
    Ok(false)
}

/// Adds what a text names; `false` when a name in it is written in a way that cannot be compared.
fn add(names: &mut Names, text: &str) -> bool {
    let all: Vec<_> = tokens(text, Dialect::Postgres).collect();
    names.collect(text, &all, None).is_none()
}

fn keys<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    keys.map(String::as_str).collect()
}

/// The definitions of views and the conditions of row policies; the server's own have numbers below the first of users'.
const BEHIND: &str = "\
    select c.oid, pg_catalog.pg_get_viewdef(c.oid) from pg_catalog.pg_class c \
    where c.relname = any($1::text[]::name[]) and c.relkind in ('v', 'm') and c.oid >= 16384 \
    union all \
    select p.oid, pg_catalog.pg_get_expr(p.polqual, p.polrelid) \
    from pg_catalog.pg_class c join pg_catalog.pg_policy p on p.polrelid = c.oid \
    where c.relname = any($1::text[]::name[])";

/// An aggregate is as volatile as the functions it is made of. Behind a dot only functions of one row count.
const FUNCTIONS: &str = "\
    select exists (select from pg_catalog.pg_proc p \
    where (p.proname = any($1::text[]::name[]) \
        or p.proname = any($2::text[]::name[]) and p.pronargs - p.pronargdefaults <= 1 and p.pronargs > 0 \
            and p.proargtypes[0] in (select t.oid from pg_catalog.pg_type t where t.typtype in ('c', 'p'))) \
        and (p.provolatile = 'v' or exists (select from pg_catalog.pg_aggregate g \
            join pg_catalog.pg_proc f on f.oid in (g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, \
                g.aggdeserialfn, g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn) \
            where g.aggfnoid = p.oid and f.provolatile = 'v')))";

/// How many views may stand behind each other.
const DEEPEST: usize = 32;

/// Most views and policies looked at for one statement.
const MOST: usize = 500;
