-- Adds the usage of a worker since its last flush. A flush with an unknown outcome is repeated, so
-- nothing is added unless the sequence is higher than that of the last flush.
-- All workers write the rows in the same order, so that they cannot deadlock.
WITH accepted AS (
    INSERT INTO {usage_worker_table} AS w
        (worker, host, pid, started_at, flush_interval, sequence, last_seen_at, stopped_at)
    VALUES (
        $1, $2, $3, pg_catalog.to_timestamp($4), $5, $6, pg_catalog.clock_timestamp(),
        CASE WHEN $7 THEN pg_catalog.clock_timestamp() END
    )
    ON CONFLICT (worker) DO UPDATE SET
        sequence = EXCLUDED.sequence,
        last_seen_at = EXCLUDED.last_seen_at,
        stopped_at = EXCLUDED.stopped_at
    WHERE w.sequence OPERATOR(pg_catalog.<) EXCLUDED.sequence
    RETURNING w.worker
)
INSERT INTO {usage_table} AS u (hour, key, defined, false_count, true_count, last_evaluated_at)
SELECT pg_catalog.to_timestamp(n.hour), n.key, n.defined, n.false_count, n.true_count,
    pg_catalog.to_timestamp(n.last_evaluated_at)
FROM accepted
CROSS JOIN ROWS FROM (
    pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10),
    pg_catalog.unnest($11), pg_catalog.unnest($12), pg_catalog.unnest($13)
) AS n (hour, key, defined, false_count, true_count, last_evaluated_at)
ORDER BY n.hour, n.key, n.defined
ON CONFLICT (hour, key, defined) DO UPDATE SET
    false_count = u.false_count OPERATOR(pg_catalog.+) EXCLUDED.false_count,
    true_count = u.true_count OPERATOR(pg_catalog.+) EXCLUDED.true_count,
    last_evaluated_at = greatest(u.last_evaluated_at, EXCLUDED.last_evaluated_at)
