//! Looks at the catalogue of a database: which tables and views the login may read, and what can be known of them without
//! reading a row.

use std::collections::HashMap;

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};
use trunkline_sql::DatabaseError;
use trunkline_sql::survey::{ColumnNature, Survey, Table, TableColumn, TableKind};

use crate::Postgres;
use crate::dial::chain;

/// A look at more tables than this is cut, so that what is kept of it stays bounded.
const MOST_TABLES: usize = 20_000;
/// The columns of at most so many tables are asked for at a time.
const AT_A_TIME: usize = 200;

impl Postgres {
    /// Tells which tables and views the login may read, without their columns. What belongs to the system or to an
    /// extension is left out, and so are the partitions of a table.
    ///
    /// # Errors
    /// [`DatabaseError`] when the database does not answer.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn survey(&self) -> Result<Survey, DatabaseError> {
        let rows = self.told(TABLES).await?;
        let database = self.told("select pg_catalog.current_database()").await?;
        let database = database.first().and_then(|row| row.get(0)).map(str::to_owned);
        let is_cut = rows.len() > MOST_TABLES;
        Ok(Survey { database, tables: rows.iter().take(MOST_TABLES).map(table).collect(), is_cut })
    }

    /// Fills in the columns that the login may read.
    ///
    /// # Errors
    /// [`DatabaseError`] when the database does not answer.
    ///
    /// # Cancel safety
    /// The tables may have their columns in part.
    pub async fn survey_columns(&self, tables: &mut [Table]) -> Result<(), DatabaseError> {
        for some in tables.chunks_mut(AT_A_TIME) {
            let pairs: Vec<String> = some
                .iter()
                .map(|table| format!("({},{})", literal(&table.schema), literal(&table.name)))
                .collect();
            let rows = self.told(&COLUMNS.replace("/*tables*/", &pairs.join(","))).await?;
            let mut columns: HashMap<(String, String), Vec<TableColumn>> = HashMap::new();
            for row in &rows {
                columns.entry((text(row, "schema"), text(row, "table"))).or_default().push(column(row));
            }
            for table in some {
                let name = (table.schema.clone(), table.name.clone());
                table.columns = columns.remove(&name).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Asks the catalogue. In the simple protocol, which keeps nothing prepared in the session, so that it works behind
    /// any pooler; what goes into the text is quoted by [`literal`].
    async fn told(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, DatabaseError> {
        let mut lease = self.primary().pool.lease().await?;
        lease.begin();
        let asked = ask(lease.session()?.client(), sql).await.map_err(|error| match error.as_db_error() {
            Some(report) => DatabaseError::Refused { message: report.message().to_owned() },
            None => self.primary().dialer.unreachable(chain(&error)),
        });
        lease.finish();
        asked
    }
}

async fn ask(client: &Client, sql: &str) -> Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}

fn table(row: &SimpleQueryRow) -> Table {
    let number = |name| row.try_get(name).ok().flatten().and_then(|text: &str| text.parse().ok());
    Table {
        schema: text(row, "schema"),
        name: text(row, "name"),
        sql: text(row, "sql"),
        kind: if text(row, "kind") == "v" { TableKind::View } else { TableKind::Table },
        comment: optional(row, "comment"),
        key: names(row, "key"),
        references: names(row, "refers"),
        rows: number("rows"),
        referred: number("referred").and_then(|number| u32::try_from(number).ok()).unwrap_or_default(),
        columns: Vec::new(),
    }
}

fn column(row: &SimpleQueryRow) -> TableColumn {
    let (category, base) = (text(row, "category"), text(row, "base"));
    // A part can be looked for only where equal text is equal bytes.
    let is_searchable = text(row, "plain") == "t" && base != "char";
    let nature = match (category.as_str(), base.as_str()) {
        ("S", _) if is_searchable => ColumnNature::Text,
        ("E", _) => ColumnNature::Label,
        (_, "bytea" | "xml" | "tsvector" | "tsquery" | "geometry" | "geography" | "raster") => {
            ColumnNature::Bulky
        }
        (_, "vector" | "halfvec" | "sparsevec") => ColumnNature::Bulky,
        _ => ColumnNature::Other,
    };
    TableColumn {
        name: text(row, "name"),
        sql: text(row, "sql"),
        type_name: text(row, "type"),
        nullable: text(row, "not_null") != "t",
        comment: optional(row, "comment"),
        nature,
        sorts: matches!(category.as_str(), "S" | "N" | "D" | "E" | "B" | "T" | "I") || base == "uuid",
        width: optional(row, "width").and_then(|width| width.parse().ok()),
        parameter: None,
    }
}

/// Reads a list of names.
fn names(row: &SimpleQueryRow, name: &str) -> Vec<String> {
    optional(row, name).and_then(|names| serde_json::from_str(&names).ok()).unwrap_or_default()
}

fn optional(row: &SimpleQueryRow, name: &str) -> Option<String> {
    row.try_get(name).ok().flatten().map(str::to_owned)
}

fn text(row: &SimpleQueryRow, name: &str) -> String {
    optional(row, name).unwrap_or_default()
}

/// Writes a string literal that reads the same whatever `standard_conforming_strings` says.
pub(crate) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The `kind` is `v` for what has no rows of its own to speak of. A table of `public` needs no schema where it is found
/// without; everything else says where it is.
const TABLES: &str = "
select n.nspname as schema, c.relname as name,
    case when n.nspname = 'public' and pg_catalog.pg_table_is_visible(c.oid)
        then pg_catalog.quote_ident(c.relname)
        else pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) end as sql,
    case when c.relkind in ('v', 'm', 'f') then 'v' else 't' end as kind,
    pg_catalog.obj_description(c.oid, 'pg_class') as comment,
    case when c.reltuples >= 0 and c.relkind <> 'v' then c.reltuples::pg_catalog.int8 end as rows,
    (select pg_catalog.count(*) from pg_catalog.pg_constraint f
        where f.confrelid = c.oid and f.contype = 'f' and f.conparentid = 0) as referred,
    (select pg_catalog.json_agg(a.attname order by k.place)
        from pg_catalog.pg_constraint p
        cross join lateral pg_catalog.unnest(p.conkey) with ordinality k (number, place)
        join pg_catalog.pg_attribute a on a.attrelid = p.conrelid and a.attnum = k.number
        where p.conrelid = c.oid and p.contype = 'p') as key,
    (select pg_catalog.json_agg(distinct a.attname)
        from pg_catalog.pg_constraint r
        join pg_catalog.pg_attribute a on a.attrelid = r.conrelid and a.attnum = r.conkey[1]
        where r.conrelid = c.oid and r.contype = 'f' and pg_catalog.array_length(r.conkey, 1) = 1) as refers
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f')
    and not c.relispartition
    and n.nspname <> 'information_schema'
    and n.nspname !~ '^pg_'
    and pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    and pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
    and not exists (select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and d.deptype = 'e')
order by n.nspname, c.relname
limit 20001";

/// `/*tables*/` stands for pairs of schema and name. A domain counts as what it is made of, two deep.
const COLUMNS: &str = "
select n.nspname as schema, c.relname as \"table\", a.attname as name,
    pg_catalog.quote_ident(a.attname) as sql,
    pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
    case when a.attnotnull then 't' else 'f' end as not_null,
    pg_catalog.col_description(c.oid, a.attnum) as comment,
    t.typcategory as category,
    coalesce(bb.typname, b.typname, t.typname) as base,
    case when a.attcollation = 0 or coalesce(pg_catalog.to_json(l) ->> 'collisdeterministic', 'true') = 'true'
        then 't' else 'f' end as plain,
    (select pg_catalog.max(s.avg_width) from pg_catalog.pg_stats s
        where s.schemaname = n.nspname and s.tablename = c.relname and s.attname = a.attname) as width
from (values /*tables*/) wanted (schema, name)
join pg_catalog.pg_namespace n on n.nspname = wanted.schema
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = wanted.name
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_type b on b.oid = t.typbasetype and t.typtype = 'd'
left join pg_catalog.pg_type bb on bb.oid = b.typbasetype and b.typtype = 'd'
left join pg_catalog.pg_collation l on l.oid = a.attcollation
where pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
order by n.nspname, c.relname, a.attnum";
