-- What a worker was asked since its last flush. It is sent again where its outcome is not known, so
-- the worker's number must grow, or nothing is added.
-- The order is the same for all workers: they wait for each other, and never in a circle.
WITH heard AS (
    INSERT INTO {usage_worker_table} AS w
        (worker, host, pid, since, every, sequence, heard_at, left_at)
    VALUES (
        $1, $2, $3, pg_catalog.to_timestamp($4), $5, $6, pg_catalog.clock_timestamp(),
        CASE WHEN $7 THEN pg_catalog.clock_timestamp() END
    )
    ON CONFLICT (worker) DO UPDATE SET
        sequence = EXCLUDED.sequence, heard_at = EXCLUDED.heard_at, left_at = EXCLUDED.left_at
    WHERE w.sequence OPERATOR(pg_catalog.<) EXCLUDED.sequence
    RETURNING w.worker
)
INSERT INTO {usage_table} AS u (hour, key, defined, no, yes, last_asked)
SELECT pg_catalog.to_timestamp(n.hour), n.key, n.defined, n.no, n.yes,
    pg_catalog.to_timestamp(n.last_asked)
FROM heard
CROSS JOIN ROWS FROM (
    pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10),
    pg_catalog.unnest($11), pg_catalog.unnest($12), pg_catalog.unnest($13)
) AS n (hour, key, defined, no, yes, last_asked)
ORDER BY n.hour, n.key, n.defined
ON CONFLICT (hour, key, defined) DO UPDATE SET
    no = u.no OPERATOR(pg_catalog.+) EXCLUDED.no,
    yes = u.yes OPERATOR(pg_catalog.+) EXCLUDED.yes,
    last_asked = greatest(u.last_asked, EXCLUDED.last_asked)
