-- $1: the numbers of tables, as a JSON list. What a reader needs to choose among them.
select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'oid', c.oid,
    'schema', n.nspname,
    'name', c.relname,
    'kind', case c.relkind
        when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view'
        when 'm' then 'materialized view' else 'foreign table'
    end,
    'comment', pg_catalog."left"(pg_catalog.obj_description(c.oid, 'pg_class'), 300),
    'rows', case when c.relkind in ('r', 'm', 'p') and c.reltuples >= 0 then c.reltuples::bigint end,
    'columns', (
        select pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod)) order by a.attnum)
        from (
            select * from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            order by a.attnum limit 60
        ) a
    )
) order by w.number), '[]')
from pg_catalog.jsonb_array_elements_text($1::text::jsonb) with ordinality w(oid, number)
join pg_catalog.pg_class c on c.oid = w.oid::oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
