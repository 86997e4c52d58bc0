-- $1: a schema or null; $2: the name of a table. The names of all, when there is none of that name, to find what was meant.
, found as (
    select t.oid, t.schema, t.name, t.kind
    from tables t
    where t.schema = coalesce($1, t.schema) and t.name = $2
    -- Of several schemas, the ones the login looks into come first.
    order by pg_catalog.array_position(pg_catalog.current_schemas(false), t.schema::name), t.schema
    limit 20
)
select pg_catalog.json_build_object(
    'found', (select coalesce(pg_catalog.json_agg(f), '[]') from found f),
    'hidden', exists (select from known k where not k.readable and k.name = $2 and k.schema = coalesce($1, k.schema)),
    'others', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(o.schema, o.name)), '[]')
        from (
            select t.schema, t.name from tables t
            where not exists (select from found)
            order by t.schema = coalesce($1, t.schema) desc, t.schema, t.name limit 20000
        ) o
    )
)
