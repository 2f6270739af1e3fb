-- The period that the usage covers: the oldest hour, and the time up to which all workers that still
-- report have reported. Without such a worker, the time of the last report. Also the longest time
-- between two flushes of a worker.
-- Only workers that have missed no flush still report; all others are lost.
WITH workers AS (
    SELECT last_seen_at, flush_interval,
        stopped_at IS NULL
            AND expected_by OPERATOR(pg_catalog.>=) pg_catalog.clock_timestamp() AS reports
    FROM {report_table}
    WHERE report OPERATOR(pg_catalog.=) 'usage'
)
SELECT
    (SELECT pg_catalog.min(hour) FROM {usage_table}),
    coalesce(
        pg_catalog.min(last_seen_at) FILTER (WHERE reports), pg_catalog.max(last_seen_at)
    ),
    pg_catalog.max(flush_interval) FILTER (WHERE reports)
FROM workers
