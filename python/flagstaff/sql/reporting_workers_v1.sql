-- The workers that have reported their counts, and have neither ended nor missed a flush.
SELECT host, pid
FROM {usage_worker_table}
WHERE stopped_at IS NULL
    AND last_seen_at OPERATOR(pg_catalog.>=) (
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(
            secs => (2 OPERATOR(pg_catalog.*) flush_interval) OPERATOR(pg_catalog.+) 10
        )
    )
