-- The present rows as the history would store them, and the text of one column for its digest.
SELECT
    t.{pk}::text,
    pg_catalog.to_jsonb(t)::text,
    (pg_catalog.to_jsonb(t) OPERATOR(pg_catalog.->) %s)::text
FROM {table} AS t
WHERE t.{pk}::text OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.text[])
