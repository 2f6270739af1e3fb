-- Makes the failed deliveries due again, as if they had just been queued.
WITH retried AS (
    UPDATE {delivery_table}
    SET
        failed_at = NULL, attempts = 0,
        due_at = pg_catalog.clock_timestamp(), queued_at = pg_catalog.clock_timestamp()
    WHERE failed_at IS NOT NULL
    RETURNING receiver
), resumed AS (
    UPDATE {receiver_table} SET paused_until = NULL
    WHERE name OPERATOR(pg_catalog.=) ANY (SELECT receiver FROM retried)
)
SELECT pg_catalog.count(*) FROM retried
