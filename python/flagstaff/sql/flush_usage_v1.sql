-- Adds the usage of a worker since its last flush, if it is accepted: see accept_flush_v1.
-- All workers write the rows in the same order, so that they cannot deadlock. The report is the last
-- row, because every flush of every worker updates it.
WITH {accepted}, flushed AS (
    SELECT pg_catalog.to_timestamp(n.hour) AS hour, n.key, n.result, n.count,
        pg_catalog.to_timestamp(n.last_at) AS last_at
    FROM accepted
    CROSS JOIN ROWS FROM (
        pg_catalog.unnest($10), pg_catalog.unnest($11), pg_catalog.unnest($12),
        pg_catalog.unnest($13), pg_catalog.unnest($14)
    ) AS n (hour, key, result, count, last_at)
)
INSERT INTO {usage_table} AS u (hour, key, result, count, last_at)
SELECT f.hour, f.key, f.result, f.count, f.last_at
FROM flushed AS f
LEFT JOIN {usage_table} AS o
    ON o.key OPERATOR(pg_catalog.=) f.key AND o.result OPERATOR(pg_catalog.=) f.result
    AND o.hour OPERATOR(pg_catalog.=) f.hour
-- What was served in bulk is written once an hour: each flush may have all flags.
WHERE f.count OPERATOR(pg_catalog.>) 0 OR f.result OPERATOR(pg_catalog.=) 'report'
    OR o.last_at IS NULL
    OR o.last_at OPERATOR(pg_catalog.<=) (f.last_at OPERATOR(pg_catalog.-) interval '1 hour')
ORDER BY f.key DESC, f.hour, f.result
ON CONFLICT (key, result, hour) DO UPDATE SET
    count = u.count OPERATOR(pg_catalog.+) EXCLUDED.count,
    last_at = greatest(u.last_at, EXCLUDED.last_at)
