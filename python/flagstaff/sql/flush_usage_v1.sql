-- Adds the usage of a worker since its last flush, if it is accepted: see accept_flush_v1.
-- All workers write the rows in the same order, so that they cannot deadlock.
WITH {accepted}, served AS (
    SELECT n.key, pg_catalog.to_timestamp(n.served_in_bulk_at) AS served_in_bulk_at,
        pg_catalog.to_timestamp(n.served_to_browsers_at) AS served_to_browsers_at
    FROM accepted
    CROSS JOIN ROWS FROM (
        pg_catalog.unnest($15), pg_catalog.unnest($16), pg_catalog.unnest($17)
    ) AS n (key, served_in_bulk_at, served_to_browsers_at)
), written AS (
    INSERT INTO {bulk_usage_table} AS b (key, served_in_bulk_at, served_to_browsers_at)
    SELECT s.key, s.served_in_bulk_at, s.served_to_browsers_at
    FROM served AS s
    LEFT JOIN {bulk_usage_table} AS o ON o.key OPERATOR(pg_catalog.=) s.key
    -- Once an hour: each flush may have all flags.
    WHERE s.served_in_bulk_at OPERATOR(pg_catalog.>=) (
            coalesce(o.served_in_bulk_at, '-infinity'::timestamptz)
            OPERATOR(pg_catalog.+) interval '1 hour'
        )
        OR s.served_to_browsers_at OPERATOR(pg_catalog.>=) (
            coalesce(o.served_to_browsers_at, '-infinity'::timestamptz)
            OPERATOR(pg_catalog.+) interval '1 hour'
        )
    ORDER BY s.key
    ON CONFLICT (key) DO UPDATE SET
        served_in_bulk_at = greatest(b.served_in_bulk_at, EXCLUDED.served_in_bulk_at),
        served_to_browsers_at = greatest(b.served_to_browsers_at, EXCLUDED.served_to_browsers_at)
), results AS (
    INSERT INTO {value_usage_table} AS v (hour, key, result, count)
    SELECT pg_catalog.to_timestamp(n.hour), n.key, n.result, n.count
    FROM accepted
    CROSS JOIN ROWS FROM (
        pg_catalog.unnest($18), pg_catalog.unnest($19), pg_catalog.unnest($20),
        pg_catalog.unnest($21)
    ) AS n (hour, key, result, count)
    ORDER BY n.hour, n.key, n.result
    ON CONFLICT (hour, key, result) DO UPDATE SET
        count = v.count OPERATOR(pg_catalog.+) EXCLUDED.count
)
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
