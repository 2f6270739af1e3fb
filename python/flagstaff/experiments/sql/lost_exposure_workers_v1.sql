-- The workers that have written exposures since a time, and have ended without their last report.
SELECT pg_catalog.count(*)
FROM {exposure_worker_table}
WHERE stopped_at IS NULL
    AND last_seen_at OPERATOR(pg_catalog.>=) %s
    AND last_seen_at OPERATOR(pg_catalog.<) (
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(
            secs => greatest(60, 5 OPERATOR(pg_catalog.*) flush_interval)
        )
    )
