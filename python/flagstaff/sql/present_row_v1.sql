-- A row as the history would keep it, and the text that the digest of one column is made of.
SELECT to_jsonb(present)::text, (to_jsonb(present) -> %s)::text
FROM {table} AS present
WHERE present.{pk}::text = %s
