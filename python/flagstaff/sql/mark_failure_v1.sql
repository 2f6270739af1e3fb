-- It has not arrived: when to try again, or never. Only of the attempt that is the newest.
UPDATE {delivery_table}
SET
    claimed_until = NULL,
    due_at = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => %s),
    error = %s,
    impact = %s::jsonb,
    failed_at = CASE
        WHEN %s OR taken_at <= pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %s)
        THEN pg_catalog.clock_timestamp()
    END
WHERE id = %s AND attempts = %s
