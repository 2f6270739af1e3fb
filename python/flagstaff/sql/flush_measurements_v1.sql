-- Adds what a worker has measured for rollout plans since its last flush. A flush with an unknown
-- outcome is repeated, so nothing is added unless the sequence is higher than that of the last one.
-- Runs that were deleted meanwhile are left out. All workers write the rows in the same order, so
-- that they cannot deadlock.
WITH accepted AS (
    INSERT INTO {signal_worker_table} AS w
        (worker, host, pid, started_at, flush_interval, sequence, last_seen_at, stopped_at)
    VALUES (
        $1, $2, $3, pg_catalog.to_timestamp($4), $5, $6, pg_catalog.clock_timestamp(),
        CASE WHEN $7 THEN pg_catalog.clock_timestamp() END
    )
    ON CONFLICT (worker) DO UPDATE SET
        sequence = EXCLUDED.sequence,
        last_seen_at = EXCLUDED.last_seen_at,
        stopped_at = EXCLUDED.stopped_at
    WHERE w.sequence OPERATOR(pg_catalog.<) EXCLUDED.sequence
    RETURNING w.worker
), runs AS MATERIALIZED (
    SELECT r.id FROM accepted CROSS JOIN {step_run_table} AS r
    WHERE r.id OPERATOR(pg_catalog.=) ANY (
        $8::bigint[] OPERATOR(pg_catalog.||) $13::bigint[] OPERATOR(pg_catalog.||) $17::bigint[]
    )
), full_guards AS MATERIALIZED (
    -- A limit per run and guard: more users would not change what the guard decides.
    SELECT f.run_id, f.guard
    FROM {failed_unit_table} AS f
    JOIN runs ON runs.id OPERATOR(pg_catalog.=) f.run_id
    GROUP BY f.run_id, f.guard
    HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>=) 20000
), counted AS (
    INSERT INTO {signal_count_table} AS c (run_id, inside, kind, number, count)
    SELECT n.run, n.inside, n.kind, n.number, n.count
    FROM ROWS FROM (
        pg_catalog.unnest($8::bigint[]), pg_catalog.unnest($9::boolean[]),
        pg_catalog.unnest($10::text[]), pg_catalog.unnest($11::smallint[]),
        pg_catalog.unnest($12::bigint[])
    ) AS n (run, inside, kind, number, count)
    JOIN runs ON runs.id OPERATOR(pg_catalog.=) n.run
    ORDER BY n.run, n.inside, n.kind, n.number
    ON CONFLICT (run_id, inside, kind, number) DO UPDATE SET
        count = c.count OPERATOR(pg_catalog.+) EXCLUDED.count
), seen AS (
    INSERT INTO {seen_register_table} AS s (run_id, inside, register, rank)
    SELECT n.run, n.inside, n.register, n.rank
    FROM ROWS FROM (
        pg_catalog.unnest($13::bigint[]), pg_catalog.unnest($14::boolean[]),
        pg_catalog.unnest($15::smallint[]), pg_catalog.unnest($16::smallint[])
    ) AS n (run, inside, register, rank)
    JOIN runs ON runs.id OPERATOR(pg_catalog.=) n.run
    ORDER BY n.run, n.inside, n.register
    ON CONFLICT (run_id, inside, register) DO UPDATE SET rank = EXCLUDED.rank
    WHERE s.rank OPERATOR(pg_catalog.<) EXCLUDED.rank
)
INSERT INTO {failed_unit_table} (run_id, guard, unit, inside)
SELECT n.run, n.guard, n.unit, n.inside
FROM ROWS FROM (
    pg_catalog.unnest($17::bigint[]), pg_catalog.unnest($18::smallint[]),
    pg_catalog.unnest($19::bigint[]), pg_catalog.unnest($20::boolean[])
) AS n (run, guard, unit, inside)
JOIN runs ON runs.id OPERATOR(pg_catalog.=) n.run
WHERE NOT EXISTS (
    SELECT FROM full_guards AS f
    WHERE f.run_id OPERATOR(pg_catalog.=) n.run AND f.guard OPERATOR(pg_catalog.=) n.guard
)
ORDER BY n.run, n.guard, n.unit
ON CONFLICT (run_id, guard, unit) DO NOTHING
