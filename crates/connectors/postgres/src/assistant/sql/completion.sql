-- $1: a schema, to complete a table, or null, to complete a schema; $2: what was typed.
, names as (
    select distinct case when $1::text is null then t.schema else t.name end as name
    from tables t
    where t.schema = coalesce($1, t.schema)
),
fitting as (
    select n.name, pg_catalog.strpos(pg_catalog.lower(n.name), pg_catalog.lower($2::text)) = 1 as first
    from names n
    where $2 = '' or pg_catalog.strpos(pg_catalog.lower(n.name), pg_catalog.lower($2::text)) > 0
)
select pg_catalog.json_build_object(
    'total', (select pg_catalog.count(*) from fitting),
    'values', (
        select coalesce(pg_catalog.json_agg(f.name order by f.first desc, f.name), '[]')
        from (select * from fitting order by first desc, name limit 100) f
    )
)
