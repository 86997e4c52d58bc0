-- Only statements in which the extension puts $1 in place of values: of others, like `alter user`, it keeps the text.
select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'query', case when s.query <> '<insufficient privilege>' then
        pg_catalog."left"(pg_catalog.regexp_replace(s.query, '\s+', ' ', 'g'), 300) end,
    'calls', s.calls, 'total', s.total_exec_time, 'mean', s.mean_exec_time, 'rows', s.rows,
    'share', s.total_exec_time / nullif(s.everything, 0)) order by s.total_exec_time desc), '[]')
from (
    select q.query, q.calls, q.total_exec_time, q.mean_exec_time, q.rows,
        pg_catalog.sum(q.total_exec_time) over () as everything
    from "{schema}".pg_stat_statements q
    where q.dbid = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
        and (q.query ~* '^\s*(select|with|insert|update|delete|merge|values)\M' or q.query = '<insufficient privilege>')
    order by q.total_exec_time desc
    limit 10
) s
where s.total_exec_time > 0
