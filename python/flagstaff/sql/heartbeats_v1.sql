-- The workers behind a pooler whose next heartbeat is not late, each with the name that its session
-- would have, and the seconds since the last heartbeat.
SELECT worker, session_name, extract(
    EPOCH FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) last_seen_at
)::pg_catalog.float8
FROM {report_table}
WHERE report OPERATOR(pg_catalog.=) 'refresh'
    AND expected_by OPERATOR(pg_catalog.>=) pg_catalog.clock_timestamp()
ORDER BY worker
