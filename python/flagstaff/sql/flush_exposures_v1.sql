-- Adds the exposures that a worker has recorded since its last flush. A unit is in the table once
-- for each variant that it has met, whatever process it met it in; the first time stays. `returned`
-- is set once, when the cookie of a visitor has come back. A flush that was accepted before adds
-- nothing: see accept_flush_v1. Exposures of experiments that were deleted meanwhile are left out.
-- All workers write the rows in the same order, so that they cannot deadlock.
WITH {accepted}, lost AS (
    INSERT INTO {lost_exposures_table} AS l (experiment_id, count, left_out)
    SELECT e.id, n.count, n.left_out
    FROM accepted CROSS JOIN ROWS FROM (
        pg_catalog.unnest($16::text[]), pg_catalog.unnest($17::bigint[]),
        pg_catalog.unnest($19::bigint[])
    ) AS n (experiment, count, left_out)
    JOIN {experiment_table} AS e ON e.id::text OPERATOR(pg_catalog.=) n.experiment
    ORDER BY e.id
    ON CONFLICT (experiment_id) DO UPDATE SET
        count = l.count OPERATOR(pg_catalog.+) EXCLUDED.count,
        left_out = l.left_out OPERATOR(pg_catalog.+) EXCLUDED.left_out
)
INSERT INTO {exposure_table} AS x (
    experiment_id, run, unit, variant, user_pk, at, returned
)
SELECT
    e.id, n.run, n.unit, n.variant,
    pg_catalog.max(n.user_pk), pg_catalog.to_timestamp(pg_catalog.min(n.at)),
    pg_catalog.bool_or(n.returned)
FROM accepted CROSS JOIN ROWS FROM (
    pg_catalog.unnest($10::text[]), pg_catalog.unnest($11::integer[]),
    pg_catalog.unnest($12::text[]), pg_catalog.unnest($13::text[]),
    pg_catalog.unnest($14::text[]), pg_catalog.unnest($15::float8[]),
    pg_catalog.unnest($18::boolean[])
) AS n (experiment, run, variant, unit, user_pk, at, returned)
JOIN {experiment_table} AS e ON e.id::text OPERATOR(pg_catalog.=) n.experiment
GROUP BY e.id, n.run, n.unit, n.variant
ORDER BY e.id, n.run, n.unit, n.variant
ON CONFLICT (experiment_id, run, unit, variant) DO UPDATE SET
    user_pk = coalesce(x.user_pk, EXCLUDED.user_pk),
    at = least(x.at, EXCLUDED.at),
    returned = x.returned OR EXCLUDED.returned
WHERE (x.user_pk IS NULL AND EXCLUDED.user_pk IS NOT NULL)
    OR (EXCLUDED.returned AND NOT x.returned)
    OR EXCLUDED.at OPERATOR(pg_catalog.<) x.at
