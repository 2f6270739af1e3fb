-- The usage of one flag since a time, on each row with the period that the usage covers, as
-- usage_period_v1 has it, the number of workers that were lost since a time, and when the flag was
-- last served in bulk. Without usage, one row has the rest only.
WITH flag (key) AS (VALUES (%s::text)), workers AS (
    SELECT last_seen_at, flush_interval, expected_by, stopped_at,
        stopped_at IS NULL
            AND expected_by OPERATOR(pg_catalog.>=) pg_catalog.clock_timestamp() AS reports
    FROM {report_table}
    WHERE report OPERATOR(pg_catalog.=) 'usage'
), period AS (
    SELECT
        (SELECT pg_catalog.min(hour) FROM {usage_table}) AS since,
        coalesce(
            pg_catalog.min(last_seen_at) FILTER (WHERE reports), pg_catalog.max(last_seen_at)
        ) AS until,
        pg_catalog.max(flush_interval) FILTER (WHERE reports) AS flush_interval,
        pg_catalog.count(*) FILTER (
            WHERE stopped_at IS NULL AND NOT reports
                AND expected_by OPERATOR(pg_catalog.>=) %s::timestamptz
        ) AS lost
    FROM workers
)
SELECT u.hour, u.true_count, u.false_count, u.last_evaluated_at,
    p.since, p.until, p.flush_interval, p.lost, b.served_in_bulk_at, b.served_to_browsers_at
FROM period AS p
CROSS JOIN flag
LEFT JOIN {bulk_usage_table} AS b ON b.key OPERATOR(pg_catalog.=) flag.key
LEFT JOIN {usage_table} AS u
    ON u.defined AND u.key OPERATOR(pg_catalog.=) flag.key
    AND u.hour OPERATOR(pg_catalog.>=) %s::timestamptz
ORDER BY u.hour
