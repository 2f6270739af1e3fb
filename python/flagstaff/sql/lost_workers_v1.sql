-- Lost workers: they did not report their end, and have missed a flush.
SELECT host, pid, started_at, last_seen_at
FROM {usage_worker_table}
WHERE stopped_at IS NULL
    AND last_seen_at OPERATOR(pg_catalog.<) (
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(
            secs => (2 OPERATOR(pg_catalog.*) flush_interval) OPERATOR(pg_catalog.+) 10
        )
    )
    AND last_seen_at OPERATOR(pg_catalog.>=) coalesce(%s, '-infinity'::timestamptz)
ORDER BY last_seen_at, host, pid
