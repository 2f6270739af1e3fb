-- The next thing that a receiver is to be told, for so many seconds ours alone: the first of its
-- flag or value, that is due, and that nobody is at. Nothing stays locked while it is sent.
-- Asked for what is new, and then for what was tried, the least often tried first: one message that
-- a receiver falls over, time after time, keeps none of the others back.
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
        -- A key may be used again by another row, and a row may be given another key.
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
