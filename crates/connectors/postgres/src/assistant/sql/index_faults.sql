-- $1: a schema or null; $2: a table or null. Indexes that another does the work of, and those left invalid.
with own as not materialized (
    select x.*, c.relname as index_name, t.relname as table_name, n.nspname, c.relam,
        pg_catalog.pg_relation_size(x.indexrelid) as bytes,
        pg_catalog.pg_get_expr(x.indexprs, x.indrelid) as expressions,
        pg_catalog.pg_get_expr(x.indpred, x.indrelid) as predicate,
        exists (select from pg_catalog.pg_constraint k where k.conindid = x.indexrelid) as constrains
    from pg_catalog.pg_index x
    join pg_catalog.pg_class c on c.oid = x.indexrelid
    join pg_catalog.pg_class t on t.oid = x.indrelid and not t.relispartition
    join pg_catalog.pg_namespace n on n.oid = t.relnamespace
    where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
        and n.nspname = coalesce($1, n.nspname::text) and t.relname = coalesce($2, t.relname::text)
),
doubled as (
    select distinct on (a.indexrelid) a.nspname, a.table_name, a.index_name, a.bytes, b.index_name as other,
        a.indkey::text = b.indkey::text and a.indclass::text = b.indclass::text and a.indoption::text = b.indoption::text as same
    from own a
    join own b on b.indrelid = a.indrelid and b.indexrelid <> a.indexrelid and b.relam = a.relam
    join pg_catalog.pg_am m on m.oid = a.relam
    where a.indisvalid and b.indisvalid and not a.constrains
        and a.indnatts = a.indnkeyatts
        and a.predicate is not distinct from b.predicate
        and case
            -- The same columns: the unique one stays, else the older.
            when a.indkey::text = b.indkey::text and a.indclass::text = b.indclass::text
                and a.indoption::text = b.indoption::text and a.indcollation::text = b.indcollation::text then
                a.expressions is not distinct from b.expressions
                and (not a.indisunique or b.indisunique)
                and (b.constrains or (b.indisunique, -b.indexrelid::bigint) > (a.indisunique, -a.indexrelid::bigint))
            else
                m.amname = 'btree' and not a.indisunique and a.expressions is null
                and b.indkey::text || ' ' like a.indkey::text || ' %'
                and a.indnkeyatts < b.indnkeyatts
                and b.indclass::text || ' ' like a.indclass::text || ' %'
                and b.indoption::text || ' ' like a.indoption::text || ' %'
                and b.indcollation::text || ' ' like a.indcollation::text || ' %'
        end
    order by a.indexrelid, b.constrains desc, b.indnkeyatts, b.indexrelid
),
invalid as (
    select o.nspname, o.table_name, o.index_name, o.bytes
    from own o
    where not o.indisvalid
        and not exists (select from pg_catalog.pg_stat_progress_create_index p where p.index_relid = o.indexrelid)
    order by o.index_name
    limit 30
)
select pg_catalog.json_build_object(
    'doubled', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'schema', d.nspname, 'table', d.table_name, 'index', d.index_name, 'bytes', d.bytes, 'other', d.other, 'same', d.same)), '[]')
        from (select * from doubled order by bytes desc, index_name limit 30) d
    ),
    'invalid', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'schema', i.nspname, 'table', i.table_name, 'index', i.index_name, 'bytes', i.bytes)), '[]')
        from invalid i
    )
)
