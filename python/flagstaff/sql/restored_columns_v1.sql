-- Of events of one kind, those whose row has the old value of each column that the event has set, or
-- whose row stands although the event has set none. Of a column that was added since, the entry says
-- nothing.
WITH event AS MATERIALIZED (
    SELECT *
    FROM pg_catalog.jsonb_to_recordset(%(events)s::jsonb)
        AS given (version bigint, pk text, first bigint, columns text[])
), present AS MATERIALIZED (
    SELECT t.{pk}::text AS pk, pg_catalog.to_jsonb(t) AS columns
    FROM {table} AS t
    WHERE t.{pk}::text OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT event.pk FROM event))
)
SELECT event.version
FROM event
JOIN present ON present.pk OPERATOR(pg_catalog.=) event.pk
LEFT JOIN {change_table} AS entry ON entry.id OPERATOR(pg_catalog.=) event.first
WHERE NOT EXISTS (
    SELECT
    FROM pg_catalog.unnest(event.columns) AS c (name)
    -- As texts: 1 and 1.0 are the same number, but not the same JSON.
    WHERE NOT coalesce(
        (present.columns OPERATOR(pg_catalog.->) c.name)::text
            OPERATOR(pg_catalog.=) (entry.old OPERATOR(pg_catalog.->) c.name)::text,
        (entry.old OPERATOR(pg_catalog.->) c.name) IS NULL
    )
)
