-- Deletes a delivery that has succeeded, and resets the failures of its receiver.
WITH deleted AS (
    DELETE FROM {delivery_table} WHERE id = %s RETURNING receiver
)
UPDATE {receiver_table} AS r
SET failures = 0, paused_until = NULL
FROM deleted
WHERE r.name = deleted.receiver AND r.failures > 0
