-- Adds the usage of a worker since its last flush, if it is accepted: see accept_flush_v1.
-- All workers write the rows in the same order, so that they cannot deadlock.
WITH {accepted}
INSERT INTO {usage_table} AS u (hour, key, defined, false_count, true_count, last_evaluated_at)
SELECT pg_catalog.to_timestamp(n.hour), n.key, n.defined, n.false_count, n.true_count,
    pg_catalog.to_timestamp(n.last_evaluated_at)
FROM accepted
CROSS JOIN ROWS FROM (
    pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11),
    pg_catalog.unnest($12), pg_catalog.unnest($13), pg_catalog.unnest($14)
) AS n (hour, key, defined, false_count, true_count, last_evaluated_at)
ORDER BY n.hour, n.key, n.defined
ON CONFLICT (hour, key, defined) DO UPDATE SET
    false_count = u.false_count OPERATOR(pg_catalog.+) EXCLUDED.false_count,
    true_count = u.true_count OPERATOR(pg_catalog.+) EXCLUDED.true_count,
    last_evaluated_at = greatest(u.last_evaluated_at, EXCLUDED.last_evaluated_at)
