-- The present rows as the history would store them.
SELECT t.{pk}::text, pg_catalog.to_jsonb(t)::text
FROM {table} AS t
WHERE t.{pk}::text OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.text[])
