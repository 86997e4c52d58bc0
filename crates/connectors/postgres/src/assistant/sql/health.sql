-- What the server counts for everybody: connections, cache, sessions in each other's way, wraparound, sequences, leftovers.
-- Of sessions, an ordinary login sees its own and the number of the others.
select pg_catalog.json_build_object(
    'connections', (
        select pg_catalog.json_build_object(
            'most', pg_catalog.current_setting('max_connections')::int,
            'used', pg_catalog.count(*),
            'active', pg_catalog.count(*) filter (where a.state = 'active'),
            'idle', pg_catalog.count(*) filter (where a.state = 'idle'),
            'waiting_in_transaction', pg_catalog.count(*) filter (where a.state like 'idle in transaction%'),
            'unseen', pg_catalog.count(*) filter (where a.backend_type is null)
        )
        from pg_catalog.pg_stat_activity a
        -- Of the sessions of other users, an ordinary login sees no more than the database.
        where a.backend_type = 'client backend' or a.backend_type is null and a.datid is not null
    ),
    'longest', (
        select pg_catalog.json_build_object(
            'transaction', coalesce(pg_catalog.max(extract(epoch from pg_catalog.now() - a.xact_start)), 0)::float8,
            'idle', coalesce(pg_catalog.max(extract(epoch from pg_catalog.now() - a.state_change))
                filter (where a.state like 'idle in transaction%'), 0)::float8
        )
        from pg_catalog.pg_stat_activity a
        where a.backend_type = 'client backend' and a.pid <> pg_catalog.pg_backend_pid()
    ),
    'blocked', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'pid', b.pid, 'by', b.by, 'seconds', b.seconds, 'relation', b.relation)), '[]')
        from (
            select l.pid, pg_catalog.min(h.pid) as by, n.nspname || '.' || c.relname as relation,
                pg_catalog.max(extract(epoch from pg_catalog.now() - l.waitstart))::float8 as seconds
            from pg_catalog.pg_locks l
            left join pg_catalog.pg_class c on c.oid = l.relation and l.database = (
                select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
            left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            left join lateral pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) h(pid) on true
            where not l.granted
            group by l.pid, n.nspname, c.relname
            order by seconds desc nulls last
            limit 20
        ) b
    ),
    'cache', (
        select pg_catalog.json_build_object('hit', d.blks_hit, 'read', d.blks_read)
        from pg_catalog.pg_stat_database d where d.datname = pg_catalog.current_database()
    ),
    'deadlocks', (
        select d.deadlocks from pg_catalog.pg_stat_database d where d.datname = pg_catalog.current_database()
    ),
    'wraparound', (
        select pg_catalog.json_build_object(
            'age', greatest(pg_catalog.age(d.datfrozenxid), pg_catalog.mxid_age(d.datminmxid)),
            'begins', pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint
        )
        from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()
    ),
    'autovacuum', pg_catalog.current_setting('autovacuum')::bool and pg_catalog.current_setting('track_counts')::bool,
    'sequences', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', s.name, 'used', s.used)), '[]')
        from (
            select q.schemaname || '.' || q.sequencename as name,
                pg_catalog.round(case
                    when q.increment_by > 0 then
                        (q.last_value::numeric - q.min_value) / nullif(least(q.max_value::numeric, own.most) - q.min_value, 0)
                    else (q.max_value::numeric - q.last_value) / nullif(q.max_value::numeric - q.min_value, 0)
                end, 4)::float8 as used
            from pg_catalog.pg_sequences q
            left join lateral (
                -- A bigint sequence behind an integer column ends where the column does.
                select pg_catalog.min(case a.atttypid
                    when 'pg_catalog.int2'::pg_catalog.regtype then 32767::numeric
                    when 'pg_catalog.int4'::pg_catalog.regtype then 2147483647
                end) as most
                from pg_catalog.pg_class sc
                join pg_catalog.pg_namespace sn on sn.oid = sc.relnamespace
                join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    and d.objid = sc.oid and d.deptype in ('a', 'i')
                    and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                where sc.relkind = 'S' and sn.nspname = q.schemaname and sc.relname = q.sequencename
            ) own on true
            where q.last_value is not null and not q.cycle
        ) s
        where s.used >= 0.5
    ),
    'unseen_sequences', (
        select pg_catalog.count(*) from pg_catalog.pg_class c
        where case when c.relkind = 'S' then not pg_catalog.has_sequence_privilege(c.oid, 'select, usage') end
    ),
    'invalid_indexes', (
        select coalesce(pg_catalog.json_agg(i.name), '[]')
        from (
            select n.nspname || '.' || c.relname as name
            from pg_catalog.pg_index x
            join pg_catalog.pg_class c on c.oid = x.indexrelid
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            where not x.indisvalid
                and not exists (select from pg_catalog.pg_stat_progress_create_index p where p.index_relid = x.indexrelid)
            order by 1 limit 20
        ) i
    ),
    'invalid_constraints', (
        select coalesce(pg_catalog.json_agg(k.name), '[]')
        from (
            select n.nspname || '.' || c.relname || ': ' || k.conname as name
            from pg_catalog.pg_constraint k
            join pg_catalog.pg_class c on c.oid = k.conrelid
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            -- Constraints that are not enforced are not validated either, and that is no fault.
            where not k.convalidated and coalesce((pg_catalog.to_jsonb(k) ->> 'conenforced')::bool, true)
            order by 1 limit 20
        ) k
    )
)
