-- $1: a schema or null; $2: a table or null. By the statistics: indexes that nothing reads, and tables read whole again and
-- again. Partitions count for the table they are of.
with leaves as (
    select s.relid, coalesce(pg_catalog.pg_partition_root(s.relid)::oid, s.relid) as root,
        s.seq_scan, s.seq_tup_read, coalesce(s.idx_scan, 0) as idx_scan, s.n_live_tup
    from pg_catalog.pg_stat_user_tables s
),
roots as (
    select l.root, pg_catalog.sum(l.seq_scan) as seq_scan, pg_catalog.sum(l.seq_tup_read) as seq_tup_read,
        pg_catalog.sum(l.idx_scan) as idx_scan, pg_catalog.sum(l.n_live_tup) as rows
    from leaves l group by l.root
),
whole as (
    select n.nspname, c.relname, r.seq_scan, r.idx_scan, r.rows,
        pg_catalog.round(r.seq_tup_read / r.seq_scan) as each
    from roots r
    join pg_catalog.pg_class c on c.oid = r.root
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = coalesce($1, n.nspname::text) and c.relname = coalesce($2, c.relname::text)
        and r.seq_scan >= 20 and r.rows >= 10000 and r.seq_tup_read / r.seq_scan >= 5000
    order by r.seq_tup_read desc
    limit 15
),
reads as (
    select coalesce(i.root, s.indexrelid) as top, pg_catalog.sum(s.idx_scan) as scans,
        pg_catalog.sum(pg_catalog.pg_relation_size(s.indexrelid)) as bytes
    from pg_catalog.pg_stat_user_indexes s
    left join lateral (
        select pg_catalog.pg_partition_root(s.indexrelid)::oid as root
    ) i on true
    group by 1
),
unused as (
    select n.nspname, t.relname as table_name, c.relname as index_name, r.bytes
    from reads r
    join pg_catalog.pg_class c on c.oid = r.top
    join pg_catalog.pg_index x on x.indexrelid = r.top
    join pg_catalog.pg_class t on t.oid = x.indrelid
    join pg_catalog.pg_namespace n on n.oid = t.relnamespace
    where r.scans = 0 and r.bytes > 16384
        and x.indisvalid and not x.indisunique and not x.indisreplident
        and not exists (select from pg_catalog.pg_constraint k where k.conindid = x.indexrelid)
        and n.nspname = coalesce($1, n.nspname::text) and t.relname = coalesce($2, t.relname::text)
)
select pg_catalog.json_build_object(
    'whole', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'schema', w.nspname, 'table', w.relname, 'rows', w.rows, 'scans', w.seq_scan, 'each', w.each,
            'index_scans', w.idx_scan)), '[]')
        from whole w
    ),
    'unused_total', (select pg_catalog.count(*) from unused),
    'unused_bytes', (select coalesce(pg_catalog.sum(u.bytes), 0) from unused u),
    'unused', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'schema', u.nspname, 'table', u.table_name, 'index', u.index_name, 'bytes', u.bytes)), '[]')
        from (select * from unused order by bytes desc, index_name limit 30) u
    )
)
