-- It has arrived, and its receiver is well.
WITH gone AS (
    DELETE FROM {delivery_table} WHERE id = %s RETURNING receiver
)
UPDATE {receiver_table} AS r
SET failures = 0, paused_until = NULL
FROM gone
WHERE r.name = gone.receiver AND r.failures > 0
