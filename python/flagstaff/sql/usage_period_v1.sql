-- The period that the usage covers: its oldest hour, the newest report, and the longest time without a
-- report since the last one before a time.
WITH RECURSIVE hours (hour, gap) AS (
    SELECT coalesce(
        (
            SELECT pg_catalog.max(u.hour) FROM {usage_table} AS u
            WHERE u.hour OPERATOR(pg_catalog.<=) %s::timestamptz
        ),
        (SELECT pg_catalog.min(hour) FROM {usage_table})
    ), NULL::interval
    UNION ALL
    SELECT next.hour, next.hour OPERATOR(pg_catalog.-) hours.hour
    FROM hours
    CROSS JOIN LATERAL (
        SELECT u.hour FROM {usage_table} AS u
        WHERE u.hour OPERATOR(pg_catalog.>) hours.hour
        ORDER BY u.hour LIMIT 1
    ) AS next
)
SELECT
    (SELECT pg_catalog.min(hour) FROM {usage_table}),
    (
        SELECT pg_catalog.max(u.last_at) FROM {usage_table} AS u
        WHERE u.hour OPERATOR(pg_catalog.=) (SELECT pg_catalog.max(hour) FROM {usage_table})
    ),
    pg_catalog.max(gap)
FROM hours
