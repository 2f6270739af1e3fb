-- A row as the history stores it, and the JSON text of one column, from which its digest is made.
SELECT to_jsonb(present)::text, (to_jsonb(present) -> %s)::text
FROM {table} AS present
WHERE present.{pk}::text = %s
