-- Replicas, slots, and how far this server itself is behind. Columns of later versions are read where they are.
select pg_catalog.json_build_object(
    'recovery', pg_catalog.pg_is_in_recovery(),
    'behind', case when pg_catalog.pg_is_in_recovery() then
        case when pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() then 0
            else extract(epoch from pg_catalog.now() - pg_catalog.pg_last_xact_replay_timestamp())::float8 end
    end,
    'replicas', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', r.application_name, 'state', r.state, 'seen', r.state is not null,
            'seconds', extract(epoch from r.replay_lag)::float8,
            'bytes', case when not pg_catalog.pg_is_in_recovery() then
                pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.replay_lsn)::bigint end)), '[]')
        from (select * from pg_catalog.pg_stat_replication order by application_name, pid limit 20) r
    ),
    'slots', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', s.slot_name, 'active', s.active,
            'status', s.wal_status,
            'kept', case when not pg_catalog.pg_is_in_recovery() then
                pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint end)), '[]')
        from (select * from pg_catalog.pg_replication_slots where not temporary order by slot_name limit 20) s
    )
)
