-- Lost workers: they did not report their end, and have missed a flush.
SELECT host, pid, started_at, last_seen_at
FROM {usage_worker_table}
WHERE stopped_at IS NULL
    AND last_seen_at < pg_catalog.clock_timestamp()
        - pg_catalog.make_interval(secs => 2 * flush_interval + 10)
    AND last_seen_at >= coalesce(%s, '-infinity'::timestamptz)
ORDER BY last_seen_at, host, pid
