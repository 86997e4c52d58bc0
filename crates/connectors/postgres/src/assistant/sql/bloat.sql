-- Dead rows and what became of vacuum and analyze, table by table.
with counted as materialized (
    select s.schemaname, s.relname, s.schemaname || '.' || s.relname as name, s.n_live_tup, s.n_dead_tup, s.n_mod_since_analyze,
        greatest(s.last_vacuum, s.last_autovacuum) as vacuumed,
        greatest(s.last_analyze, s.last_autoanalyze) as analyzed,
        pg_catalog.pg_relation_size(s.relid) as bytes,
        c.reltuples
    from pg_catalog.pg_stat_user_tables s
    join pg_catalog.pg_class c on c.oid = s.relid
),
-- What the rows take by the statistics, against what the table has. A table that this login may not read has none.
estimated as (
    select c.name, c.bytes,
        c.bytes - (pg_catalog.ceil(c.reltuples * (28 + w.width + 4) / (w.block * 0.99)) * w.block) as spare
    from (
        select * from counted where bytes > 10 * 1024 * 1024 and reltuples > 0 order by bytes desc limit 200
    ) c
    join lateral (
        select pg_catalog.sum((1 - s.null_frac) * s.avg_width) as width,
            pg_catalog.current_setting('block_size')::float8 as block,
            pg_catalog.count(*) as columns
        from pg_catalog.pg_stats s
        where s.schemaname = c.schemaname and s.tablename = c.relname and not s.inherited
    ) w on w.columns > 0
)
select pg_catalog.json_build_object(
    'dead', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', d.name, 'live', d.n_live_tup, 'dead', d.n_dead_tup,
            'vacuumed', pg_catalog.to_char(d.vacuumed at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))), '[]')
        from (
            select * from counted
            where n_dead_tup >= 1000 and n_dead_tup > 0.2 * n_live_tup
            order by n_dead_tup desc limit 15
        ) d
    ),
    'stale', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', d.name, 'live', d.n_live_tup, 'changed', d.n_mod_since_analyze,
            'analyzed', pg_catalog.to_char(d.analyzed at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))), '[]')
        from (
            select * from counted
            where n_mod_since_analyze >= 1000 and n_mod_since_analyze > 0.5 * n_live_tup
                or analyzed is null and n_live_tup >= 1000
            order by n_mod_since_analyze desc, n_live_tup desc limit 15
        ) d
    ),
    'bloated', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', e.name, 'bytes', e.bytes, 'spare', e.spare::bigint)), '[]')
        from (
            select * from estimated where spare > 0.4 * bytes order by spare desc limit 15
        ) e
    )
)
