-- Records a failed attempt, if no newer attempt has begun: retry later, or give up.
UPDATE {delivery_table}
SET
    claim_expires_at = NULL,
    due_at =
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => %s),
    last_error = %s,
    failed_at = CASE
        WHEN %s OR queued_at OPERATOR(pg_catalog.<=) (
            pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => %s)
        )
        THEN pg_catalog.clock_timestamp()
    END
WHERE id OPERATOR(pg_catalog.=) %s AND attempts OPERATOR(pg_catalog.=) %s
