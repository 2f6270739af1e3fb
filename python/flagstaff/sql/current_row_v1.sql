-- The present row as the history would store it, and the text of one column for its digest.
SELECT to_jsonb(t)::text, (to_jsonb(t) -> %s)::text
FROM {table} AS t
WHERE t.{pk}::text = %s
