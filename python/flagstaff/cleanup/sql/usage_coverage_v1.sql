-- When usage was collected: the oldest hour, the first start and the last report of the workers that
-- have reported since a time, and the longest time without any of them.
WITH spans AS (
    SELECT
        started_at,
        last_seen_at,
        started_at OPERATOR(pg_catalog.-) pg_catalog.max(last_seen_at) OVER (
            ORDER BY started_at, last_seen_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS gap
    FROM {usage_worker_table}
    WHERE last_seen_at OPERATOR(pg_catalog.>=) %s
)
SELECT
    (SELECT pg_catalog.min(hour) FROM {usage_table}),
    pg_catalog.min(started_at),
    pg_catalog.max(last_seen_at),
    pg_catalog.max(gap)
FROM spans
