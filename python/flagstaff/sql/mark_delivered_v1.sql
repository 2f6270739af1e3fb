-- Removes a delivery, and resets the failures of its receiver.
WITH removed AS (
    DELETE FROM {delivery_table} WHERE id OPERATOR(pg_catalog.=) %s RETURNING receiver
)
UPDATE {receiver_table} AS r
SET consecutive_failures = 0, paused_until = NULL
FROM removed
WHERE r.name OPERATOR(pg_catalog.=) removed.receiver
    AND r.consecutive_failures OPERATOR(pg_catalog.>) 0
