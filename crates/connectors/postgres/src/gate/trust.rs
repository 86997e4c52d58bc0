//! Decides whether a login is trusted with a statement that is not understood: one that could do no harm whatever it says.

use postgres_types::Type;
use tokio_postgres::{Client, Error};

use super::functions::{FAR_REACHING, reaching_out};

/// Returns why the login, or the role it has taken on, is not trusted, to be read after "the login"; `None` when it is.
///
/// Trusted is who is no superuser, may not replicate, create roles or pass row-level rules, is in none of the roles that
/// read or write files, run programs, signal others or maintain or write every table, and may execute no function that
/// reaches out of the transaction.
///
/// # Errors
/// What the database reports.
pub(crate) async fn distrusted(client: &Client) -> Result<Option<String>, Error> {
    let patterns = reaching_out();
    let parameters: [(&(dyn postgres_types::ToSql + Sync), Type); 2] =
        [(&patterns, Type::TEXT_ARRAY), (&FAR_REACHING, Type::TEXT_ARRAY)];
    let rows = client.query_typed(REASON, &parameters).await?;
    Ok(match rows.first() {
        Some(row) => row.try_get(0)?,
        None => Some("could not be looked up".to_owned()),
    })
}

const REASON: &str = "\
    select case \
        when r.rolsuper then 'is a superuser' \
        when r.rolreplication then 'may replicate' \
        when r.rolcreaterole then 'may create roles' \
        when r.rolbypassrls then 'passes row-level rules' \
        else coalesce( \
            (select 'is in the role ' || m.rolname from pg_catalog.pg_roles m \
             where m.rolname::text = any ($2) \
                and pg_catalog.pg_has_role(r.oid, m.oid, 'member') limit 1), \
            (select 'may execute ' || p.oid::pg_catalog.regprocedure::text from pg_catalog.pg_proc p \
             where p.proname::text like any ($1) and p.prokind = 'f' \
                and p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype \
                and pg_catalog.has_function_privilege(r.oid, p.oid, 'execute') limit 1)) \
    end as reason from pg_catalog.pg_roles r where r.rolname in (current_user, session_user) \
    order by reason nulls last limit 1";
