-- $1: tables as a JSON list of [schema, name].
select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'schema', n.nspname,
    'name', c.relname,
    'root_schema', rn.nspname,
    'root', r.relname,
    'partitioned', r.relkind = 'p',
    'rows', case when c.reltuples >= 0 then c.reltuples::float8 end,
    'columns', (
        select coalesce(pg_catalog.json_agg(a.attname), '[]') from pg_catalog.pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            and exists (
                select from pg_catalog.pg_type t
                join pg_catalog.pg_opclass o on o.opcdefault and o.opcintype in (
                    t.oid,
                    case t.typtype when 'd' then t.typbasetype when 'e' then 'pg_catalog.anyenum'::pg_catalog.regtype
                        when 'r' then 'pg_catalog.anyrange'::pg_catalog.regtype end,
                    case when t.typname = 'varchar' then 'pg_catalog.text'::pg_catalog.regtype end
                )
                join pg_catalog.pg_am m on m.oid = o.opcmethod and m.amname = 'btree'
                where t.oid = a.atttypid
            )
    )
)), '[]')
from pg_catalog.jsonb_array_elements($1::text::jsonb) w(pair)
join pg_catalog.pg_namespace n on n.nspname = w.pair ->> 0
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.pair ->> 1
join pg_catalog.pg_class r on r.oid = coalesce(pg_catalog.pg_partition_root(c.oid)::oid, c.oid)
join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace
