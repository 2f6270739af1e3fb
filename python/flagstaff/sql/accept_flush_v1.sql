accepted AS (
    -- Has one row if the flush is new. A flush with an unknown outcome is repeated, so nothing is
    -- written unless its sequence is higher than that of the last one. This is also the only
    -- definition of a lost worker: its next flush is expected within two intervals and 10 s.
    INSERT INTO {report_table} AS w (
        worker, report, host, pid, started_at, flush_interval, sequence, last_seen_at, expected_by,
        stopped_at, release
    )
    VALUES (
        $1, $2, $3, $4, pg_catalog.to_timestamp($5), $6, $7, pg_catalog.clock_timestamp(),
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(
            secs => (2 OPERATOR(pg_catalog.*) $6::float8) OPERATOR(pg_catalog.+) 10
        ),
        CASE WHEN $8 THEN pg_catalog.clock_timestamp() END,
        $9
    )
    ON CONFLICT (worker) DO UPDATE SET
        sequence = EXCLUDED.sequence,
        last_seen_at = EXCLUDED.last_seen_at,
        expected_by = EXCLUDED.expected_by,
        stopped_at = EXCLUDED.stopped_at
    WHERE w.sequence OPERATOR(pg_catalog.<) EXCLUDED.sequence
    RETURNING w.worker
)
