-- The workers that have said no farewell, and have missed a flush.
SELECT host, pid, since, heard_at
FROM {usage_worker_table}
WHERE left_at IS NULL
    AND heard_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => 2 * every + 10)
    AND heard_at >= coalesce(%s, '-infinity'::timestamptz)
ORDER BY heard_at, host, pid
