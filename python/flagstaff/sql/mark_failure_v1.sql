-- Records a failed attempt, if no newer attempt has begun: retry later, or give up.
UPDATE {delivery_table}
SET
    claim_expires_at = NULL,
    due_at = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => %s),
    last_error = %s,
    impact = %s::jsonb,
    failed_at = CASE
        WHEN %s OR queued_at <= pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %s)
        THEN pg_catalog.clock_timestamp()
    END
WHERE id = %s AND attempts = %s
