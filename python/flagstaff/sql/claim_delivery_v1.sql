-- Claims the next delivery of a receiver for a number of seconds: one that is due, not claimed, and
-- the oldest of its flag or value. No lock is held while it is sent.
-- The second parameter selects new deliveries (true) or retries. Retries are ordered by attempts,
-- so that a message that always fails does not block the others.
WITH head AS MATERIALIZED (
    SELECT d.id, r.failures
    FROM {delivery_table} AS d
    JOIN {receiver_table} AS r ON r.name = d.receiver
    WHERE d.receiver = %s
        AND (d.attempts = 0) = %s
        AND d.failed_at IS NULL
        AND d.due_at <= pg_catalog.clock_timestamp()
        AND coalesce(d.claimed_until <= pg_catalog.clock_timestamp(), true)
        AND coalesce(r.paused_until <= pg_catalog.clock_timestamp(), true)
        -- By primary key and by key: a key may be reused by another row, and a row may be renamed.
        AND NOT EXISTS (
            SELECT FROM {delivery_table} AS e
            WHERE e.receiver = d.receiver AND e.is_value = d.is_value
                AND e.object_pk = d.object_pk AND e.id < d.id AND e.failed_at IS NULL
        )
        AND NOT EXISTS (
            SELECT FROM {delivery_table} AS e
            WHERE e.receiver = d.receiver AND e.is_value = d.is_value
                AND e.key = d.key AND e.id < d.id AND e.failed_at IS NULL
        )
    ORDER BY d.attempts, d.id
    LIMIT 1
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE {delivery_table} AS d
SET
    attempts = d.attempts + 1,
    claimed_until = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => %s)
FROM head
WHERE d.id = head.id
RETURNING d.id, d.is_value, d.entries, d.attempts, d.impact, head.failures
