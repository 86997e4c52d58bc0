//! Asks the catalogue about names: which functions they are and how volatile, and which operators and casts are not what
//! they look like.

use postgres_types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::functions::{denied, is_allowed};
use super::words::Names;

/// Something that may not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    /// Its name: `public.wipe(integer)`.
    pub(crate) name: String,
    /// Why, after "which": `sends a notification`.
    pub(crate) why: String,
    /// Where it stands, as [`Names`] numbers places.
    pub(crate) at: usize,
    /// What to do.
    pub(crate) advice: &'static str,
}

/// Operators and casts whose function is volatile.
#[derive(Debug)]
pub(crate) struct Odd {
    is_operator: bool,
    name: String,
    function: String,
}

impl Odd {
    /// Finds them all, outside the server's own.
    ///
    /// # Errors
    /// What the database reports.
    pub(crate) async fn all(client: &Client) -> Result<Vec<Self>, Error> {
        let rows = client.query_typed(ODD, &[]).await?;
        let odd = |row: &tokio_postgres::Row| {
            Some(Self {
                is_operator: row.try_get(0).ok()?,
                name: row.try_get(1).ok()?,
                function: row.try_get(2).ok()?,
            })
        };
        Ok(rows.iter().filter_map(odd).collect())
    }

    /// Says why it may not be used, if the names have it.
    pub(crate) fn found_in(&self, names: &Names) -> Option<Denied> {
        let at = if self.is_operator {
            // The server may cut a run of characters into several operators.
            names.operators.iter().find(|(run, _)| run.contains(&self.name)).map(|(_, at)| *at)
        } else {
            names.words.get(&self.name).copied()
        };
        let kind = if self.is_operator { "the operator" } else { "a cast to" };
        at.map(|at| Denied {
            name: format!("{kind} {}", self.name),
            why: format!("calls the volatile function {}", self.function),
            at,
            advice: "leave it out, or have its function declared stable or immutable if it only reads",
        })
    }
}

/// Finds the first function among names that is on the list or volatile, leaving out names that are known already.
///
/// # Errors
/// What the database reports.
pub(crate) async fn denied_function(
    client: &Client,
    names: &Names,
    known: &Names,
) -> Result<Option<Denied>, Error> {
    let new = |found: &std::collections::BTreeMap<String, usize>,
               known: &std::collections::BTreeMap<_, _>| {
        found.keys().filter(|name| !known.contains_key(*name)).cloned().collect::<Vec<String>>()
    };
    let (calls, members) = (new(&names.calls, &known.calls), new(&names.members, &known.members));
    if calls.is_empty() && members.is_empty() {
        return Ok(None);
    }
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&calls, Type::TEXT_ARRAY), (&members, Type::TEXT_ARRAY)];
    let rows = client.query_typed(FUNCTIONS, &parameters).await?;
    Ok(rows.iter().find_map(|row| {
        let name: String = row.try_get(0).ok()?;
        let full: String = row.try_get(1).ok()?;
        let is_volatile: bool = row.try_get(2).ok()?;
        let is_called: bool = row.try_get(3).ok()?;
        let is_foreign: bool = row.try_get(4).ok()?;
        let places = if is_called { &names.calls } else { &names.members };
        judge(&name, full, is_volatile && is_foreign, is_volatile, places.get(&name).copied().unwrap_or(0))
    }))
}

/// `is_odd`: it is volatile and neither the server's own nor an extension's, so that its name says nothing.
fn judge(name: &str, full: String, is_odd: bool, is_volatile: bool, at: usize) -> Option<Denied> {
    if let Some(listed) = denied(name) {
        let advice = "leave it out; no form of it passes";
        return Some(Denied { name: full, why: listed.reason.to_owned(), at, advice });
    }
    (is_odd || is_volatile && !is_allowed(name)).then(|| Denied {
        name: full,
        why: "is volatile, so it may do more than read".to_owned(),
        at,
        advice: "leave it out, or have it declared stable or immutable if it only reads",
    })
}

/// Each function of a name that SQL can call, as `schema.name(arguments)`; an aggregate is as volatile as the functions it is made of. Behind
/// a dot only functions of one row count.
const FUNCTIONS: &str = "\
    select p.proname::text, p.oid::pg_catalog.regprocedure::text, \
        p.provolatile = 'v' or exists (select from pg_catalog.pg_aggregate g \
            join pg_catalog.pg_proc f on f.oid in (g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, \
                g.aggdeserialfn, g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn) \
            where g.aggfnoid = p.oid and f.provolatile = 'v'), \
        p.proname::text = any($1), \
        p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace and not exists ( \
            select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
                and d.objid = p.oid and d.deptype = 'e') \
    from pg_catalog.pg_proc p \
    where 'pg_catalog.internal'::pg_catalog.regtype <> all (p.proargtypes::pg_catalog.oid[]) \
        and (p.proname = any($1::text[]::name[]) \
        or p.proname = any($2::text[]::name[]) and p.pronargs - p.pronargdefaults <= 1 and p.pronargs > 0 \
            and p.proargtypes[0] in (select t.oid from pg_catalog.pg_type t where t.typtype in ('c', 'p'))) \
    order by p.oid";

const ODD: &str = "\
    select true, o.oprname::text, p.oid::pg_catalog.regprocedure::text \
    from pg_catalog.pg_operator o join pg_catalog.pg_proc p on p.oid = o.oprcode \
    where p.provolatile = 'v' and p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace \
    union all \
    select false, t.typname::text, p.oid::pg_catalog.regprocedure::text \
    from pg_catalog.pg_cast c join pg_catalog.pg_proc p on p.oid = c.castfunc \
        join pg_catalog.pg_type t on t.oid = c.casttarget \
    where p.provolatile = 'v' and p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace";
