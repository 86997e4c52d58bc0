-- $1: the schema or null; $2, $3: schema and name after which to go on, or null; $4: how many.
select coalesce(pg_catalog.json_agg(
        pg_catalog.json_build_object('oid', line.oid, 'schema', line.schema, 'name', line.name, 'kind', line.kind)
        order by line.schema, line.name), '[]')
from (
    select t.oid, t.schema, t.name, t.kind
    from tables t
    where t.schema = coalesce($1, t.schema) and ($2::text is null or (t.schema, t.name) > ($2, $3))
    order by t.schema, t.name
    limit $4
) line
