-- What a login sees of the database: its tables and views, partitions within their parents, nothing of extensions.
with known as (
    select c.oid, n.nspname::text as schema, c.relname::text as name, c.relkind, c.reltuples,
        pg_catalog.has_schema_privilege(n.oid, 'usage')
            and (pg_catalog.has_table_privilege(c.oid, 'select')
                or pg_catalog.has_any_column_privilege(c.oid, 'select')) as readable
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
        and not c.relispartition
        and n.nspname not in ('pg_catalog', 'information_schema')
        and n.nspname !~ '^pg_(toast|temp)'
        and not exists (
            select from pg_catalog.pg_depend d
            where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and d.deptype = 'e'
        )
),
tables as materialized (
    select oid, schema, name, reltuples, relkind,
        case relkind
            when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view'
            when 'm' then 'materialized view' else 'foreign table'
        end as kind
    from known
    where readable
)
