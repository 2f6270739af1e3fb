-- The period that the usage covers, by the reports of workers, which have one row an hour: the oldest
-- hour, the newest report, and the longest time between two of these hours until one after a time.
SELECT
    pg_catalog.min(hour),
    pg_catalog.max(last_at),
    pg_catalog.max(gap) FILTER (WHERE hour OPERATOR(pg_catalog.>) %s::timestamptz)
FROM (
    SELECT
        hour, last_at,
        hour OPERATOR(pg_catalog.-) pg_catalog.lag(hour) OVER (ORDER BY hour) AS gap
    FROM {usage_table}
    WHERE key OPERATOR(pg_catalog.=) '' AND result OPERATOR(pg_catalog.=) 'report'
) AS report
