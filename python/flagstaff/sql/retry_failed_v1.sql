-- What was given up is due again, as if it had just been taken.
WITH again AS (
    UPDATE {delivery_table}
    SET
        failed_at = NULL, attempts = 0,
        due_at = pg_catalog.clock_timestamp(), taken_at = pg_catalog.clock_timestamp()
    WHERE failed_at IS NOT NULL
    RETURNING receiver
), rested AS (
    UPDATE {receiver_table} SET paused_until = NULL
    WHERE name IN (SELECT receiver FROM again)
)
SELECT pg_catalog.count(*) FROM again
