-- When usage was collected, on each row: the oldest hour, the first start and the last report of the
-- workers that have reported since a time, and the longest time without any of them. Beside it, the
-- last evaluation of each key that was ever evaluated, with or without a flag, or served in bulk, and
-- the last times of the latter; NULL without any.
WITH spans AS (
    SELECT
        started_at,
        last_seen_at,
        started_at OPERATOR(pg_catalog.-) pg_catalog.max(last_seen_at) OVER (
            ORDER BY started_at, last_seen_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS gap
    FROM {report_table}
    WHERE report OPERATOR(pg_catalog.=) 'usage'
        AND last_seen_at OPERATOR(pg_catalog.>=) %s
), coverage AS (
    SELECT
        (SELECT pg_catalog.min(hour) FROM {usage_table}) AS first_hour,
        pg_catalog.min(started_at) AS first_worker,
        pg_catalog.max(last_seen_at) AS last_report,
        pg_catalog.max(gap) AS longest_gap
    FROM spans
), evaluated AS (
    SELECT flag.key, pg_catalog.max(u.last_evaluated_at) AS at, b.served_in_bulk_at,
        b.served_to_browsers_at
    FROM pg_catalog.unnest(%s::text[]) AS flag (key)
    LEFT JOIN {bulk_usage_table} AS b ON b.key OPERATOR(pg_catalog.=) flag.key
    LEFT JOIN {usage_table} AS u ON u.key OPERATOR(pg_catalog.=) flag.key
        AND u.hour OPERATOR(pg_catalog.=) (
            SELECT pg_catalog.max(n.hour) FROM {usage_table} AS n
            WHERE n.key OPERATOR(pg_catalog.=) flag.key
        )
    WHERE u.key IS NOT NULL OR b.key IS NOT NULL
    GROUP BY flag.key, b.key
)
SELECT first_hour, first_worker, last_report, longest_gap,
    evaluated.key, evaluated.at, evaluated.served_in_bulk_at, evaluated.served_to_browsers_at
FROM coverage LEFT JOIN evaluated ON true
