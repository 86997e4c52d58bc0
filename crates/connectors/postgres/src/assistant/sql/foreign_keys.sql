-- $1: a schema or null; $2: a table or null. Foreign keys whose columns no index begins with: each delete or key change in
-- the table they refer to reads the whole table.
select pg_catalog.json_build_object(
    'total', pg_catalog.count(*),
    'found', coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'schema', f.nspname, 'table', f.relname, 'columns', f.columns, 'references', f.target,
        'partitioned', f.partitioned, 'rows', f.rows
    ) order by f.rows desc nulls last, f.nspname, f.relname) filter (where f.number <= 30), '[]')
)
from (
    select n.nspname, c.relname, c.relkind = 'p' as partitioned, fn.nspname || '.' || fc.relname as target,
        size.rows,
        (
            select pg_catalog.json_agg(a.attname order by key.number)
            from pg_catalog.unnest(k.conkey) with ordinality key(attnum, number)
            join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = key.attnum
        ) as columns,
        pg_catalog.row_number() over (order by size.rows desc nulls last, n.nspname, c.relname, k.conname) as number
    from pg_catalog.pg_constraint k
    join pg_catalog.pg_class c on c.oid = k.conrelid and not c.relispartition
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_class fc on fc.oid = k.confrelid
    join pg_catalog.pg_namespace fn on fn.oid = fc.relnamespace
    cross join lateral (
        select case
            when c.relkind = 'p' then (
                select pg_catalog.sum(greatest(l.reltuples, 0))::bigint
                from pg_catalog.pg_partition_tree(c.oid) p join pg_catalog.pg_class l on l.oid = p.relid where p.isleaf)
            when c.reltuples >= 0 then c.reltuples::bigint
        end as rows
    ) size
    where k.contype = 'f' and k.conparentid = 0
        and n.nspname = coalesce($1, n.nspname::text) and c.relname = coalesce($2, c.relname::text)
        and not exists (
            select from pg_catalog.pg_index i
            where i.indrelid = k.conrelid and i.indisvalid and i.indpred is null
                and (i.indkey::int2[])[0:pg_catalog.cardinality(k.conkey) - 1] @> k.conkey
                and (i.indkey::int2[])[0:pg_catalog.cardinality(k.conkey) - 1] <@ k.conkey
        )
) f
