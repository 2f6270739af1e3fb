-- How often each of some keys was evaluated since a time, and when last. Includes the whole hour in
-- which the time is.
SELECT
    key,
    pg_catalog.sum(true_count OPERATOR(pg_catalog.+) false_count)::bigint,
    pg_catalog.max(last_evaluated_at)
FROM {usage_table}
WHERE key OPERATOR(pg_catalog.=) ANY (%s)
    AND hour OPERATOR(pg_catalog.>) (%s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour')
GROUP BY key
ORDER BY key
