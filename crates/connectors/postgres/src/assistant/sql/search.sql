-- $1: the words as a JSON list, in lower case; $2: a schema or null; $3: how many.
, words as (
    select w.word, w.number
    from pg_catalog.jsonb_array_elements_text($1::text::jsonb) with ordinality w(word, number)
),
-- Everything a place is judged by goes with it: a join of large lists by hand is only fast where the planner guesses well.
places as (
    select t.oid, t.schema, t.name, t.kind, pg_catalog.lower(t.name) as text, null::text as place, 4 as weight
    from tables t
    where t.schema = coalesce($2, t.schema)
    union all
    select t.oid, t.schema, t.name, t.kind, pg_catalog.lower(a.attname::text), 'column ' || a.attname::text, 2
    from tables t
    join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    where t.schema = coalesce($2, t.schema)
    union all
    select t.oid, t.schema, t.name, t.kind, pg_catalog.lower(d.description),
        case when d.objsubid = 0 then 'comment' else 'comment of ' || a.attname::text end, 1
    from tables t
    join pg_catalog.pg_description d
        on d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objoid = t.oid
    left join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = d.objsubid and d.objsubid > 0
    where t.schema = coalesce($2, t.schema)
    union all
    select t.oid, t.schema, t.name, t.kind, pg_catalog.lower(e.enumlabel::text), 'value of ' || a.attname::text, 1
    from tables t
    join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    join pg_catalog.pg_enum e on e.enumtypid = a.atttypid
    where t.schema = coalesce($2, t.schema)
),
scored as materialized (
    select p.oid, p.schema, p.name, p.kind, w.number, p.place,
        p.weight * case
            when p.text = w.word then 10
            when pg_catalog.strpos(p.text, w.word) = 1 then 5
            else 3
        end as score
    from places p
    join words w on pg_catalog.strpos(p.text, w.word) > 0
),
best as (
    select oid, schema, name, kind, number, pg_catalog.max(score) as score
    from scored group by oid, schema, name, kind, number
),
ranked as materialized (
    select oid, schema, name, kind, pg_catalog.count(*) as words, pg_catalog.sum(score) as score
    from best group by oid, schema, name, kind
),
hits as (
    select * from ranked r
    order by r.words desc, r.score desc, pg_catalog.length(r.name), r.schema, r.name
    limit $3
)
select pg_catalog.json_build_object(
    'total', (select pg_catalog.count(*) from ranked),
    'tables', (
        select coalesce(pg_catalog.json_agg(
            pg_catalog.json_build_object(
                'oid', h.oid, 'schema', h.schema, 'name', h.name, 'kind', h.kind,
                'matched', (
                    select pg_catalog.json_agg(m.place)
                    from (
                        select s.place from scored s
                        where s.oid = h.oid and s.place is not null
                        group by s.place order by pg_catalog.max(s.score) desc, s.place limit 5
                    ) m
                )
            ) order by h.words desc, h.score desc, pg_catalog.length(h.name), h.schema, h.name), '[]')
        from hits h
    )
)
