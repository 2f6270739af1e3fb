-- Records a failed attempt, if it is the newest one: sets the time of the next one, or gives up.
UPDATE {delivery_table}
SET
    claimed_until = NULL,
    due_at = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => %s),
    error = %s,
    impact = %s::jsonb,
    failed_at = CASE
        WHEN %s OR queued_at <= pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %s)
        THEN pg_catalog.clock_timestamp()
    END
WHERE id = %s AND attempts = %s
