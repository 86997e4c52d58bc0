-- What the server is, and what this login may use of it.
select pg_catalog.json_build_object(
    'recovery', pg_catalog.pg_is_in_recovery(),
    'hypopg', (
        select n.nspname from pg_catalog.pg_extension e
        join pg_catalog.pg_namespace n on n.oid = e.extnamespace
        where e.extname = 'hypopg' and pg_catalog.has_schema_privilege(n.oid, 'usage')
    ),
    'statements', (
        select n.nspname from pg_catalog.pg_extension e
        join pg_catalog.pg_namespace n on n.oid = e.extnamespace
        where e.extname = 'pg_stat_statements' and pg_catalog.has_schema_privilege(n.oid, 'usage')
    ),
    'statsSince', (
        select extract(epoch from pg_catalog.now() - d.stats_reset)::bigint
        from pg_catalog.pg_stat_database d where d.datname = pg_catalog.current_database()
    )
)
