-- Shows what a worker behind a pooler has applied: other clients share its session, so that the name
-- of the session cannot. The next heartbeat is expected as a flush is, see accept_flush_v1.
INSERT INTO {report_table} (
    worker, report, host, pid, started_at, flush_interval, sequence, last_seen_at, expected_by,
    session_name
)
VALUES (
    $1, 'refresh', $2, $3, pg_catalog.clock_timestamp(), $4, 1, pg_catalog.clock_timestamp(),
    pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(
        secs => (2 OPERATOR(pg_catalog.*) $4::float8) OPERATOR(pg_catalog.+) 10
    ),
    $5
)
ON CONFLICT (worker) DO UPDATE SET
    last_seen_at = EXCLUDED.last_seen_at,
    expected_by = EXCLUDED.expected_by,
    session_name = EXCLUDED.session_name
