-- $1: the schema to tell of, or null for all.
select pg_catalog.json_build_object(
    'schemas', (
        select coalesce(pg_catalog.json_agg(line order by line.name), '[]')
        from (
            select t.schema as name, pg_catalog.count(*) as tables,
                pg_catalog.obj_description(pg_catalog.to_regnamespace(pg_catalog.quote_ident(t.schema)), 'pg_namespace') as comment
            from tables t
            where t.schema = coalesce($1, t.schema)
            group by t.schema
            order by t.schema
            limit 200
        ) line
    ),
    'total', (select pg_catalog.count(*) from tables t where t.schema = coalesce($1, t.schema)),
    'hidden', (select pg_catalog.count(*) from known k where not k.readable and k.schema = coalesce($1, k.schema)),
    'names', (select pg_catalog.json_agg(distinct k.schema) from known k where k.readable)
)
