-- How often each of some keys was evaluated since a time and since a later time, and when last.
-- Includes the whole hours in which the times are.
SELECT
    key,
    pg_catalog.sum(true_count OPERATOR(pg_catalog.+) false_count)::bigint,
    COALESCE(
        pg_catalog.sum(true_count OPERATOR(pg_catalog.+) false_count) FILTER (
            WHERE hour OPERATOR(pg_catalog.>) (%s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour')
        ), 0
    )::bigint,
    pg_catalog.max(last_evaluated_at)
FROM {usage_table}
WHERE key OPERATOR(pg_catalog.=) ANY (%s)
    AND hour OPERATOR(pg_catalog.>) (%s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour')
GROUP BY key
ORDER BY key
