-- Adds what a worker has measured for rollout plans since its last flush, if it is accepted: see
-- accept_flush_v1. Runs that were deleted meanwhile are left out. All workers write the rows in the
-- same order, so that they cannot deadlock.
WITH {accepted}, runs AS MATERIALIZED (
    SELECT r.id, r.started_at, r.tenth FROM accepted CROSS JOIN {step_run_table} AS r
    WHERE r.id OPERATOR(pg_catalog.=) ANY (
        $10::bigint[] OPERATOR(pg_catalog.||) $15::bigint[] OPERATOR(pg_catalog.||) $20::bigint[]
    )
), counted AS (
    INSERT INTO {signal_count_table} AS c (run_id, inside, kind, number, tenth, count)
    SELECT n.run, n.inside, n.kind, n.number, runs.tenth, n.count
    FROM ROWS FROM (
        pg_catalog.unnest($10::bigint[]), pg_catalog.unnest($11::boolean[]),
        pg_catalog.unnest($12::text[]), pg_catalog.unnest($13::smallint[]),
        pg_catalog.unnest($14::bigint[])
    ) AS n (run, inside, kind, number, count)
    JOIN runs ON runs.id OPERATOR(pg_catalog.=) n.run
    ORDER BY n.run, n.inside, n.kind, n.number
    ON CONFLICT (run_id, inside, kind, number, tenth) DO UPDATE SET
        count = c.count OPERATOR(pg_catalog.+) EXCLUDED.count
), seen AS (
    INSERT INTO {seen_register_table} AS s (run_id, inside, left_out, register, rank)
    SELECT n.run, n.inside, n.left_out, n.register, n.rank
    FROM ROWS FROM (
        pg_catalog.unnest($15::bigint[]), pg_catalog.unnest($16::boolean[]),
        pg_catalog.unnest($17::boolean[]), pg_catalog.unnest($18::smallint[]),
        pg_catalog.unnest($19::smallint[])
    ) AS n (run, inside, left_out, register, rank)
    JOIN runs ON runs.id OPERATOR(pg_catalog.=) n.run
    ORDER BY n.run, n.inside, n.left_out, n.register
    ON CONFLICT (run_id, inside, left_out, register) DO UPDATE SET rank = EXCLUDED.rank
    WHERE s.rank OPERATOR(pg_catalog.<) EXCLUDED.rank
), failed AS MATERIALIZED (
    SELECT n.run, n.guard, n.unit, n.inside, n.network, runs.tenth,
        -- A cookie has whole seconds: one of the second in which the run started is new.
        pg_catalog.to_timestamp(n.drawn_at) OPERATOR(pg_catalog.>=)
            pg_catalog.date_trunc('second', runs.started_at) AS is_new
    FROM ROWS FROM (
        pg_catalog.unnest($20::bigint[]), pg_catalog.unnest($21::smallint[]),
        pg_catalog.unnest($22::bigint[]), pg_catalog.unnest($23::boolean[]),
        pg_catalog.unnest($24::integer[]), pg_catalog.unnest($25::bigint[])
    ) AS n (run, guard, unit, inside, network, drawn_at)
    JOIN runs ON runs.id OPERATOR(pg_catalog.=) n.run
    WHERE NOT EXISTS (
        SELECT FROM {failed_unit_table} AS f
        WHERE f.run_id OPERATOR(pg_catalog.=) n.run AND f.guard OPERATOR(pg_catalog.=) n.guard
            AND f.unit OPERATOR(pg_catalog.=) n.unit
    )
), first_units AS MATERIALIZED (
    -- By the hash, which does not depend on the side of the user.
    SELECT f.run, f.guard, f.network, pg_catalog.min(f.unit) AS unit
    FROM failed AS f
    WHERE f.network IS NOT NULL
    GROUP BY f.run, f.guard, f.network
), slots AS (
    -- Each network has one, which is never free again. Before the users, and by network in all
    -- workers, so that this cannot deadlock either.
    INSERT INTO {failed_network_table} (run_id, guard, network)
    SELECT u.run, u.guard, u.network FROM first_units AS u
    ORDER BY u.run, u.guard, u.network
    ON CONFLICT (run_id, guard, network) DO NOTHING
    RETURNING run_id, guard, network
), counted_units AS MATERIALIZED (
    SELECT u.run, u.guard, u.unit
    FROM first_units AS u
    JOIN slots AS s ON s.run_id OPERATOR(pg_catalog.=) u.run
        AND s.guard OPERATOR(pg_catalog.=) u.guard AND s.network OPERATOR(pg_catalog.=) u.network
)
INSERT INTO {failed_unit_table} (run_id, guard, unit, inside, is_new, tenth, is_counted)
SELECT f.run, f.guard, f.unit, f.inside, f.is_new, f.tenth, f.network IS NULL OR c.unit IS NOT NULL
FROM failed AS f
LEFT JOIN counted_units AS c ON c.run OPERATOR(pg_catalog.=) f.run
    AND c.guard OPERATOR(pg_catalog.=) f.guard AND c.unit OPERATOR(pg_catalog.=) f.unit
ORDER BY f.run, f.guard, f.unit
ON CONFLICT (run_id, guard, unit) DO NOTHING
