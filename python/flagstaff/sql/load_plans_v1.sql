-- The rollout plans that have not ended. guarded_for is NULL if no driver is needed now: the plan
-- has not started, or it is paused.
SELECT
    id::text AS pk,
    flag_pk,
    key,
    run_id AS run,
    salt,
    latency_limits::text AS latency_limits,
    CASE
        WHEN state OPERATOR(pg_catalog.<>) ALL (ARRAY['running', 'holding']) THEN NULL
        ELSE coalesce(
            pg_catalog.date_part(
                'epoch', guarded_until OPERATOR(pg_catalog.-) pg_catalog.clock_timestamp()
            ),
            0
        )
    END AS guarded_for
FROM (SELECT * FROM {plan_table} {restriction}) AS plan
WHERE state OPERATOR(pg_catalog.=) ANY (ARRAY['pending', 'running', 'holding', 'paused'])
