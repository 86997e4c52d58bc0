-- $1: the numbers of tables, as a JSON list. All there is to say of them.
select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'oid', c.oid,
    'schema', n.nspname,
    'name', c.relname,
    'kind', case c.relkind
        when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view'
        when 'm' then 'materialized view' else 'foreign table'
    end,
    'comment', pg_catalog."left"(pg_catalog.obj_description(c.oid, 'pg_class'), 2000),
    'rows', case
        when c.relkind = 'p' then leaves.rows
        when c.relkind in ('r', 'm') and c.reltuples >= 0 then c.reltuples::bigint
    end,
    'bytes', case
        when c.relkind = 'p' then leaves.bytes
        when c.relkind in ('r', 'm') then pg_catalog.pg_total_relation_size(c.oid)
    end,
    'columns', (
        select pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', a.attname,
            'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
            'nullable', not (a.attnotnull or ty.typnotnull),
            'default', case when a.attgenerated = '' then
                pg_catalog."left"(pg_catalog.pg_get_expr(d.adbin, d.adrelid), 300) end,
            'generated', case when a.attgenerated <> '' then
                pg_catalog."left"(pg_catalog.pg_get_expr(d.adbin, d.adrelid), 300) end,
            'identity', case a.attidentity when 'a' then 'always' when 'd' then 'by default' end,
            'comment', pg_catalog."left"(pg_catalog.col_description(c.oid, a.attnum), 500),
            'values', (
                select pg_catalog.json_agg(e.enumlabel order by e.enumsortorder)
                from (
                    select e.enumlabel, e.enumsortorder from pg_catalog.pg_enum e
                    where e.enumtypid = case
                        when ty.typcategory = 'A' and ty.typelem <> 0 then ty.typelem
                        when ty.typtype = 'd' then ty.typbasetype
                        else ty.oid
                    end
                    order by e.enumsortorder limit 100
                ) e
            )
        ) order by a.attnum)
        from (
            select * from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            order by a.attnum limit 300
        ) a
        join pg_catalog.pg_type ty on ty.oid = a.atttypid
        left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    ),
    'primaryKey', (
        select cols.names from pg_catalog.pg_constraint k
        cross join lateral (
            select pg_catalog.json_agg(a.attname order by key.number) as names
            from pg_catalog.unnest(k.conkey) with ordinality key(attnum, number)
            join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = key.attnum
        ) cols
        where k.conrelid = c.oid and k.contype = 'p'
    ),
    'unique', (
        select pg_catalog.json_agg(cols.names order by k.conname) from pg_catalog.pg_constraint k
        cross join lateral (
            select pg_catalog.json_agg(a.attname order by key.number) as names
            from pg_catalog.unnest(k.conkey) with ordinality key(attnum, number)
            join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = key.attnum
        ) cols
        where k.conrelid = c.oid and k.contype = 'u'
    ),
    'foreignKeys', (
        select pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', k.conname,
            'columns', cols.names,
            'references', pg_catalog.json_build_object('schema', fn.nspname, 'table', f.relname, 'columns', cols.others),
            'onDelete', case k.confdeltype
                when 'r' then 'restrict' when 'c' then 'cascade' when 'n' then 'set null' when 'd' then 'set default' end
        ) order by k.conname)
        from (
            select * from pg_catalog.pg_constraint k
            where k.conrelid = c.oid and k.contype = 'f' and k.conparentid = 0 order by k.conname limit 100
        ) k
        join pg_catalog.pg_class f on f.oid = k.confrelid
        join pg_catalog.pg_namespace fn on fn.oid = f.relnamespace
        cross join lateral (
            select pg_catalog.json_agg(a.attname order by key.number) as names,
                pg_catalog.json_agg(b.attname order by key.number) as others
            from rows from (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) with ordinality key(attnum, fattnum, number)
            join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = key.attnum
            join pg_catalog.pg_attribute b on b.attrelid = k.confrelid and b.attnum = key.fattnum
        ) cols
    ),
    'referencedBy', (
        select pg_catalog.json_agg(pg_catalog.json_build_object(
            'schema', k.nspname, 'table', k.relname, 'columns', cols.names, 'references', cols.others) order by k.nspname, k.relname, k.conname)
        from (
            select k.*, r.relname, rn.nspname from pg_catalog.pg_constraint k
            join pg_catalog.pg_class r on r.oid = k.conrelid and not r.relispartition
            join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace
            where k.confrelid = c.oid and k.contype = 'f' and k.conparentid = 0
                and pg_catalog.has_schema_privilege(rn.oid, 'usage')
                and (pg_catalog.has_table_privilege(r.oid, 'select') or pg_catalog.has_any_column_privilege(r.oid, 'select'))
            order by rn.nspname, r.relname, k.conname limit 50
        ) k
        cross join lateral (
            select pg_catalog.json_agg(a.attname order by key.number) as names,
                pg_catalog.json_agg(b.attname order by key.number) as others
            from rows from (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) with ordinality key(attnum, fattnum, number)
            join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = key.attnum
            join pg_catalog.pg_attribute b on b.attrelid = k.confrelid and b.attnum = key.fattnum
        ) cols
    ),
    'checks', (
        select pg_catalog.json_agg(pg_catalog."left"(pg_catalog.pg_get_constraintdef(k.oid, true), 500) order by k.conname)
        from (
            select * from pg_catalog.pg_constraint k
            where k.conrelid = c.oid and k.contype in ('c', 'x') order by k.conname limit 50
        ) k
    ),
    'indexes', (
        select pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', i.relname,
            'definition', pg_catalog."left"(pg_catalog.pg_get_indexdef(i.indexrelid), 500),
            'unique', i.indisunique,
            'valid', i.indisvalid,
            'bytes', pg_catalog.pg_relation_size(i.indexrelid)
        ) order by i.relname)
        from (
            select x.*, i.relname from pg_catalog.pg_index x
            join pg_catalog.pg_class i on i.oid = x.indexrelid
            where x.indrelid = c.oid order by i.relname limit 50
        ) i
    ),
    'partitions', case when c.relkind = 'p' then pg_catalog.json_build_object(
        'by', pg_catalog.pg_get_partkeydef(c.oid),
        'count', leaves.count,
        'some', leaves.some
    ) end,
    'definition', case when c.relkind in ('v', 'm') then pg_catalog."left"(pg_catalog.pg_get_viewdef(c.oid, true), 4000) end,
    'rowSecurity', case when c.relrowsecurity then pg_catalog.json_build_object(
        'forced', c.relforcerowsecurity,
        'policies', (
            select coalesce(pg_catalog.json_agg(p.polname order by p.polname), '[]')
            from (select polname from pg_catalog.pg_policy where polrelid = c.oid order by polname limit 50) p
        )
    ) end
) order by w.number), '[]')
from pg_catalog.jsonb_array_elements_text($1::text::jsonb) with ordinality w(oid, number)
join pg_catalog.pg_class c on c.oid = w.oid::oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join lateral (
    select pg_catalog.count(*) as count,
        pg_catalog.sum(pg_catalog.pg_total_relation_size(l.relid)) as bytes,
        pg_catalog.sum(greatest(lc.reltuples, 0))::bigint as rows,
        (pg_catalog.array_agg(lc.relname::text order by lc.relname))[1:5] as some
    from pg_catalog.pg_partition_tree(c.oid) l
    join pg_catalog.pg_class lc on lc.oid = l.relid
    where l.isleaf and c.relkind = 'p'
) leaves on c.relkind = 'p'
