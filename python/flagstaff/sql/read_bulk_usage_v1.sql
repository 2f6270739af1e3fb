-- When some flags, or all, were last served in bulk and to browsers; NULL if that was before a time.
-- The stored times can be an hour too early.
WITH given (since) AS (VALUES (
    coalesce(%s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour', '-infinity'::timestamptz)
))
SELECT
    b.key,
    CASE WHEN b.served_in_bulk_at OPERATOR(pg_catalog.>) since THEN b.served_in_bulk_at END,
    CASE WHEN b.served_to_browsers_at OPERATOR(pg_catalog.>) since THEN b.served_to_browsers_at END
FROM {bulk_usage_table} AS b
CROSS JOIN given
WHERE b.key OPERATOR(pg_catalog.=) ANY (coalesce(%s::text[], ARRAY[b.key]))
    AND greatest(b.served_in_bulk_at, b.served_to_browsers_at) OPERATOR(pg_catalog.>) since
ORDER BY b.key
