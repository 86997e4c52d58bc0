//! Looks at what the connector's login may do beyond what its tools need, so that someone takes it away.
//!
//! The transactions of read-only tools hold whatever the login may do; a login that may do no more holds without them.

use postgres_types::Type;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_postgres::{Client, Error};
use trunkline_sql::Access;

use crate::gate::functions::{FAR_REACHING, reaching_out};

/// What happens when the login may do more than its tools need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PostureRule {
    /// It is said at the start and by `check`.
    #[default]
    Warn,
    /// It is an error, and the tools do not run.
    Refuse,
}

/// What the file says of the login and of callers' own statements.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Guard {
    /// The most any tool may do: decides what the login needs.
    pub(crate) access: Access,
    /// What happens when the login may do more.
    pub(crate) posture: PostureRule,
    /// Most that a statement of the caller's own may cost by the database's estimate.
    pub(crate) max_cost: Option<f64>,
    /// How many connections are opened at most.
    pub(crate) connections: usize,
}

/// What was found about a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Posture {
    login: String,
    excess: Vec<String>,
}

impl Posture {
    /// Asks the database what the login of this connection may do.
    ///
    /// # Errors
    /// What the database reports.
    pub(crate) async fn of(client: &Client, access: Access) -> Result<Self, Error> {
        let patterns = reaching_out();
        let only_roles = access == Access::ReadWrite;
        let parameters: [(&(dyn postgres_types::ToSql + Sync), Type); 3] =
            [(&patterns, Type::TEXT_ARRAY), (&only_roles, Type::BOOL), (&FAR_REACHING, Type::TEXT_ARRAY)];
        let rows = client.query_typed(EXCESS, &parameters).await?;
        let mut excess = Vec::new();
        let mut matters = false;
        let mut login = String::new();
        for row in &rows {
            login = row.try_get(0)?;
            if let Some(found) = row.try_get(1)? {
                excess.push(found);
                matters |= row.try_get::<_, bool>(2)?;
            }
        }
        if !matters {
            excess.clear();
        }
        Ok(Self { login, excess })
    }

    /// Says what the login may do too much of; `None` when there is nothing.
    pub(crate) fn message(&self, access: Access) -> Option<String> {
        let (last, others) = self.excess.split_last()?;
        let list = if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) };
        let what = match access {
            Access::ReadOnly => "more than a read-only connector needs",
            Access::ReadWrite => "more than a connector needs",
        };
        Some(format!("the login `{}` may do {what}: it {list}", self.login))
    }
}

/// What to do about it.
pub(crate) const HELP: &str = "`trunkline check --print-setup-sql` prints the SQL for a role that may do what the tools need and no more";

/// One line for each excess, to be read after "it": the login, the words, and whether it matters by itself. `$2` leaves out
/// what a login that writes may need. Everybody may create temporary tables unless someone takes that away, which alone is
/// no reason to warn. The schema `trunkline` is what the program itself keeps there, which tools do not reach.
const EXCESS: &str = "\
    with me as (select r.* from pg_catalog.pg_roles r where r.rolname = current_user), \
    mine as (select c.oid, c.oid::pg_catalog.regclass::text as name, c.relowner from pg_catalog.pg_class c \
        where not $2 and c.relkind in ('r', 'p', 'f', 'v', 'm') \
            and c.relnamespace not in (select n.oid from pg_catalog.pg_namespace n \
                where n.nspname ~ '^pg_' or n.nspname in ('information_schema', 'trunkline'))), \
    owned as (select name from mine, me where pg_catalog.pg_has_role(me.oid, relowner, 'usage') order by name), \
    written as (select name from mine \
        where pg_catalog.has_table_privilege(oid, 'insert,update,delete,truncate') \
            or pg_catalog.has_any_column_privilege(oid, 'insert,update') order by name), \
    made as (select n.nspname::text as name from pg_catalog.pg_namespace n \
        where not $2 and n.nspname !~ '^pg_' and n.nspname <> 'trunkline' and pg_catalog.has_schema_privilege(n.oid, 'create') order by 1), \
    reached as (select distinct p.proname::text as name from pg_catalog.pg_proc p \
        where p.proname::text like any ($1) and p.prokind = 'f' \
            and p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype \
            and pg_catalog.has_function_privilege(p.oid, 'execute') order by 1), \
    found (number, words, matters) as ( \
        select 1, 'is a superuser', true from me where me.rolsuper \
        union all select 2, 'may create roles', true from me where rolcreaterole and not me.rolsuper \
        union all select 3, 'may replicate', true from me where rolreplication and not me.rolsuper \
        union all select 4, 'passes row-level security', true from me where rolbypassrls and not me.rolsuper \
        union all select 5, case m.rolname when 'pg_database_owner' then 'owns the database' \
                else 'is a member of ' || m.rolname end, true from pg_catalog.pg_roles m, me \
            where not me.rolsuper and m.rolname::text = any ($3) \
                and not ($2 and m.rolname in ('pg_write_all_data', 'pg_database_owner')) \
                and pg_catalog.pg_has_role(me.oid, m.oid, 'member') \
        union all select 6, 'owns ' || count(*) || ' of the tables and views (' || pg_catalog.array_to_string((pg_catalog.array_agg(owned.name))[1:3], ', ') \
            || case when count(*) > 3 then ', ...' else '' end || ')', true \
            from owned, me where not me.rolsuper having count(*) > 0 \
        union all select 7, 'may change ' || count(*) || ' of the tables (' || pg_catalog.array_to_string((pg_catalog.array_agg(written.name))[1:3], ', ') \
            || case when count(*) > 3 then ', ...' else '' end || ')', true \
            from written, me where not me.rolsuper having count(*) > 0 \
        union all select 8, 'may create objects in ' || count(*) || ' of the schemas (' || pg_catalog.array_to_string((pg_catalog.array_agg(made.name))[1:3], ', ') \
            || case when count(*) > 3 then ', ...' else '' end || ')', true \
            from made, me where not me.rolsuper having count(*) > 0 \
        union all select 9, 'may execute ' || pg_catalog.array_to_string((pg_catalog.array_agg(reached.name))[1:3], ', ') \
            || case when count(*) > 3 then ', ...' else '' end, true \
            from reached, me where not me.rolsuper having count(*) > 0 \
        union all select 10, 'may create temporary tables', false from me \
            where not $2 and not me.rolsuper \
                and pg_catalog.has_database_privilege(pg_catalog.current_database(), 'temporary')) \
    select me.rolname::text, found.words, found.matters from me left join found on true order by found.number";
