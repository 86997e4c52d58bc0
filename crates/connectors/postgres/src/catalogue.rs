//! What the catalogue says beyond a statement's description: columns that are not null, and the rules of domains.

use std::collections::{BTreeMap, BTreeSet};

use postgres_types::{Kind, Oid, Type};
use tokio_postgres::{Client, Column, Error, Row, Statement};

use crate::describe::Domains;
use crate::domain::Rules;

/// A column of a table: the table's number and its own.
type Origin = (u32, i16);

/// What was found for one statement.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    origins: BTreeMap<Origin, Attribute>,
    pub(crate) domains: Domains,
}

#[derive(Debug, Clone, Copy)]
struct Attribute {
    not_null: bool,
    ty: Oid,
}

impl Catalogue {
    /// Reads about the types and columns of a statement. With `is_exact` a value of the result that has an origin is surely
    /// one of that column.
    ///
    /// # Errors
    /// What the database reports, with the statement that was sent.
    pub(crate) async fn read(
        client: &Client,
        statement: &Statement,
        is_exact: bool,
    ) -> Result<Self, (Error, &'static str)> {
        let origins = if is_exact { read_origins(client, statement).await? } else { BTreeMap::new() };
        let mut types: BTreeSet<Oid> = origins.values().map(|attribute| attribute.ty).collect();
        // The types that come with the server are known, and no domain is among them.
        types.retain(|oid| Type::from_oid(*oid).is_none());
        for ty in statement.columns().iter().map(Column::type_).chain(statement.params()) {
            collect_domains(ty, &mut types);
        }
        let domains = if types.is_empty() { Domains::new() } else { read_domains(client, &types).await? };
        Ok(Self { origins, domains })
    }

    /// Whether NULL can come out of a column of the result.
    pub(crate) fn is_nullable(&self, column: &Column) -> bool {
        !self.attribute(column).is_some_and(|attribute| attribute.not_null)
    }

    /// Returns the rules of the domain that a column of the result has in its table.
    pub(crate) fn domain(&self, column: &Column) -> Option<&Rules> {
        self.domains.get(&self.attribute(column)?.ty)
    }

    fn attribute(&self, column: &Column) -> Option<&Attribute> {
        self.origins.get(&column.table_oid().zip(column.column_id())?)
    }
}

fn collect_domains(ty: &Type, into: &mut BTreeSet<Oid>) {
    match ty.kind() {
        Kind::Domain(inner) => {
            into.insert(ty.oid());
            collect_domains(inner, into);
        }
        Kind::Array(inner) => collect_domains(inner, into),
        Kind::Composite(fields) => fields.iter().for_each(|field| collect_domains(field.type_(), into)),
        _ => {}
    }
}

async fn read_origins(
    client: &Client,
    statement: &Statement,
) -> Result<BTreeMap<Origin, Attribute>, (Error, &'static str)> {
    let tables: BTreeSet<u32> = statement.columns().iter().filter_map(Column::table_oid).collect();
    if tables.is_empty() {
        return Ok(BTreeMap::new());
    }
    let tables: Vec<u32> = tables.into_iter().collect();
    let sql = "select attrelid, attnum, attnotnull, atttypid \
               from pg_catalog.pg_attribute where attrelid = any($1) and attnum > 0";
    let rows = client.query_typed(sql, &[(&tables, Type::OID_ARRAY)]).await.map_err(|error| (error, sql))?;
    let origin = |row: &Row| {
        let attribute = Attribute { not_null: row.try_get(2).ok()?, ty: row.try_get(3).ok()? };
        Some(((row.try_get(0).ok()?, row.try_get(1).ok()?), attribute))
    };
    Ok(rows.iter().filter_map(origin).collect())
}

/// Reads each domain with the ones it is made of. A constraint that was added as not valid may not hold of what is stored.
async fn read_domains(client: &Client, types: &BTreeSet<Oid>) -> Result<Domains, (Error, &'static str)> {
    let types: Vec<Oid> = types.iter().copied().collect();
    let sql = "with recursive chain as ( \
                 select oid as domain, oid, typbasetype, typtypmod from pg_catalog.pg_type \
                 where oid = any($1) and typtype = 'd' \
                 union all select c.domain, t.oid, t.typbasetype, t.typtypmod \
                 from chain c join pg_catalog.pg_type t on t.oid = c.typbasetype where t.typtype = 'd') \
               select c.domain, max(c.typtypmod), bool_and(coalesce(l.collisdeterministic, true)), \
                 coalesce(array_agg(pg_catalog.pg_get_constraintdef(k.oid)) filter (where k.oid is not null), '{}') \
               from chain c join pg_catalog.pg_type t on t.oid = c.oid \
               left join pg_catalog.pg_collation l on l.oid = t.typcollation \
               left join pg_catalog.pg_constraint k on k.contypid = c.oid and k.contype = 'c' and k.convalidated \
               group by c.domain";
    let rows = client.query_typed(sql, &[(&types, Type::OID_ARRAY)]).await.map_err(|error| (error, sql))?;
    let rules = |row: &Row| {
        let checks: Vec<String> = row.try_get(3).ok()?;
        let rules = Rules::of(row.try_get(1).ok()?, row.try_get(2).ok()?, &checks);
        Some((row.try_get::<_, Oid>(0).ok()?, rules))
    };
    Ok(rows.iter().filter_map(rules).collect())
}
